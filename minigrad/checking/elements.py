"""Which elements of a gradient are wrong?

`gradcheck` compares the gradient of the tape with a numeric one, element by element.
Both are gradients of <c, fn>: each element of fn's result is multiplied by a random
number, and the products are added up (gradients.py says why). So a report shows the
gradient of fn times c, even where fn returns a single number. For a gradient w and its
numeric twin n, the error of an element is

    |w - n| / max(largest |n| of this input, floor)

The floor is a hundredth of the largest result, and at least 0.01. It keeps the rounding
errors of large results from being counted against a tiny gradient.

The complex step is exact to 1e-11, but some functions take complex numbers without
being analytic, |x| for instance. If it reports an error, the central difference
decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.checking.gradients import GradientError, checked_gradients
from minigrad.checking.numeric import (
    TOLERANCE,
    Arrays,
    Function,
    computes_complex,
    float64_arrays,
    numeric_gradients,
)

# A gradient below this share of the largest result counts as small.
FLOOR = 0.01
# Above this error, a complex step is not trusted: fn may not be analytic.
DOUBTFUL = 1e-5


@dataclass(frozen=True)
class Report:
    """The outcome of a check: the worst element, and how many of its input are wrong.

    `error` is the error of that element as the head of this file defines it, and
    `analytic` and `numeric` are its w and n. `input` and `index` say where it is.
    `wrong` of the `size` elements of that input are off by
    more than `tolerance`.
    """

    method: str
    error: float
    tolerance: float
    input: int = 0
    index: tuple[int, ...] = ()
    analytic: float = 0.0
    numeric: float = 0.0
    wrong: int = 0
    size: int = 0

    def __str__(self) -> str:
        return (
            f"input {self.input}, element {self.index}: analytic {self.analytic:.12g}, "
            f"numeric {self.numeric:.12g} ({self.method}), relative error {self.error:.2e}, "
            f"allowed {self.tolerance:.0e}; {self.wrong} of its {self.size} elements are off"
        )


def gradcheck(
    fn: Function,
    inputs: Sequence[Any],
    method: str = "auto",
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Compare the gradients of fn(*inputs) with numeric ones, element by element.

    fn is called with tensors and returns one. The inputs are float64 arrays or tensors.
    `method` is "complex" (tolerance 1e-11), "central" (1e-6), or "auto": complex if fn
    computes with complex numbers and is analytic, else central. Returns a Report of the
    worst element.

    Raises TypeError for inputs that are not float64, and GradientError if

    - that element is off by more than the tolerance;
    - a gradient is missing, or has the wrong shape or dtype;
    - a gradient shares memory with an input or with another gradient;
    - fn or its vjp changes an array of the caller;
    - fn or its vjp gives another result in another call.

    >>> import minigrad as mg
    >>> report = mg.gradcheck(mg.tanh, [np.array([0.5, 1.5])])
    >>> report.method, report.error < 1e-15
    ('complex', True)
    """
    if method not in ("auto", *TOLERANCE):
        raise ValueError(f'gradcheck: method must be "auto", "complex" or "central": {method!r}')
    arrays = float64_arrays("gradcheck", inputs)
    value, cotangent, gradients = checked_gradients(fn, arrays, seed)
    floor = FLOOR * np.abs(cotangent * value).max(initial=1.0)

    def compare(numeric_method: str) -> Report:
        numeric = numeric_gradients(fn, arrays, cotangent, numeric_method)
        allowed = TOLERANCE[numeric_method] if tolerance is None else tolerance
        return _worst(gradients, numeric, numeric_method, allowed, floor)

    if method == "auto":
        report = compare("complex" if computes_complex(fn, arrays) else "central")
        if report.method == "complex" and not report.error <= DOUBTFUL:
            report = compare("central")
    else:
        report = compare(method)
    if not report.error <= report.tolerance:
        missing = "" if gradients[report.input].any() else "a gradient is missing (all zeros), a "
        raise GradientError(f"gradcheck: {missing}wrong gradient: {report}")
    return report


def _worst(
    gradients: Sequence[np.ndarray], numeric: Arrays, method: str, tolerance: float, floor: float
) -> Report:
    """The element at which the tape's gradients and the numeric ones differ most."""
    worst = Report(method, error=0.0, tolerance=tolerance)
    for position, (gradient, slopes) in enumerate(zip(gradients, numeric)):
        errors = np.abs(gradient - slopes) / max(floor, np.abs(slopes).max(initial=0.0))
        errors = np.where(np.isnan(errors), np.inf, errors)
        if errors.size and errors.max() >= worst.error:
            index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
            worst = Report(
                method,
                error=float(errors[index]),
                tolerance=tolerance,
                input=position,
                index=index,
                analytic=float(gradient[index]),
                numeric=float(slopes[index]),
                wrong=int((errors > tolerance).sum()),
                size=errors.size,
            )
    return worst

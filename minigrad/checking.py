"""Chapter 12: how do we know that a derivative is right?

Compare it with one that needs no calculus. Two ways to get that for f at x in direction d:

- Central difference: (f(x + h d) - f(x - h d)) / 2h. Its error falls with h^2 until, below
  h ~ 1e-5, the subtraction of two nearly equal numbers loses more digits than h gains. About
  ten digits are the best to be had in float64.
- Complex step: Im f(x + i h d) / h. For an analytic f this is the same Taylor series, but
  nothing is subtracted: the derivative stands alone in the imaginary part. With h = 1e-30 it is
  right to the last bits. It needs an f that computes with complex numbers and has no kink at x.

What is compared is the gradient of <c, f(x)> for a random cotangent c. Ones instead of c would
be a bad choice: they cannot tell a matrix from its transpose, or a row from its neighbour.

Squire & Trapp 1998, "Using complex variables to estimate derivatives", SIAM Review 40.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, grad, no_grad

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6  # about the cube root of float64's rounding error


class GradientError(AssertionError):
    """A gradient is wrong; the message says which, where and by how much."""


@dataclass(frozen=True)
class Report:
    """The outcome of a check: the worst element found, and how it was measured.
    error is |analytic - numeric| / max(1, largest |numeric| of that input)."""

    method: str
    error: float
    tolerance: float
    input: int
    index: tuple[int, ...]
    analytic: float
    numeric: float

    def __str__(self) -> str:
        return (
            f"input {self.input}, element {self.index}: analytic {self.analytic:.12g}, "
            f"numeric {self.numeric:.12g} ({self.method}), relative error {self.error:.2e}, "
            f"allowed {self.tolerance:.0e}"
        )


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    method: str = "auto",
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Compare the gradients of fn(*inputs) with numeric ones, element by element.
    fn takes tensors and returns one; inputs are float64 arrays or tensors. method is "complex"
    (tolerance 1e-11), "central" (1e-6), or "auto": complex where fn can compute with complex
    numbers. Returns a Report of the worst element; raises GradientError where it exceeds the
    tolerance, where a gradient has the wrong shape or dtype, where fn changes its inputs, or gives
    another result the second time. Raises TypeError for inputs that are not float64: in float32 the
    numeric side has too few digits to judge anything."""
    if method not in ("auto", "complex", "central"):
        raise ValueError(f'gradcheck: method must be "auto", "complex" or "central": {method!r}')
    arrays = [np.array(x.data if isinstance(x, Tensor) else x) for x in inputs]
    for position, array in enumerate(arrays):
        if array.dtype != np.float64:
            fix = "pass float64: less leaves too few digits for a numeric derivative"
            raise TypeError(f"gradcheck: input {position} has dtype {array.dtype}; {fix}")
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    output = fn(*leaves)
    cotangent = np.random.default_rng(seed).standard_normal(output.shape)
    gradients = grad(output, leaves, cotangent)
    for position, (leaf, array) in enumerate(zip(leaves, arrays)):
        _same(leaf.data, array, f"fn changes its input {position}")
    _same(output.data, fn(*leaves).data, "fn gives another result the second time")
    for position, (array, gradient) in enumerate(zip(arrays, gradients)):
        if gradient.shape != array.shape or gradient.dtype != array.dtype:
            found = f"input {position} is {gradient.shape} {gradient.dtype}"
            wanted = f"the input {array.shape} {array.dtype}"
            raise GradientError(f"gradcheck: the gradient of {found}, {wanted}")
    if method == "auto":
        method = "complex" if _computes_complex(fn, arrays) else "central"

    def weighted(arrays: list[np.ndarray]) -> complex:
        with no_grad():
            return (cotangent * fn(*[Tensor(each) for each in arrays]).data).sum()

    report = _worst(weighted, arrays, gradients, method, tolerance)
    if not report.error <= report.tolerance:
        raise GradientError(f"gradcheck: wrong gradient: {report}")
    return report


def _same(first: np.ndarray, second: np.ndarray, complaint: str) -> None:
    if not np.array_equal(first, second, equal_nan=True):
        raise GradientError(f"gradcheck: {complaint}")


def _computes_complex(fn: Callable[..., Tensor], arrays: Sequence[np.ndarray]) -> bool:
    try:
        with no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return fn(*[Tensor(a.astype(np.complex128)) for a in arrays]).dtype.kind == "c"
    except (TypeError, np.exceptions.ComplexWarning):
        return False


def _worst(
    weighted: Callable, arrays: list, gradients: Sequence, method: str, tolerance: float | None
) -> Report:
    """The element whose analytic and numeric derivatives differ most."""
    allowed = tolerance or (1e-11 if method == "complex" else 1e-6)
    worst = Report(method, 0.0, allowed, 0, (), 0.0, 0.0)
    for position, gradient in enumerate(gradients):
        numeric = np.zeros(gradient.shape)
        for index in np.ndindex(gradient.shape):
            numeric[index] = _derivative(weighted, arrays, position, index, method)
        scale = max(1.0, np.abs(numeric).max(initial=0.0))
        errors = np.abs(gradient - numeric) / scale
        errors = np.where(np.isnan(errors), np.inf, errors)
        if errors.size and errors.max() >= worst.error:
            index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
            error, *both = (float(each[index]) for each in (errors, gradient, numeric))
            worst = Report(method, error, allowed, position, index, *both)
    return worst


def _derivative(
    weighted: Callable, arrays: list, position: int, index: tuple[int, ...], method: str
) -> float:
    """d<cotangent, fn>/d(one element) by the chosen method."""

    def value(step: complex) -> complex:
        moved = [a.astype(type(step)) if method == "complex" else a.copy() for a in arrays]
        moved[position][index] += step
        return weighted(moved)

    if method == "complex":
        return float(value(1j * COMPLEX_STEP).imag / COMPLEX_STEP)
    step = CENTRAL_STEP * max(1.0, abs(arrays[position][index]))
    return float((value(step) - value(-step)) / (2.0 * step))

"""Chapter 13: how do we know that a derivative is right?

Compare it with one that needs no calculus, at a point x in a direction d:

- Central difference: (f(x + h d) - f(x - h d)) / 2h. Its error falls with h^2 until, below
  h ~ 1e-5, the subtraction of two nearly equal numbers loses more digits than h gains. About
  ten digits are the best to be had in float64.
- Complex step: Im f(x + i h d) / h. For an analytic f the Taylor series is
  f(x) + i h f'(x) - h^2 f''(x)/2 - ...: the derivative stands alone in the imaginary part,
  no digit is lost to a subtraction, and with h = 1e-30 the next term there, in h^3, is nothing.
  It needs an f that computes with complex numbers and has no kink at x.

What is compared is the gradient of <c, f(x)> for a random cotangent c. Ones instead of c would
be a bad choice: they cannot tell a matrix from its transpose, or a row from its neighbour.

A third way judges a whole model in one direction. What the first two terms of Taylor's series
leave over, r(h) = |f(x + h d) - f(x) - h <gradient, d>|, falls with h^2: half the h, a quarter
of r, a slope of 2 in a plot of log r against log h. If the gradient is wrong, some of the
first-order term is left, and the slope is 1. `examples/gradient_check.py` draws all this.

Squire & Trapp 1998, "Using complex variables to estimate derivatives", SIAM Review 40.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor import Tensor, grad, no_grad

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6  # about the cube root of float64's rounding error; times sqrt |x| for large x
TOLERANCE = {"complex": 1e-11, "central": 1e-6}

Function = Callable[..., Tensor]


class GradientError(AssertionError):
    """A gradient is wrong; the message says which, where and by how much."""


@dataclass(frozen=True)
class Report:
    """The outcome of a check: the worst element, and how many of the input's elements are wrong.
    error is |analytic - numeric| over the largest |numeric| of that input, or over a hundredth of
    the largest result (at least 1) if that is more."""

    method: str
    error: float
    tolerance: float
    input: int
    index: tuple[int, ...]
    analytic: float
    numeric: float
    wrong: int
    size: int

    def __str__(self) -> str:
        return (
            f"input {self.input}, element {self.index}: analytic {self.analytic:.12g}, "
            f"numeric {self.numeric:.12g} ({self.method}), relative error {self.error:.2e}, "
            f"allowed {self.tolerance:.0e}; {self.wrong} of its {self.size} elements are off"
        )


def gradcheck(
    fn: Function, inputs: Sequence[Any], method: str = "auto", tolerance: float | None = None,
    seed: int = 0,
) -> Report:  # fmt: skip
    """Compare the gradients of fn(*inputs) with numeric ones, element by element.
    fn takes tensors and returns one; inputs are float64 arrays or tensors. method is "complex"
    (tolerance 1e-11), "central" (1e-6), or "auto": complex where fn computes with complex numbers
    and is analytic. Returns a Report of the worst element. Raises GradientError where that is off,
    where a gradient is missing, has the wrong shape or dtype, or shares memory with an input or
    another gradient, where fn or its vjp changes an array that it was given, or varies from call to
    call; TypeError for other inputs: float32 leaves too few digits to judge anything."""
    if method not in ("auto", *TOLERANCE):
        raise ValueError(f'gradcheck: method must be "auto", "complex" or "central": {method!r}')
    arrays = _float64("gradcheck", inputs)
    value, cotangent, gradients = _analytic(fn, arrays, seed)
    floor = 0.01 * np.abs(cotangent * value).max(initial=1.0)
    methods = [method]
    if method == "auto":
        methods = ["complex", "central"] if _computes_complex(fn, arrays) else ["central"]
    for chosen in methods:
        numeric = [_numeric(fn, arrays, cotangent, i, chosen) for i in range(len(arrays))]
        allowed = TOLERANCE[chosen] if tolerance is None else tolerance
        report = _worst(gradients, numeric, chosen, allowed, floor)
        if report.error <= 1e-5:
            break  # else fn may take complex numbers without being analytic: ask the other method
    if not report.error <= report.tolerance:
        missing = "" if gradients[report.input].any() else "a gradient is missing (all zeros), a "
        raise GradientError(f"gradcheck: {missing}wrong gradient: {report}")
    return report


def hvp(fn: Function, inputs: Sequence[Any], vectors: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """The Hessian of fn at `inputs` times `vectors`: a float64 array for each input.
    fn returns a single number. H v is (gradient(x + h v) - gradient(x - h v)) / 2h, to about nine
    digits where fn is smooth over lengths near 1. Raises TypeError for inputs that are not float64,
    ValueError for vectors that have not the inputs' shapes."""
    arrays = _float64("hvp", inputs)
    directions = _float64("hvp", vectors, arrays)

    def gradients(t: float) -> tuple[np.ndarray, ...]:
        leaves = _moved(arrays, directions, t, requires_grad=True)
        output = fn(*leaves)
        if output.size != 1:
            raise ValueError(f"hvp: fn must return a single number, got shape {output.shape}")
        return grad(output, leaves)

    size, length = (max(np.abs(a).max(initial=0.0) for a in each) for each in (arrays, directions))
    step = CENTRAL_STEP * max(1.0, size) ** 0.5 / (length or 1.0)
    return tuple((a - b) / (2.0 * step) for a, b in zip(gradients(step), gradients(-step)))


def taylor_slope(
    fn: Function, inputs: Sequence[Any], direction: Sequence[Any], start: float = 1e-3,
    halvings: int = 5, seed: int = 0,
) -> float:  # fmt: skip
    """The slope of log r(h) against log h for h = start, start/2, ...; r(h) as above.
    About 2 where fn's gradient along `direction` (an array for each input) is right, about 1 where
    it is wrong. Steps whose remainder drowns in rounding are left out; where fewer than two are
    left, fn is a straight line as its gradient says, and the slope is infinite. Raises TypeError
    for inputs that are not float64, ValueError for a direction that does not fit."""
    arrays = _float64("taylor_slope", inputs)
    directions = _float64("taylor_slope", direction, arrays)
    value, cotangent, gradients = _analytic(fn, arrays, seed)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions))
    noise = 1e-13 * np.abs(cotangent * value).sum()
    points = []
    for h in (start * 0.5**k for k in range(halvings + 1)):
        change = _evaluate(fn, arrays, directions, h) - value
        points.append((h, abs((cotangent * change).sum() - h * slope)))
    points = [(h, r) for h, r in points if not r <= noise]
    if len(points) < 2:
        return np.inf
    x, y = np.log(points).T
    return float((x - x.mean()) @ y / ((x - x.mean()) @ x))  # the least-squares line


def _float64(name: str, given: Any, like: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """Copies of the arrays or tensors given, of the shapes of `like`; a lone one is a list."""
    given = [given] if hasattr(given, "shape") else given
    arrays = [np.array(x.numpy() if isinstance(x, Tensor) else x) for x in given]
    for position, array in enumerate(arrays):
        if array.dtype != np.float64:
            fix = "pass float64: less leaves too few digits for a numeric derivative"
            raise TypeError(f"{name}: input {position} has dtype {array.dtype}; {fix}")
    shapes, wanted = ([a.shape for a in each] for each in (arrays, like or arrays))
    if shapes != wanted:
        raise ValueError(f"{name}: vectors {shapes} must have the shapes of the inputs, {wanted}")
    return arrays


def _moved(arrays: list, directions: list, t: complex, requires_grad: bool = False) -> list[Tensor]:
    return [Tensor(np.asarray(a + t * d), requires_grad) for a, d in zip(arrays, directions)]


def _evaluate(fn: Function, arrays: list, directions: list, t: complex) -> np.ndarray:
    with no_grad():
        return fn(*_moved(arrays, directions, t)).data


def _analytic(fn: Function, arrays: list, seed: int) -> tuple[np.ndarray, np.ndarray, tuple]:
    """fn's value, a random cotangent c and the gradients of <c, fn>, free of all other faults."""
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    output = fn(*leaves)
    value = output.data.copy()
    cotangent = np.random.default_rng(seed).standard_normal(output.shape)
    given = cotangent.copy()
    gradients, again = (grad(output, leaves, given, retain_graph=True) for _ in range(2))
    for position, (leaf, array) in enumerate(zip(leaves, arrays)):
        _same(leaf.data, array, f"fn changes its input {position}, forward or backward")
    _same(given, cotangent, "a vjp of fn changes the cotangent that it is given")
    _same(value, fn(*leaves).data, "fn gives another result the second time")
    owned = {f"input {i}": leaf.data for i, leaf in enumerate(leaves)}
    for position, (array, gradient, second) in enumerate(zip(arrays, gradients, again)):
        name = f"the gradient of input {position}"
        found, wanted = (f"{each.shape} {each.dtype}" for each in (gradient, array))
        if found != wanted:
            raise GradientError(f"gradcheck: {name} is {found}, the input {wanted}")
        for owner, memory in (*owned.items(), ("one of a later call", second)):
            if np.shares_memory(gradient, memory):
                raise GradientError(f"gradcheck: {name} shares memory with {owner}; copy it")
        _same(gradient, second, f"{name} is another one the second time")
        owned[name] = gradient
    return value, cotangent, gradients


def _same(first: np.ndarray, second: np.ndarray, complaint: str) -> None:
    if not np.array_equal(first, second, equal_nan=True):
        raise GradientError(f"gradcheck: {complaint}")


def _computes_complex(fn: Function, arrays: list) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return _evaluate(fn, arrays, arrays, 0j).dtype.kind == "c"
    except (TypeError, np.exceptions.ComplexWarning):
        return False


def _worst(exact: Sequence, numeric: list, method: str, allowed: float, floor: float) -> Report:
    """The element whose analytic and numeric derivatives differ most."""
    worst = Report(method, 0.0, allowed, 0, (), 0.0, 0.0, 0, 0)
    for position, (gradient, slopes) in enumerate(zip(exact, numeric)):
        errors = np.abs(gradient - slopes) / max(floor, np.abs(slopes).max(initial=0.0))
        errors = np.where(np.isnan(errors), np.inf, errors)
        if errors.size and errors.max() >= worst.error:
            index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
            error, *both = (float(each[index]) for each in (errors, gradient, slopes))
            wrong = int((errors > allowed).sum())
            worst = Report(method, error, allowed, position, index, *both, wrong, errors.size)
    return worst


def _numeric(fn: Function, arrays: list, c: np.ndarray, position: int, method: str) -> np.ndarray:
    """d<c, fn>/d(one input), element by element."""
    directions = [np.zeros(array.shape) for array in arrays]
    slopes = np.zeros(arrays[position].shape)
    for index in np.ndindex(slopes.shape):
        directions[position][index] = 1.0
        if method == "complex":
            change = _evaluate(fn, arrays, directions, 1j * COMPLEX_STEP).imag / COMPLEX_STEP
        else:
            step = CENTRAL_STEP * max(1.0, abs(arrays[position][index])) ** 0.5
            ahead, behind = (_evaluate(fn, arrays, directions, t) for t in (step, -step))
            change = (ahead - behind) / (2.0 * step)
        slopes[index] = (c * change).sum()
        directions[position][index] = 0.0
    return slopes

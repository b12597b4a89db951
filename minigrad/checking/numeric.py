"""How can a derivative be measured without calculus?

At a point x in a direction d, by two runs of the function:

- Central difference: (f(x + h d) - f(x - h d)) / 2h. Of the finite differences it is
  the one whose error falls with h^2, as h f'' cancels in the subtraction. Below h ~
  1e-5, the subtraction of two nearly equal numbers loses more digits than the smaller h
  gains. float64 allows about ten correct digits.
- Complex step: Im f(x + i h d) / h. For an analytic f the Taylor series is
  f(x) + i h f'(x) - h^2 f''(x) / 2 - ... The derivative stands alone in the imaginary
  part, so no digit is lost to a subtraction. With h = 1e-30 the next imaginary term, of
  order h^3, is far below rounding. This needs an f that computes with complex numbers
  and has no kink at x.

`examples/gradient_check.py` draws the error of both against h.

Squire & Trapp 1998, "Using complex variables to estimate derivatives", SIAM Review 40.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.recording import no_grad
from minigrad.tensor import Tensor

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6
"""About the cube root of float64's rounding error, 2e-16.

At this step the error of the formula and the error of the subtraction are about equal.
For an element x above 1 the step is multiplied by sqrt(x).
"""

TOLERANCE = {"complex": 1e-11, "central": 1e-6}
"""The relative error that each method allows by default."""

Function = Callable[..., Tensor]
Arrays = list[np.ndarray]


def float64_arrays(name: str, values: Any) -> Arrays:
    """Copies of arrays or tensors, which must be float64. A lone one is a list of one.

    `name` is the function that asks. Raises TypeError for other dtypes.

    >>> float64_arrays("gradcheck", np.ones(2))
    [array([1., 1.])]
    """
    values = [values] if hasattr(values, "shape") else values
    arrays = [np.array(v.numpy() if isinstance(v, Tensor) else v) for v in values]
    for position, array in enumerate(arrays):
        if array.dtype != np.float64:
            raise TypeError(
                f"{name}: input {position} has dtype {array.dtype}; pass float64: "
                "less leaves too few digits for a numeric derivative"
            )
    return arrays


def float64_directions(name: str, values: Any, arrays: Arrays) -> Arrays:
    """`float64_arrays` for directions: one for each of `arrays`, of its shape."""
    directions = float64_arrays(name, values)
    shapes = [direction.shape for direction in directions]
    expected = [array.shape for array in arrays]
    if shapes != expected:
        raise ValueError(f"{name}: vectors {shapes} must have the shapes of the inputs, {expected}")
    return directions


def moved(
    arrays: Arrays, directions: Arrays, t: complex, requires_grad: bool = False
) -> list[Tensor]:
    """The arrays, moved by t times the directions, as tensors.

    >>> moved([np.array([1.0, 2.0])], [np.array([0.0, 1.0])], t=0.5)
    [tensor(array([1. , 2.5]))]
    """
    pairs = zip(arrays, directions)
    return [Tensor(np.asarray(array + t * step), requires_grad) for array, step in pairs]


def evaluate(fn: Function, arrays: Arrays, directions: Arrays, t: complex) -> np.ndarray:
    """fn at `arrays`, moved by t times `directions`, without a tape."""
    with no_grad():
        return fn(*moved(arrays, directions, t)).data


def computes_complex(fn: Function, arrays: Arrays) -> bool:
    """Whether fn computes with complex numbers and drops no imaginary part."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return evaluate(fn, arrays, arrays, 0j).dtype.kind == "c"
    except (TypeError, np.exceptions.ComplexWarning):
        return False


def directional_derivative(
    fn: Function, arrays: Arrays, directions: Arrays, method: str, step: float
) -> np.ndarray:
    """d/dt fn(arrays + t directions) at t = 0, by the "complex" or "central" method.

    >>> point, direction = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> directional_derivative(lambda x: x * x, [point], [direction], "complex", 1e-30)
    array([2., 0.])
    """
    if method == "complex":
        return evaluate(fn, arrays, directions, 1j * step).imag / step
    ahead = evaluate(fn, arrays, directions, step)
    behind = evaluate(fn, arrays, directions, -step)
    return (ahead - behind) / (2.0 * step)


def numeric_gradients(fn: Function, arrays: Arrays, cotangent: np.ndarray, method: str) -> Arrays:
    """d<cotangent, fn>/d(input) for each input, one element at a time.

    >>> point = np.array([1.0, 2.0])
    >>> numeric_gradients(lambda x: x * x, [point], np.ones(2), "complex")
    [array([2., 4.])]
    """
    directions = [np.zeros(array.shape) for array in arrays]
    gradients = [np.zeros(array.shape) for array in arrays]
    for array, direction, gradient in zip(arrays, directions, gradients):
        for index in np.ndindex(array.shape):
            step = COMPLEX_STEP
            if method == "central":
                step = CENTRAL_STEP * max(1.0, float(abs(array[index]))) ** 0.5
            direction[index] = 1.0
            change = directional_derivative(fn, arrays, directions, method, step)
            direction[index] = 0.0
            gradient[index] = (cotangent * change).sum()
    return gradients

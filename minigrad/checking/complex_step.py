"""What does one step into the complex plane tell about a function?

`jvp` asks how the result of a function changes along a direction v. `hvp` asks how its
gradient changes: the Hessian, the matrix of second derivatives, times v. Both come out
of one run at x + i h v, exact to the last digits, although nothing here knows a second
derivative.

Why this works. Let f be analytic, that is, made of operations with a power series:
sums, products, exp, tanh, and what is made of them. Its series at x along i h v is

    f(x + i h v) = f(x) + i h f'(x) v - h^2 f''(x)(v, v) / 2 - ...

For a real x all coefficients are real. So the imaginary part is h f'(x) v, up to an
error of order h^3. With h = 1e-30 that error is far below rounding. No two nearly equal
numbers are subtracted, so no digit is lost. This is `jvp`.

The walk back computes with the same sums and products. If f is analytic, then so is its
gradient: the derivative of a power series is a power series. So the argument holds for
the gradient g(x) as well as for f:

    g(x + i h v) = g(x) + i h H v - ...            H v = Im g(x + i h v) / h

The tape needs no change for this. It runs on complex numbers, forward and back, and the
second derivative stands alone in the imaginary part of the first. That is `hvp`. It
costs one gradient in complex numbers, about four times as long as one in real numbers.
The full Hessian would cost one for each input number.

Choices (relu, maximum, max) look at the real part. They are analytic away from their
kinks. A function that is not analytic betrays itself in the same run: the slope of its
values, <c, Im f> / h, is not the slope that its gradient predicts, <g, v>. Then, and
for a function that refuses complex numbers, central differences are taken instead. They
have about nine correct digits.

Squire & Trapp 1998, "Using complex variables to estimate derivatives", SIAM Review 40;
Pearlmutter 1994, "Fast exact multiplication by the Hessian", Neural Computation 6,
carries first-order changes through the walk back in the same way.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.checking.numeric import (
    CENTRAL_STEP,
    COMPLEX_STEP,
    Arrays,
    Function,
    directional_derivative,
    float64_arrays,
    float64_directions,
    moved,
)
from minigrad.derivatives import grad
from minigrad.tensor import Tensor

# The two slopes of an analytic function agree to 1e-13 or so of what is summed up.
SLOPES_AGREE = 1e-9
# A slope below this share of the result is nothing but rounding.
ROUNDING = 1e-12


class Step(NamedTuple):
    """What a run at x + i h v shows.

    change is J v, the change of fn's result, and gradient_changes are the changes of
    the gradients of <c, fn>, one for each input.
    """

    change: np.ndarray
    gradient_changes: tuple[np.ndarray, ...]


def jvp(fn: Function, inputs: Sequence[Any], vectors: Sequence[Any]) -> np.ndarray:
    """How fn's result changes along `vectors`: the Jacobian at `inputs` times them.

    fn is called with tensors and returns one, of any shape. The result is a float64
    array of this shape. `vectors` has an array for each input. The result is exact up
    to rounding if fn is analytic, and has about nine digits otherwise. Raises TypeError
    for inputs that are not float64, ValueError for vectors without the shapes of the
    inputs.

    >>> import minigrad as mg
    >>> point, vector = np.array([1.0, 2.0]), np.array([1.0, 10.0])
    >>> mg.jvp(lambda x: x * x, [point], [vector])
    array([ 2., 40.])
    """
    arrays = float64_arrays("jvp", inputs)
    directions = float64_directions("jvp", vectors, arrays)
    length = _largest(directions) or 1.0
    unit = [direction / length for direction in directions]
    step = _complex_step(fn, arrays, unit, _random_cotangent)
    if step is not None:
        return step.change * length
    return length * directional_derivative(fn, arrays, unit, "central", _real_step(arrays))


def hvp(fn: Function, inputs: Sequence[Any], vectors: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """The Hessian of fn at `inputs` times `vectors`: a float64 array for each input.

    fn returns a single number. The result is exact up to rounding if fn is analytic. If
    not, it has about nine digits where fn is smooth over lengths near 1. Raises
    TypeError for inputs that are not float64, ValueError for vectors without the shapes
    of the inputs.

    >>> import minigrad as mg
    >>> point, vector = np.array([1.0, 2.0]), np.ones(2)
    >>> mg.hvp(lambda x: (x * x * x).sum(), [point], [vector])
    (array([ 6., 12.]),)
    """
    arrays = float64_arrays("hvp", inputs)
    directions = float64_directions("hvp", vectors, arrays)
    length = _largest(directions) or 1.0
    unit = [direction / length for direction in directions]

    def single_number(*tensors: Tensor) -> Tensor:
        output = fn(*tensors)
        if output.size != 1:
            raise ValueError(f"hvp: fn must return a single number, got shape {output.shape}")
        return output

    step = _complex_step(single_number, arrays, unit, np.ones)
    if step is not None:
        return tuple(change * length for change in step.gradient_changes)
    h = _real_step(arrays)
    ahead = _gradients_at(single_number, arrays, unit, h)
    behind = _gradients_at(single_number, arrays, unit, -h)
    return tuple(
        (g_ahead - g_behind) / (2.0 * h) * length for g_ahead, g_behind in zip(ahead, behind)
    )


def _complex_step(
    fn: Function, arrays: Arrays, directions: Arrays, cotangent_of: Callable
) -> Step | None:
    """One run at arrays + i h directions; None if fn is not analytic along them.

    cotangent_of(shape) makes the array c with which the result is contracted.
    """
    leaves = moved(arrays, directions, 1j * COMPLEX_STEP, requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            output = fn(*leaves)
            if output.dtype.kind != "c" or not output.requires_grad:
                return None
            cotangent = cotangent_of(output.shape)
            gradients = grad(output, leaves, cotangent)
    except (TypeError, np.exceptions.ComplexWarning):
        return None  # a TypeError that has another cause comes again without complex numbers
    change = np.asarray(output.data.imag / COMPLEX_STEP)
    products = [gradient.real * step for gradient, step in zip(gradients, directions)]
    predicted = sum(product.sum() for product in products)
    allowed = SLOPES_AGREE * sum(np.abs(product).sum() for product in products)
    allowed += ROUNDING * np.abs(cotangent * output.data).sum()
    if not abs((cotangent * change).sum() - predicted) <= allowed:
        return None
    return Step(change, tuple(np.asarray(g.imag / COMPLEX_STEP) for g in gradients))


def _random_cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that let every element of a result count differently."""
    return np.random.default_rng(0).standard_normal(shape)


def _real_step(arrays: Arrays) -> float:
    """The step of a central difference at these arrays, along a direction of size 1."""
    return CENTRAL_STEP * max(1.0, _largest(arrays)) ** 0.5


def _gradients_at(
    fn: Function, arrays: Arrays, directions: Arrays, t: float
) -> tuple[np.ndarray, ...]:
    """The gradients of fn at arrays + t directions."""
    leaves = moved(arrays, directions, t, requires_grad=True)
    return grad(fn(*leaves), leaves)


def _largest(arrays: Arrays) -> float:
    """The largest absolute value in any of the arrays."""
    return max(np.abs(array).max(initial=0.0) for array in arrays)

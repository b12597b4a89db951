"""Chapter 2: what are the derivatives of arithmetic?

Here each operation stands beside its derivative. A function computes its result, and hands
the tape a nested `vjp(g)` that turns g, the gradient of the loss with respect to the result,
into the gradients of its inputs. For an elementwise y = f(x) the Jacobian is diagonal, so

    vjp(g) = g * f'(x).

Two inputs of different shapes meet by broadcasting: the smaller one is used several times. What is
used several times collects the sum of its gradients: repeating has summing (`unbroadcast`) for its
derivative.

The chapter opens with how a value becomes a tensor. float32 is the working type: a number that
meets a tensor takes the tensor's type, so that nothing turns into float64 on the way, and two
float types in one operation are an error. complex128 serves to check derivatives (chapter 13):
branches look at the real part, so every smooth operation is also correct for complex input.

Kinks: |x| has derivative 0 at 0; where maximum's inputs are equal each gets half of the
gradient; clip passes the gradient on its bounds.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

import math
import operator
from collections.abc import Callable
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce, floating
from minigrad.tensor import Tensor, record


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` over the axes along which an input of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    repeated = [extra + i for i, n in enumerate(shape) if n == 1]
    return gradient.sum(axis=(*range(extra), *repeated)).reshape(shape)  # shape


def mismatch(name: str, x: Array, y: Array) -> ValueError:
    """The error for shapes that do not broadcast."""
    shapes, rule = f"shapes {x.shape} and {y.shape}", "counted from the right, sizes must be equal"
    return ValueError(f"{name}: {shapes} do not broadcast: {rule} or 1")


def _combine(name: str, function: Callable, x: Array, y: Array) -> Array:
    try:
        return function(x, y)
    except ValueError:
        raise mismatch(name, x, y) from None


def add(a: Any, b: Any) -> Tensor:
    """a + b, with broadcasting."""
    a, b = coerce("add", a, b)
    x, y = a.data, b.data
    x_shape, y_shape = x.shape, y.shape

    def vjp(g: Array) -> tuple[Array, Array]:
        return unbroadcast(g, x_shape), unbroadcast(g, y_shape)

    try:
        total = x + y
    except ValueError:
        raise mismatch("add", x, y) from None
    return record("add", total, (a, b), vjp)


def sub(a: Any, b: Any) -> Tensor:
    """a - b, with broadcasting."""
    a, b = coerce("sub", a, b)
    a_shape, b_shape = a.shape, b.shape
    b_needs = b.requires_grad

    def vjp(g: Array) -> tuple[Array, Array | None]:
        return unbroadcast(g, a_shape), unbroadcast(-g, b_shape) if b_needs else None

    return record("sub", _combine("sub", operator.sub, a.data, b.data), (a, b), vjp)


def mul(a: Any, b: Any) -> Tensor:
    """a * b, with broadcasting."""
    a, b = coerce("mul", a, b)
    a_shape, b_shape = a.shape, b.shape
    product = _combine("mul", operator.mul, a.data, b.data)
    # Each factor is kept only where the other one needs it.
    x = a.data if b.requires_grad else None
    y = b.data if a.requires_grad else None

    def vjp(g: Array) -> tuple[Array | None, Array | None]:
        to_a = None if y is None else unbroadcast(g * y, a_shape)
        return to_a, None if x is None else unbroadcast(g * x, b_shape)

    return record("mul", product, (a, b), vjp)


def div(a: Any, b: Any) -> Tensor:
    """a / b, with broadcasting; integers divide as float32."""
    a, b = floating("div", a, b)
    a_shape, b_shape = a.shape, b.shape
    y = b.data
    quotient = _combine("div", operator.truediv, a.data, y)
    q = quotient if b.requires_grad else None

    def vjp(g: Array) -> tuple[Array, Array | None]:
        by_y = g / y
        return unbroadcast(by_y, a_shape), None if q is None else unbroadcast(-by_y * q, b_shape)

    return record("div", quotient, (a, b), vjp)


def power(a: Any, b: Any) -> Tensor:
    """a ** b, with broadcasting; a Python number as exponent is not differentiated."""
    if isinstance(b, (int, float)):
        return _constant_power(*floating("power", a), float(b))
    a, b = floating("power", a, b)
    x, y = a.data, b.data
    xp = array_module(x)
    result = _combine("power", operator.pow, x, y)

    def vjp(g: Array) -> tuple[Array, Array]:
        to_base = g * (y * xp.power(x, xp.where(y.real == 0, 1.0, y - 1)))
        # d/dy x^y = x^y ln x, which tends to 0 with x for positive y; and 0^0 = 1 is flat in y.
        log_x = xp.log(xp.where(x.real > 0, x, 1.0))
        to_power = (g * result * log_x).astype(g.dtype)
        return unbroadcast(to_base.astype(g.dtype), x.shape), unbroadcast(to_power, y.shape)

    return record("power", result, (a, b), vjp)


def _constant_power(a: Tensor, exponent: float) -> Tensor:
    x = a.data

    def vjp(g: Array) -> Array:
        return g * (exponent * x ** (exponent - 1)) if exponent != 0 else g * 0.0

    return record("power", x**exponent, (a,), vjp)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; equal elements share the gradient."""
    return _choose("maximum", operator.gt, a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; equal elements share the gradient."""
    return _choose("minimum", operator.lt, a, b)


def _choose(name: str, wins: Callable, a: Any, b: Any) -> Tensor:
    a, b = coerce(name, a, b)
    x, y = a.data, b.data
    function = getattr(array_module(x), name)

    def vjp(g: Array) -> tuple[Array, Array]:
        tie = 0.5 * (x.real == y.real)
        share = (wins(x.real, y.real) + tie).astype(g.dtype)
        return unbroadcast(g * share, x.shape), unbroadcast(g * (1.0 - share), y.shape)

    return record(name, _combine(name, function, x, y), (a, b), vjp)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where `condition` (a boolean array or tensor) holds, else b; all three broadcast."""
    chosen = condition.data if isinstance(condition, Tensor) else condition
    a, b = coerce("where", a, b)
    xp = array_module(a.data)
    chosen = xp.asarray(chosen, dtype=bool)
    try:
        result = xp.where(chosen, a.data, b.data)
    except ValueError:
        shapes = f"{chosen.shape}, {a.shape} and {b.shape}"
        raise ValueError(f"where: shapes {shapes} do not broadcast") from None
    a_shape, b_shape = a.shape, b.shape

    def vjp(g: Array) -> tuple[Array, Array]:
        zero = xp.zeros_like(g)
        to_a, to_b = xp.where(chosen, g, zero), xp.where(chosen, zero, g)
        return unbroadcast(to_a, a_shape), unbroadcast(to_b, b_shape)

    return record("where", result, (a, b), vjp)


def neg(x: Any) -> Tensor:
    """-x."""
    (x,) = coerce("neg", x)

    def vjp(g: Array) -> Array:
        return -g

    return record("neg", -x.data, (x,), vjp)


def exp(x: Any) -> Tensor:
    """e to the power x. Its derivative is its own result."""
    (x,) = floating("exp", x)
    y = array_module(x.data).exp(x.data)

    def vjp(g: Array) -> Array:
        return g * y

    return record("exp", y, (x,), vjp)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    (x,) = floating("log", x)
    value = x.data

    def vjp(g: Array) -> Array:
        return g / value

    return record("log", array_module(value).log(value), (x,), vjp)


def sqrt(x: Any) -> Tensor:
    """The square root; its derivative at 0 is infinite."""
    (x,) = floating("sqrt", x)
    y = array_module(x.data).sqrt(x.data)

    def vjp(g: Array) -> Array:
        return g * 0.5 / y

    return record("sqrt", y, (x,), vjp)


def abs(x: Any) -> Tensor:
    """|x|; with complex input the analytic continuation, x or -x by the sign of its real part."""
    (x,) = coerce("abs", x)
    sign = array_module(x.data).sign(x.data.real).astype(x.dtype)

    def vjp(g: Array) -> Array:
        return g * sign

    return record("abs", x.data * sign, (x,), vjp)


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """x limited to [low, high]; None leaves a side open. On a bound the gradient passes."""
    (x,) = floating("clip", x)
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    if low > high:
        raise ValueError(f"clip: low {low} is above high {high}")
    xp, value = array_module(x.data), x.data
    below, above = value.real < low, value.real > high  # neither for a NaN, which stays
    result = xp.where(below, low, xp.where(above, high, value)).astype(x.dtype)

    def vjp(g: Array) -> Array:
        return g * ~(below | above)

    return record("clip", result, (x,), vjp)

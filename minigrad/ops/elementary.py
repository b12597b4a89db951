"""Which derivatives does one look up in a table?

Those of the elementary functions that arithmetic (minigrad/ops/basic.py) has not used
so far. Each is applied to every number by itself:

    y = sin(x)             dy/dx = cos(x)
    y = cos(x)             dy/dx = -sin(x)
    y = log(1 + x)         dy/dx = 1 / (1 + x)
    y = x^2                dy/dx = 2 x

and division with a remainder, which takes two numbers. a // b is the largest integer
that is not above a / b, and a % b is what is left of a:

    y = a // b             dy/da = 0             dy/db = 0
    y = a % b = a - b q    dy/da = 1             dy/db = -q,    q = a // b

Where a / b is an integer, a // b jumps and has no derivative. There the gradient is the
one of the right side.
"""

from __future__ import annotations

from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce, floating
from minigrad.ops.basic import broadcast_error, unbroadcast
from minigrad.tensor import Tensor, record


def sin(x: Any) -> Tensor:
    """The sine of x, an angle in radians.

    >>> print(sin([0.0, 1.5707963]).data.round(4))
    [0. 1.]
    """
    (x,) = floating("sin", x)
    value = x.data
    xp = array_module(value)

    def vjp(g: Array) -> Array:
        return g * xp.cos(value)

    return record("sin", xp.sin(value), (x,), vjp)


def cos(x: Any) -> Tensor:
    """The cosine of x, an angle in radians.

    >>> print(cos([0.0, 3.1415927]).data.round(4))
    [ 1. -1.]
    """
    (x,) = floating("cos", x)
    value = x.data
    xp = array_module(value)

    def vjp(g: Array) -> Array:
        return -g * xp.sin(value)

    return record("cos", xp.cos(value), (x,), vjp)


def log1p(x: Any) -> Tensor:
    """log(1 + x), with all digits for x near 0, where 1 + x would lose them.

    >>> print(log1p([0.0, 1e-10]).data)
    [0.e+00 1.e-10]
    """
    (x,) = floating("log1p", x)
    value = x.data

    def vjp(g: Array) -> Array:
        return g / (1.0 + value)

    return record("log1p", array_module(value).log1p(value), (x,), vjp)


def square(x: Any) -> Tensor:
    """x times x.

    >>> square([-3.0, 0.5]).data.tolist()
    [9.0, 0.25]
    """
    (x,) = coerce("square", x)
    value = x.data

    def vjp(g: Array) -> Array:
        return g * (2.0 * value)

    return record("square", value * value, (x,), vjp)


def floor_divide(a: Any, b: Any) -> Tensor:
    """a // b: the largest integer that is not above a / b. Its derivative is 0.

    >>> floor_divide([7.0, -7.0], 2.0).data.tolist()
    [3.0, -4.0]
    """
    a, b = coerce("floor_divide", a, b)
    x, y = a.data, b.data
    quotient = _floor_quotient("floor_divide", x, y)
    xp = array_module(x)
    x_shape, y_shape = x.shape, y.shape

    def vjp(g: Array) -> tuple[Array, Array]:
        return xp.zeros(x_shape, g.dtype), xp.zeros(y_shape, g.dtype)

    return record("floor_divide", quotient, (a, b), vjp)


def remainder(a: Any, b: Any) -> Tensor:
    """a % b: what is left of a after division by b, with the sign of b.

    >>> remainder([7.0, -7.0], 3.0).data.tolist()
    [1.0, 2.0]
    """
    a, b = coerce("remainder", a, b)
    x, y = a.data, b.data
    quotient = _floor_quotient("remainder", x, y)
    xp = array_module(x)
    rest = xp.remainder(x.real, y.real)  # exact, where x - y quotient would be rounded
    if x.dtype.kind == "c":
        rest = rest + 1j * (x - y * quotient).imag
    x_shape, y_shape = x.shape, y.shape

    def vjp(g: Array) -> tuple[Array, Array]:
        return unbroadcast(g, x_shape), unbroadcast(-g * quotient, y_shape)

    return record("remainder", rest, (a, b), vjp)


def _floor_quotient(name: str, x: Array, y: Array) -> Array:
    """x // y by the real parts, in the dtype of x; `name` is the operation's."""
    try:
        return array_module(x).floor_divide(x.real, y.real).astype(x.dtype)
    except ValueError:
        raise broadcast_error(name, x, y) from None

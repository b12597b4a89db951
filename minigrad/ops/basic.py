"""What are the derivatives of arithmetic?

Each operation stands next to its derivative. It is one function: it computes the
result, and hands the tape a nested function `vjp(g)`. g is the gradient of the loss
with respect to the result, and vjp turns it into the gradients of the inputs. For an
elementwise y = f(x) this is

    vjp(g) = g f'(x)

    y = -x         g -> -g                  y = x + z      g -> g, g
    y = exp(x)     g -> g y                 y = x - z      g -> g, -g
    y = log(x)     g -> g / x               y = x z        g -> g z, g x
    y = sqrt(x)    g -> g / (2 y)           y = x / z      g -> g / z, -g y / z
    y = x^n        g -> g n x^(n-1)         y = x^z        g -> g z x^(z-1), g y ln(x)

Two inputs of different shapes meet by broadcasting: the smaller one is used several
times. Then its gradient is the sum over all its uses (`unbroadcast`).

Every operation begins with `coerce` (minigrad/inputs.py), which turns its arguments
into tensors of one dtype. `floating` does the same, and turns integers into float32.
complex128 serves to check derivatives (minigrad/checking). Therefore a question
about the sign of a number looks at its real part (`x.real > 0`), and all smooth
operations are also right for complex numbers.
"""

from __future__ import annotations

from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce, floating
from minigrad.tensor import Tensor, record

# --- one input ---


def neg(x: Any) -> Tensor:
    """-x.

    This is the pattern of every operation: take the arguments as tensors, compute with
    their arrays, define the derivative, record both.

    >>> neg([1.0, -2.0]).data.tolist()
    [-1.0, 2.0]
    """
    (x,) = coerce("neg", x)

    def vjp(g: Array) -> Array:
        return -g

    return record("neg", -x.data, (x,), vjp)


def exp(x: Any) -> Tensor:
    """e to the power x. Its derivative is its own result.

    >>> print(exp([0.0, 1.0]).data.round(4))
    [1.     2.7183]
    """
    (x,) = floating("exp", x)
    y = array_module(x.data).exp(x.data)

    # `vjp` needs y again, so it keeps y: an array. A vjp keeps arrays, shapes and
    # numbers, and never a tensor. The result's tensor points to its node on the tape,
    # and the node to vjp. If vjp pointed back to the tensor, the three would form a
    # cycle, and their memory would wait for the garbage collector. Therefore each
    # operation takes what its vjp needs out of the tensors first. It takes shapes out,
    # too: a vjp that asked for `x.shape` would keep the whole array x for it.
    def vjp(g: Array) -> Array:
        return g * y

    return record("exp", y, (x,), vjp)


def log(x: Any) -> Tensor:
    """The natural logarithm.

    >>> print(log([1.0, 10.0]).data.round(4))
    [0.     2.3026]
    """
    (x,) = floating("log", x)
    value = x.data

    def vjp(g: Array) -> Array:
        return g / value

    return record("log", array_module(value).log(value), (x,), vjp)


def sqrt(x: Any) -> Tensor:
    """The square root; its derivative at 0 is infinite.

    >>> sqrt([4.0, 9.0]).data.tolist()
    [2.0, 3.0]
    """
    (x,) = floating("sqrt", x)
    y = array_module(x.data).sqrt(x.data)

    def vjp(g: Array) -> Array:
        return g * 0.5 / y

    return record("sqrt", y, (x,), vjp)


# --- two inputs ---


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an input of `shape` that was broadcast to `gradient.shape`.

    Broadcasting repeats the input along new axes in front, and along axes of size 1.
    A number that is used several times collects the sum of its gradients: the sum over
    those axes.

    >>> import numpy as np
    >>> unbroadcast(np.ones((2, 3)), (3,)).tolist()
    [2.0, 2.0, 2.0]
    >>> unbroadcast(np.ones((2, 3)), (2, 1)).tolist()
    [[3.0], [3.0]]
    """
    if gradient.shape == shape:
        return gradient
    new = gradient.ndim - len(shape)  # axes that the input does not have
    repeated = [new + i for i, n in enumerate(shape) if n == 1]
    return gradient.sum(axis=(*range(new), *repeated)).reshape(shape)  # shape


def broadcast_error(name: str, x: Array, y: Array) -> ValueError:
    """The error for two arrays with shapes that do not broadcast."""
    return ValueError(
        f"{name}: shapes {x.shape} and {y.shape} do not broadcast: counted from the right, "
        "sizes must be equal or 1"
    )


def mul(a: Any, b: Any) -> Tensor:
    """a * b, with broadcasting.

    >>> mul([[1.0, 2.0], [3.0, 4.0]], [10.0, 100.0]).data.tolist()
    [[10.0, 200.0], [30.0, 400.0]]
    """
    a, b = coerce("mul", a, b)
    x, y = a.data, b.data
    x_shape, y_shape = x.shape, y.shape
    try:
        product = x * y
    except ValueError:
        raise broadcast_error("mul", x, y) from None
    # The gradient of a needs y, and the gradient of b needs x. An array that is not
    # needed is not kept.
    saved_x = x if b.requires_grad else None
    saved_y = y if a.requires_grad else None

    def vjp(g: Array) -> tuple[Array | None, Array | None]:
        to_a = None if saved_y is None else unbroadcast(g * saved_y, x_shape)
        to_b = None if saved_x is None else unbroadcast(g * saved_x, y_shape)
        return to_a, to_b

    return record("mul", product, (a, b), vjp)


def add(a: Any, b: Any) -> Tensor:
    """a + b, with broadcasting.

    >>> add([[1.0, 2.0], [3.0, 4.0]], [10.0, 20.0]).data.tolist()
    [[11.0, 22.0], [13.0, 24.0]]
    """
    a, b = coerce("add", a, b)
    x, y = a.data, b.data
    x_shape, y_shape = x.shape, y.shape
    try:
        total = x + y
    except ValueError:
        raise broadcast_error("add", x, y) from None

    def vjp(g: Array) -> tuple[Array, Array]:
        return unbroadcast(g, x_shape), unbroadcast(g, y_shape)

    return record("add", total, (a, b), vjp)


def sub(a: Any, b: Any) -> Tensor:
    """a - b, with broadcasting.

    >>> sub([3.0, 4.0], 1.0).data.tolist()
    [2.0, 3.0]
    """
    a, b = coerce("sub", a, b)
    x, y = a.data, b.data
    x_shape, y_shape = x.shape, y.shape
    try:
        difference = x - y
    except ValueError:
        raise broadcast_error("sub", x, y) from None
    b_needs = b.requires_grad

    def vjp(g: Array) -> tuple[Array, Array | None]:
        to_b = unbroadcast(-g, y_shape) if b_needs else None
        return unbroadcast(g, x_shape), to_b

    return record("sub", difference, (a, b), vjp)


def div(a: Any, b: Any) -> Tensor:
    """a / b, with broadcasting; integers divide as float32.

    >>> div([1, 2], 4).data.tolist()
    [0.25, 0.5]
    """
    a, b = floating("div", a, b)
    x, y = a.data, b.data
    x_shape, y_shape = x.shape, y.shape
    try:
        quotient = x / y
    except ValueError:
        raise broadcast_error("div", x, y) from None
    saved_quotient = quotient if b.requires_grad else None

    def vjp(g: Array) -> tuple[Array, Array | None]:
        g_over_y = g / y
        to_a = unbroadcast(g_over_y, x_shape)
        if saved_quotient is None:
            return to_a, None
        # d(x/y)/dy = -x / y^2 = -(x/y) / y
        return to_a, unbroadcast(-g_over_y * saved_quotient, y_shape)

    return record("div", quotient, (a, b), vjp)


def power(a: Any, b: Any) -> Tensor:
    """a ** b, with broadcasting. If b is a Python number, only a gets a gradient.

    Integers to the power of integers stay integers; ValueError if an exponent is
    negative. The derivative with respect to the exponent is NaN at a negative base,
    because nearby powers of it are not real.

    >>> power([1.0, 2.0, 3.0], 2).data.tolist()
    [1.0, 4.0, 9.0]
    >>> power(2.0, [1.0, 2.0, 3.0]).data.tolist()
    [2.0, 4.0, 8.0]
    >>> power([1, 2, 3], 2).dtype
    dtype('int64')
    """
    if isinstance(b, int):
        (a,) = coerce("power", a)
        return _constant_power(a, int(b))
    if isinstance(b, float):
        (a,) = floating("power", a)
        return _constant_power(a, float(b))  # np.float64 is a float, but widens float32
    a, b = coerce("power", a, b)
    x, y = a.data, b.data
    _refuse_negative_integers(x, y)
    xp = array_module(x)
    try:
        result = x**y
    except ValueError:
        raise broadcast_error("power", x, y) from None
    a_needs, b_needs = a.requires_grad, b.requires_grad

    def vjp(g: Array) -> tuple[Array | None, Array | None]:
        to_a = to_b = None
        if a_needs:
            # d x^y / dx = y x^(y-1)
            # For y = 0 this is 0, but 0 * x^-1 would be NaN at x = 0. So the power gets
            # the exponent 1 there: its value is multiplied by 0 anyway.
            exponent = xp.where(y.real == 0, 1.0, y - 1)
            to_a = (g * (y * xp.power(x, exponent))).astype(g.dtype)  # 1.0 may have widened it
            to_a = unbroadcast(to_a, x.shape)
        if b_needs:
            # d x^y / dy = x^y ln(x)
            to_b = unbroadcast((g * result * _log_of_base(x, y)).astype(g.dtype), y.shape)
        return to_a, to_b

    return record("power", result, (a, b), vjp)


def _log_of_base(x: Array, y: Array) -> Array:
    """ln(x) as the derivative of x^y with respect to y needs it.

    At x = 0 the product x^y ln(x) tends to 0 if y > 0, and 0^0 counts as 1, whatever y
    does: 0 stands in for ln(0). If y < 0, ln(0) is minus infinity. At x < 0 it is NaN.
    """
    xp = array_module(x)
    log_x = xp.log(xp.where(x.real > 0, x, 1.0))
    log_x = xp.where((x.real == 0) & (y.real < 0), -xp.inf, log_x)
    return xp.where(x.real < 0, xp.nan, log_x)


def _refuse_negative_integers(x: Array, y: Array | int) -> None:
    """ValueError for an integer to a negative power: the result would be no integer."""
    integers = x.dtype.kind in "iub" and (isinstance(y, int) or y.dtype.kind in "iub")
    if integers and (y < 0 if isinstance(y, int) else (y < 0).any()):
        raise ValueError(
            f"power: integers {x.dtype} to a negative power are no integers; "
            'convert the base with .astype("float32")'
        )


def _constant_power(a: Tensor, exponent: float) -> Tensor:
    """a ** exponent for a number, with derivative exponent * a^(exponent - 1)."""
    x = a.data
    if isinstance(exponent, int):
        _refuse_negative_integers(x, exponent)

    def vjp(g: Array) -> Array:
        if exponent == 0:
            return g * 0.0  # x^-1 would be infinite at x = 0
        return g * (exponent * x ** (exponent - 1))

    return record("power", x**exponent, (a,), vjp)

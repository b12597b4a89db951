"""What is the derivative of a choice?

maximum, minimum, where, clip and abs copy each element of the result from one of
several sources. The gradient goes back to that source; the others get 0.

At a point at which two sources are equal, the function has a kink, and no derivative.
These are the conventions:

    maximum, minimum    equal elements get half of the gradient each
    clip                on its bounds the gradient passes
    abs                 the derivative at 0 is 0

NaN is no choice: it passes through all of them to the result. Its gradient follows
PyTorch:

    maximum, minimum    if one of two elements is NaN, both get the whole gradient
    relu                the gradient passes (minigrad/ops/activation.py)
    clip, abs           the gradient is 0
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce, floating
from minigrad.ops.basic import broadcast_error, unbroadcast
from minigrad.tensor import Tensor, constant, record


def abs(x: Any) -> Tensor:
    """|x|. For a complex number: x or -x, by the sign of its real part.

    That is not the complex absolute value. It is the analytic continuation of |x|,
    which the complex-step check of derivatives needs.

    >>> abs([-3.0, 0.0, 2.0]).data.tolist()
    [3.0, 0.0, 2.0]
    """
    (x,) = coerce("abs", x)
    real = x.data.real
    sign = (real > 0).astype(x.dtype) - (real < 0)  # 0 for NaN; np.sign would give NaN
    sign = sign.astype(x.dtype)

    def vjp(g: Array) -> Array:
        return g * sign

    return record("abs", x.data * sign, (x,), vjp)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; equal elements share the gradient.

    >>> maximum([1.0, 5.0], [3.0, 4.0]).data.tolist()
    [3.0, 5.0]
    """
    return _choose("maximum", operator.lt, a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; equal elements share the gradient.

    >>> minimum([1.0, 5.0], [3.0, 4.0]).data.tolist()
    [1.0, 4.0]
    """
    return _choose("minimum", operator.gt, a, b)


def _choose(name: str, loses: Callable, a: Any, b: Any) -> Tensor:
    """`maximum` or `minimum`, as `name` says; loses(x, y) tells where y is chosen."""
    a, b = coerce(name, a, b)
    x, y = a.data, b.data
    xp = array_module(x)
    choose = xp.maximum if name == "maximum" else xp.minimum
    try:
        result = choose(x, y)
    except ValueError:
        raise broadcast_error(name, x, y) from None

    def vjp(g: Array) -> tuple[Array, Array]:
        half_for_ties = 0.5 * (x.real == y.real).astype(g.dtype)
        # 1 where x is chosen, 1/2 at a tie, else 0. NaN loses nowhere.
        to_x = 1.0 - loses(x.real, y.real).astype(g.dtype) - half_for_ties
        to_y = 1.0 - loses(y.real, x.real).astype(g.dtype) - half_for_ties
        return unbroadcast(g * to_x, x.shape), unbroadcast(g * to_y, y.shape)

    return record(name, result, (a, b), vjp)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a at the positions at which `condition` holds, else b. All three broadcast.

    condition is a boolean array or tensor. It gets no gradient.

    >>> where([True, False], [1.0, 2.0], [10.0, 20.0]).data.tolist()
    [1.0, 20.0]
    """
    mask = constant("where", "condition", condition)
    a, b = coerce("where", a, b)
    xp = array_module(a.data)
    mask = xp.asarray(mask, dtype=bool)
    try:
        result = xp.where(mask, a.data, b.data)
    except ValueError:
        raise ValueError(
            f"where: shapes {mask.shape}, {a.shape} and {b.shape} do not broadcast"
        ) from None
    a_shape, b_shape = a.shape, b.shape

    def vjp(g: Array) -> tuple[Array, Array]:
        zero = xp.zeros_like(g)
        to_a = xp.where(mask, g, zero)
        to_b = xp.where(mask, zero, g)
        return unbroadcast(to_a, a_shape), unbroadcast(to_b, b_shape)

    return record("where", result, (a, b), vjp)


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """x limited to [low, high]; None leaves a side open.

    On a bound the gradient passes. The bounds get none: `maximum` and `minimum` give
    one to both of their arguments.

    >>> clip([-2.0, 0.5, 9.0], 0.0, 1.0).data.tolist()
    [0.0, 0.5, 1.0]
    """
    (x,) = floating("clip", x)
    low = -math.inf if low is None else float(constant("clip", "low", low))
    high = math.inf if high is None else float(constant("clip", "high", high))
    if low > high:
        raise ValueError(f"clip: low {low} is above high {high}")
    value = x.data
    xp = array_module(value)
    # A NaN is neither below nor above, and stays. It is not inside either.
    below = value.real < low
    above = value.real > high
    inside = (value.real >= low) & (value.real <= high)
    result = xp.where(below, low, xp.where(above, high, value)).astype(x.dtype)

    def vjp(g: Array) -> Array:
        return g * inside

    return record("clip", result, (x,), vjp)

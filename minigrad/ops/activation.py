"""What makes a network more than one large matrix?

A chain of matrix products is one matrix product. An activation between them, applied to
each number by itself, is what makes the chain more than that. These are the elementary
ones; GELU and its approximations stand in gelus.py.

The derivative is often a by-product of the forward pass:

    y = tanh(x)                dy/dx = 1 - y^2
    y = 1 / (1 + exp(-x))      dy/dx = y (1 - y)
    y = max(x, 0)              dy/dx = 1 if x > 0, else 0
    y = x s(x)                 dy/dx = s + x s (1 - s),   s = sigmoid      (silu)
    y = log(1 + exp(x))        dy/dx = s(x)                                (softplus)

The second line is the quotient rule, exp(-x) / (1 + exp(-x))^2 = y (1 - y), because
1 - y = exp(-x) / (1 + exp(-x)). The fourth is the product rule with it. The first
follows because tanh(x) = 2 s(2x) - 1.
"""

from __future__ import annotations

from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import floating
from minigrad.tensor import Tensor, record


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent: from -1 for very negative x to 1 for very positive x.

    >>> print(tanh([-1.0, 0.0, 1.0]).data.round(4))
    [-0.7616  0.      0.7616]
    """
    (x,) = floating("tanh", x)
    y = array_module(x.data).tanh(x.data)

    def vjp(g: Array) -> Array:
        return g * (1.0 - y * y)

    return record("tanh", y, (x,), vjp)


def sigmoid(x: Any) -> Tensor:
    """The safe form of `plain.sigmoid`: 1 / (1 + exp(-x)).

    It never overflows, and is accurate down to where it underflows, so that its
    logarithm is finite. The only exponential in it is exp(-|x|), which is at most 1.

        1 / (1 + exp(-x))              for x > 0
        exp(x) / (1 + exp(x))          else, which is the same

    >>> print(sigmoid([-2.0, 0.0, 2.0]).data.round(3))
    [0.119 0.5   0.881]
    """
    (x,) = floating("sigmoid", x)
    y, _ = _logistic(x.data)

    def vjp(g: Array) -> Array:
        return g * (y * (1.0 - y))

    return record("sigmoid", y, (x,), vjp)


def _logistic(x: Array) -> tuple[Array, Array]:
    """1 / (1 + exp(-x)) as in `sigmoid`, and exp(-|x|)."""
    xp = array_module(x)
    is_positive = x.real > 0
    exponential = xp.exp(xp.where(is_positive, -x, x))
    return xp.where(is_positive, 1.0, exponential) / (1.0 + exponential), exponential


def silu(x: Any) -> Tensor:
    """x sigmoid(x), also called swish: `quick_gelu` without its factor.

    >>> print(silu([-2.0, 0.0, 2.0]).data.round(3))
    [-0.238  0.     1.762]
    """
    (x,) = floating("silu", x)
    value = x.data
    s, _ = _logistic(value)

    def vjp(g: Array) -> Array:
        return g * (s + value * (s * (1.0 - s)))

    return record("silu", value * s, (x,), vjp)


def softplus(x: Any) -> Tensor:
    """The safe form of `plain.softplus`: log(1 + exp(x)), a relu with a round corner.

    It is computed as max(x, 0) + log(1 + exp(-|x|)), so that nothing overflows.

    >>> print(softplus([-100.0, 0.0, 100.0]).data.round(3))
    [  0.      0.693 100.   ]
    """
    (x,) = floating("softplus", x)
    xp = array_module(x.data)
    slope, exponential = _logistic(x.data)
    y = xp.where(x.data.real > 0, x.data, 0.0) + xp.log1p(exponential)

    def vjp(g: Array) -> Array:
        return g * slope

    return record("softplus", y.astype(x.dtype), (x,), vjp)


def relu(x: Any) -> Tensor:
    """x if it is positive, else 0; the derivative at 0 is 0.

    >>> relu([-3.0, 0.0, 2.0]).data.tolist()
    [0.0, 0.0, 2.0]
    """
    (x,) = floating("relu", x)
    y = array_module(x.data).maximum(x.data, 0.0)
    passes = y.real != 0  # a NaN passes, and so does its gradient

    def vjp(g: Array) -> Array:
        return g * passes

    return record("relu", y, (x,), vjp)

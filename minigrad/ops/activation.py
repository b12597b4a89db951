"""Chapter 5: what bends a stack of matrix products into a network?

A stack of linear maps is one linear map. An activation between them, applied element by
element, is what makes the stack more than that. Where the derivative is a by-product of the
forward pass (s (1 - s) for a sigmoid s, say), it is made from that, and the backward pass is
little more than one multiplication.

GELU is x Phi(x) with the normal distribution's cumulative function Phi(x) = (1 + erf(x /
sqrt 2)) / 2; CLIP's own weights want the approximation x sigmoid(1.702 x).

Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", arXiv:1606.08415.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from minigrad.backend import Array, array_module
from minigrad.inputs import floating
from minigrad.memory import as_rows, blocks, empty, times
from minigrad.tensor import Tensor, is_recording, record


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    (x,) = floating("tanh", x)
    y = array_module(x.data).tanh(x.data)

    def vjp(g: Array) -> Array:
        return g * (1.0 - y * y)

    return record("tanh", y, (x,), vjp)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), accurate down to where it underflows, so that its log is finite."""
    (x,) = floating("sigmoid", x)
    xp = array_module(x.data)
    positive = x.data.real > 0
    small = xp.exp(xp.where(positive, -x.data, x.data))  # at most 1
    s = xp.where(positive, 1.0, small) / (1.0 + small)

    def vjp(g: Array) -> Array:
        return g * (s * (1.0 - s))

    return record("sigmoid", s, (x,), vjp)


def relu(x: Any) -> Tensor:
    """x where it is positive, else 0; the derivative at 0 is 0."""
    (x,) = floating("relu", x)
    positive = x.data.real > 0

    def vjp(g: Array) -> Array:
        return g * positive

    return record("relu", array_module(x.data).maximum(x.data, 0.0), (x,), vjp)


def _gated(name: str, x: Tensor, fill: Callable) -> Tensor:
    """x Phi(x), and its derivative Phi + x Phi', both made while a block is in the cache.
    fill(v, s, d) writes Phi(v) into s and Phi'(v) into d, unless d is None."""
    value = as_rows(x.data)  # (N, W)
    y = empty(value.shape, value)
    slope = empty(value.shape, value) if x.requires_grad and is_recording() else None
    for rows in blocks(value):
        v, s, d = value[rows], y[rows], None if slope is None else slope[rows]
        fill(v, s, d)
        if d is not None:
            d *= v
            d += s
        s *= v

    def vjp(g: Array) -> Array:
        return times(g, slope.reshape(g.shape))  # shape of x

    return record(name, y.reshape(x.shape), (x,), vjp)  # shape of x


def quick_gelu(x: Any) -> Tensor:
    """x * sigmoid(1.702 x): the approximation of GELU that OpenAI's CLIP was trained with."""
    (x,) = floating("quick_gelu", x)
    xp = array_module(x.data)

    def fill(v: Array, s: Array, d: Array | None) -> None:
        xp.multiply(v, 0.851, out=s)
        xp.tanh(s, out=s)  # sigmoid(z) = (1 + tanh(z / 2)) / 2
        s += 1.0
        s *= 0.5
        if d is not None:
            xp.subtract(1.0, s, out=d)
            d *= s
            d *= 1.702

    return _gated("quick_gelu", x, fill)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution's cumulative function.
    approximate="none" computes Phi by erf; "tanh" by its usual approximation, Phi(x) ~ (1 +
    tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2."""
    (x,) = floating("gelu", x)
    xp, root = array_module(x.data), math.sqrt(2.0 / math.pi)

    def by_erf(v: Array, s: Array, d: Array | None) -> None:
        xp.multiply(v, math.sqrt(0.5), out=s)
        s[...], decay = _erf(s)
        s *= 0.5
        s += 0.5
        if d is not None:  # exp(-v^2 / 2) / sqrt(2 pi)
            xp.multiply(decay, 0.5 * root, out=d)

    def by_tanh(v: Array, s: Array, d: Array | None) -> None:
        xp.multiply(v, v, out=s)
        s *= 0.044715
        s += 1.0
        s *= v
        s *= root
        xp.tanh(s, out=s)
        s *= 0.5
        s += 0.5
        if d is not None:  # 2 s (1 - s) times the inside's
            xp.multiply(v, v, out=d)
            d *= 3.0 * 0.044715
            d += 1.0
            d *= 2.0 * root
            d *= s
            d *= 1.0 - s

    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    if approximate == "tanh":
        return _gated("gelu", x, by_tanh)
    _check_erf(x.data)
    return _gated("gelu", x, by_erf)


def erf(x: Any) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. Real only."""
    (x,) = floating("erf", x)
    y, decay = _erf(x.data)

    def vjp(g: Array) -> Array:
        return g * (decay * (2.0 / math.sqrt(math.pi)))

    return record("erf", y, (x,), vjp)


# Neither NumPy nor this project has erf for arrays, but Python has it for single numbers. We
# ask it at a few Chebyshev points, once, for the polynomial through them (Trefethen,
# "Approximation Theory and Approximation Practice", chapters 3 and 8). For x >= 0,
#     erf(x) = 1 - exp(-x^2) (1 - x r(x)) = -expm1(-x^2) + exp(-x^2) x r(x),
# where r is smooth in 1/(1 + x), and nothing cancels. Beyond x = 6, erf is 1 to the last bit.
_END = 6.5  # here 1 + expm1(-x^2) is 0
_SUM, _RANGE = 1.0 + 1.0 / (1.0 + _END), 1.0 - 1.0 / (1.0 + _END)  # of 1/(1 + x) at 0 and _END


def _remainder(t: float) -> float:
    """r, t running from -1 at x = _END to 1 at x = 0."""
    x = 2.0 / (_SUM + t * _RANGE) - 1.0
    grown = math.exp(x * x)
    return (grown * math.erf(x) - math.expm1(x * x) if x < 1.0 else 1.0 - grown * math.erfc(x)) / x


def _polynomial(degree: int) -> list[float]:
    """Coefficients, highest first, of the polynomial through `_remainder` at Chebyshev points."""
    fitted = chebyshev.chebinterpolate(np.vectorize(_remainder, otypes=[float]), degree)
    return chebyshev.cheb2poly(fitted)[::-1].tolist()


_ERF = {"float32": _polynomial(9), "float64": _polynomial(20)}  # to the dtype's precision


def _check_erf(x: Array) -> None:
    if x.dtype.name not in _ERF:
        raise TypeError(f"erf: expected float32 or float64, got {x.dtype}")


def _erf(x: Array) -> tuple[Array, Array]:
    """erf(x) and exp(-x^2), which is a part of it and of its derivative."""
    _check_erf(x)
    first, *coefficients, last = _ERF[x.dtype.name]
    xp = array_module(x)
    size, t, r = (empty(x.shape, x) for _ in range(3))
    xp.minimum(xp.abs(x, out=size), _END, out=size)
    xp.divide(2.0 / _RANGE, xp.add(size, 1.0, out=t), out=t)
    t -= _SUM / _RANGE
    xp.multiply(t, first, out=r)  # Horner's scheme
    for c in coefficients:
        r += c
        r *= t
    r += last
    r *= size
    size *= size
    minus = xp.expm1(xp.negative(size, out=size), out=size)
    decay = xp.add(minus, 1.0, out=t)
    r *= decay
    r -= minus
    return xp.copysign(r, x, out=r), decay

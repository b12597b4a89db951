"""What is GELU, and why is it computed with its derivative?

GELU multiplies x by the probability that a standard normal number is below x:

    y = x Phi(x)               Phi(x) = (1 + erf(x / sqrt(2))) / 2
    dy/dx = Phi(x) + x Phi'(x)

It is close to x for positive x and close to 0 for negative x, like relu, but smooth.
There are three versions of Phi. Weights work best with the version that they were
trained with; OpenAI's CLIP was trained with quick_gelu:

    gelu             Phi(x)  = (1 + erf(x / sqrt(2))) / 2
                     Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    gelu, "tanh"     Phi(x)  = (1 + tanh(u)) / 2,   u = sqrt(2/pi) (x + 0.044715 x^3)
                     Phi'(x) = 2 Phi(x) (1 - Phi(x)) u'
    quick_gelu       Phi(x)  = 1 / (1 + exp(-1.702 x))
                     Phi'(x) = 1.702 Phi(x) (1 - Phi(x))

The last two Phi are sigmoids, s(2u) and s(1.702 x), and s' = s (1 - s) (activation.py).

The derivative is made in the forward pass, block by block, while the block is in the
cache and its intermediate results are at hand (`_gelu_forward`). The backward pass is
one multiplication. (A GPU computes it anew: minigrad/kernels/gelu_elements.py.)

The plain forms: minigrad/plain.py. Hendrycks & Gimpel 2016, "Gaussian Error Linear
Units (GELUs)", arXiv:1606.08415.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import floating
from minigrad.kernels import gelu_elements
from minigrad.kernels.launching import choose
from minigrad.memory import as_rows, blocks, empty, times
from minigrad.ops.error_function import check_erf_dtype, erf_and_decay
from minigrad.plain import CUBIC, SIGMOID_FACTOR
from minigrad.precision import kept, restored
from minigrad.recording import is_recording
from minigrad.tensor import Tensor, record

ROOT = math.sqrt(2.0 / math.pi)

SATURATED = 10.0
"""From here on, tanh(u) is 1 to the last bit of float64. Larger v^3 might overflow."""


def _x_times(name: str, x: Tensor, fill: Callable, kernels: gelu_elements.Pair) -> Tensor:
    """y = x Phi(x).

    fill(v, phi, slope) writes Phi(v) into the array phi, and Phi'(v) into the array
    slope unless that is None.
    """
    forward = choose(x.data, portable=partial(_gelu_forward, fill), on_gpu=kernels.forward)
    needs = x.requires_grad and is_recording()
    y, seen = forward(x.data, needs)
    saved, dtype = kept(seen) if needs else None, y.dtype

    def vjp(g: Array) -> Array:
        assert saved is not None  # a vjp runs only if it was recorded
        seen = restored(saved, dtype)
        return choose(seen, portable=_gelu_backward, on_gpu=kernels.backward)(g, seen)

    return record(name, y.reshape(x.shape), (x,), vjp)  # shape of x


def _gelu_forward(fill: Callable, x: Array, needs: bool) -> tuple[Array, Array | None]:
    """y = x Phi(x), (N, W), and if a gradient `needs` it, Phi + x Phi'."""
    value = as_rows(x)  # (N, W)
    y = empty(value.shape, value)
    derivative = empty(value.shape, value) if needs else None
    for rows in blocks(value):
        v = value[rows]
        phi = y[rows]
        slope = None if derivative is None else derivative[rows]
        fill(v, phi, slope)
        # dy/dx = Phi' x + Phi, in the memory of Phi'
        if slope is not None:
            slope *= v
            slope += phi
        # y = Phi x, in the memory of Phi
        phi *= v
    return y, derivative


def _gelu_backward(g: Array, derivative: Array) -> Array:
    """The gradient of x, in the shape of g."""
    return times(g, derivative.reshape(g.shape))  # shape of x


def quick_gelu(x: Any) -> Tensor:
    """The fast form of `plain.quick_gelu`: x / (1 + exp(-1.702 x)).

    >>> print(quick_gelu([-1.0, 0.0, 1.0]).data.round(4))
    [-0.1542  0.      0.8458]
    """
    (x,) = floating("quick_gelu", x)
    xp = array_module(x.data)

    def fill(v: Array, phi: Array, slope: Array | None) -> None:
        # Phi = 1 / (1 + exp(-1.702 v)) = (1 + tanh(1.702 v / 2)) / 2
        xp.multiply(v, 0.5 * SIGMOID_FACTOR, out=phi)
        xp.tanh(phi, out=phi)
        phi += 1.0
        phi *= 0.5
        if slope is not None:
            # Phi' = (1 - Phi) Phi 1.702
            xp.subtract(1.0, phi, out=slope)
            slope *= phi
            slope *= SIGMOID_FACTOR

    return _x_times("quick_gelu", x, fill, gelu_elements.QUICK_GELU)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """The fast form of `plain.gelu`: x Phi(x).

    approximate="none" computes Phi by erf, "tanh" by its usual approximation.

    >>> print(gelu([-1.0, 0.0, 1.0]).data.round(4))
    [-0.1587  0.      0.8413]
    >>> print(gelu([-1.0, 0.0, 1.0], approximate="tanh").data.round(4))
    [-0.1588  0.      0.8412]
    """
    (x,) = floating("gelu", x)
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    if approximate == "tanh":
        return _x_times("gelu", x, _fill_by_tanh, gelu_elements.TANH_GELU)
    check_erf_dtype(x.data)
    return _x_times("gelu", x, _fill_by_erf, gelu_elements.GELU)


def _fill_by_erf(v: Array, phi: Array, slope: Array | None) -> None:
    """Phi = (1 + erf(v / sqrt(2))) / 2 and Phi' = exp(-v^2 / 2) / sqrt(2 pi)."""
    xp = array_module(v)
    # Phi, with u = v / sqrt(2)
    u = xp.multiply(v, math.sqrt(0.5), out=phi)
    phi[...], decay = erf_and_decay(u)
    phi *= 0.5
    phi += 0.5
    if slope is not None:
        # Phi' = decay / sqrt(2 pi), decay = exp(-u^2) = exp(-v^2 / 2)
        # ROOT / 2 = 1 / sqrt(2 pi)
        xp.multiply(decay, 0.5 * ROOT, out=slope)


def _fill_by_tanh(v: Array, phi: Array, slope: Array | None) -> None:
    """Phi = (1 + tanh(u)) / 2, u = sqrt(2/pi) (v + 0.044715 v^3), and Phi'."""
    xp = array_module(v)
    v = xp.clip(v, -SATURATED, SATURATED)
    # u = (0.044715 v^2 + 1) v sqrt(2/pi)
    u = xp.multiply(v, v, out=phi)
    u *= CUBIC
    u += 1.0
    u *= v
    u *= ROOT
    # Phi = tanh(u) / 2 + 1/2
    xp.tanh(u, out=phi)
    phi *= 0.5
    phi += 0.5
    if slope is not None:
        # Phi' = 2 Phi (1 - Phi) u',  u' = (3 * 0.044715 v^2 + 1) sqrt(2/pi)
        xp.multiply(v, v, out=slope)
        slope *= 3.0 * CUBIC
        slope += 1.0
        slope *= 2.0 * ROOT
        slope *= phi
        slope *= 1.0 - phi

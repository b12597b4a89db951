"""How do layers keep the scale of their numbers?

Each layer multiplies and adds, and after twenty layers the numbers could be huge or
tiny. The normalisations bring them back to where the next layer can learn. `layer_norm`
works on rows x of D numbers, with a learned weight w and bias b:

    h = (x - mean(x)) / std(x)            std(x) = sqrt(var(x) + eps)
    y = w h + b

Backward, with g = dL/dy, and sums over all rows:

    dL/dw = sum of g h                    dL/db = sum of g
    dL/dh = g w
    dL/dx = (g w - mean(g w) - h mean(g w h)) / std(x)

The last line has a picture. If x moves along (1, ..., 1), its mean moves along; if x
moves along h, its deviation grows. Neither changes h. So the gradient has no component
along (1, ..., 1) or along h, and the two means take these components away.

`normalize` keeps the direction of a vector and sets its length to 1. Its derivative
takes away the component along the result: (g - y sum(g y)) / |x|.

The plain forms: minigrad/plain.py. Ba, Kiros, Hinton 2016, "Layer Normalization",
arXiv:1607.06450.
"""

from __future__ import annotations

from typing import Any

from minigrad.backend import Array, array_module, column_sum, row_dot
from minigrad.inputs import coerce, floating
from minigrad.memory import as_rows, blocks, empty, times
from minigrad.ops.reductions import normalise_axes
from minigrad.tensor import Tensor, record


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """The fast form of `plain.layer_norm`: weight (x - mean) / sqrt(var + eps) + bias.

    Mean and variance are taken over the last axis. A block of rows stays in the cache.
    x (..., D), weight (D,), bias (D,) -> (..., D).

    >>> y = layer_norm([[1.0, 3.0], [7.0, 5.0]], weight=[1.0, 10.0], bias=[0.0, 0.0])
    >>> print(y.data.round(3))
    [[ -1.  10.]
     [  1. -10.]]
    """
    x, weight, bias = coerce("layer_norm", x, weight, bias)
    _check_layer_norm(x, weight, bias)
    shape = x.shape
    one_over_width = 1.0 / max(shape[-1], 1)
    data = as_rows(x.data)  # (N, D)
    w = weight.data
    xp = array_module(data)
    h = empty(data.shape, data)  # (N, D)
    y = empty(data.shape, data)  # (N, D)
    inverse_std = empty(data.shape[:1], data)  # (N,)
    average = xp.full_like(w, one_over_width)  # rows @ average: half the time of .mean
    for rows in blocks(data):
        # h = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)
        block = xp.subtract(data[rows], (data[rows] @ average)[:, None], out=h[rows])
        inverse_std[rows] = (row_dot(block, block) * one_over_width + eps) ** -0.5
        block *= inverse_std[rows, None]
        # y = w h + b
        xp.multiply(block, w, out=y[rows])
        y[rows] += bias.data
    x_needs = x.requires_grad

    def vjp(g: Array) -> tuple[Array | None, Array, Array]:
        g = as_rows(g)  # (N, D)
        to_x = empty(g.shape, g) if x_needs else None
        to_weight = xp.zeros_like(w)
        to_bias = xp.zeros_like(w)
        weighted_average = w * one_over_width
        for rows in blocks(g):
            g_block, h_block = g[rows], h[rows]  # (n, D)
            # dL/dw = sum of g h, dL/db = sum of g
            product = times(g_block, h_block)
            to_weight += column_sum(product)
            to_bias += column_sum(g_block)
            if to_x is None:
                continue
            mean_gwh = product @ weighted_average  # mean(g w h), (n,)
            mean_gw = g_block @ weighted_average  # mean(g w), (n,)
            # removed = h mean(g w h) + mean(g w), in the memory of g h
            removed = xp.multiply(h_block, mean_gwh[:, None], out=product)
            removed += mean_gw[:, None]
            # dL/dx = (g w - removed) / std(x)
            block = xp.multiply(g_block, w, out=to_x[rows])
            block -= removed
            block *= inverse_std[rows, None]
        return None if to_x is None else to_x.reshape(shape), to_weight, to_bias  # (..., D)

    return record("layer_norm", y.reshape(shape), (x, weight, bias), vjp)  # (..., D)


def _check_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """ValueError unless weight and bias have the shape of the last axis of x."""
    if x.ndim == 0 or weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ValueError(
            f"layer_norm: weight {weight.shape} and bias {bias.shape} must both have the shape "
            f"of the last axis of x {x.shape}"
        )


def normalize(x: Any, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """The safe form of `plain.normalize`: x divided by its length along `axis`.

    A vector that is shorter than eps is divided by eps, and the derivative is 1/eps
    there. So the gradient at a vector of zeros is finite.

    >>> print(normalize([[3.0, 4.0], [0.0, 0.0]]).data)
    [[0.6 0.8]
     [0.  0. ]]
    """
    (x,) = floating("normalize", x)
    (axis,) = normalise_axes("normalize", axis, x.ndim)
    xp = array_module(x.data)
    length = xp.sqrt((x.data * x.data).sum(axis=axis, keepdims=True))
    is_short = length.real < eps
    length = xp.where(is_short, eps, length).astype(x.dtype)
    y = x.data / length

    def vjp(g: Array) -> Array:
        along = xp.where(is_short, 0.0, (g * y).sum(axis=axis, keepdims=True))
        return (g - y * along) / length

    return record("normalize", y, (x,), vjp)

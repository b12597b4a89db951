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

The last line follows from dmean/dx_j = 1/D and dstd/dx_j = h_j / D, the latter from
std^2 = mean((x - mean)^2) + eps. Together they give

    dh_i/dx_j = ((1 if i = j, else 0) - 1/D - h_i h_j / D) / std(x)

It also has a picture. If x moves along (1, ..., 1), its mean moves along; if x moves
along h, its deviation grows. Neither changes h. So the gradient has no component along
(1, ..., 1) or along h, and the two means take these components away.

`normalize` keeps the direction of a vector and sets its length to 1: y = x / |x|. Since
d|x|/dx_j = x_j / |x| = y_j, dy_i/dx_j is ((1 if i = j, else 0) - y_i y_j) / |x|. So its
vjp takes away the component along the result: (g - y sum(g y)) / |x|.

The plain forms: minigrad/plain.py. Ba, Kiros, Hinton 2016, "Layer Normalization",
arXiv:1607.06450.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, column_sum, on_host, row_dot
from minigrad.inputs import coerce, floating
from minigrad.kernels import layer_norm_rows, unit_rows
from minigrad.kernels.launching import choose
from minigrad.memory import as_rows, blocks, empty, times
from minigrad.ops.reductions import reduced_axes, scale_for_squares
from minigrad.precision import kept, restored
from minigrad.tensor import Tensor, constant, record


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """The fast form of `plain.layer_norm`: weight (x - mean) / sqrt(var + eps) + bias.

    Mean and variance are taken over the last axis. On a CPU a block of rows stays in
    the cache; on a GPU one launch does all (minigrad/kernels/layer_norm_rows.py).
    x (..., D), weight (D,), bias (D,) -> (..., D).

    >>> y = layer_norm([[1.0, 3.0], [7.0, 5.0]], weight=[1.0, 10.0], bias=[0.0, 0.0])
    >>> y.data.round(3).tolist()
    [[-1.0, 10.0], [1.0, -10.0]]
    """
    x, weight, bias = coerce("layer_norm", x, weight, bias)
    _check_layer_norm(x, weight, bias)
    eps = float(constant("layer_norm", "eps", eps))
    shape = x.shape
    data, w = as_rows(x.data), weight.data  # (N, D), (D,)
    forward = choose(data, portable=_layer_norm_forward, on_gpu=layer_norm_rows.forward)
    y, h, inverse_std = forward(data, w, bias.data, eps)
    x_needs = x.requires_grad
    kept_h, dtype = kept(h), h.dtype

    def vjp(g: Array) -> tuple[Array | None, Array, Array]:
        g = as_rows(g)  # (N, D)
        h = restored(kept_h, dtype)
        backward = choose(h, portable=_layer_norm_backward, on_gpu=layer_norm_rows.backward)
        to_x, to_weight, to_bias = backward(g, h, inverse_std, w, x_needs)
        return None if to_x is None else to_x.reshape(shape), to_weight, to_bias  # (..., D)

    return record("layer_norm", y.reshape(shape), (x, weight, bias), vjp)  # (..., D)


def _layer_norm_forward(
    x: Array, weight: Array, bias: Array, eps: float
) -> tuple[Array, Array, Array]:
    """y (N, D), and for the backward pass h (N, D) and 1 / std (N,); x (N, D)."""
    xp = array_module(x)
    one_over_width = 1.0 / x.shape[1]
    y = empty(x.shape, x)  # (N, D)
    h = empty(x.shape, x)  # (N, D)
    inverse_std = empty(x.shape[:1], x)  # (N,)
    average = xp.full_like(weight, one_over_width)  # rows @ average: half the time of .mean
    for rows in blocks(x):
        # h = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)
        # The mean is taken away twice: at 1e6, float32 knows a mean to 0.06 only.
        block = xp.subtract(x[rows], (x[rows] @ average)[:, None], out=h[rows])
        block -= (block @ average)[:, None]
        inverse_std[rows] = _inverse_std(block, one_over_width, eps)
        block *= inverse_std[rows, None]
        # y = w h + b
        xp.multiply(block, weight, out=y[rows])
        y[rows] += bias
    return y, h, inverse_std


def _layer_norm_backward(
    g: Array, h: Array, inverse_std: Array, weight: Array, x_needs: bool
) -> tuple[Array | None, Array, Array]:
    """dL/dx (N, D), or None unless `x_needs` it; dL/dweight and dL/dbias (D,)."""
    xp = array_module(g)
    to_x = empty(g.shape, g) if x_needs else None
    to_weight = xp.zeros_like(weight)
    to_bias = xp.zeros_like(weight)
    weighted_average = weight * (1.0 / g.shape[1])
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
        block = xp.multiply(g_block, weight, out=to_x[rows])
        block -= removed
        block *= inverse_std[rows, None]
    return to_x, to_weight, to_bias


def _inverse_std(block: Array, one_over_width: float, eps: float) -> Array:
    """1 / sqrt(mean(block^2) + eps) for each row: (n, D) -> (n,)."""
    with np.errstate(over="ignore"):
        squares = row_dot(block, block)
    if _fit_their_type(squares):
        return (squares * one_over_width + eps) ** -0.5
    scale = scale_for_squares(block, (1,))[:, 0]  # (n,)
    scaled = block / scale[:, None]
    variance = row_dot(scaled, scaled) * one_over_width + eps / scale / scale
    return variance**-0.5 / scale


def _fit_their_type(squares: Array) -> bool:
    """Whether no sum of squares is too large for its type.

    On a GPU the program would have to wait for the answer. There it is yes, and vectors
    with an infinite sum become zeros, as in PyTorch.
    """
    return not on_host(squares) or bool(np.isfinite(squares).all())


def _check_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """ValueError unless weight and bias have the shape of the last axis of x."""
    if x.ndim == 0 or weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ValueError(
            f"layer_norm: weight {weight.shape} and bias {bias.shape} must both have the shape "
            f"of the last axis of x {x.shape}"
        )


def normalize(x: Any, axis: int = -1, eps: float = 1e-12, p: float = 2.0) -> Tensor:
    """The safe form of `plain.normalize`: x divided by its length along `axis`.

    The length is the p-norm, (sum |x|^p)^(1/p): Euclid's for p = 2, the sum of absolute
    values for p = 1, the largest absolute value for p = inf. A vector that is shorter
    than eps is divided by eps, and the derivative is 1/eps there. So the gradient at a
    vector of zeros is finite.

    >>> print(normalize([[3.0, 4.0], [0.0, 0.0]]).data)
    [[0.6 0.8]
     [0.  0. ]]
    >>> print(normalize([3.0, 5.0], p=1).data)
    [0.375 0.625]
    """
    (x,) = floating("normalize", x)
    axes = reduced_axes("normalize", axis, x.ndim)
    eps = float(constant("normalize", "eps", eps))
    p = float(constant("normalize", "p", p))
    if not p >= 1.0:
        raise ValueError(f"normalize: p must be at least 1, got {p}")
    is_usual = p == 2.0 and axes == (x.ndim - 1,)
    on_gpu = unit_rows.along_last_axis if is_usual else _along_axes
    form = choose(x.data, portable=_along_axes, on_gpu=on_gpu)
    y, vjp = form(x.data, axes, eps, p)
    return record("normalize", y, (x,), vjp)


def _along_axes(
    x: Array, axes: tuple[int, ...], eps: float, p: float
) -> tuple[Array, Callable[[Array], Array]]:
    """x divided by its length along the axes, and the vjp."""
    xp = array_module(x)
    length = _length(x, axes, p)
    is_short = length.real < eps
    length = xp.where(is_short, eps, length).astype(x.dtype)
    y = x / length
    slope = y if p == 2.0 else _slope_of_length(y, axes, p)

    def vjp(g: Array) -> Array:
        # The component along the result is taken away, as far as the length follows x.
        along = xp.where(is_short, 0.0, (g * y).sum(axis=axes, keepdims=True))
        return (g - slope * along) / length

    return y, vjp


def _length(x: Array, axes: tuple[int, ...], p: float) -> Array:
    """The p-norm of x over `axes`, kept with size 1."""
    xp = array_module(x)
    if p == 2.0:
        with np.errstate(over="ignore"):
            squares = (x * x).sum(axis=axes, keepdims=True)
        if _fit_their_type(squares):
            return xp.sqrt(squares)
    size = _sign(x) * x  # |x|
    if x.size == 0:
        return size.sum(axis=axes, keepdims=True)  # vectors of no numbers have length 0
    if p == math.inf:
        return size.max(axis=axes, keepdims=True)
    # Large vectors are divided by their largest element first: the p-norm of c x is c
    # times that of x, for every c > 0.
    scale = scale_for_squares(size, axes)
    return scale * ((size / scale) ** p).sum(axis=axes, keepdims=True) ** (1.0 / p)


def _slope_of_length(y: Array, axes: tuple[int, ...], p: float) -> Array:
    """d|x| / dx for the p-norm, from the normalised y = x / |x|.

    It is sign(x) |y|^(p-1), because d|x|/dx_i = |x_i|^(p-1) |x|^(1-p) sign(x_i). For
    p = inf the largest elements share it equally.
    """
    sign = _sign(y)
    size = sign * y  # |y|
    if p < math.inf or y.size == 0:
        return sign * size ** (p - 1.0)
    is_largest = (size.real == size.real.max(axis=axes, keepdims=True)).astype(y.dtype)
    return sign * is_largest / is_largest.sum(axis=axes, keepdims=True)


def _sign(x: Array) -> Array:
    """1, 0 or -1, by the real part, in the dtype of x."""
    return array_module(x).sign(x.real).astype(x.dtype)

"""Chapter 6: how do scores become probabilities and losses, and how do layers keep their scale?

Softmax turns scores into probabilities, cross-entropy asks how probable the right answer was, and
the normalisations keep every layer's numbers where the next one can learn. Two derivatives:

- p = softmax(x), p_i = exp(x_i) / sum_j exp(x_j).  dp_i/dx_j = p_i (delta_ij - p_j), so
  vjp(g)_j = p_j (g_j - sum_i g_i p_i).
- h = (x - mean(x)) / std(x), D elements.  Moving x along 1 or along h leaves h unchanged, so
  the gradient has no component along either:
  vjp(g) = (g - mean(g) - h mean(g h)) / std(x).

Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450; Srivastava et al. 2014,
"Dropout", JMLR 15.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, check_indices, column_sum, move, row_dot, row_sum
from minigrad.inputs import coerce, floating, tensor
from minigrad.memory import as_rows, blocks, empty, times
from minigrad.ops.basic import mul
from minigrad.ops.shape import finite_maximum, normalise_axes
from minigrad.tensor import Tensor, record

RandomSource = np.random.Generator | None


def exponentials(scores: Array, bounded: bool) -> Array:
    """exp(scores - m) in place of scores (..., T), m the maximum of each row, or 0 for `bounded`
    scores. Returns the sums of the rows (..., 1), where a row of -inf alone, all zeros, has 1.
    Softmax is the same for every m, and the largest score prevents overflow."""
    xp = array_module(scores)
    if scores.size and not bounded:
        scores -= finite_maximum(scores, -1)
    xp.exp(scores, out=scores)
    total = row_sum(scores)[..., None]  # (..., 1)
    total += total.real == 0
    return total


def are_small(scores: Array) -> bool:
    """Whether all scores are below 30 in size: exp(30) is 1e13 and needs no shift. On a CPU the
    maxima of short rows are slower than that question, on a GPU they are not."""
    if type(scores) is not np.ndarray or scores.size == 0:
        return False
    return max(-scores.real.min(), scores.real.max()) < 30.0


def _last(name: str, x: Any, axis: int) -> tuple[Tensor, int]:
    (x,) = floating(name, x)
    return x, *normalise_axes(name, (axis,), x.ndim)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`."""
    x, axis = _last("softmax", x, axis)
    xp = array_module(x.data)
    p = xp.moveaxis(x.data, axis, -1).copy()  # (..., axis)
    p /= exponentials(p, are_small(p))
    p = xp.moveaxis(p, -1, axis)  # shape of x

    def vjp(g: Array) -> Array:
        return p * (g - (g * p).sum(axis=axis, keepdims=True))

    return record("softmax", p, (x,), vjp)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """x - logsumexp(x) along `axis`."""
    x, axis = _last("log_softmax", x, axis)
    xp = array_module(x.data)
    y = x.data.copy()
    if y.size:
        y -= y.real.max(axis=axis, keepdims=True)
        y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))

    def vjp(g: Array) -> Array:
        return g - xp.exp(y) * g.sum(axis=axis, keepdims=True)

    return record("log_softmax", y, (x,), vjp)


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """-log softmax(logits)[label]: logits (..., C), integer labels (...) in 0..C-1.
    reduction is "mean" or "sum" over all samples, or "none" for one loss each, (...)."""
    (logits,) = floating("cross_entropy", logits)
    labels = tensor(labels).data
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        needed = f"need labels of shape {logits.shape[:-1]}, got {labels.shape}"
        raise ValueError(f"cross_entropy: logits {logits.shape} {needed}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none": {reduction!r}')
    check_indices("cross_entropy", labels, logits.shape[-1])
    xp = array_module(logits.data)
    shape, count = logits.shape, labels.size
    if count == 0 and reduction == "mean":
        raise ValueError(f"cross_entropy: no samples to average in logits {shape}")
    y = logits.data.reshape(count, shape[-1])  # (N, C)
    p = y - finite_maximum(y, -1)
    at_label = (xp.arange(count), xp.asarray(labels).reshape(-1))
    chosen = p[at_label]
    xp.exp(p, out=p)
    total = row_sum(p)
    losses = xp.log(total) - chosen
    p /= total[:, None]
    weight = 1.0 / count if reduction == "mean" else 1.0

    def vjp(g: Array) -> Array:
        per_sample = (weight * g).reshape(-1, 1)  # (N, 1) or (1, 1)
        gradient = p * per_sample
        gradient[at_label] -= xp.broadcast_to(per_sample[:, 0], (count,))
        return gradient.reshape(shape)  # shape of logits

    value = losses.reshape(shape[:-1]) if reduction == "none" else losses.sum() * weight  # (...)
    return record("cross_entropy", value, (logits,), vjp)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """weight * (x - mean) / sqrt(variance + eps) + bias over the last axis, D numbers wide.
    x (..., D), weight (D,), bias (D,) -> (..., D)."""
    x, weight, bias = coerce("layer_norm", x, weight, bias)
    if x.ndim == 0 or weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        expected = f"must both have the shape of the last axis of x {x.shape}"
        raise ValueError(f"layer_norm: weight {weight.shape} and bias {bias.shape} {expected}")
    shape, width = x.shape, x.shape[-1]
    data, w, scale = as_rows(x.data), weight.data, 1.0 / max(width, 1)  # data (N, D)
    h, y = empty(data.shape, data), empty(data.shape, data)
    inverse_std = empty(data.shape[:1], data)  # (N,)
    share = array_module(data).full_like(w, scale)
    for rows in blocks(data):
        block = h[rows]
        array_module(data).subtract(data[rows], (data[rows] @ share)[:, None], out=block)
        inverse_std[rows] = (row_dot(block, block) * scale + eps) ** -0.5
        block *= inverse_std[rows, None]
        array_module(data).multiply(block, w, out=y[rows])
        y[rows] += bias.data
    x_needs = x.requires_grad

    def vjp(g: Array) -> tuple[Array | None, Array, Array]:
        g = as_rows(g)  # (N, D)
        xp = array_module(g)
        to_weight, to_bias, w_share = xp.zeros_like(w), xp.zeros_like(w), w * scale
        to_x = empty(g.shape, g) if x_needs else None
        for rows in blocks(g):
            g_block, h_block = g[rows], h[rows]
            product = times(g_block, h_block)
            to_weight += column_sum(product)
            to_bias += column_sum(g_block)
            if to_x is None:
                continue
            along_h = product @ w_share  # mean(g w h), (N,)
            along_one = g_block @ w_share  # mean(g w), (N,)
            xp.multiply(h_block, along_h[:, None], out=product)
            product += along_one[:, None]
            into = xp.multiply(g_block, w, out=to_x[rows])
            into -= product
            into *= inverse_std[rows, None]
        return None if to_x is None else to_x.reshape(shape), to_weight, to_bias  # (..., D)

    return record("layer_norm", y.reshape(shape), (x, weight, bias), vjp)  # (..., D)


def normalize(x: Any, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """x divided by its Euclidean length along `axis`, or by eps where it is shorter than that.
    The derivative removes the part of g along the result: (g - y sum(g y)) / length. Below eps the
    function is x / eps, so that a zero vector has a finite gradient."""
    x, axis = _last("normalize", x, axis)
    xp = array_module(x.data)
    length = xp.sqrt((x.data * x.data).sum(axis=axis, keepdims=True))
    short = length.real < eps
    length = xp.where(short, eps, length).astype(x.dtype)
    y = x.data / length

    def vjp(g: Array) -> Array:
        along = xp.where(short, 0.0, (g * y).sum(axis=axis, keepdims=True))
        return (g - y * along) / length

    return record("normalize", y, (x,), vjp)


def dropout_mask(
    what: str, p: float, rng: RandomSource, shape: tuple[int, ...], like: Tensor
) -> Array | None:
    """0 with probability p, else 1/(1-p), as an array to multiply with; None for p=0. Drawn on the
    host, so that every backend and dtype draws the same. `what` names p in errors."""
    if not 0.0 <= p < 1.0:
        raise ValueError(f"{what} must lie in [0, 1), got {p}")
    if p == 0.0:
        return None
    if rng is None:
        raise ValueError(f"{what} > 0 needs a random generator: numpy.random.default_rng(seed)")
    kept = (rng.random(shape, dtype=np.float32) >= p) * (1.0 / (1.0 - p))
    return move(kept.astype(like.dtype), like.backend)


def dropout(x: Any, p: float, rng: RandomSource) -> Tensor:
    """Zero each element with probability p and scale the others by 1/(1-p); p=0 changes nothing."""
    (x,) = floating("dropout", x)
    mask = dropout_mask("dropout: p", p, rng, x.shape, x)
    return x if mask is None else mul(x, mask)

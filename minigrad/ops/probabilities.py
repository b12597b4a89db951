"""How do scores become probabilities, and probabilities a loss?

Softmax turns scores into probabilities. Cross-entropy asks how probable the right class
was.

    p = softmax(x)            p_i = exp(x_i) / sum_j exp(x_j)
    cross_entropy(x, label)   -log p_label

The derivative of softmax is dp_i/dx_j = p_i (delta_ij - p_j), so

    vjp(g)_j = p_j (g_j - sum_i g_i p_i).

Cross-entropy has the simplest derivative of all: the probabilities, minus 1 at the
right class.

**Softmax with and without a shift.** exp(x) overflows in float32 if x is above 88.
Since softmax(x) = softmax(x - m) for every number m, the largest score of each row is
subtracted first, and no exponential is above 1. But the maxima of many short rows are
slow on a CPU. If all scores lie between -30 and 30, no shift is needed: exp(30) is
1e13, exp(-30) is 1e-13, and float32 reaches from 1e-38 to 3e38, so even a sum of a
million of them is safe. `safe_without_shift` asks this question for a whole block of
rows at once. In attention over 65 tokens that saves a sixth of the forward pass, over
17 tokens more than a quarter.

The plain forms: minigrad/plain.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, check_indices, row_sum
from minigrad.inputs import floating, tensor
from minigrad.ops.reductions import finite_maximum, normalise_axes
from minigrad.tensor import Tensor, record

SAFE_SCORE = 30.0  # exp of a score of this size is 1e13 or 1e-13: see above


def safe_without_shift(scores: Array) -> bool:
    """Whether exp(scores) and the sums of its rows stay inside the range of float32.

    On a GPU the answer is always no: there the maxima are quick, and the question would
    make the processor wait for the device.
    """
    if type(scores) is not np.ndarray or scores.size == 0:
        return False
    return max(-scores.real.min(), scores.real.max()) < SAFE_SCORE


def exponentiate(scores: Array, shift: bool) -> tuple[Array, Array]:
    """exp(scores - m), written over the scores (..., N), and its row sums (..., 1).

    m is the largest score of each row, or 0 without `shift`. A row of -inf alone
    becomes zeros. Its sum is returned as 1, so that dividing by it leaves the zeros.
    """
    if scores.size and shift:
        scores -= finite_maximum(scores, -1)
    exponentials = array_module(scores).exp(scores, out=scores)
    sums = row_sum(exponentials)[..., None]  # (..., 1)
    sums += sums.real == 0  # 0 becomes 1: dividing by it leaves the zeros
    return exponentials, sums


def softmax(x: Any, axis: int = -1) -> Tensor:
    """The fast form of `plain.softmax`: exp(x) / sum(exp(x)) along `axis`.

    >>> print(softmax([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]]).data.round(3))
    [[0.09  0.245 0.665]
     [0.333 0.333 0.333]]
    """
    (x,) = floating("softmax", x)
    (axis,) = normalise_axes("softmax", axis, x.ndim)
    xp = array_module(x.data)
    scores = xp.moveaxis(x.data, axis, -1).copy()  # (..., N), `axis` is the last one
    # p = exp(x - m) / sum(exp(x - m))
    exponentials, sums = exponentiate(scores, shift=not safe_without_shift(scores))
    exponentials /= sums
    p = xp.moveaxis(exponentials, -1, axis)  # shape of x

    def vjp(g: Array) -> Array:
        return p * (g - (g * p).sum(axis=axis, keepdims=True))

    return record("softmax", p, (x,), vjp)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """The fast form of `plain.log_softmax`: x - log(sum(exp(x))) along `axis`.

    >>> print(log_softmax([0.0, 1.0, 2.0]).data.round(3))
    [-2.408 -1.408 -0.408]
    """
    (x,) = floating("log_softmax", x)
    (axis,) = normalise_axes("log_softmax", axis, x.ndim)
    xp = array_module(x.data)
    y = x.data.copy()
    if y.size:
        # y = (x - m) - log(sum(exp(x - m)))
        y -= y.real.max(axis=axis, keepdims=True)
        y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))

    def vjp(g: Array) -> Array:
        # d y_i / d x_j = delta_ij - p_j, and p = exp(y)
        return g - xp.exp(y) * g.sum(axis=axis, keepdims=True)

    return record("log_softmax", y, (x,), vjp)


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """The fast form of `plain.cross_entropy`: -log softmax(logits)[label].

    logits (..., C); labels (...), integers from 0 to C-1. reduction is "mean" or "sum"
    over all samples, or "none" for one loss per sample (...). ValueError for shapes
    that do not fit, IndexError for a label that is out of range.

    >>> logits = [[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]]
    >>> print(cross_entropy(logits, [2, 0], reduction="none").data.round(3))
    [0.408 1.099]
    >>> print(cross_entropy(logits, [2, 0]).data.round(3))
    0.753
    """
    (logits,) = floating("cross_entropy", logits)
    labels = tensor(labels).data
    _check_cross_entropy(logits, labels, reduction)
    xp = array_module(logits.data)
    shape = logits.shape
    count = labels.size
    x = logits.data.reshape(count, shape[-1])  # (N, C)
    at_label = (xp.arange(count), xp.asarray(labels).reshape(-1))  # picks (N,)
    shifted = x - finite_maximum(x, -1)  # x - m, (N, C)
    shifted_at_label = shifted[at_label]  # (N,)
    exponentials = xp.exp(shifted, out=shifted)
    sums = row_sum(exponentials)  # (N,)
    # -log p_label = log(sum(exp(x - m))) - (x_label - m)
    losses = xp.log(sums) - shifted_at_label  # (N,)
    # p = exp(x - m) / sum(exp(x - m))
    exponentials /= sums[:, None]
    probabilities = exponentials  # (N, C)
    weight = 1.0 / count if reduction == "mean" else 1.0

    def vjp(g: Array) -> Array:
        # dL/dx = (p - one_hot(label)) times the gradient of the sample's loss
        per_sample = (weight * g).reshape(-1, 1)  # (N, 1) or (1, 1)
        gradient = probabilities * per_sample
        gradient[at_label] -= xp.broadcast_to(per_sample[:, 0], (count,))
        return gradient.reshape(shape)  # shape of logits

    value = losses.reshape(shape[:-1]) if reduction == "none" else losses.sum() * weight  # (...)
    return record("cross_entropy", value, (logits,), vjp)


def _check_cross_entropy(logits: Tensor, labels: Array, reduction: str) -> None:
    """Raise unless the arguments of `cross_entropy` fit together."""
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: logits {logits.shape} need labels of shape {logits.shape[:-1]}, "
            f"got {labels.shape}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none": {reduction!r}')
    check_indices("cross_entropy", labels, logits.shape[-1])
    if labels.size == 0 and reduction == "mean":
        raise ValueError(f"cross_entropy: no samples to average in logits {logits.shape}")

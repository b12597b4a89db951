"""How surprised is a model by the right answer?

A model that gives the right class the probability p is surprised by -log p: not at all
if p is 1, and the more the smaller p is. This is the cross-entropy.

    cross_entropy(x, label)       -log p_label,   p = softmax(x)

It has the simplest derivative of all: the probabilities, minus 1 at the right class.

    L = -log p_label = log(sum_j exp(x_j)) - x_label
    dL/dx_j = p_j - (1 if j = label, else 0)       in short, dL/dx = p - one_hot(label)

because exp(x_j) / sum_k exp(x_k) = p_j is the derivative of the logarithm.
one_hot(label) is a row of zeros with a single 1, at the label. The mean over N samples
divides all of this by N.

The right answer may also be spread over several classes, with a share q_c for each. The
one-hot row then becomes the row of shares:

    cross_entropy(x, q)           -sum_c q_c log p_c

Label smoothing makes such an answer of a single label: the right class keeps most of
it, and all classes share the rest. A model is then never asked to be quite sure.

The plain form: minigrad/plain.py. Szegedy et al. 2015, "Rethinking the Inception
Architecture for Computer Vision", arXiv:1512.00567, section 7 (label smoothing).
"""

from __future__ import annotations

import math
from typing import Any

from minigrad.backend import Array, array_module, check_indices, on_host, row_sum
from minigrad.inputs import coerce, floating
from minigrad.kernels import cross_entropy_rows
from minigrad.kernels.launching import choose
from minigrad.ops.choice import where
from minigrad.ops.probabilities import log_softmax
from minigrad.ops.reductions import finite_maximum
from minigrad.tensor import Tensor, constant, record


def cross_entropy(
    logits: Any,
    labels: Any,
    reduction: str = "mean",
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The fast form of `plain.cross_entropy`: -log softmax(logits)[label].

    logits (..., C); labels (...), integers from 0 to C-1, or floats (..., C), the share
    of each class in the right answer. reduction is "mean" or "sum" over all samples, or
    "none" for one loss per sample (...). ValueError for shapes that do not fit,
    IndexError for a label that is out of range.

    weight (C,) multiplies the loss of each class; the mean of integer labels is then
    the weighted mean. Samples with the label ignore_index do not count. label_smoothing
    is the share of the right answer that goes to all classes equally.

    >>> logits = [[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]]
    >>> print(cross_entropy(logits, [2, 0], reduction="none").data.round(3))
    [0.408 1.099]
    >>> print(cross_entropy(logits, [2, 0]).data.round(3))
    0.753
    """
    (logits,) = floating("cross_entropy", logits)
    (answers,) = coerce("cross_entropy", labels)
    ignore_index = constant("cross_entropy", "ignore_index", ignore_index)
    label_smoothing = float(constant("cross_entropy", "label_smoothing", label_smoothing))
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none": {reduction!r}')
    are_shares = answers.dtype.kind in "fc" and answers.shape == logits.shape != ()
    if are_shares or weight is not None or ignore_index is not None or label_smoothing:
        weights = _class_weights(logits, weight)
        if are_shares:
            if ignore_index is not None:
                raise ValueError("cross_entropy: ignore_index needs integer labels, not shares")
            return _of_shares(logits, labels, reduction, weights, label_smoothing)
        return _of_labels(logits, answers.data, reduction, weights, ignore_index, label_smoothing)
    return _of_usual_labels(logits, answers.data, reduction)


def _of_usual_labels(logits: Tensor, labels: Array, reduction: str) -> Tensor:
    """The fast form: integer labels; no class weights, ignored labels or smoothing."""
    _check_labels(logits, labels, reduction)
    shape = logits.shape
    count = labels.size
    scale = 1.0 / count if reduction == "mean" else 1.0
    x = logits.data.reshape(count, shape[-1])  # (N, C)
    forward = choose(x, portable=_cross_entropy_forward, on_gpu=cross_entropy_rows.forward)
    losses, p, kept_labels = forward(x, labels.reshape(-1))  # (N,)

    def vjp(g: Array) -> Array:
        g = g if g.ndim == 0 else g.reshape(-1)  # (N,) or ()
        backward = choose(p, portable=_cross_entropy_backward, on_gpu=cross_entropy_rows.backward)
        return backward(g, p, kept_labels, scale).reshape(shape)  # (..., C)

    value = losses.reshape(shape[:-1]) if reduction == "none" else losses.sum() * scale  # (...)
    return record("cross_entropy", value, (logits,), vjp)


def _cross_entropy_forward(x: Array, labels: Array) -> tuple[Array, Array, Array]:
    """The losses (N,), and for the backward pass p (N, C) and the labels; x (N, C)."""
    xp = array_module(x)
    labels = xp.asarray(labels)
    at_label = (xp.arange(len(x)), labels)  # picks (N,)
    shifted = x - finite_maximum(x, -1)  # x - m, (N, C)
    shifted_at_label = shifted[at_label]  # (N,)
    exponentials = xp.exp(shifted, out=shifted)
    sums = row_sum(exponentials)  # (N,)
    sums += sums.real == 0  # a row of -inf alone: 0 becomes 1, with logarithm 0
    # -log p_label = log(sum(exp(x - m))) - (x_label - m)
    losses = xp.log(sums) - shifted_at_label  # (N,)
    # p = exp(x - m) / sum(exp(x - m))
    exponentials /= sums[:, None]
    return losses, exponentials, labels


def _cross_entropy_backward(g: Array, p: Array, labels: Array, scale: float) -> Array:
    """(p - one_hot(label)) g, (N, C), from the gradient g of the losses, (N,) or ()."""
    xp = array_module(g)
    per_sample = (scale * g).reshape(-1, 1)  # (N, 1) or (1, 1)
    gradient = p * per_sample
    at_label = (xp.arange(len(p)), labels)  # picks (N,)
    gradient[at_label] -= xp.broadcast_to(per_sample[:, 0], (len(p),))
    return gradient


def _check_labels(logits: Tensor, labels: Array, reduction: str) -> None:
    """Raise unless the arguments of `cross_entropy` fit together."""
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"cross_entropy: logits {logits.shape} need labels of shape {logits.shape[:-1]}, "
            f"got {labels.shape}"
        )
    check_indices("cross_entropy", labels, logits.shape[-1])
    if labels.size == 0 and reduction == "mean":
        raise _nothing_to_average(logits)


def _nothing_to_average(logits: Tensor) -> ValueError:
    return ValueError(f"cross_entropy: no samples to average in logits {logits.shape}")


def _class_weights(logits: Tensor, weight: Any) -> Tensor:
    """The weights of the classes (C,), 1 for each if there are none."""
    classes = logits.shape[-1:]
    if weight is None:
        return Tensor(array_module(logits.data).ones(classes, logits.dtype))
    _, weights = floating("cross_entropy", logits, weight)
    if weights.shape != classes:
        raise ValueError(f"cross_entropy: weight {weights.shape} must have shape {classes}")
    return weights


def _smoothing(label_smoothing: float, classes: int) -> tuple[float, float]:
    """What the right class keeps, and what each class gets."""
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(
            f"cross_entropy: label_smoothing must lie in [0, 1), got {label_smoothing}"
        )
    return 1.0 - label_smoothing, label_smoothing / max(classes, 1)


def _of_labels(
    logits: Tensor,
    labels: Array,
    reduction: str,
    weights: Tensor,
    ignore_index: int | None,
    label_smoothing: float,
) -> Tensor:
    """The cross-entropy of integer labels, with everything that `cross_entropy` offers.

    It is composed of small operations. The fast form above is for the usual case.
    """
    xp = array_module(logits.data)
    kept, spread = _smoothing(label_smoothing, logits.shape[-1])
    where_labels_are = array_module(labels)  # mostly the host, where they can be looked at
    counts = where_labels_are.ones(labels.shape, bool)
    if ignore_index is not None:
        counts = labels != ignore_index
    labels = where_labels_are.where(counts, labels, 0)  # an ignored one may be out of range
    _check_labels(logits, labels, reduction)
    log_p = log_softmax(logits)
    at_label = (*where_labels_are.indices(labels.shape), labels)  # picks (...)
    importance = weights[labels] * counts  # (...)
    # A class without weight counts nothing, even if it is impossible. 0 * -inf is NaN.
    is_hidden = _is_hidden(importance.data, logits.detach()[at_label].data)  # (...)
    is_left_out = ~xp.asarray(counts) | is_hidden  # (...)
    losses = -(where(is_left_out, 0.0, log_p[at_label]) * importance * kept)
    if spread:
        # The answer "all classes equally": the mean of the losses of all classes.
        visible = where(_is_hidden(weights.data, logits.data), 0.0, log_p)  # (..., C)
        losses = losses - where(counts, (visible * weights).sum(-1), 0.0) * spread
    if reduction == "mean":
        total = importance.sum()
        # On a GPU nobody waits for this answer: the mean of nothing is NaN there.
        if on_host(total.data) and not total.data.real > 0.0:
            raise _nothing_to_average(logits)
        return losses.sum() / total
    return losses.sum() if reduction == "sum" else losses


def _of_shares(
    logits: Tensor, shares: Any, reduction: str, weights: Tensor, label_smoothing: float
) -> Tensor:
    """The cross-entropy of an answer in shares: -sum_c share_c log p_c, (..., C) -> ().

    The shares get a gradient, too: -log p.
    """
    kept, spread = _smoothing(label_smoothing, logits.shape[-1])
    logits, shares = floating("cross_entropy", logits, shares)
    factors = (shares * kept + spread) * weights  # (..., C)
    # A class without a share counts nothing, even if it is impossible. 0 * -inf is NaN.
    log_p = where(_is_hidden(factors.data, logits.data), 0.0, log_softmax(logits))
    losses = -(factors * log_p).sum(-1)  # (...)
    if reduction == "mean":
        if losses.size == 0:
            raise _nothing_to_average(logits)
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


def _is_hidden(factors: Array, scores: Array) -> Array:
    """Where a class counts nothing and has a score of -inf."""
    return (factors == 0.0) & (scores.real == -math.inf)

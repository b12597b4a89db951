"""How do scores become probabilities?

By softmax. It makes them positive, and lets them sum to 1.

    p = softmax(x)            p_i = exp(x_i) / sum_j exp(x_j)

The derivative, by the quotient rule, with E = sum_k exp(x_k) and dE/dx_j = exp(x_j):

    i = j:   dp_i/dx_i = (exp(x_i) E - exp(x_i) exp(x_i)) / E^2 = p_i - p_i p_i
    else:    dp_i/dx_j = - exp(x_i) exp(x_j) / E^2              =     - p_i p_j

    vjp(g)_j = sum_i g_i dp_i/dx_j = p_j (g_j - sum_i g_i p_i)

log_softmax is log p_i = x_i - log E, and d(log E)/dx_j = exp(x_j) / E = p_j, so

    vjp(g)_j = g_j - p_j sum_i g_i

**Rows of -inf alone**, of which nothing may be chosen: all probabilities are 0, forward
and in every derivative. So softmax gives zeros, log_softmax and logsumexp give -inf.

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

from minigrad.backend import Array, array_module, on_host, row_sum
from minigrad.inputs import floating
from minigrad.kernels import softmax_rows
from minigrad.kernels.launching import choose
from minigrad.ops.reductions import finite_maximum, normalise_axes, reduced_axes
from minigrad.ops.shape import reshape
from minigrad.tensor import Tensor, constant, record

SAFE_SCORE = 30.0  # exp of a score of this size is 1e13 or 1e-13: see above


def safe_without_shift(scores: Array) -> bool:
    """Whether exp(scores) and the sums of its rows stay inside the range of float32.

    On a GPU the answer is always no: there the maxima are quick, and the question would
    make the processor wait for the device.
    """
    if not on_host(scores) or scores.size == 0:
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
    if x.ndim == 0 and constant("softmax", "axis", axis) in (0, -1):
        return reshape(softmax(reshape(x, 1)), ())  # one score: its probability is 1
    (axis,) = normalise_axes("softmax", axis, x.ndim)
    xp = array_module(x.data)
    scores = xp.moveaxis(x.data, axis, -1).copy()  # (..., N), `axis` is the last one
    forward = choose(scores, portable=_softmax_forward, on_gpu=softmax_rows.probabilities)
    rows = forward(scores)  # (..., N)
    p = xp.moveaxis(rows, -1, axis)  # shape of x

    def vjp(g: Array) -> Array:
        backward = choose(p, portable=_softmax_gradient, on_gpu=_launch_gradient)
        return backward(g, p, axis)

    return record("softmax", p, (x,), vjp)


def _softmax_forward(scores: Array) -> Array:
    """p = exp(x - m) / sum(exp(x - m)) along the last axis, in the scores' memory."""
    exponentials, sums = exponentiate(scores, shift=not safe_without_shift(scores))
    exponentials /= sums
    return exponentials


def _softmax_gradient(g: Array, p: Array, axis: int) -> Array:
    """p (g - sum(g p)) along `axis`."""
    return p * (g - (g * p).sum(axis=axis, keepdims=True))


def _launch_gradient(g: Array, p: Array, axis: int) -> Array:
    """`_softmax_gradient` by the kernel, which wants `axis` to be the last one."""
    xp = array_module(g)
    d = xp.moveaxis(g, axis, -1).copy()  # (..., N)
    return xp.moveaxis(softmax_rows.gradient(d, xp.moveaxis(p, axis, -1)), -1, axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """The fast form of `plain.log_softmax`: x - log(sum(exp(x))) along `axis`.

    >>> print(log_softmax([0.0, 1.0, 2.0]).data.round(3))
    [-2.408 -1.408 -0.408]
    """
    (x,) = floating("log_softmax", x)
    axes = reduced_axes("log_softmax", axis, x.ndim)
    xp = array_module(x.data)
    y = x.data.copy()
    if y.size:
        # y = (x - m) - log(sum(exp(x - m)))
        y -= finite_maximum(y, axes)
        sums = xp.exp(y).sum(axis=axes, keepdims=True)
        sums += sums.real == 0  # a row of -inf alone: 0 becomes 1, with logarithm 0
        y -= xp.log(sums)

    def vjp(g: Array) -> Array:
        # d y_i / d x_j = (1 if i = j, else 0) - p_j, and p = exp(y)
        return g - xp.exp(y) * g.sum(axis=axes, keepdims=True)

    return record("log_softmax", y, (x,), vjp)

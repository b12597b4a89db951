"""What do the fast operations compute?

This file answers with formulas. It builds every fused operation of minigrad from small
ones: `+`, `*`, `@`, `exp`, `sum` and so on. The tape knows the derivative of each small
operation, so nothing here needs a derivative by hand.

    softmax(x)_i          exp(x_i) / sum_j exp(x_j)
    layer_norm(x)         weight (x - mean(x)) / sqrt(var(x) + eps) + bias
    attention(q, k, v)    softmax(q k^T / sqrt(D)) v

Read this file after the small operations that it is made of (basic, choice, reductions,
shape), and before the fused ones. The fused operations compute the same values faster:
they move less memory, and their derivatives are worked out by hand. They also take care
of empty arrays and of numbers near the limits of their type. Every function there that
has a twin here names it in its first line. tests/minigrad/test_plain.py holds the
values and all gradients of the pairs against each other.

The functions take and return Tensors. The plain form of the optimizer, which no tape
records, is in minigrad/plain_adamw.py.

    >>> import minigrad as mg
    >>> from minigrad import plain
    >>> x = mg.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    >>> print(plain.softmax(x).data.round(3))
    [[0.09  0.245 0.665]]
    >>> plain.softmax(x)[0, 2].backward()
    >>> print(x.grad.round(3))
    [[-0.06  -0.163  0.223]]
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.ops.activation import tanh
from minigrad.ops.basic import exp, log, sqrt
from minigrad.ops.choice import maximum, where
from minigrad.ops.error_function import erf
from minigrad.ops.shape import concatenate, pad, stack
from minigrad.tensor import Axis, Tensor

# --- averages ---


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`, divided by the number of elements that are summed.

    >>> import minigrad as mg
    >>> print(mean(mg.tensor([[1.0, 3.0], [2.0, 6.0]]), axis=0).data)
    [1.5 4.5]
    """
    total = x.sum(axis, keepdims)
    count = x.size / total.size
    return total / count


def var(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The population variance: the mean of (x - mean(x))^2 over `axis`.

    >>> import minigrad as mg
    >>> print(var(mg.tensor([1.0, 3.0, 5.0, 7.0])).data)
    5.0
    """
    centred = x - mean(x, axis, keepdims=True)
    return mean(centred * centred, axis, keepdims)


# --- scores, probabilities and losses ---


def _shift(x: Tensor, axis: Axis) -> Tensor:
    """The largest element along `axis`, as a constant; 0 for a slice of -inf alone.

    exp(x) overflows in float32 if x is above 88. exp(x - m) does not overflow if m is
    the largest element, and exp(x) = exp(m) exp(x - m) for every m. The result does not
    depend on m, so its gradient with respect to m is 0, and m may be a constant.
    """
    largest = x.max(axis, keepdims=True).detach()
    return where(largest.data == -math.inf, 0.0, largest)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`: scores become probabilities.

    A slice that holds nothing but -inf becomes zeros.

    >>> import minigrad as mg
    >>> print(softmax(mg.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])).data.round(3))
    [[0.09  0.245 0.665]
     [0.333 0.333 0.333]]
    """
    exponentials = exp(x - _shift(x, axis))
    total = exponentials.sum(axis, keepdims=True)
    return exponentials / where(total.data == 0.0, 1.0, total)


def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, computed as m + log(sum(exp(x - m))), m = max(x).

    >>> import minigrad as mg
    >>> print(logsumexp(mg.tensor([1000.0, 1000.0])).data.round(3))  # 1000 + log(2)
    1000.693
    """
    m = _shift(x, axis)
    total = exp(x - m).sum(axis, keepdims)
    hidden = total.data == 0.0  # a slice of -inf alone
    result = m.reshape(total.shape) + log(where(hidden, 1.0, total))  # without the summed axes
    return where(hidden, -math.inf, result)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along `axis`, as x - logsumexp(x).

    >>> import minigrad as mg
    >>> print(log_softmax(mg.tensor([0.0, 1.0, 2.0])).data.round(3))
    [-2.408 -1.408 -0.408]
    """
    total = logsumexp(x, axis, keepdims=True)
    return x - where(total.data == -math.inf, 0.0, total)


def cross_entropy(logits: Tensor, labels: Array, reduction: str = "mean") -> Tensor:
    """-log softmax(logits)[label]: how surprised the model is by the right class.

    logits (..., C); labels (...), integers from 0 to C-1. reduction is "mean" or "sum"
    over all samples, or "none" for one loss per sample (...).

    >>> import minigrad as mg
    >>> logits = mg.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    >>> print(cross_entropy(logits, [2, 0], reduction="none").data.round(3))
    [0.408 1.099]
    """
    one_hot = _one_hot(labels, logits.shape[-1], like=logits)  # (..., C)
    losses = -(log_softmax(logits) * one_hot).sum(axis=-1)  # (...)
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else losses.sum()


def _one_hot(indices: Array, count: int, like: Tensor) -> Array:
    """Rows of `count` numbers with a single 1, at the index: (...) -> (..., count)."""
    xp = array_module(like.data)
    return xp.eye(count, dtype=like.dtype)[xp.asarray(indices)]


# --- layers ---


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """x W^T + b + r: x (..., in), weight W (out, in), bias b (out,) -> (..., out).

    The residual r (..., out) is what a layer adds its result to.

    >>> import minigrad as mg
    >>> weight = mg.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> print(linear(mg.tensor([2.0, 3.0]), weight, mg.tensor([0.0, 0.0, 10.0])).data)
    [ 2.  3. 15.]
    """
    y = x @ weight.transpose()  # (..., in) @ (in, out) -> (..., out)
    if bias is not None:
        y = y + bias
    return y if residual is None else y + residual


def embedding(weight: Tensor, ids: Array) -> Tensor:
    """The rows of `weight` (V, D) at the integers `ids` (...) -> (..., D).

    Picking rows is the product with a matrix that holds a single 1 in each row.

    >>> import minigrad as mg
    >>> print(embedding(mg.tensor([[1.0, 1.5], [2.0, 2.5]]), [1, 0, 1]).data)
    [[2.  2.5]
     [1.  1.5]
     [2.  2.5]]
    """
    return _one_hot(ids, len(weight), like=weight) @ weight


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """weight (x - mean(x)) / sqrt(var(x) + eps) + bias, over the last axis.

    x (..., D), weight (D,), bias (D,) -> (..., D).

    >>> import minigrad as mg
    >>> x = mg.tensor([[1.0, 3.0], [7.0, 5.0]])
    >>> print(layer_norm(x, mg.tensor([1.0, 1.0]), mg.tensor([0.0, 0.0])).data.round(3))
    [[-1.  1.]
     [ 1. -1.]]
    """
    centred = x - mean(x, axis=-1, keepdims=True)
    deviation = sqrt(var(x, axis=-1, keepdims=True) + eps)
    return centred / deviation * weight + bias


def normalize(x: Tensor, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """x / |x|: x divided by its Euclidean length along `axis`, but at least by eps.

    The gradient at a vector of zeros is NaN here, because sqrt has no derivative at 0.
    minigrad.normalize gives 1/eps there.

    >>> import minigrad as mg
    >>> print(normalize(mg.tensor([[3.0, 4.0]])).data)
    [[0.6 0.8]]
    """
    length = sqrt((x * x).sum(axis, keepdims=True))
    return x / maximum(length, eps)


def dropout(x: Tensor, kept: Array, p: float) -> Tensor:
    """x where the booleans `kept` are true, enlarged by 1/(1-p), and 0 elsewhere.

    If `kept` is true with probability 1-p, the expected value of the result is x.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0, 3.0])
    >>> print(dropout(x, kept=[True, False, True], p=0.5).data)
    [2. 0. 6.]
    """
    mask = array_module(x.data).asarray(kept, dtype=x.dtype) / (1.0 - p)
    return x * mask


# --- activations ---

CUBIC = 0.044715  # of the approximation of GELU by tanh, from the paper (ops/gelus.py)
SIGMOID_FACTOR = 1.702  # of the approximation of GELU by a sigmoid, from the same paper


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)): from 0 for very negative x to 1 for very positive x.

    >>> import minigrad as mg
    >>> print(sigmoid(mg.tensor([-2.0, 0.0, 2.0])).data.round(3))
    [0.119 0.5   0.881]
    """
    return 1.0 / (1.0 + exp(-x))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)): a smooth form of max(x, 0). exp(x) overflows above 709.

    >>> import minigrad as mg
    >>> print(softplus(mg.tensor([-2.0, 0.0, 2.0])).data.round(3))
    [0.127 0.693 2.127]
    """
    return log(1.0 + exp(x))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x); Phi(x) is the probability that a standard normal number is below x.

    "none":    Phi(x) = (1 + erf(x / sqrt(2))) / 2
    "tanh":    Phi(x) ~ (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2

    >>> import minigrad as mg
    >>> x = mg.tensor([-1.0, 0.0, 1.0])
    >>> print(gelu(x).data.round(4), gelu(x, approximate="tanh").data.round(4))
    [-0.1587  0.      0.8413] [-0.1588  0.      0.8412]
    """
    if approximate == "none":
        return x * (1.0 + erf(x / math.sqrt(2.0))) / 2.0
    inner = math.sqrt(2.0 / math.pi) * (x + CUBIC * x * x * x)
    return x * (1.0 + tanh(inner)) / 2.0


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x): the approximation of GELU that OpenAI's CLIP uses.

    >>> import minigrad as mg
    >>> print(quick_gelu(mg.tensor([-1.0, 0.0, 1.0])).data.round(4))
    [-0.1542  0.      0.8458]
    """
    return x * sigmoid(SIGMOID_FACTOR * x)


# --- attention ---


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Any = None, kept: Array | None = None, p: float = 0.0
) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v: queries mix values by how well the keys fit.

        q          (B, H, T, D)    T queries
        k, v       (B, H, N, D)    N keys with their values
        result     (B, H, T, D)

    B is the number of sequences, H of heads, D the width of a head. There may be any
    number of axes in place of B and H. mask is None, "causal" (query i sees the keys up
    to i), booleans (true where a query may look) or numbers to add to the scores. A
    query that may see no key gets zeros. `kept` and p drop probabilities, as in
    `dropout`.

    Here the query fits the second key much better than the first:

    >>> import minigrad as mg
    >>> q = mg.tensor([[0.0, 9.0]])
    >>> k = mg.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> v = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> print(attention(q, k, v).data.round(2))
    [[3. 4.]]
    >>> print(attention(q, k, v, mask=[[True, False]]).data.round(2))
    [[1. 2.]]
    """
    queries, width = q.shape[-2:]
    keys = k.shape[-2]
    # 1. How well does each query fit each key?
    #    (B, H, T, D) @ (B, H, D, N) -> (B, H, T, N)
    scores = q @ k.swapaxes(-1, -2)
    # 2. A sum of D products of random numbers grows like sqrt(D). Undo that.
    #    (B, H, T, N)
    scores = scores / math.sqrt(width)
    # 3. Hide keys: exp(-inf) is 0.  (B, H, T, N)
    scores = scores + _numbers_to_add(mask, queries, keys, q)
    # 4. Each row becomes N probabilities, which sum to 1.  (B, H, T, N)
    probabilities = softmax(scores, axis=-1)
    # 5. While training, drop some of them.  (B, H, T, N)
    if kept is not None:
        probabilities = dropout(probabilities, kept, p)
    # 6. Mix the values.  (B, H, T, N) @ (B, H, N, D) -> (B, H, T, D)
    return probabilities @ v


def _numbers_to_add(mask: Any, queries: int, keys: int, like: Tensor) -> Array | Tensor:
    """The mask of `attention` as numbers: 0 to see a key, -inf to hide it.

    A tensor of numbers stays as it is, and gets its gradient.
    """
    xp = array_module(like.data)
    if isinstance(mask, Tensor) and mask.dtype != bool:
        return mask
    if mask is None:
        return xp.zeros((queries, keys), like.dtype)
    if isinstance(mask, str):  # "causal": the triangle below the diagonal, and the diagonal
        mask = xp.tri(queries, keys, dtype=bool)
    mask = xp.asarray(mask)
    if mask.dtype == bool:
        mask = xp.where(mask, 0.0, -math.inf)
    return mask.astype(like.dtype)


def self_attention(
    qkv: Tensor, heads: int, mask: Any = None, lengths: Sequence[int] | None = None
) -> Tensor:
    """`attention` of a sequence to itself from one projection: (B, T, 3W) -> (B, T, W).

    The last axis holds Q, K and V one after the other. Each is W wide: `heads` slices
    of D = W/heads. With `lengths`, qkv holds sequences of those lengths, laid end to
    end: (N, 3W) -> (N, W).

    >>> import minigrad as mg
    >>> import numpy as np
    >>> qkv = mg.tensor(np.ones((2, 5, 24), np.float32))
    >>> self_attention(qkv, heads=4, mask="causal").shape
    (2, 5, 8)
    """
    if lengths is not None:
        rows = [self_attention(part[None], heads, mask)[0] for part in _sequences(qkv, lengths)]
        return concatenate(rows)
    batch, length, width = qkv.shape
    head_width = width // (3 * heads)
    # 1. Name the parts of the last axis.  (B, T, 3W) -> (B, T, 3, H, D)
    parts = qkv.reshape(batch, length, 3, heads, head_width)
    # 2. Bring Q, K, V to the front and the heads before the tokens.  (3, B, H, T, D)
    parts = parts.transpose((2, 0, 3, 1, 4))
    # 3. Attend in every head.  3 times (B, H, T, D) -> (B, H, T, D)
    mixed = attention(parts[0], parts[1], parts[2], mask)
    # 4. Put the heads of each token side by side again.  (B, T, H, D) -> (B, T, W)
    return mixed.swapaxes(1, 2).reshape(batch, length, width // 3)


def _sequences(x: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Sequences that lie end to end, one by one: (N, W) -> (T, W) for each length.

    >>> import minigrad as mg
    >>> [part.shape for part in _sequences(mg.tensor([[1.0], [2.0], [3.0]]), [2, 1])]
    [(2, 1), (1, 1)]
    """
    ends = itertools.accumulate(lengths)
    return [x[end - length : end] for end, length in zip(ends, lengths)]


def padded(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """Sequences laid end to end, made equally long by zeros: (N, W) -> (B, T, W).

    >>> import minigrad as mg
    >>> padded(mg.tensor([[1.0], [2.0], [3.0]]), [2, 1]).data[..., 0].tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    longest = max(lengths)
    rows_behind = [((0, longest - length), (0, 0)) for length in lengths]
    return stack([pad(part, rows) for part, rows in zip(_sequences(x, lengths), rows_behind)])

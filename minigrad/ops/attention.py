"""How does a token look at the other tokens?

Each token i sends a query q_i. Each token j offers a key k_j and a value v_j. All are D
numbers wide, the rows of Q (T, D), K (N, D) and V (N, D). Token i mixes the values by
how well its query fits the keys:

    S = Q K^T / sqrt(D)           (T, N)   scores: how well query i fits key j
    P = softmax(S + mask)         (T, N)   probabilities: each row sums to 1
    O = P V                       (T, D)

Two letters side by side are a product of matrices, * multiplies by elements. For
sqrt(D) see clip_np/encoders/transformer.py. A mask adds 0 where a query may look and
-inf where it may not. Then P is 0 there.

Backward, with G = dL/dO, the rule for a product of matrices (linear.py) comes twice,
with the derivative of softmax (probabilities.py) in between:

    dV = P^T G
    dP = G V^T
    dS = P * (dP - rowsum(P * dP))
    dQ = dS K / sqrt(D)           dK = dS^T Q / sqrt(D)

The row sums need no (T, N) array. With the rows g_i of G and o_i of O, number i is

    sum_j P_ij dP_ij = sum_j P_ij (g_i . v_j) = g_i . (sum_j P_ij v_j) = g_i . o_i

a product of two rows of width D. A mask is an added constant and adds no term.

Dropout multiplies the probabilities by an array M of 0 and 1/(1-p) before they mix the
values:

    O = (P * M) V                 dV = (P * M)^T G                dP = (G V^T) * M

and the row sums are still g_i . o_i, with this O.

With H heads, the width is cut into H slices of width D, and each slice attends by
itself. `attention` expects Q, K and V as three arrays. `self_attention` reads all three
from one projection, as views, and writes one gradient array for it.

The plain form: minigrad/plain.py. Vaswani et al. 2017, "Attention Is All You Need",
arXiv:1706.03762, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module, row_dot
from minigrad.inputs import coerce
from minigrad.kernels import softmax_rows
from minigrad.kernels.launching import choose, contiguous
from minigrad.memory import blocks, empty, times
from minigrad.ops.basic import unbroadcast
from minigrad.ops.masks import Mask, additive_mask, mask_for_kernel, mask_of, only_hides
from minigrad.ops.noise import RandomSource, dropout_mask
from minigrad.ops.packed import Run, runs_of
from minigrad.ops.probabilities import exponentiate, safe_without_shift
from minigrad.precision import kept, restored
from minigrad.tape import Shape
from minigrad.tensor import Tensor, record


class QKV(NamedTuple):
    """Queries (B, H, T, D), keys and values (B, H, N, D), or their gradients."""

    q: Array
    k: Array
    v: Array


def attention(
    q: Any, k: Any, v: Any, mask: Mask = None, dropout: float = 0.0, rng: RandomSource = None
) -> Tensor:
    """The fast form of `plain.attention`: softmax(q k^T / sqrt(D) + mask) v.

    q (B, H, T, D), k (B, H, N, D), v (B, H, N, E) -> (B, H, T, E), with any number of
    axes in front. They broadcast: queries of all heads may share one head of keys and
    values, (B, 1, N, D). A query that may see no key gets zeros. mask is one of these:

        None               every query sees every key
        "causal"           query i sees the keys up to i
        booleans           True where a query may look
        floats             numbers to add to the scores. They get no gradient:
                           `plain.attention` gives one to a mask that is learned

    `dropout` is the share of the probabilities that become 0. They are drawn from
    `rng`, and the others grow by 1/(1 - dropout).

    >>> q = [[0.0, 9.0]]
    >>> k = [[1.0, 0.0], [0.0, 1.0]]
    >>> v = [[1.0, 2.0], [3.0, 4.0]]
    >>> print(attention(q, k, v).data.round(2))
    [[3. 4.]]
    """
    q, k, v = coerce("attention", q, k, v)
    leading = _leading_axes(q.shape, k.shape, v.shape)  # (B, H)
    queries = q.shape[-2]
    keys, width = v.shape[-2:]
    shapes = QKV(q.shape, k.shape, v.shape)
    # A leading axis of 1: `blocks` then yields everything as one block. Only
    # self_attention is cut.
    xp = array_module(q.data)
    inputs = QKV._make(  # (1, B, H, T, D), ...
        xp.broadcast_to(x.data, (1, *leading, *x.shape[-2:])) for x in (q, k, v)
    )
    scores_shape = (1, *leading, queries, keys)  # (1, B, H, T, N)
    dropout_factors = dropout_mask("attention: dropout", dropout, rng, scores_shape, q)
    added = choose(q.data, portable=additive_mask, on_gpu=mask_for_kernel)(
        "attention", mask, inputs.q[0], queries, keys
    )
    output = empty((1, *leading, queries, width), q.data)
    saved = _kept(inputs, output, _forward(inputs, output, added, dropout_factors))
    dtype = q.dtype

    def vjp(g: Array) -> tuple[Array, Array, Array]:
        inputs, output, p = _restored(saved, dtype)
        gradients = QKV(
            q=empty(inputs.q.shape, g), k=empty(inputs.k.shape, g), v=empty(inputs.v.shape, g)
        )
        _backward(g[None], inputs, output, p, gradients, dropout_factors)
        return (
            unbroadcast(gradients.q[0], shapes.q),
            unbroadcast(gradients.k[0], shapes.k),
            unbroadcast(gradients.v[0], shapes.v),
        )

    return record("attention", output[0], (q, k, v), vjp)


def _kept(inputs: QKV, output: Array, p: Array) -> list[Array]:
    """What the backward pass needs, as `kept` keeps it: Q, K, V, O and P."""
    return [kept(array) for array in (*inputs, output, p)]


def _restored(saved: list[Array], dtype: np.dtype) -> tuple[QKV, Array, Array]:
    """What `_kept` was passed."""
    q, k, v, output, p = (restored(array, dtype) for array in saved)
    return QKV(q, k, v), output, p


def _leading_axes(q: Shape, k: Shape, v: Shape) -> Shape:
    """The broadcast axes in front of the last two; ValueError if shapes do not fit.

    >>> _leading_axes((2, 8, 5, 4), (2, 1, 3, 4), (3, 6))
    (2, 8)
    """
    fits = min(len(q), len(k), len(v)) >= 2 and q[-1] == k[-1] and k[-2] == v[-2]
    try:
        leading = np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"attention: q {q}, k {k}, v {v}: expected (B, H, T, D), (B, H, N, D) and "
            "(B, H, N, E), with axes in front that broadcast"
        )
    return leading


def self_attention(
    qkv: Any, heads: int, mask: Mask = None, lengths: Iterable[int] | None = None
) -> Tensor:
    """The fast form of `plain.self_attention`: (B, T, 3W) -> (B, T, W).

    The last axis of qkv holds Q, K and V, each W wide: `heads` slices of width W/heads.
    mask: as for `attention`.

    With `lengths`, qkv holds that many sequences of those lengths, laid end to end, and
    each attends to itself (packed.py): (N, 3W) -> (N, W), N the sum of the lengths. The
    mask is then None or "causal". Neighbours of one length are computed together, so
    sort them.

    >>> import numpy as np
    >>> self_attention(np.ones((2, 5, 24), np.float32), heads=4, mask="causal").shape
    (2, 5, 8)
    >>> self_attention(np.ones((8, 24), np.float32), heads=4, lengths=[2, 3, 3]).shape
    (8, 8)
    """
    (qkv,) = coerce("self_attention", qkv)
    runs = _runs_of_sequences(qkv.shape, heads, mask, lengths)
    width = qkv.shape[-1]
    rows = math.prod(qkv.shape[:-1])  # N
    flat = qkv.data.reshape(rows, width)  # (N, 3W)
    split = choose(flat, portable=_split_heads, on_gpu=_copied_heads)
    to_mask = choose(flat, portable=additive_mask, on_gpu=mask_for_kernel)
    mixed = empty((rows, width // 3), flat)  # (N, W)
    saved = []
    for run in runs:
        inputs = QKV._make(split(run.of(flat), 3, heads))
        added = to_mask("self_attention", mask, inputs.q, run.length, run.length)
        # (b, H, T, D); writing into it fills `mixed`
        output = _split_heads(run.of(mixed), 1, heads)[0]
        saved.append(_kept(inputs, output, _forward(inputs, output, added)))
    dtype = qkv.dtype
    shape = qkv.shape

    def vjp(g: Array) -> Array:
        flat_g = g.reshape(rows, width // 3)  # (N, W)
        to_qkv = empty((rows, width), g)  # (N, 3W)
        for run, arrays in zip(runs, saved):
            inputs, output, p = _restored(arrays, dtype)
            to_heads = _split_heads(run.of(to_qkv), 3, heads)  # views of to_qkv
            gradients = choose(p, portable=_as_it_is, on_gpu=_without_gaps)(to_heads)
            g_heads = split(run.of(flat_g), 1, heads)[0]  # (b, H, T, D)
            _backward(g_heads, inputs, output, p, QKV._make(gradients))
            if gradients is not to_heads:
                to_heads[...] = gradients
        return to_qkv.reshape(shape)

    return record("self_attention", mixed.reshape(*shape[:-1], width // 3), (qkv,), vjp)


def _runs_of_sequences(
    shape: Shape, heads: int, mask: Mask, lengths: Iterable[int] | None
) -> list[Run]:
    """The sequences of a projection of `shape`; ValueError if it cannot be cut so.

    >>> _runs_of_sequences((2, 5, 24), heads=4, mask=None, lengths=None)
    [Run(start=0, sequences=2, length=5)]
    """
    axes = "B, T" if lengths is None else "N"
    if len(shape) != (3 if lengths is None else 2) or heads < 1 or shape[-1] % (3 * heads):
        raise ValueError(
            f"self_attention: qkv {shape} must be ({axes}, 3*W), W a multiple of {heads} heads"
        )
    if lengths is None:
        batch, length, _ = shape
        return [Run(0, batch, length)]
    if not (mask is None or isinstance(mask, str)):
        raise ValueError(
            'self_attention: with `lengths`, the mask must be None or "causal", not an array: '
            "the sequences have scores of different shapes"
        )
    return runs_of("self_attention", lengths, shape[0])


def _split_heads(x: Array, parts: int, heads: int) -> Array:
    """(B, T, parts*W) as `parts` arrays (B, H, T, D), D = W/heads.

    They are views if x is contiguous, as it is from `empty`: what is written into them
    is written into x.
    """
    batch, length, width = x.shape
    # (B, T, parts, H, D)
    split = x.reshape(batch, length, parts, heads, width // (parts * heads))
    return split.transpose(2, 0, 3, 1, 4)  # (parts, B, H, T, D)


def _copied_heads(x: Array, parts: int, heads: int) -> Array:
    """`_split_heads` with a copy, for a GPU, whose products want no gaps.

    CuPy would copy each of the matrices before each product.
    """
    return contiguous(_split_heads(x, parts, heads))  # (parts, B, H, T, D)


def _as_it_is(heads: Array) -> Array:
    """Products on a CPU write into views."""
    return heads


def _without_gaps(heads: Array) -> Array:
    """An array to write products into, on a GPU: all are copied at once then."""
    return empty(heads.shape, heads)


def _scale(q: Array) -> float:
    """1 / sqrt(D). If D is 0, all scores are 0, and any scale will do."""
    return 1.0 / math.sqrt(max(q.shape[-1], 1))


def _forward(
    inputs: QKV,
    output: Array,
    mask: Array | str | None = None,
    dropout_factors: Array | None = None,
) -> Array:
    """Write O (B, H, T, D) into `output`, and return P (B, H, T, N) for `_backward`.

    mask is added to the scores; a kernel also knows "causal". dropout_factors are 0
    where a probability is dropped, else 1/(1-p). self_attention goes in blocks of as
    many samples as stay in the cache, at least one. What `attention` passes is one
    block.
    """
    q, k, v = inputs
    xp = array_module(q)
    scale = _scale(q)
    p = empty((*q.shape[:-1], k.shape[-2]), q)  # (B, H, T, N)
    softmax = choose(
        p, portable=partial(_masked_softmax, only_hides(mask)), on_gpu=softmax_rows.probabilities
    )
    for samples in blocks(p):
        # P = softmax(Q K^T / sqrt(D) + mask), (b, H, T, N), all in the same memory
        products = xp.matmul(q[samples], k[samples].swapaxes(-1, -2), out=p[samples])
        probabilities = softmax(products, scale, mask_of(mask, samples, q))
        # O = P V, or (P * M) V
        if dropout_factors is not None:
            probabilities = times(probabilities, dropout_factors[samples])
        xp.matmul(probabilities, v[samples], out=output[samples])  # (b, H, T, D)
    return p


def _masked_softmax(only_hides: bool, products: Array, scale: float, mask: Array | None) -> Array:
    """P from Q K^T, (b, H, T, N), in the same memory; only_hides: see `only_hides`."""
    # S = Q K^T / sqrt(D) + mask
    scores = products
    scores *= scale
    # Do the scores need a shift? That is asked before the mask is added, because its
    # -inf would look like huge scores. A mask of 0 and -inf makes no score larger.
    shift = not (only_hides and safe_without_shift(scores))
    if mask is not None:
        scores += mask
    # P = exp(S) / rowsum(exp(S))
    exponentials, sums = exponentiate(scores, shift)
    return array_module(scores).multiply(exponentials, 1.0 / sums, out=exponentials)


def _backward(
    g: Array,
    inputs: QKV,
    output: Array,
    p: Array,
    gradients: QKV,
    dropout_factors: Array | None = None,
) -> None:
    """Write dQ, dK and dV into `gradients`, from G = dL/dO and what `_forward` made."""
    q, k, v = inputs
    xp = array_module(q)
    scale = _scale(q)
    softmax_backward = choose(p, portable=_softmax_backward, on_gpu=_launch_backward)
    for samples in blocks(p):
        g_block, p_block = g[samples], p[samples]
        # dP = G V^T, or (G V^T) * M, (b, H, T, N)
        d_p = xp.matmul(g_block, v[samples].swapaxes(-1, -2), out=empty(p_block.shape, p))
        if dropout_factors is not None:
            d_p *= dropout_factors[samples]
        d_s = softmax_backward(d_p, p_block, g_block, output[samples], scale)
        xp.matmul(d_s, k[samples], out=gradients.q[samples])
        xp.matmul(d_s.swapaxes(-1, -2), q[samples], out=gradients.k[samples])
        # dV = P^T G, or (P * M)^T G
        mixed_by = p_block
        if dropout_factors is not None:
            mixed_by = times(p_block, dropout_factors[samples])
        xp.matmul(mixed_by.swapaxes(-1, -2), g_block, out=gradients.v[samples])


def _softmax_backward(d_p: Array, p: Array, g: Array, output: Array, scale: float) -> Array:
    """dS / sqrt(D), which dQ and dK both need, in the memory of dP, (b, H, T, N)."""
    # dS = P * (dP - rowsum(P * dP)), with g_i . o_i for the row sums
    d_s = d_p
    d_s -= row_dot(g, output)[..., None]
    d_s *= p
    d_s *= scale
    return d_s


def _launch_backward(d_p: Array, p: Array, g: Array, output: Array, scale: float) -> Array:
    """`_softmax_backward` by the kernel, which adds up the row sums by itself."""
    return softmax_rows.gradient(d_p, p, scale)

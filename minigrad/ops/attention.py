"""Chapter 7: how does a token look at the others?

Each of T tokens sends a query q_i and offers a key k_j and a value v_j, all of width D. Token i
mixes the values by how well its query fits the keys:

    S = Q K^T / sqrt(D)           (T, T)   how well query i fits key j
    P = softmax(S + mask)         (T, T)   each row sums to 1; a mask is usually of 0 and -inf
    O = P V                       (T, D)

Backward, with G = dL/dO, is the product rule twice and softmax's derivative between:

    dV = P^T G
    dP = G V^T
    dS = P * (dP - rowsum(P * dP))
    dQ = dS K / sqrt(D)        dK = dS^T Q / sqrt(D)

The row sums are had for less: rowsum(P * dP)_i = sum_j P_ij (g_i . v_j) = g_i . o_i, D products
in place of one for each key. The mask is an added constant, so its derivative adds no term; where
it is -inf, P is 0 and so is dS. Dropout puts P * kept in P's place in O and dV, and multiplies
G V^T by kept; the row sums are g_i . o_i still, with this O. The heads are H such maps on slices of
the width.

`attention` takes Q, K and V as three arrays, with any number of axes in front, and is the plain
form that the other two are tested against. `self_attention` reads all three from one projection, as
views, and writes one gradient array for it. `pooled_attention` has one query for each sequence, its
end token, say: one row of scores, and `lengths` says how many keys it sees, as its row of a causal
mask would.

Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.2.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, row_dot
from minigrad.inputs import coerce
from minigrad.memory import blocks, empty, times
from minigrad.ops.neural import RandomSource, are_small, dropout_mask, exponentials
from minigrad.tensor import Tensor, record

Mask = str | Array | None


def additive_mask(name: str, mask: Mask, like: Array, queries: int, keys: int) -> Array | None:
    """The mask as numbers to add to the scores (..., queries, keys): 0 to see, -inf to hide.
    mask is None, "causal" (query i sees keys up to i), a boolean array (True where a query may
    look) or an array of floats to add, which gets no gradient; like (..., queries, D) gives dtype
    and leading axes."""
    xp = array_module(like)
    if mask is None:
        return None
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f'{name}: mask must be None, "causal" or an array, not {mask!r}')
        if queries != keys:
            raise ValueError(f"{name}: a causal mask needs as many queries ({queries}) as keys")
        mask = np.tri(keys, dtype=bool)
    mask = xp.asarray(mask.data if isinstance(mask, Tensor) else mask)
    shape = (*like.shape[:-2], queries, keys)
    pairs = zip(reversed(mask.shape), reversed(shape))
    if mask.ndim > len(shape) or any(n not in (1, wanted) for n, wanted in pairs):
        raise ValueError(f"{name}: mask {mask.shape} does not broadcast to scores {shape}")
    if mask.dtype.kind not in "bf":
        choice = "pass booleans (True where a query may look) or floats to add to the scores"
        raise TypeError(f"{name}: a mask of dtype {mask.dtype} could mean two things: {choice}")
    if mask.dtype == bool:
        mask = xp.where(mask, 0.0, -math.inf)
    return mask.astype(like.real.dtype)


def _attend(
    q: Array, k: Array, v: Array, o: Array, mask: Array | None = None, kept: Array | None = None
) -> Array:
    """Write O (B, H, T, D) into o; returns P (B, H, T, N) for `_attend_vjp`. q (B, H, T, D); k and
    v (B, H, N, D), N keys; mask broadcasts to P; kept, like P, is 0 where dropped, else 1/(1-p)."""
    xp, scale = array_module(q), _scale(q)
    p = empty((*q.shape[:-1], k.shape[-2]), q)  # (B, H, T, N)
    # exp of small scores, and sums of it, stay far inside float32: softmax needs no shift then.
    # -inf adds zeros to the sums; other floats in a mask could push a row out of range.
    hides_only = mask is None or (xp is np and bool(((mask == 0.0) | (mask == -math.inf)).all()))
    for b in blocks(p):  # as many samples as the cache holds, at least one
        scores = xp.matmul(q[b], k[b].swapaxes(-1, -2), out=p[b])
        scores *= scale
        small = hides_only and are_small(scores)
        if mask is not None:
            scores += _of(mask, b, q)
        sums = exponentials(scores, small)  # (b, H, T, 1), and scores becomes exp(scores)
        scores *= 1.0 / sums  # P
        xp.matmul(scores if kept is None else times(scores, kept[b]), v[b], out=o[b])
    return p


def _scale(q: Array) -> float:
    return 1.0 / math.sqrt(max(q.shape[-1], 1))  # D may be 0


def _of(mask: Array, b: slice, like: Array) -> Array:
    """The mask for samples b: a slice of it if it has an axis of samples, else all of it."""
    return mask[b] if mask.ndim == like.ndim and len(mask) > 1 else mask


def _attend_vjp(
    g: Array,
    inputs: Sequence[Array],
    saved: Sequence[Array],
    into: Sequence[Array],
    kept: Array | None = None,
) -> None:
    """Write dQ, dK, dV into `into`, from g = dL/dO, inputs Q, K, V and saved O, P; shapes as in
    `_attend`."""
    (q, k, v), (o, p), (d_q, d_k, d_v) = inputs, saved, into
    xp, scale = array_module(q), _scale(q)
    for b in blocks(p):
        d_s = xp.matmul(g[b], v[b].swapaxes(-1, -2), out=empty(p[b].shape, p))  # G V^T
        if kept is not None:
            d_s *= kept[b]
        d_s -= row_dot(g[b], o[b])[..., None]  # dP - rowsum(P * dP)
        d_s *= p[b]
        d_s *= scale  # from here on that of Q K^T, which dQ and dK share
        dropped = p[b] if kept is None else times(p[b], kept[b])
        xp.matmul(dropped.swapaxes(-1, -2), g[b], out=d_v[b])
        xp.matmul(d_s, k[b], out=d_q[b])
        xp.matmul(d_s.swapaxes(-1, -2), q[b], out=d_k[b])


def attention(
    q: Any, k: Any, v: Any, mask: Mask = None, dropout: float = 0.0, rng: RandomSource = None
) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v: q (B, H, T, D), k and v (B, H, N, D) -> (B, H, T, D).
    dropout is the share of the probabilities that become 0, drawn from `rng`; the others grow by
    1/(1 - dropout). Masks: `additive_mask`; a query that may see no key gets zeros."""
    q, k, v = coerce("attention", q, k, v)
    apart = q.shape[:-2] != k.shape[:-2] or q.shape[-1:] != k.shape[-1:]
    if min(q.ndim, k.ndim) < 2 or apart or k.shape != v.shape:
        expected = "expected (B, H, T, D) and twice (B, H, N, D)"
        raise ValueError(f"attention: q {q.shape}, k {k.shape}, v {v.shape}: {expected}")
    # One axis more in front: whatever axes there are, they are one block.
    shape, inputs = q.shape, [each.data[None] for each in (q, k, v)]  # (1, B, H, T, D), ...
    kept = dropout_mask("attention: dropout", dropout, rng, (1, *shape[:-1], k.shape[-2]), q)
    mask = additive_mask("attention", mask, q.data, shape[-2], k.shape[-2])
    o = empty((1, *shape), q.data)
    saved = o, _attend(*inputs, o, mask, kept)

    def vjp(g: Array) -> tuple[Array, ...]:
        into = [empty(each.shape, g) for each in inputs]
        _attend_vjp(g[None], inputs, saved, into, kept)
        return tuple(each[0] for each in into)

    return record("attention", o[0], (q, k, v), vjp)


def _heads(x: Array, parts: int, heads: int) -> list[Array]:
    """(B, T, parts*W) as `parts` arrays (B, H, T, D): views of a contiguous x, such as `empty`
    gives, so that writing into them writes into x."""
    batch, length, width = x.shape
    split = x.reshape(batch, length, parts, heads, width // (parts * heads))  # (B, T, parts, H, D)
    return list(split.transpose(2, 0, 3, 1, 4))  # (parts, B, H, T, D)


def self_attention(qkv: Any, heads: int, mask: Mask = None) -> Tensor:
    """Attention of a sequence to itself from one projection: (B, T, 3*W) -> (B, T, W).
    The last axis holds Q, K and V, each `heads` slices of width W/heads."""
    (qkv,) = coerce("self_attention", qkv)
    if qkv.ndim != 3 or heads < 1 or qkv.shape[-1] % (3 * heads):
        expected = f"(B, T, 3*W), W a multiple of {heads} heads"
        raise ValueError(f"self_attention: qkv {qkv.shape} must be {expected}")
    batch, length, width = qkv.shape
    inputs = _heads(qkv.data, 3, heads)
    mask = additive_mask("self_attention", mask, inputs[0], length, length)
    mixed = empty((batch, length, width // 3), qkv.data)  # (B, T, W)
    (o,) = _heads(mixed, 1, heads)
    saved = o, _attend(*inputs, o, mask)

    def vjp(g: Array) -> Array:
        d_qkv = empty((batch, length, width), g)
        _attend_vjp(_heads(g, 1, heads)[0], inputs, saved, _heads(d_qkv, 3, heads))
        return d_qkv

    return record("self_attention", mixed, (qkv,), vjp)

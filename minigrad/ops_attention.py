"""Chapter 7: how does a token look at the others?

Each of T tokens sends a query q_i and offers a key k_j and a value v_j, all of width D. Token i
mixes the values by how well its query fits the keys:

    S = Q K^T / sqrt(D)           (T, T)   how well query i fits key j
    P = softmax(S + mask)         (T, T)   each row sums to 1; the mask is 0 or -inf
    O = P V                       (T, D)

Backward, with G = dL/dO, is the product rule twice and softmax's vjp between:

    dV = P^T G
    dP = G V^T
    dS = P * (dP - rowsum(P * dP))          rowsum(P * dP) = rowsum(O * G), which is cheaper
    dQ = dS K / sqrt(D)        dK = dS^T Q / sqrt(D)

The scale and the mask add nothing: a masked P is 0 and so is its dS. Dropout puts P * kept in
P's place in O and dV, and dP * kept in dP's; rowsum(O * G) stays what it is. Only P is kept
besides the inputs. The heads are H such maps side by side on slices of the width.

`attention` takes Q, K, V apart and is the reference. `self_attention` reads all three from one
projection, without copying them apart, and writes one gradient for it. `pooled_attention`
serves the last block of an encoder of which only one row is used: one query, all keys.

Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.2.
"""

import math
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, record
from minigrad.backend import Array, array_module, row_dot
from minigrad.ops_basic import coerce
from minigrad.ops_neural import RandomSource, dropout_mask, softmax_rows

Mask = str | Array | None


def additive_mask(name: str, mask: Mask, like: Array, queries: int, keys: int) -> Array | None:
    """The mask as numbers to add to the scores (..., queries, keys): 0 to see, -inf to hide.
    mask is None, "causal" (query i sees keys up to i), a boolean array (True where a query may
    look) or an array of floats to add; like (..., queries, D) gives dtype and leading axes."""
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
    scores = (*like.shape[:-2], queries, keys)
    pairs = zip(reversed(mask.shape), reversed(scores))
    if mask.ndim > len(scores) or any(n not in (1, wanted) for n, wanted in pairs):
        raise ValueError(f"{name}: mask {mask.shape} does not broadcast to scores {scores}")
    if mask.dtype.kind not in "bf":
        choice = "pass booleans (True where a query may look) or floats to add to the scores"
        raise TypeError(f"{name}: a mask of dtype {mask.dtype} could mean two things: {choice}")
    if mask.dtype == bool:
        mask = xp.where(mask, 0.0, -math.inf)
    return mask.astype(like.real.dtype)


def _scale(q: Array) -> float:
    return 1.0 / math.sqrt(max(q.shape[-1], 1))


def _attend(
    q: Array, k: Array, v: Array, mask: Array | None, kept: Array | None = None
) -> tuple[Array, Array]:
    """O (..., T, D) and P (..., T, S) from q (..., T, D) and k, v (..., S, D)."""
    p = softmax_rows((q * _scale(q)) @ k.swapaxes(-1, -2), mask)  # (..., T, S)
    return (p if kept is None else p * kept) @ v, p


def _attend_vjp(
    g: Array, q: Array, k: Array, v: Array, p: Array, o: Array, kept: Array | None = None
) -> tuple[Array, Array, Array]:
    """dQ, dK, dV from g = dL/dO."""
    d_scores = g @ v.swapaxes(-1, -2)  # (..., T, S)
    if kept is not None:
        d_scores *= kept
    d_scores -= row_dot(g, o)[..., None]
    d_scores *= p
    d_scores *= _scale(q)
    dropped = p if kept is None else p * kept
    return d_scores @ k, d_scores.swapaxes(-1, -2) @ q, dropped.swapaxes(-1, -2) @ g


def attention(
    q: Any, k: Any, v: Any, mask: Mask = None, dropout: float = 0.0, rng: RandomSource = None
) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v: q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D).
    dropout zeroes that share of the probabilities, drawn from `rng`. Masks: `additive_mask`."""
    q, k, v = coerce("attention", q, k, v)
    apart = q.shape[:-2] != k.shape[:-2] or q.shape[-1:] != k.shape[-1:]
    if q.ndim < 2 or apart or k.shape != v.shape:
        expected = "expected (B, H, T, D) and twice (B, H, S, D)"
        raise ValueError(f"attention: q {q.shape}, k {k.shape}, v {v.shape}: {expected}")
    x, y, z = q.data, k.data, v.data
    kept = dropout_mask("attention: dropout", dropout, rng, (*q.shape[:-1], k.shape[-2]), q)
    o, p = _attend(x, y, z, additive_mask("attention", mask, x, q.shape[-2], k.shape[-2]), kept)

    def vjp(g: Array) -> tuple[Array, Array, Array]:
        return _attend_vjp(g, x, y, z, p, o, kept)

    return record("attention", o, (q, k, v), vjp)


def _heads(x: Array, parts: int, heads: int) -> list[Array]:
    """(B, T, parts*W) as `parts` views (B, H, T, D)."""
    batch, length, width = x.shape
    split = x.reshape(batch, length, parts, heads, width // (parts * heads))  # (B, T, parts, H, D)
    return list(split.transpose(2, 0, 3, 1, 4))  # (parts, B, H, T, D)


def _merge(*parts: Array) -> Array:
    """`_heads` undone: parts (B, H, T, D) side by side in a new array (B, T, parts*H*D)."""
    batch, heads, length, width = parts[0].shape
    shape = (batch, length, len(parts) * heads * width)
    merged = array_module(parts[0]).empty(shape, parts[0].dtype)  # (B, T, parts*H*D)
    for into, part in zip(_heads(merged, len(parts), heads), parts):
        into[...] = part
    return merged


def self_attention(qkv: Any, heads: int, mask: Mask = None) -> Tensor:
    """Attention of a sequence to itself from one projection: (B, T, 3*W) -> (B, T, W).
    The last axis holds Q, K and V, each `heads` slices of width W/heads."""
    (qkv,) = coerce("self_attention", qkv)
    if qkv.ndim != 3 or heads < 1 or qkv.shape[-1] % (3 * heads):
        expected = f"(B, T, 3*W), W a multiple of {heads} heads"
        raise ValueError(f"self_attention: qkv {qkv.shape} must be {expected}")
    q, k, v = _heads(qkv.data, 3, heads)
    length = qkv.shape[1]
    o, p = _attend(q, k, v, additive_mask("self_attention", mask, q, length, length))

    def vjp(g: Array) -> Array:
        return _merge(*_attend_vjp(*_heads(g, 1, heads), q, k, v, p, o))

    return record("self_attention", _merge(o), (qkv,), vjp)


def pooled_attention(q: Any, kv: Any, heads: int, lengths: Any = None) -> Tensor:
    """One query for each sequence: q (B, W), kv (B, T, 2*W) -> (B, W).
    lengths (B,) is how many of the first keys each query sees; None for all of them."""
    q, kv = coerce("pooled_attention", q, kv)
    if q.ndim != 2 or kv.ndim != 3 or kv.shape[::2] != (q.shape[0], 2 * q.shape[1]):
        found = f"q {q.shape} and kv {kv.shape}"
        raise ValueError(f"pooled_attention: {found}: expected (B, W) and (B, T, 2*W)")
    if heads < 1 or q.shape[1] % heads:
        raise ValueError(f"pooled_attention: width {q.shape[1]} is no multiple of {heads} heads")
    xp = array_module(q.data)
    (query,) = _heads(q.data[:, None, :], 1, heads)  # (B, H, 1, D)
    k, v = _heads(kv.data, 2, heads)
    added = None
    if lengths is not None:
        lengths = xp.asarray(lengths)
        if lengths.shape != q.shape[:1]:
            expected = f"{q.shape[:1]}, one a query"
            raise ValueError(f"pooled_attention: lengths {lengths.shape} must be {expected}")
        visible = xp.arange(kv.shape[1]) < lengths[:, None, None, None]  # (B, 1, 1, T)
        added = additive_mask("pooled_attention", visible, query, 1, kv.shape[1])
    o, p = _attend(query, k, v, added)

    def vjp(g: Array) -> tuple[Array, Array]:
        (g,) = _heads(g[:, None, :], 1, heads)  # (B, H, 1, D)
        d_q, d_k, d_v = _attend_vjp(g, query, k, v, p, o)
        return _merge(d_q)[:, 0], _merge(d_k, d_v)  # (B, W), (B, T, 2*W)

    return record("pooled_attention", _merge(o)[:, 0], (q, kv), vjp)  # (B, W)

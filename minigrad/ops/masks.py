"""Which tokens may a token look at?

A mask is added to the scores of attention before their softmax (attention.py): 0 where
a query may look, -infinity where it may not, because exp(-infinity) = 0. Three queries
and three keys under a causal mask, where a token sees itself and those before it:

    0  -inf  -inf
    0     0  -inf
    0     0     0

Other numbers are allowed. They make a query look more or less at a key, as a function
of the distance between two tokens, for example.

Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, section 3.2.3.
"""

from __future__ import annotations

import math

from minigrad.backend import Array, array_module, on_host
from minigrad.tensor import constant

Mask = str | Array | None


def additive_mask(name: str, mask: Mask, like: Array, queries: int, keys: int) -> Array | None:
    """A mask of any kind as numbers to add to the scores: 0 to see, -inf to hide.

    mask: as for `attention`. like (..., queries, D) gives the dtype and the axes in
    front. ValueError if the mask does not broadcast to the scores (..., queries, keys).

    >>> import numpy as np
    >>> additive_mask("attention", "causal", np.zeros((3, 5)), queries=3, keys=3)
    array([[  0., -inf, -inf],
           [  0.,   0., -inf],
           [  0.,   0.,   0.]])
    """
    xp = array_module(like)
    if mask is None:
        return None
    if isinstance(mask, str):
        _check_causal(name, mask, queries, keys)
        values = xp.tri(keys, dtype=bool)  # True on and below the diagonal
    else:
        values = xp.asarray(constant(name, "mask", mask))
    scores = (*like.shape[:-2], queries, keys)
    if not broadcasts_to(values.shape, scores):
        raise ValueError(f"{name}: mask {values.shape} does not broadcast to scores {scores}")
    if values.dtype.kind not in "bf":
        raise TypeError(
            f"{name}: a mask of dtype {values.dtype} could mean two things: pass booleans "
            "(True where a query may look) or floats to add to the scores"
        )
    dtype = like.real.dtype
    if values.dtype == bool:
        return xp.where(values, dtype.type(0.0), dtype.type(-math.inf))
    return values.astype(dtype)


def mask_for_kernel(
    name: str, mask: Mask, like: Array, queries: int, keys: int
) -> Array | str | None:
    """`additive_mask` for the kernel of softmax, which needs no array for "causal"."""
    if isinstance(mask, str):
        _check_causal(name, mask, queries, keys)
        return mask
    return additive_mask(name, mask, like, queries, keys)


def _check_causal(name: str, mask: str, queries: int, keys: int) -> None:
    """ValueError unless `mask` is "causal" and there are as many queries as keys."""
    if mask != "causal":
        raise ValueError(f'{name}: mask must be None, "causal" or an array, not {mask!r}')
    if queries != keys:
        raise ValueError(
            f"{name}: a causal mask needs as many queries ({queries}) as keys ({keys})"
        )


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `target` without making it larger."""
    sizes = zip(reversed(shape), reversed(target))
    return len(shape) <= len(target) and all(n in (1, wanted) for n, wanted in sizes)


def only_hides(mask: Array | str | None) -> bool:
    """Whether a mask consists of 0 and -inf; on a GPU the answer is not waited for."""
    if mask is None or isinstance(mask, str) or not on_host(mask):
        return mask is None
    return bool(((mask == 0.0) | (mask == -math.inf)).all())


def mask_of(mask: Array | str | None, samples: slice, like: Array) -> Array | str | None:
    """The mask of some samples: all of it if every sample has the same."""
    if mask is None or isinstance(mask, str):
        return mask
    differs_by_sample = mask.ndim == like.ndim and len(mask) > 1
    return mask[samples] if differs_by_sample else mask

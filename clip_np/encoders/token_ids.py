"""Which token ids does a text encoder accept?

Rows of integers (B, T), no longer than the encoder has positions. The encoder may
compute on a GPU, but the rows are checked, measured and cut on the host: to look at
numbers on a GPU means to wait for it, in every batch.
"""

import minigrad as mg
from minigrad.backend import Array, move


def checked_ids(tokens: Array | mg.Tensor, context_length: int) -> Array:
    """The ids (B, T) as an array on the host.

    ValueError for numbers that are no integers, or rows longer than context_length.

    >>> import numpy as np
    >>> checked_ids(np.array([[512, 72, 513]]), context_length=2)
    Traceback (most recent call last):
    ValueError: encode_text: expected integer tokens of shape (B, T) with T at most ...
    """
    ids = move(mg.tensor(tokens).data, "numpy")
    if ids.ndim != 2 or ids.shape[1] > context_length or ids.dtype.kind not in "iu":
        raise ValueError(
            f"encode_text: expected integer tokens of shape (B, T) with T at most "
            f"{context_length}, got {ids.dtype} {ids.shape}"
        )
    return ids

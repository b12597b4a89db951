"""What may a text encoder be given?

Rows of token ids, (B, T) integers, no longer than the encoder has positions. They are
looked at and cut on the host, wherever the encoder computes.
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

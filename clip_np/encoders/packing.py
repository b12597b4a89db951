"""How does a batch of captions cost no time for its padding?

The captions of a batch have different lengths, and the array of their ids is filled up
with padding. If captions have 16 to 32 tokens, a quarter of the array is padding, and a
quarter of the work would be done for nobody. So the short captions come first, and all
tokens are laid end to end (minigrad/ops/packed.py):

    ids (B, T)            order 1 2 0          packed (N,)
    0   a b c d
    1   e f . .      ->   e f | g h | a b c d
    2   g h . .

Blocks work on the packed rows (N, W). Only attention is told where captions end. The
last block reads one row of each caption (pooled.py), and looks at all its tokens once
more. It is small, so there the captions are padded again.

On a GPU, each group of captions of one length would be some ten launches more in each
block. That costs more than the padding, so there the batch stays as it is.
"""

from typing import NamedTuple

import numpy as np

import minigrad as mg
from minigrad.backend import Array


class Packing(NamedTuple):
    """Where the tokens of a batch are in the packed form, the short captions first.

    order (B,) are the captions' numbers in the batch, and lengths (B,) their lengths,
    in the order of the packed form. rows and columns (N,) say where in the batch each
    token comes from.
    """

    order: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """Where the last token of each caption is in the packed form, (B,)."""
        return self.lengths.cumsum() - 1

    @property
    def visible(self) -> np.ndarray:
        """Which places of the captions, padded again, hold tokens: (B, T) booleans."""
        return np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]

    def in_order_of_batch(self, rows: mg.Tensor) -> mg.Tensor:
        """A row for each caption, moved to the caption's place in the batch: (B, W)."""
        return mg.take(rows, self.order.argsort())


def pack(lengths: Array) -> Packing:
    """How captions of these lengths (B,) are packed.

    >>> packing = pack(np.array([4, 2, 2]))
    >>> packing.order, packing.lengths, packing.ends
    (array([1, 2, 0]), array([2, 2, 4]), array([1, 3, 7]))
    >>> ids = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]])
    >>> ids[packing.rows, packing.columns]
    array([5, 6, 7, 8, 1, 2, 3, 4])
    """
    order = np.argsort(lengths, kind="stable")  # (B,)
    in_order = lengths[order]  # (B,)
    starts = in_order.cumsum() - in_order  # (B,)
    rows = np.repeat(order, in_order)  # (N,)
    columns = np.arange(len(rows)) - np.repeat(starts, in_order)  # (N,)
    return Packing(order=order, lengths=in_order, rows=rows, columns=columns)

"""Which captions and which images lie nearest?

By the cosine, the largest first. Of two that are equal, the earlier one comes first, so
that an order and the ranks read from it never disagree.
"""

from typing import NamedTuple

import numpy as np

NEIGHBOURS = 8  # that are listed


class Neighbours(NamedTuple):
    """For M things the k nearest others, the nearest first, and their cosines."""

    rows: np.ndarray  # (M, k) integers
    cosines: np.ndarray  # (M, k)


def nearest(cosines: np.ndarray, k: int, leave_out_self: bool) -> Neighbours:
    """The k columns with the largest cosines, for each row of (M, A).

    leave_out_self: column i is row i, and no neighbour of itself. If there are fewer
    than k columns, all of them are listed.

    >>> nearest(np.array([[0.1, 0.9, 0.5]]), k=2, leave_out_self=False).rows
    array([[1, 2]])
    """
    if leave_out_self:
        cosines = cosines.copy()
        np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")  # (M, A)
    columns = cosines.shape[1] - (1 if leave_out_self else 0)
    rows = order[:, : min(k, columns)]  # (M, k)
    return Neighbours(rows=rows, cosines=np.take_along_axis(cosines, rows, axis=1))


def ranks_in_rows(cosines: np.ndarray) -> np.ndarray:
    """The place, from 1, of every column in the order of its row: (M, A).

    >>> ranks_in_rows(np.array([[0.1, 0.9, 0.5]]))
    array([[3, 1, 2]])
    """
    order = np.argsort(-cosines, axis=1, kind="stable")  # (M, A)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, cosines.shape[1] + 1)[None], axis=1)
    return ranks

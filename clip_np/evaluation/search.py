"""How is one picture found among thousands?

All of them are embedded once, and their features kept in an index. Then a question
takes one product of a matrix and a vector. With the unit features of N images as the
rows of F (N, E), and those of the query as q (E,), the cosines are

    F q                                                     (N,)

Of a large index, F lies in parts, each of which is mapped from a file. There is a
product for each part, and no row is copied. To read F from memory takes longer than to
multiply, and one core reads slower than several do. So each core has an equal share of
the rows. The threads of the BLAS library would do that, too, but they wait for each
other at the end of every part; these wait once.

The query may be sentences and images: both encoders point into the same space (see
`queries.py`). A search costs N E multiplications and one reading of F. For 100,000
images and E = 512 these are 205 MB and less than 0.1 s. The k best of N cosines are
known without sorting them all.
"""

import itertools
import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from clip_np.data import Preprocess
from clip_np.evaluation.duplicates import fold_copies
from clip_np.evaluation.features import AnyTokenizer
from clip_np.evaluation.index import Index
from clip_np.evaluation.index_files import LENGTH_TOLERANCE
from clip_np.evaluation.queries import embed_query
from clip_np.files import FileError
from clip_np.model import CLIP
from minigrad.threads import available_cores, blas_threads, run_workers

SHARE_NUMBERS = 1 << 21
"""Numbers of F that are worth a thread of their own: 8 MiB.

One core multiplies them in half a millisecond, to start a thread takes a tenth of one.
"""

TIE_DIGITS = 5  # of cosines: copies differ in later ones, by rounding


class Match(NamedTuple):
    """An image that a search found."""

    path: str
    cosine: float  # with the query, from -1 to 1


def search_index(
    index: Index,
    query: str | Sequence[str],
    model: CLIP,
    preprocess: Preprocess,
    tokenizer: AnyTokenizer,
    k: int = 12,
    minus: Sequence[str] = (),
    fold: bool = False,
) -> list[Match]:
    """The k images nearest to a query, best first.

    query: a sentence, the path of an image, or several of them, which are added up.
    minus: sentences and images to stay away from (see `embed_query`). fold: of images
    that are the same, only one is a match, if possible one that is still there.
    DataError for an image that cannot be read, ValueError for another model than the
    index's, FileError for a damaged index.
    """
    index.check(model, preprocess)
    if k < 1 or not len(index):
        raise ValueError(
            "search_index: expected k >= 1 and an index with images, "
            f"got k = {k} of {len(index)} images"
        )
    wanted = [query] if isinstance(query, str) else list(query)
    direction = embed_query(wanted, minus, model, preprocess, tokenizer)  # (E,)
    cosines = cosines_of(index, direction)  # (N,)
    rows = _folded_rows(index, cosines, k) if fold else best_rows(cosines, k).tolist()
    return [Match(index.path(row), float(cosines[row])) for row in rows]


def is_there(index: Index, path: str) -> bool:
    """Whether an image of an index is still there, as far as this may be looked at."""
    return not index.may_open(path) or os.path.exists(path)


def _folded_rows(index: Index, cosines: np.ndarray, k: int) -> list[int]:
    """The rows of the k best images that are not the same."""
    count = k
    while True:
        rows = best_rows(cosines, count)
        # Of copies, which have the same cosine, one that is there comes first.
        gone = [not is_there(index, index.path(row)) for row in rows.tolist()]
        rows = rows[np.lexsort([gone, -np.round(cosines[rows], TIE_DIGITS)])]
        kept = fold_copies(index, rows, k)
        if len(kept) == k or count >= len(index):
            return kept
        count *= 2


def cosines_of(index: Index, query: np.ndarray) -> np.ndarray:
    """The cosines (N,) of the index's images with a query (E,).

    Those with Q queries, the columns of (E, Q), are (N, Q). FileError if they are none:
    then the index holds rows that are no unit rows.
    """
    count = len(index)
    cosines = np.empty((count, *query.shape[1:]), np.float32)  # (N,) or (N, Q)
    shares = max(1, min(available_cores(), count * index.width // SHARE_NUMBERS))
    bounds = itertools.pairwise(count * share // shares for share in range(shares + 1))
    jobs = [
        partial(_multiply, index.pieces(first, last), query, cosines[first:last])
        for first, last in bounds
    ]
    with blas_threads(1):
        run_workers(jobs)
    largest = max(cosines.max(), -cosines.min())
    if not largest <= 1 + LENGTH_TOLERANCE:  # also for NaN
        raise FileError(
            f"{index.file}: damaged: its rows are no unit rows, a cosine is {largest}", index.file
        )
    return cosines


def _multiply(pieces: list[np.ndarray], query: np.ndarray, cosines: np.ndarray) -> None:
    """Write the products of some rows, which lie in several pieces, with a query."""
    first = 0
    with np.errstate(over="ignore", invalid="ignore"):  # `cosines_of` looks for them
        for rows in pieces:
            np.matmul(rows, query, out=cosines[first : first + len(rows)])
            first += len(rows)


def best_rows(cosines: np.ndarray, k: int) -> np.ndarray:
    """The rows of the k largest cosines, best first; of equal ones, the earlier first.

    >>> best_rows(np.array([0.1, 0.5, 0.3, 0.5]), k=3)
    array([1, 3, 2])
    """
    k = min(k, len(cosines))
    smallest = np.partition(cosines, -k)[-k]  # of the k best
    candidates = np.flatnonzero(cosines >= smallest)
    order = np.argsort(-cosines[candidates], kind="stable")[:k]
    return candidates[order]

"""Which images of an index are the same?

Copies have equal contents, so a model sees the same in them: their unit rows are equal,
and their cosine is 1. The same pixels in another file format count as well. A lower
bound also finds images that were scaled, cropped or compressed: at 0.95 or so, which
depends on the model.

All pairs of N images are compared, block by block, which costs N^2 E multiplications
and the memory of one block. Pairs are joined to groups: if a is like b, and b like c,
all three are one group.
"""

from collections.abc import Iterator

import numpy as np

from clip_np.evaluation.index import Index
from clip_np.evaluation.index_files import LENGTH_TOLERANCE
from clip_np.files import FileError

EQUAL = 0.99999  # a cosine: equal pixels, seen in different batches, differ by 1e-7
BLOCK = 2048  # images that are compared with as many others at a time: 16 MB of cosines


def find_duplicates(index: Index, cosine: float = EQUAL) -> list[list[str]]:
    """Groups of images with a cosine of at least `cosine`, as lists of paths.

    Groups and paths come in the order of the index. ValueError for a cosine outside of
    0 to 1, FileError for a damaged index.
    """
    if not 0 < cosine <= 1:
        raise ValueError(f"`cosine` must lie above 0 and up to 1, got {cosine}")
    leaders = np.arange(len(index))  # of each image, the first one of its group
    for block, first, other in _blocks(index):
        for row, is_alike in enumerate(block >= min(cosine, EQUAL)):
            alike = other + np.flatnonzero(is_alike)
            joined = np.unique([leaders[first + row], *np.unique(leaders[alike])])
            if len(joined) > 1:
                leaders[np.isin(leaders, joined)] = joined[0]
    groups: dict[int, list[str]] = {}
    sizes = np.bincount(leaders, minlength=len(index))
    for row in np.flatnonzero(sizes[leaders] > 1).tolist():
        groups.setdefault(int(leaders[row]), []).append(index.path(row))
    return list(groups.values())


def _blocks(index: Index) -> Iterator[tuple[np.ndarray, int, int]]:
    """Cosines of some images with some others, and the first row of both.

    FileError for rows that are no unit rows.
    """
    count = len(index)
    for first in range(0, count, BLOCK):
        rows = index.rows(first, min(first + BLOCK, count))
        for other in range(first, count, BLOCK):
            with np.errstate(over="ignore", invalid="ignore"):
                block = rows @ index.rows(other, min(other + BLOCK, count)).T
            if not block.max() <= 1 + LENGTH_TOLERANCE:  # also for NaN
                raise FileError(f"{index.file}: damaged: its rows are no unit rows", index.file)
            yield block, first, other


def fold_copies(index: Index, rows: np.ndarray, count: int) -> list[int]:
    """The first `count` of some rows that are no copies of rows before them."""
    kept: list[int] = []
    features: list[np.ndarray] = []  # of those
    for row in rows.tolist():
        seen = index.row(row)
        is_copy = kept and (np.array(features) @ seen).max() >= EQUAL
        if not is_copy:
            kept.append(row)
            features.append(seen)
        if len(kept) == count:
            break
    return kept

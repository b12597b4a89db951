"""How is one picture found among thousands?

All of them are embedded once, and their features kept in an index. Then a question
takes one product of a matrix and a vector. With the unit features of N images as the
rows of F (N, E), and those of the query as q (E,), the cosines are

    F q                                                     (N,)

The query may be a sentence or another image: both encoders point into the same space. A
search costs N E multiplications and one reading of F. For 100,000 images and E = 512
these are 205 MB and less than 0.1 s. The k best of N cosines are found without sorting
them all.
"""

import os
from typing import NamedTuple

import numpy as np

from clip_np.data import DataError, Preprocess, is_image_name
from clip_np.evaluation.features import AnyTokenizer, embed_texts
from clip_np.evaluation.folders import embed_files
from clip_np.evaluation.index import LENGTH_TOLERANCE, Index
from clip_np.files import FileError
from clip_np.model import CLIP


class Match(NamedTuple):
    """An image that a search found."""

    path: str
    cosine: float  # with the query, from -1 to 1


def names_an_image(query: str) -> bool:
    """Whether a query is the path of an image; if not, it is a sentence.

    It is a path if there is such a file, or if it ends as image files do. So a mistyped
    "cat.jpg" is an error, and no search for the words "cat.jpg".

    >>> names_an_image("a cat on a roof"), names_an_image("nowhere/cat.JPG")
    (False, True)
    """
    return os.path.isfile(query) or is_image_name(query)


def search_index(
    index: Index,
    query: str,
    model: CLIP,
    preprocess: Preprocess,
    tokenizer: AnyTokenizer,
    k: int = 12,
) -> list[Match]:
    """The k images nearest to a query, best first.

    The query is a sentence, or the path of an image (see `names_an_image`). DataError
    for an image that cannot be read, ValueError for another model than the index's,
    FileError for a damaged index.
    """
    index.check(model, preprocess)
    if k < 1 or not len(index):
        raise ValueError(
            "search_index: expected k >= 1 and an index with images, "
            f"got k = {k} of {len(index)} images"
        )
    if names_an_image(query):
        ((_, features),) = embed_files(model, preprocess, [query])
        if isinstance(features, DataError):
            raise features
    else:
        features = embed_texts(model, tokenizer, [query])[0]  # (E,)
    cosines = _cosines(index, features)  # (N,)
    return [Match(index.path(int(row)), float(cosines[row])) for row in best_rows(cosines, k)]


def _cosines(index: Index, query: np.ndarray) -> np.ndarray:
    """The cosines (N,) of the index's images with a query (E,).

    FileError if they are none: then the index holds rows that are no unit rows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cosines: np.ndarray = index.features @ query  # (N,)
    largest = max(cosines.max(), -cosines.min())
    if not largest <= 1 + LENGTH_TOLERANCE:  # also for NaN
        raise FileError(
            f"{index.file}: damaged: its rows are no unit rows, a cosine is {largest}", index.file
        )
    return cosines


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

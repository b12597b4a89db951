"""How is one picture found among thousands?

All of them are embedded once, and their features kept in an index. Then a question
takes one product of a matrix and a vector. With the unit features of N images as the
rows of F (N, E), and those of the query as q (E,), the cosines are

    F q                                                     (N,)

The query may be a sentence or another image: both encoders point into the same space. A
search costs N E multiplications and one reading of F. For 100,000 images and E = 512
these are 205 MB and less than 0.1 s.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clip_np.data import IMAGE_SUFFIXES, DataError, Preprocess
from clip_np.evaluation.features import AnyTokenizer, embed_texts
from clip_np.evaluation.folders import embed_files
from clip_np.evaluation.index import Index
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
    return os.path.isfile(query) or Path(query).suffix.lower() in IMAGE_SUFFIXES


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
    for an image that cannot be read, ValueError for another model than the index's.
    """
    index.check(model, preprocess)
    paths = index.paths
    if k < 1 or not paths:
        raise ValueError(
            "search_index: expected k >= 1 and an index with images, got k = "
            f"{k} of {len(paths)} images"
        )
    if names_an_image(query):
        ((_, features),) = embed_files(model, preprocess, [query])
        if isinstance(features, DataError):
            raise features
    else:
        features = embed_texts(model, tokenizer, [query])[0]  # (E,)
    cosines = index.features @ features  # (N,)
    best = np.argsort(-cosines, kind="stable")[:k]
    return [Match(paths[row], float(cosines[row])) for row in best]

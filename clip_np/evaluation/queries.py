"""What does a person ask for, and what not?

A question may have several parts: sentences, and images that the wanted ones should
resemble. Each part is a unit vector. What is wanted is added, what is not is taken
away, and the result is scaled to length 1 again:

    q = unit(sum of wanted - sum of unwanted)               (E,)

The cosine of an image with q is, up to a factor, the sum of its cosines with the wanted
parts less the sum of those with the unwanted ones. So "beach" without "people" prefers
images that fit "beach" much better than "people". An image resembles images more than
any sentence does, so next to a sentence it has the larger weight.

Mikolov, Yih and Zweig 2013, "Linguistic Regularities in Continuous Space Word
Representations" (the same sums, with words).
"""

import os
from collections.abc import Sequence

import numpy as np

from clip_np.data import DataError, Preprocess, is_image_name
from clip_np.evaluation.features import AnyTokenizer, embed_texts
from clip_np.evaluation.folders import embed_files
from clip_np.model import CLIP

SHORTEST = 1e-3  # length of a sum of unit vectors; below it nothing is left but noise


def names_an_image(query: str) -> bool:
    """Whether a query is the path of an image; if not, it is a sentence.

    It is a path if there is such a file, or if it ends as image files do. So a mistyped
    "cat.jpg" is an error, and no search for the words "cat.jpg".

    >>> names_an_image("a cat on a roof"), names_an_image("nowhere/cat.JPG")
    (False, True)
    """
    return os.path.isfile(query) or is_image_name(query)


def embed_query(
    wanted: Sequence[str],
    unwanted: Sequence[str],
    model: CLIP,
    preprocess: Preprocess,
    tokenizer: AnyTokenizer,
) -> np.ndarray:
    """The direction (E,) of what is wanted, away from what is not, of length 1.

    Parts are sentences or paths of images (see `names_an_image`). ValueError if nothing
    is wanted, or nothing is left of it; DataError for an image that cannot be read.
    """
    if not wanted:
        raise ValueError("search: expected a sentence or an image to look for")
    parts = [*wanted, *unwanted]
    images = [part for part in dict.fromkeys(parts) if names_an_image(part)]
    texts = [part for part in dict.fromkeys(parts) if not names_an_image(part)]
    features = dict(zip(texts, embed_texts(model, tokenizer, texts))) if texts else {}
    for path, result in embed_files(model, preprocess, images):
        if isinstance(result, DataError):
            raise result
        features[path] = result
    total = np.zeros(model.config.embed_dim, np.float32)  # (E,)
    for part in wanted:
        total += features[part]
    for part in unwanted:
        total -= features[part]
    length = np.linalg.norm(total)
    if length < SHORTEST:
        raise ValueError("search: nothing is left of what is wanted, all of it is taken away")
    direction: np.ndarray = total / length
    return direction

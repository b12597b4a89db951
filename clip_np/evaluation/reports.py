"""Which figures describe a model on image-caption pairs?

Retrieval over all pairs, and multiple choice with one caption of each image. Data sets
such as Flickr8k have several captions for each image. In retrieval all of them are
right answers; the multiple choice takes the first, so that no wrong choice is another
caption of the same image.
"""

from collections.abc import Sequence
from warnings import warn

import numpy as np

from clip_np.data import DataError, Pairs, Preprocess, a_few
from clip_np.evaluation.features import AnyTokenizer, embed_images, embed_texts
from clip_np.evaluation.measuring import measure_pairs
from clip_np.evaluation.metrics import Names
from clip_np.evaluation.rank_embedding import ConnectedRank, embed_sources_over
from clip_np.model import CLIP

CHOICES = 3  # captions in a multiple choice: the right one and two wrong ones


def pairs_report(
    model: CLIP,
    tokenizer: AnyTokenizer,
    images: np.ndarray,
    captions: Sequence[str],
    image_names: Names,
) -> dict[str, float]:
    """The figures of N pairs: those of `retrieval_metrics`, and "multiple_choice_3".

    images: uint8 (N, S, S, 3). Rows with equal `image_names` are one image with several
    captions. With fewer than three distinct captions there is no multiple choice.
    """
    image_features = embed_images(model, images)  # (N, E)
    text_features = embed_texts(model, tokenizer, captions)  # (N, E)
    return measure_pairs(image_features, text_features, captions, image_names, CHOICES).figures


def embed_readable(
    model: CLIP,
    preprocess: Preprocess,
    pairs: Pairs,
    skip_bad: bool = False,
    comm: ConnectedRank | None = None,
) -> tuple[np.ndarray, Pairs]:
    """The unit features (N, E) of the images of pairs, and the N pairs.

    The images are opened one batch after the other. DataError for an unreadable one;
    with skip_bad only if all are, and some make a warning that names them.
    With comm, all ranks share the work and get the result.
    """
    features: dict[int, np.ndarray] = {}
    problems: list[DataError] = []
    results = embed_sources_over(comm, model, preprocess, pairs.sources, pairs.names)
    for row, result in enumerate(results):
        if isinstance(result, DataError):
            problems.append(result)
        else:
            features[row] = result
    if problems and not skip_bad:
        raise problems[0]
    if not features:
        raise DataError(f"none of the {len(pairs)} images is readable: {a_few(problems)}")
    if problems:
        warn(f"{len(problems)} unreadable images are left out: {a_few(problems)}", stacklevel=2)
    return np.stack(list(features.values())), pairs.select(list(features))

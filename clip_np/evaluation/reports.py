"""Which figures describe a model on image-caption pairs?

Retrieval over all pairs, and multiple choice with one caption of each image. Data sets
such as Flickr8k have several captions for each image. In retrieval all of them are
right answers; the multiple choice takes the first, so that no wrong choice is another
caption of the same image.
"""

from collections.abc import Sequence

import numpy as np

from clip_np.evaluation.chance import chance_of_recall
from clip_np.evaluation.features import AnyTokenizer, embed_images, embed_texts
from clip_np.evaluation.metrics import (
    Names,
    multiple_choice_accuracy,
    number_names,
    retrieval_metrics,
)
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
    report = retrieval_metrics(image_features, text_features, captions, image_names)

    rows = number_names(image_names, len(images)).first_rows  # one row for each image
    first_captions = [captions[row] for row in rows]
    if len(set(first_captions)) >= CHOICES:
        report[f"multiple_choice_{CHOICES}"] = multiple_choice_accuracy(
            image_features[rows], text_features[rows], choices=CHOICES, captions=first_captions
        )
    return report


def pairs_chance(captions: Sequence[str], image_names: Names) -> dict[str, float]:
    """What a model that knows nothing scores in `pairs_report`, where that is known.

    >>> chances = pairs_chance(["a dog", "a cat", "a cow", "a pig"], image_names=None)
    >>> chances["recall_at_1"], round(chances["multiple_choice_3"], 3)
    (0.25, 0.333)
    """
    chances = chance_of_recall(len(captions), captions, image_names)
    return {**chances, f"multiple_choice_{CHOICES}": 1 / CHOICES}

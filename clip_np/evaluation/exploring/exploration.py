"""Which numbers are behind the page of a run?

N images with different names, and K different captions, one for each image at first;
images with the same caption share it. From their unit features follow

    the matrix          S = I C^T                       (N, K) cosines
    ranks               of every caption for an image, of every image for a caption
    neighbours          the largest cosines, also of images to images
    two maps            principal planes, with and without the modality gap
    recall at 1         how often the nearest one is the right one, beside chance

and from a second look of the encoders their attention. Nothing here knows HTML.
"""

from collections.abc import Sequence
from typing import NamedTuple
from warnings import warn

import numpy as np

from clip_np.data import DataError, Pairs, Preprocess, a_few
from clip_np.evaluation.chance import chance_of_recall
from clip_np.evaluation.exploring.attention import (
    ImageAttention,
    TextAttention,
    image_attention,
    text_attention,
)
from clip_np.evaluation.exploring.nearest import NEIGHBOURS, Neighbours, nearest, ranks_in_rows
from clip_np.evaluation.exploring.projection import Plane, modality_gap, principal_plane
from clip_np.evaluation.exploring.samples import Sample, choose_rows, open_sample
from clip_np.evaluation.features import AnyTokenizer, tokens_of_texts, unit_features
from clip_np.evaluation.metrics import retrieval_metrics
from clip_np.model import CLIP

MOST_IMAGES = 400  # the matrix has a cell for every pair, and a cell needs a pixel or two
DIRECTIONS = ("image_to_text", "text_to_image")


class Exploration(NamedTuple):
    """All numbers of a page, for N images and K captions."""

    names: list[str]  # (N,) where the images come from
    thumbnails: list[str]  # (N,) data URIs
    captions: list[str]  # (K,)
    caption_of: np.ndarray  # (N,) the number of an image's caption
    cosines: np.ndarray  # (N, K)
    caption_ranks: np.ndarray  # (N, K): the place of a caption for an image
    image_ranks: np.ndarray  # (N, K): the place of an image for a caption
    image_to_captions: Neighbours
    image_to_images: Neighbours
    caption_to_images: Neighbours
    caption_to_captions: Neighbours
    centred: Plane
    together: Plane
    gap: float
    recall_at_1: dict[str, float]  # by direction
    chance: dict[str, float]  # likewise
    image_attention: ImageAttention
    text_attention: list[TextAttention]  # of the first captions


def explore(
    model: CLIP,
    preprocess: Preprocess,
    tokenizer: AnyTokenizer,
    pairs: Pairs,
    count: int,
    skip_bad: bool = False,
) -> Exploration:
    """Look at `count` images of the pairs, and at their captions.

    DataError for an unreadable image; with skip_bad it is left out, with a warning.
    ValueError for a count below 1 or above MOST_IMAGES.

    >>> from clip_np.data import training_preprocess
    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.tokens import Tokenizer
    >>> captions = ["a red ring", "a blue ring", "a blue ring"]
    >>> pairs = Pairs.from_arrays(np.zeros((3, 32, 32, 3), np.uint8), captions)
    >>> tokenizer = Tokenizer.train(captions, vocab_size=520)
    >>> config = PRESETS["tiny"].for_tokenizer(tokenizer)
    >>> model = CLIP(config, np.random.default_rng(0))
    >>> seen = explore(model, training_preprocess(32), tokenizer, pairs, count=3)
    >>> seen.captions, seen.caption_of.tolist(), seen.cosines.shape
    (['a red ring', 'a blue ring'], [0, 1, 1], (3, 2))
    """
    if not 1 <= count <= MOST_IMAGES:
        raise ValueError(
            f"explore: `images` is {count}, expected 1 to {MOST_IMAGES}: every image has a row "
            "of the matrix, and the page holds them all"
        )
    chosen = pairs.select(choose_rows(pairs, count))
    samples, readable = _opened_samples(chosen, preprocess, skip_bad)
    prepared = np.stack([sample.prepared for sample in samples])  # (N, 3, S, S)
    captions = list(dict.fromkeys(readable.captions))
    caption_of = np.array([captions.index(caption) for caption in readable.captions])  # (N,)
    images = unit_features(model, model.encode_image, prepared)  # (N, E)
    tokens = tokens_of_texts(model, tokenizer, captions)  # (K, T)
    texts = unit_features(model, model.encode_text, tokens)  # (K, E)
    cosines = images @ texts.T  # (N, K)
    return Exploration(
        names=list(readable.names),
        thumbnails=[sample.thumbnail for sample in samples],
        captions=captions,
        caption_of=caption_of,
        cosines=cosines,
        caption_ranks=ranks_in_rows(cosines),
        image_ranks=ranks_in_rows(cosines.T).T,
        image_to_captions=nearest(cosines, NEIGHBOURS, leave_out_self=False),
        image_to_images=nearest(images @ images.T, NEIGHBOURS, leave_out_self=True),
        caption_to_images=nearest(cosines.T, NEIGHBOURS, leave_out_self=False),
        caption_to_captions=nearest(texts @ texts.T, NEIGHBOURS, leave_out_self=True),
        centred=principal_plane(images, texts, centre_both=True),
        together=principal_plane(images, texts, centre_both=False),
        gap=modality_gap(images, texts),
        recall_at_1=_recall_at_1(retrieval_metrics(images, texts[caption_of], readable.captions)),
        chance=_recall_at_1(chance_of_recall(len(images), readable.captions)),
        image_attention=image_attention(model, prepared),
        text_attention=text_attention(model, tokenizer, tokens),
    )


def _opened_samples(
    pairs: Pairs, preprocess: Preprocess, skip_bad: bool
) -> tuple[Sequence[Sample], Pairs]:
    """The images that are readable, and their pairs."""
    samples: dict[int, Sample] = {}
    problems: list[DataError] = []
    for row in range(len(pairs)):
        result = open_sample(pairs, row, preprocess)
        if isinstance(result, DataError):
            problems.append(result)
        else:
            samples[row] = result
    if problems and not skip_bad:
        raise problems[0]
    if not samples:
        raise DataError(f"none of the {len(pairs)} images is readable: {a_few(problems)}")
    if problems:
        warn(f"{len(problems)} unreadable images are left out: {a_few(problems)}", stacklevel=3)
    return list(samples.values()), pairs.select(list(samples))


def _recall_at_1(figures: dict[str, float]) -> dict[str, float]:
    """The recalls at 1 among figures of retrieval, by direction."""
    return {direction: figures[f"{direction}_recall_at_1"] for direction in DIRECTIONS}

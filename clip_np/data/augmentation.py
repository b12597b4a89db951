"""How does a small data set last longer?

A model that sees the same 6,000 pictures a hundred times learns them by heart. So each
time a pair is used, it is varied at random, in ways that leave its meaning as it is:

    geometry    stretched and moved, a box of it enlarged     (augment_geometry.py)
    colour      brighter, paler, another hue, grey            (augment_colour.py)
    detail      blurred, a part covered                       (augment_detail.py)
    caption     with tags, without some words                 (augment_captions.py)

An `Augmentation` has a strength for each part, and 0 leaves the part out. Three of them
are ready in AUGMENTATIONS. The randomness comes from a generator that the caller passes
in. The same generator gives the same variation, so a run can be repeated. A part that
is left out draws no random numbers.
"""

from dataclasses import dataclass

import numpy as np

from clip_np.data.augment_captions import drop_words, extra_words
from clip_np.data.augment_colour import brightness, contrast, grey, hue, saturation
from clip_np.data.augment_detail import blur, cut_out
from clip_np.data.augment_geometry import crop, flip, stretch_and_shift


@dataclass(frozen=True)
class Augmentation:
    """How much the pairs of a batch are varied; 0 is not at all.

    - shift, zoom: see `stretch_and_shift`.
    - crop: 1 - the smallest share of the area that is kept.
    - colour: how far brightness, contrast and saturation may be from 1.
    - hue: a share of a full turn.
    - grey, flip: probabilities.
    - blur, cut_out: shares of the image's side.
    - word_dropout: probability of leaving a word of the caption out.
    """

    shift: int = 0
    zoom: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    cut_out: float = 0.0
    flip: float = 0.0
    word_dropout: float = 0.0


AUGMENTATIONS = {
    "none": Augmentation(),
    "light": Augmentation(shift=3, zoom=0.1, colour=0.3, hue=0.03, grey=0.05, blur=0.01),
    "strong": Augmentation(
        shift=3,
        zoom=0.1,
        crop=0.4,
        colour=0.5,
        hue=0.08,
        grey=0.15,
        blur=0.025,
        cut_out=0.35,
        word_dropout=0.1,
    ),
}
"""Augmentations by name. docs/figures.md compares them on a style never seen."""


def augment(images: np.ndarray, rng: np.random.Generator, augmentation: Augmentation) -> np.ndarray:
    """Vary each image of a batch: uint8 (B, H, W, 3) -> the same shape and dtype.

    >>> images = np.arange(8, dtype=np.uint8).repeat(3).reshape(1, 2, 4, 3)
    >>> images[0, :, :, 0].tolist()
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    >>> varied = augment(images, np.random.default_rng(0), Augmentation(shift=1))
    >>> varied[0, :, :, 0].tolist()  # one pixel to the right and one down
    [[0, 0, 1, 2], [0, 0, 1, 2]]
    """
    if augmentation.shift or augmentation.zoom:
        images = stretch_and_shift(images, rng, augmentation.shift, augmentation.zoom)
    if augmentation.crop:
        images = crop(images, rng, augmentation.crop)
    if augmentation.flip:
        images = flip(images, rng, augmentation.flip)
    if augmentation.colour:
        images = brightness(images, rng, augmentation.colour)
        images = contrast(images, rng, augmentation.colour)
        images = saturation(images, rng, augmentation.colour)
    if augmentation.hue:
        images = hue(images, rng, augmentation.hue)
    if augmentation.grey:
        images = grey(images, rng, augmentation.grey)
    if augmentation.blur:
        images = blur(images, rng, augmentation.blur)
    if augmentation.cut_out:
        images = cut_out(images, rng, augmentation.cut_out)
    return images


def augment_caption(
    caption: str,
    tags: str | None,
    rng: np.random.Generator,
    augmentation: Augmentation,
    tag_probability: float,
) -> str:
    """A caption without some of its words, and with some of its tags, if it has any.

    >>> rng = np.random.default_rng(0)
    >>> none = AUGMENTATIONS["none"]
    >>> augment_caption("a cat", "animal, fur", rng, none, tag_probability=1.0)
    'a cat, animal'
    """
    if augmentation.word_dropout:
        caption = drop_words(caption, rng, augmentation.word_dropout)
    if tags is not None:
        caption = extra_words(caption, tags, rng, tag_probability)
    return caption

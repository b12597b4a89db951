"""How does a small data set last longer?

A model that sees the same 6,000 pictures a hundred times learns them by heart. So each
time a pair is used, it is varied at random, in ways that leave its meaning as it is.
This is *data augmentation*:

    geometry    moved, stretched, a box enlarged, blurred     (augment_geometry.py)
    colour      brighter, paler, another hue, grey            (augment_colour.py)
    detail      a part covered                                (augment_detail.py)
    caption     with tags, without some words                 (augment_captions.py)

An `Augmentation` has a strength for each part, and 0 leaves the part out. Three of them
are ready in AUGMENTATIONS. The randomness comes from a generator that the caller passes
in. The same generator gives the same variation, so a run can be repeated. A part that
is left out draws no random numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clip_np.data.augment_captions import drop_words, extra_words
from clip_np.data.augment_colour import Colours, draw_colours, recoloured
from clip_np.data.augment_detail import covered, draw_rectangles
from clip_np.data.augment_geometry import Lines, blur, crop, resampled, stretch_and_shift

PIXELS_AT_ONCE = 2**16
"""`augment` takes some images of a batch at once: as float32, 768 KiB fit a cache."""


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
    "light": Augmentation(shift=3, zoom=0.1, colour=0.2, hue=0.02),
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


class Variation(NamedTuple):
    """What `augment` is going to do with a batch, drawn at random. None: nothing."""

    lines: tuple[Lines, Lines] | None  # of the rows and of the columns
    colours: Colours | None
    rectangles: np.ndarray | None  # bool (B, 1, H, W)


def augment(images: np.ndarray, rng: np.random.Generator, augmentation: Augmentation) -> np.ndarray:
    """Vary each image of a batch: uint8 (B, H, W, 3) -> the same shape and dtype.

    Values that fall outside of 0 to 255 become the nearest of these. A batch without
    pixels is returned as it is.

    >>> images = np.arange(8, dtype=np.uint8).repeat(3).reshape(1, 2, 4, 3)
    >>> images[0, :, :, 0].tolist()
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    >>> varied = augment(images, np.random.default_rng(0), Augmentation(shift=1))
    >>> varied[0, :, :, 0].tolist()  # one pixel to the right and one down
    [[0, 0, 1, 2], [0, 0, 1, 2]]
    """
    variation = draw_variation(rng, images.shape, augmentation)
    if images.size == 0 or all(part is None for part in variation):
        return images
    result = np.empty_like(images)
    at_once = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), at_once):
        some = slice(start, start + at_once)
        # Red, green and blue become planes, (b, 3, H, W): as in the formulas.
        planes = images[some].transpose(0, 3, 1, 2).astype(np.float32, order="C")
        planes = varied(planes, variation, some)
        whole = np.rint(planes, out=planes).clip(0, 255, out=planes).astype(np.uint8)
        result[some] = whole.transpose(0, 2, 3, 1)
    return result


def draw_variation(
    rng: np.random.Generator, shape: tuple[int, ...], augmentation: Augmentation
) -> Variation:
    """Random numbers for images of a shape (B, H, W, 3).

    >>> rng = np.random.default_rng(0)
    >>> draw_variation(rng, (2, 8, 8, 3), Augmentation(grey=1.0)).colours.lifts.tolist()
    [0.0, 0.0]
    """
    count, height, width, _ = shape
    return Variation(
        lines=_draw_lines(rng, count, height, width, augmentation),
        colours=_draw_colours(rng, count, augmentation),
        rectangles=(
            draw_rectangles(rng, count, height, width, augmentation.cut_out)
            if augmentation.cut_out
            else None
        ),
    )


def _draw_lines(
    rng: np.random.Generator, count: int, height: int, width: int, augmentation: Augmentation
) -> tuple[Lines, Lines] | None:
    """Where the images are copied from. None if they stay as they are."""
    shift, zoom = augmentation.shift, augmentation.zoom
    if not any([shift, zoom, augmentation.crop, augmentation.flip, augmentation.blur]):
        return None
    rows, columns = Lines.unchanged(count, height), Lines.unchanged(count, width)
    if shift or zoom:
        rows, columns = stretch_and_shift(rows, columns, rng, shift, zoom)
    if augmentation.crop:
        rows, columns = crop(rows, columns, rng, augmentation.crop)
    if augmentation.flip:
        columns = columns.flip(rng.random(count) < augmentation.flip)
    if augmentation.blur:
        rows, columns = blur(rows, columns, rng, augmentation.blur)
    return rows, columns


def _draw_colours(
    rng: np.random.Generator, count: int, augmentation: Augmentation
) -> Colours | None:
    """How the colours change. None if they stay as they are."""
    strengths = (augmentation.colour, augmentation.hue, augmentation.grey)
    if not any(strengths):
        return None
    colour, hue, grey = strengths
    return draw_colours(rng, count, strength=colour, hue=hue, grey=grey)


def varied(planes: np.ndarray, variation: Variation, some: slice) -> np.ndarray:
    """The images `some` of the batch, varied: float32 (b, 3, H, W) -> the same."""
    lines, colours, rectangles = variation
    if lines is not None:
        rows, columns = lines
        planes = resampled(planes, rows.matrices(some), columns.matrices(some))
    if colours is not None:
        planes = recoloured(planes, Colours(colours.matrices[some], colours.lifts[some]))
    if rectangles is not None:
        planes = covered(planes, rectangles[some])
    return planes


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

"""How do the pairs of one step become a batch?

Each image is decoded and becomes a *square*, uint8 (size, size, 3). Then the squares of
the step are varied together, with random numbers that depend on the seed and the step
alone:

    a source --> load_square --> a square or a DataError
    squares and captions of a step --> vary --> images and captions

These functions know nothing of threads or processes. `BatchLoader` calls them in
threads (batches.py), and a worker process calls them too (decoding_worker.py). So both
make the same batch, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

import numpy as np
from PIL import Image

from clip_np.data.augmentation import Augmentation, augment, augment_caption
from clip_np.data.errors import DataError, a_few
from clip_np.data.images import ImageSource, opened, to_rgb
from clip_np.data.preprocessing import Preprocess
from clip_np.data.random_streams import AUGMENTATION_STREAM


@dataclass(frozen=True)
class Recipe:
    """What is done with the pairs of every step.

    - preprocess: how an image is resized, and how its numbers are normalised.
    - augmentation: how much they are varied. tag_probability: see `extra_words`.
    - skip_bad: leave unreadable images out.
    - normalise: make the numbers of a batch float32; otherwise they stay uint8.
    """

    preprocess: Preprocess
    seed: int
    augmentation: Augmentation
    tag_probability: float
    skip_bad: bool
    normalise: bool = True

    @property
    def size(self) -> int:
        """Width and height of the squares in pixels."""
        return self.preprocess.size

    def finish(self, images: np.ndarray) -> np.ndarray:
        """The images of a batch as a new array, (R, size, size, 3) uint8.

        With `normalise`, as a model sees them: float32 (R, 3, size, size).
        """
        return self.preprocess.normalise(images) if self.normalise else images.copy()


class Varied(NamedTuple):
    """The R readable pairs of a step, varied."""

    rows: list[int]  # which rows of the step these are
    images: np.ndarray  # (R, size, size, 3) uint8
    captions: list[str]


Square = np.ndarray | DataError
"""A decoded image, uint8 (size, size, 3), or why there is none."""


def load_square(source: ImageSource, name: str, preprocess: Preprocess, skip_bad: bool) -> Square:
    """An image, RGB and upright, as `preprocess` resizes it: uint8 (size, size, 3).

    Raises DataError if it cannot be read, or with `skip_bad` returns it.

    >>> black = np.zeros((6, 9, 3), np.uint8)
    >>> load_square(black, "black", Preprocess(size=4), skip_bad=False).shape
    (4, 4, 3)
    """

    def square(image: Image.Image) -> np.ndarray:
        return np.asarray(preprocess.square(to_rgb(image)))

    if is_ready(source, preprocess.size):
        return source
    return opened(source, name, square, skip_bad, needed_side=preprocess.size)


def is_ready(source: ImageSource, size: int) -> TypeGuard[np.ndarray]:
    """Whether a source is a square of this size already."""
    return isinstance(source, np.ndarray) and source.shape[:2] == (size, size)


def is_square(square: Square) -> TypeGuard[np.ndarray]:
    """Whether `load_square` returned an image, and not an error."""
    return isinstance(square, np.ndarray)


def vary(
    step: int,
    squares: Sequence[Square],
    captions: Sequence[str],
    tags: Sequence[str] | None,
    recipe: Recipe,
) -> Varied:
    """Vary the readable pairs of a step; DataError if none is.

    >>> none = Augmentation()
    >>> recipe = Recipe(
    ...     Preprocess(size=1),
    ...     seed=0,
    ...     augmentation=none,
    ...     tag_probability=0.0,
    ...     skip_bad=True,
    ... )
    >>> squares = [DataError("a.png: cannot be read"), np.ones((1, 1, 3), np.uint8)]
    >>> vary(0, squares, ["a cat", "a dog"], None, recipe)
    Varied(rows=[1], images=array([[[[1, 1, 1]]]], dtype=uint8), captions=['a dog'])
    """
    readable = {row: square for row, square in enumerate(squares) if is_square(square)}
    if not readable:
        raise DataError(f"step {step}: no image is readable: {a_few(squares)}")
    rng = np.random.default_rng([recipe.seed, AUGMENTATION_STREAM, step])
    images = np.stack(list(readable.values()))  # (R, size, size, 3)
    images = augment(images, rng, recipe.augmentation)
    varied_captions = [
        augment_caption(
            captions[row],
            None if tags is None else tags[row],
            rng,
            recipe.augmentation,
            recipe.tag_probability,
        )
        for row in readable
    ]
    return Varied(rows=list(readable), images=images, captions=varied_captions)

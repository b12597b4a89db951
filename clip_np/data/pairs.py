"""What is a data set for CLIP?

A list of pairs: an image, and a sentence that belongs to it. `Pairs` is one split of a
data set. It keeps the captions in memory, and of each image only its source
(images.py), in columns:

    captions    ["a red ring", "two dogs"]
    names       ["a.png", "b.parquet row 7"]    where the image comes from
    tags        ["toy, round", ""]              further words, or None if there are none
    sources     [Path("a.png"), b"PNG..."]      not yet decoded

The columns are lists, or look like lists and are packed (compact.py).

A data set larger than the disk can be read as a *stream*: its rows arrive one after
another and are used once in each pass. Only the rows in a buffer can be shuffled.
`Stream` offers batches as `Pairs` does. Its columns hold a sample, the first rows of
the training split. The tokenizer is learned from this sample.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from clip_np.data.errors import DataError, a_few
from clip_np.data.images import ImageSource, opened
from clip_np.data.random_streams import ORDER_STREAM

Item = TypeVar("Item")


class Row(NamedTuple):
    """One pair, as it is read from a file."""

    caption: str
    name: str  # where the image comes from: a path, or "a.parquet row 17", counted from 0
    tags: str  # further words, separated by commas; "" for none
    source: ImageSource
    split: str  # "train", "validation" or "test"


@dataclass
class Pairs:
    """One split of a data set: N captions and N images, not yet decoded.

    - captions: none is empty; DataError if one is.
    - names: equal names mean the same image.
    - tags: None, or N texts of words separated by commas.
    - sources: see images.py.

    >>> images = np.zeros((3, 8, 8, 3), np.uint8)
    >>> pairs = Pairs.from_arrays(images, ["a cat", "a dog", "a hat"])
    >>> len(pairs)
    3
    >>> pairs.select([2, 0]).captions
    ['a hat', 'a cat']
    >>> pairs.open_image(1).size
    (8, 8)
    """

    captions: Sequence[str]
    names: Sequence[str]
    tags: Sequence[str] | None
    sources: Sequence[ImageSource]

    repeats: ClassVar[bool] = True
    """Whether an image comes again, so that its pixels are worth keeping."""

    def __post_init__(self) -> None:
        empty = [name for caption, name in zip(self.captions, self.names) if not caption.strip()]
        if empty:
            raise DataError(f"{len(empty)} captions are empty: those of {a_few(empty)}")

    def __len__(self) -> int:
        return len(self.captions)

    def open_image(self, row: int) -> Image.Image:
        """Image `row`, RGB, upright, in its size. DataError if it is unreadable."""
        return opened(self.sources[row], self.names[row])

    def select(self, indices: Sequence[int] | np.ndarray) -> "Pairs":
        """The pairs of these rows, in this order; `indices` are row numbers."""
        return Pairs(
            captions=_take(self.captions, indices),
            names=_take(self.names, indices),
            tags=None if self.tags is None else _take(self.tags, indices),
            sources=_take(self.sources, indices),
        )

    def batches(self, size: int, seed: int, start: int, stop: int) -> Iterator["Pairs"]:
        """The pairs of steps start .. stop - 1, `size` of them in each step.

        One pass over all rows is an epoch, and each epoch has another order. Rows
        left at its end, fewer than `size`, are not used in it. The pairs of a step
        depend on the seed and the step alone, so a run that resumes sees what the
        uninterrupted run would have seen.

        >>> pairs = Pairs.from_arrays(np.zeros((5, 2, 2, 3), np.uint8), list("abcde"))
        >>> [batch.captions for batch in pairs.batches(size=2, seed=0, start=0, stop=3)]
        [['b', 'e'], ['d', 'a'], ['a', 'e']]
        >>> [batch.captions for batch in pairs.batches(size=2, seed=0, start=2, stop=3)]
        [['a', 'e']]
        """
        steps_per_epoch = len(self) // size
        for step in range(start, stop):
            epoch, position = divmod(step, steps_per_epoch)
            if step == start or position == 0:
                order = np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(len(self))
            yield self.select(order[position * size :][:size])

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> "Pairs":
        """The pairs of some rows; their split is not looked at."""
        rows = list(rows)
        has_tags = any(row.tags for row in rows)
        return cls(
            captions=[row.caption for row in rows],
            names=[row.name for row in rows],
            tags=[row.tags for row in rows] if has_tags else None,
            sources=[row.source for row in rows],
        )

    @classmethod
    def from_arrays(cls, images: np.ndarray, captions: Sequence[str]) -> "Pairs":
        """Pairs of images in memory, RGB, uint8 (N, H, W, 3). DataError for others."""
        fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
        if not fits or len(images) != len(captions):
            raise DataError(
                f"expected uint8 images (N, H, W, 3) and N captions, got {images.dtype} "
                f"{images.shape} and {len(captions)} captions"
            )
        names = [f"image {row}" for row in range(len(images))]
        return cls(captions=list(captions), names=names, tags=None, sources=list(images))


def _take(column: Sequence[Item], indices: Sequence[int] | np.ndarray) -> Sequence[Item]:
    """The items of these rows. A packed column packs them too."""
    take = getattr(column, "take", None)
    return [column[row] for row in indices] if take is None else take(indices)


@dataclass
class Stream(Pairs):
    """Training pairs that arrive one after another; its columns hold a sample.

    read: called with a seed, it returns all rows in an order that depends on the seed.
    epoch_rows: how many these are, once an epoch was read.
    """

    read: Callable[[int], Iterator[Row]]
    epoch_rows: int | None = None

    repeats: ClassVar[bool] = False

    def batches(self, size: int, seed: int, start: int, stop: int) -> Iterator[Pairs]:
        """The pairs of steps start .. stop - 1.

        Of the epoch of step `start`, rows are read and left out. Epochs before it are
        not read, but for the first, whose rows are counted.
        """
        rows = self._rows_after(start * size, seed)
        for _ in range(start, stop):
            yield Pairs.from_rows(itertools.islice(rows, size))

    def _rows_after(self, skipped: int, seed: int) -> Iterator[Row]:
        """The rows of all epochs, one after another, without the first `skipped`."""
        for epoch in itertools.count():
            if self.epoch_rows is not None and skipped >= self.epoch_rows > 0:
                skipped -= self.epoch_rows
                continue
            count = 0
            for count, row in enumerate(self.read(seed + epoch), start=1):
                if count > skipped:
                    yield row
            if count == 0:
                raise DataError("the stream has no pairs any more")
            skipped = max(0, skipped - count)
            self.epoch_rows = count

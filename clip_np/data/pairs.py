"""Chapter 24: when does a picture become pixels?

As late as possible, because decoded pictures rarely fit in memory. `Pairs` keeps captions, but
of an image only its *source*: a path, encoded bytes, an array, or a function that reads a cell of
a table. `opened` decodes it when it is needed. Becoming RGB has rules of its own (`to_rgb`):
Pillow's `convert("RGB")` shows the colours under transparent pixels and clips 16 bits at 255.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# What a file, a folder or a row calls its split -> what it is called here.
SPLITS = {"train": "train", "test": "test", "validation": "validation"}
SPLITS |= {"valid": "validation", "val": "validation", "dev": "validation"}
ImageSource = Path | bytes | np.ndarray | Callable[[], Any]


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and the fix."""


def a_few(items: Sequence[Any]) -> str:
    """The first three of `items` for a message, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:3])
    return shown if len(items) <= 3 else f"{shown} and {len(items) - 3} more"


def split_of(names: Iterable[str]) -> str:
    """The split that the first of `names` to do so calls, digits aside ("val2017"), or "train"."""
    words = (name.strip(" -_.0123456789").lower() for name in names)
    return next((SPLITS[word] for word in words if word in SPLITS), "train")


def encoded_image(cell: Any) -> Any:
    """What is in a table's cell, or in its "bytes", or else in its "path"."""
    is_both = isinstance(cell, dict) and cell.keys() & {"bytes", "path"}
    return cell.get("bytes") or cell.get("path") if is_both else cell


def refuse_huge(image: Image.Image) -> None:
    """DataError for an image too big, or too long: resized, it would be too big."""
    width, height = image.size
    # Pillow itself only warns between its limit and twice its limit.
    bomb = width * height > (Image.MAX_IMAGE_PIXELS or math.inf)
    if bomb or max(width, height) > 1000 * min(width, height):
        raise DataError(f"{width}x{height} pixels are too many or too elongated")


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright (EXIF) and in mode RGB: transparency on white, 16 bits scaled to 8. DataError
    for an image too big (see `refuse_huge`) or too bright."""
    refuse_huge(image)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        # Only I;16 says what white is. Else it is the first of these that no value exceeds.
        whites = {"F": (1, 255, 65535), "I": (255, 65535)}.get(image.mode, (65535,))
        white = next((white for white in whites if values.max() <= white), None)
        if white is None:
            raise DataError(f"mode {image.mode} pixels reach {values.max()}, more than 65535")
        grey = np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def opened(source: ImageSource, name: str, use: Callable = to_rgb, skip_bad: bool = False) -> Any:
    """What `use` makes of the image in a source, which gets it as it is stored. Whatever goes wrong
    is a DataError that begins with `name`; it is raised, or with `skip_bad` returned."""
    try:
        source = encoded_image(source()) if callable(source) else source
        if isinstance(source, np.ndarray):
            return use(Image.fromarray(source))
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            refuse_huge(image)
            return use(image)
    except Exception as error:  # damaged files make Pillow raise SyntaxError, struct.error, ...
        bad = DataError(f"{name}: cannot be read ({type(error).__name__}: {error})")
        if skip_bad:
            return bad
        raise bad from error


@dataclass
class Pairs:
    """One split: N captions, none empty, and names, which say where the images come from (a path,
    or "a.parquet row 17", counted from 0): the same image where equal. tags: None, or N texts of
    further words separated by commas. sources: N images, not yet decoded."""

    captions: list[str]
    names: list[str]
    tags: list[str] | None
    sources: list[ImageSource]
    repeats = True  # whether an image comes again, so that its pixels are worth keeping

    def __post_init__(self) -> None:
        empty = [name for caption, name in zip(self.captions, self.names) if not caption.strip()]
        if empty:
            raise DataError(f"{len(empty)} captions are empty: those of {a_few(empty)}")

    def __len__(self) -> int:
        return len(self.captions)

    def open_image(self, row: int) -> Image.Image:
        """Image `row`, RGB, upright, in its own size. DataError where it cannot be decoded."""
        return opened(self.sources[row], self.names[row])

    def select(self, indices: Sequence[int] | np.ndarray) -> "Pairs":
        """The pairs of these rows, in this order; `indices` are row numbers."""
        columns = (self.captions, self.names, self.tags, self.sources)
        return Pairs(*(column and [column[row] for row in indices] for column in columns))

    def batches(self, size: int, seed: int, start: int, stop: int) -> Iterator["Pairs"]:
        """The pairs of steps start .. stop - 1: whole batches of one shuffled epoch after another;
        rows left at the end of an epoch, fewer than `size`, are not used in it."""
        for step in range(start, stop):
            epoch, position = divmod(step, len(self) // size)
            if step == start or position == 0:
                shuffled = np.random.default_rng([seed, 1, epoch]).permutation(len(self))
            yield self.select(shuffled[position * size :][:size])

    @classmethod
    def from_rows(cls, rows: Iterable[tuple]) -> "Pairs":
        """Pairs of rows: caption, name, tags ("" for none), source, and what else there is."""
        captions, names, tags, sources, *_ = map(list, zip(*rows))
        return cls(captions, names, tags if any(tags) else None, sources)

    @classmethod
    def from_arrays(cls, images: np.ndarray, captions: Sequence[str]) -> "Pairs":
        """Pairs of images in memory, uint8 (N, H, W, 3), RGB. DataError for anything else."""
        if images.dtype != np.uint8 or images.shape[3:] != (3,) or len(images) != len(captions):
            found = f"{images.dtype} {images.shape} and {len(captions)} captions"
            raise DataError(f"expected uint8 images (N, H, W, 3) and N captions, got {found}")
        names = [f"image {row}" for row in range(len(images))]
        return cls(list(captions), names, None, list(images))


@dataclass
class Stream(Pairs):
    """Training pairs that arrive one after another; as `Pairs`, the first of them, a sample."""

    read: Callable[[int], Iterator[tuple]]  # a seed -> all rows, shuffled by it
    repeats = False

    def batches(self, size: int, seed: int, start: int, stop: int) -> Iterator[Pairs]:
        """The pairs of steps start .. stop - 1. Those before `start` are read and passed over."""
        rows = islice((row for n in count() for row in self.read(seed + n)), start * size, None)
        for _ in range(start, stop):
            yield Pairs.from_rows(islice(rows, size))

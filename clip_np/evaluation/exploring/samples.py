"""What does a person see of an image, and what does the model?

The model sees a square of S x S pixels as normalised numbers. A person sees better what
is larger: the same square of the picture, with THUMBNAIL pixels a side where the
picture has that many. Both are made of one opening of the file. As they show the same
square, what the model looks at can be drawn over what the person sees.

A thumbnail is a part of a page as text: a *data URI*, "data:image/png;base64,...". A
small one is PNG, in which every pixel is as it was, and a larger one is JPEG, which is
a fifth as long for a photograph.
"""

import base64
import dataclasses
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from clip_np.data import DataError, Pairs, Preprocess, opened, to_rgb

THUMBNAIL = 112  # pixels of a side, at most
LARGEST_PNG = 64  # pixels of a side up to which a thumbnail is PNG
JPEG_QUALITY = 82


class Sample(NamedTuple):
    """An image as the model sees it, and as a person does."""

    prepared: np.ndarray  # (3, S, S) float32
    thumbnail: str  # a data URI


def choose_rows(pairs: Pairs, count: int) -> list[int]:
    """The rows of at most `count` different images, spread evenly over the pairs.

    Of an image with several captions it is the first row.

    >>> pairs = Pairs.from_arrays(np.zeros((5, 2, 2, 3), np.uint8), list("abcde"))
    >>> choose_rows(pairs, 3)
    [0, 2, 4]
    """
    first_row_of: dict[str, int] = {}
    for row, name in enumerate(pairs.names):
        first_row_of.setdefault(name, row)
    rows = list(first_row_of.values())
    spread = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
    return [rows[position] for position in spread]


def open_sample(pairs: Pairs, row: int, preprocess: Preprocess) -> Sample | DataError:
    """The image of a row, opened once; the DataError if it is unreadable."""

    def use(image: Image.Image) -> Sample:
        return Sample(prepared=preprocess(image), thumbnail=thumbnail(image, preprocess))

    sample: Sample | DataError = opened(pairs.sources[row], pairs.names[row], use, skip_bad=True)
    return sample


def thumbnail(image: Image.Image, preprocess: Preprocess) -> str:
    """The square that `preprocess` cuts out of an image, for the eye: a data URI.

    >>> thumbnail(Image.new("RGB", (60, 40), "red"), Preprocess(32))[:22]
    'data:image/png;base64,'
    >>> thumbnail(Image.new("RGB", (600, 400), "red"), Preprocess(32))[:23]
    'data:image/jpeg;base64,'
    """
    rgb = to_rgb(image)
    side = min(THUMBNAIL, *rgb.size)
    square = dataclasses.replace(preprocess, size=side).square(rgb)
    data = io.BytesIO()
    if side <= LARGEST_PNG:
        square.save(data, "PNG", optimize=True)
        kind = "png"
    else:
        square.save(data, "JPEG", quality=JPEG_QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"

"""When does a picture become pixels?

As late as possible, because decoded pictures rarely fit in memory. 100,000 photographs
of 640 x 480 pixels are about 15 GB of JPEG files, but 92 GB of pixels. So a pair keeps
only the *source* of its image:

    a path           the file is opened when the image is needed
    bytes            an encoded image (PNG, JPEG, ...), for instance a cell of a table
    an array         uint8 (H, W, 3), RGB: already pixels
    a function       called when the image is needed, it returns a path or bytes

Only `opened` opens and decodes a source.

Published models convert a picture to RGB with Pillow's `convert("RGB")`. That shows the
colours hidden under transparent pixels, and cuts 16-bit values off at 255, so a medical
or depth image becomes all white. `to_rgb` follows other rules: transparency is put
on white paper, deep values are scaled to 8 bits, and a photograph is turned upright as
its camera noted (EXIF).
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from clip_np.data.errors import DataError

ImageSource = Path | bytes | np.ndarray | Callable[[], Any]

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
MAX_ELONGATION = 1000
"""Longer side over shorter side. Resizing makes the shorter side n pixels long. A strip
of 1 x 500,000 pixels would become n x 500,000 n pixels, which fills the memory."""

DEEPEST_WHITE = 65535  # white in 16 bits
WHITE_LEVELS = {"F": (1, 255, DEEPEST_WHITE), "I": (255, DEEPEST_WHITE)}
"""Image mode -> the values that may stand for white. Float and 32-bit images do not say
which one they use. It is the first that no pixel exceeds."""


def refuse_huge(image: Image.Image) -> None:
    """Raise DataError for an image too big, or too elongated to be resized."""
    width, height = image.size
    # Pillow itself only warns between its limit and twice its limit.
    pixel_limit = Image.MAX_IMAGE_PIXELS or math.inf
    too_many = width * height > pixel_limit
    too_long = max(width, height) > MAX_ELONGATION * min(width, height)
    if too_many or too_long:
        raise DataError(f"{width}x{height} pixels are too many or too elongated")


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright and in mode RGB: transparency on white, 16 bits scaled to 8.

    Raises DataError for an image that is too big (see `refuse_huge`) or too bright.

    >>> half_black = Image.new("RGBA", (1, 1), (0, 0, 0, 51))  # 20% black over white
    >>> to_rgb(half_black).getpixel((0, 0))
    (204, 204, 204)
    """
    refuse_huge(image)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _deep_to_rgb(image)
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """An image with more than 8 bits a pixel, scaled to 8: round(255 value / white)."""
    values = np.asarray(image, dtype=np.float64)
    whites = WHITE_LEVELS.get(image.mode, (DEEPEST_WHITE,))  # mode I;16 has 16 bits by definition
    white = next((white for white in whites if values.max() <= white), None)
    if white is None:
        raise DataError(f"mode {image.mode} pixels reach {values.max()}, more than {DEEPEST_WHITE}")
    grey = np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """An image with transparent pixels, laid on white paper."""
    if image.mode == "La":  # Pillow cannot convert it to RGBA directly
        image = image.convert("LA")
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def image_cell(cell: Any) -> Any:
    """What an image cell of a table holds: bytes, a path or a function.

    A dictionary stands for its "bytes", or for its "path" if it has no bytes.
    The `datasets` library writes images as such dictionaries.

    >>> image_cell({"bytes": None, "path": "cat.png"})
    'cat.png'
    >>> image_cell("cat.png")
    'cat.png'
    """
    if isinstance(cell, dict) and cell.keys() & {"bytes", "path"}:
        return cell.get("bytes") or cell.get("path")
    return cell


def opened(
    source: ImageSource,
    name: str,
    use: Callable[[Image.Image], Any] = to_rgb,
    skip_bad: bool = False,
) -> Any:
    """What `use` makes of the image in a source, by default upright and in RGB.

    `use` gets the image as it is stored. Whatever goes wrong becomes a DataError that
    begins with `name`. Returns the DataError in place of the result if skip_bad is set;
    otherwise raises it.

    >>> red = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    >>> opened(red, "red").size
    (6, 4)
    >>> opened(Path("cat.png"), "cat.png", skip_bad=True)
    DataError("cat.png: cannot be read (FileNotFoundError: ...)")
    """
    try:
        return _decode(source, use)
    except Exception as error:  # a damaged file makes Pillow raise many kinds of error
        bad = DataError(f"{name}: cannot be read ({type(error).__name__}: {error})")
        if skip_bad:
            return bad
        raise bad from error


def _decode(source: ImageSource, use: Callable[[Image.Image], Any]) -> Any:
    if callable(source):
        source = image_cell(source())
    if isinstance(source, np.ndarray):
        return use(Image.fromarray(source))
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file) as image:
        refuse_huge(image)
        return use(image)

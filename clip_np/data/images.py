"""When does a picture become pixels?

As late as possible, because decoded pictures rarely fit in memory. 100,000 photographs
of 640 x 480 pixels are about 15 GB of JPEG files, but 92 GB of pixels. So a pair keeps
only the *source* of its image:

    a path           the file is opened when the image is needed
    bytes            an encoded image (PNG, JPEG, ...), for instance a cell of a table
    an array         uint8 (H, W, 3), RGB: already pixels
    a function       called when the image is needed, it returns a path or bytes

Only `opened` opens and decodes a source. It admits the formats of formats.py, and keeps
the memory within the bounds of decoding.py.

Published models convert a picture to RGB with Pillow's `convert("RGB")`. That shows the
colours hidden under transparent pixels, and cuts 16-bit values off at 255, so a medical
or depth image becomes all white. `to_rgb` follows other rules: transparency is put
on white paper, deep values are scaled to 8 bits, and a photograph is turned upright as
its camera noted (EXIF).

A file that is opened here is upright, and its deep values are scaled, whatever is made
of it then. So a published model, too, sees the photographs of a telephone as people do.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clip_np.data.decoding import DECODED, prepare, refuse_huge, shrink_factor
from clip_np.data.errors import DataError
from clip_np.data.formats import file_bytes, open_picture
from clip_np.data.orientation import (
    UPRIGHT,
    forget_notes,
    keep_orientation_only,
    orientation_of,
    turned,
)

ImageSource = Path | bytes | np.ndarray | Callable[[], Any]

DEEPEST_WHITE = 65535  # white in 16 bits
WHITE_LEVELS = {"F": (1, 255, DEEPEST_WHITE), "I": (255, DEEPEST_WHITE)}
"""Image mode -> the values that may stand for white. Float and 32-bit images do not say
which one they use. It is the first that no pixel exceeds."""


STRIP_PIXELS = 2**20
"""A larger image is converted in strips of about that many pixels. A strip takes 8 MiB
in the widest type on the way (float64), and the whole image would take hundreds."""

FROM_BELOW = {3, 4, 6, 7}  # orientations that begin with the last row
SIDEWAYS = {5, 6, 7, 8}  # these make rows into columns


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright and in mode RGB: transparency on white, 16 bits scaled to 8.

    An image of more than 25 million pixels becomes smaller by a whole factor (see
    `shrink_factor`): each pixel is the mean of a square of pixels. Raises DataError for
    an image that is too big (see `refuse_huge`) or too bright.

    >>> half_black = Image.new("RGBA", (1, 1), (0, 0, 0, 51))  # 20% black over white
    >>> to_rgb(half_black).getpixel((0, 0))
    (204, 204, 204)
    """
    refuse_huge(image)
    image.load()
    return _to_rgb(image, orientation_of(image))


def _to_rgb(image: Image.Image, orientation: int) -> Image.Image:
    """`to_rgb` of a decoded image, with what is known of how the camera was held."""
    convert = _conversion(image)
    if image.width * image.height <= STRIP_PIXELS:
        return turned(convert(image), orientation)
    shrink = shrink_factor(image.size)
    width, height = (-(-side // shrink) for side in image.size)  # rounded up
    upright_size = (height, width) if orientation in SIDEWAYS else (width, height)
    whole = Image.new("RGB", upright_size)
    row = 0  # of the smaller image, before it is turned
    for strip in _strips(image, shrink):
        rgb = convert(strip).reduce(shrink)
        along = height - row - rgb.height if orientation in FROM_BELOW else row
        row += rgb.height
        place = (along, 0) if orientation in SIDEWAYS else (0, along)
        whole.paste(turned(rgb, orientation), place)
    return whole


def _strips(image: Image.Image, multiple: int = 1) -> Iterator[Image.Image]:
    """The image from top to bottom, in strips.

    The height of each strip but the last is a multiple of `multiple`.
    """
    rows = max(1, STRIP_PIXELS // image.width // multiple) * multiple
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _as_seen(image: Image.Image) -> Image.Image:
    """An image of a file that was just opened, decoded and upright.

    It keeps its mode, unless it has more than 8 bits a pixel or is large: then it is
    made RGB by `to_rgb`. It says nothing of EXIF any more, so it is turned only once.
    """
    if image.format == "TIFF":
        keep_orientation_only(image)
    image.load()
    orientation = orientation_of(image)
    turns = orientation != UPRIGHT
    if _is_deep(image) or (turns and shrink_factor(image.size) > 1):
        return _to_rgb(image, orientation)
    if not turns:
        return image
    upright = turned(image, orientation)
    forget_notes(upright)
    image.close()  # its pixels are not needed any more
    return upright


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits a pixel."""
    return image.mode.startswith(("I", "F"))


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The function that makes strips of `image` RGB.

    Raises DataError if it is too bright.
    """
    if _is_deep(image):
        white = _white(image)
        return lambda strip: _deep_to_rgb(strip, white)
    if image.has_transparency_data:
        return _on_white
    return lambda strip: strip.convert("RGB")


def _white(image: Image.Image) -> int:
    """The value that is white in an image with more than 8 bits a pixel."""
    if image.mode not in WHITE_LEVELS:
        return DEEPEST_WHITE  # mode I;16 has 16 bits by definition
    # NaN counts as the brightest, by NumPy's max.
    brightest = np.max([np.asarray(strip).max() for strip in _strips(image)])
    for white in WHITE_LEVELS[image.mode]:
        if brightest <= white:
            return white
    raise DataError(f"mode {image.mode} pixels reach {brightest}, more than {DEEPEST_WHITE}")


def _deep_to_rgb(strip: Image.Image, white: int) -> Image.Image:
    """Pixels of more than 8 bits, scaled to 8: round(255 value / white)."""
    values = np.asarray(strip, dtype=np.float64)
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
    needed_side: int | None = None,
) -> Any:
    """What `use` makes of the image in a source, by default an RGB image.

    `use` gets the image upright, with at most 8 bits for each colour. needed_side: to
    how many pixels the shorter side will be resized; a large JPEG is then decoded
    smaller (see `decode_smaller`). None: it is not. Whatever goes wrong becomes a
    DataError that begins with `name`. Returns the DataError in place of the result if
    skip_bad is set; otherwise raises it.

    >>> red = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    >>> opened(red, "red").size
    (6, 4)
    >>> opened(Path("cat.png"), "cat.png", skip_bad=True)
    DataError("cat.png: cannot be read (FileNotFoundError: ...)")
    """
    try:
        return _decode(source, use, needed_side)
    except Exception as error:  # a damaged file makes Pillow raise many kinds of error
        bad = _unreadable(name, error)
        if skip_bad:
            return bad
        raise bad from error


def fetched(source: ImageSource, name: str) -> Path | bytes | np.ndarray | DataError:
    """A source without its function: what that returns, not yet decoded.

    If the function fails, the same DataError as that of `opened`, not raised.

    >>> fetched(lambda: b"GIF89a", "a.gif")
    b'GIF89a'
    """
    if not callable(source):
        return source
    try:
        encoded: Path | bytes = image_cell(source())
    except Exception as error:  # as in `opened`
        return _unreadable(name, error)
    return encoded or b""


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: cannot be read ({type(error).__name__}: {error})")


def _decode(source: ImageSource, use: Callable[[Image.Image], Any], needed_side: int | None) -> Any:
    if isinstance(source, np.ndarray):
        return use(Image.fromarray(source))
    encoded: Any = image_cell(source()) if callable(source) else source
    if not encoded:
        raise DataError("the image is empty")
    with open_picture(encoded) as image:
        needed = prepare(image, file_bytes(encoded), needed_side)
        with DECODED.hold(needed):
            return use(_as_seen(image))

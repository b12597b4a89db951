"""How much memory may pictures take?

A file of 172 kB can hold a picture of 9,400 x 9,400 pixels that are all black. Decoded,
it takes a thousand times as much, and four threads decode four of them at once. Three
rules bound that:

    one picture      at most 2 GiB, which is 500 million pixels in RGB. A large JPEG
                     needs less: it can be decoded at half its size. The environment
                     variable CLIP_NP_IMAGE_MIB sets another limit.
    a bomb           decoded over 208 MiB, and over 300 times its file: refused
    all pictures     1 GiB at a time, over all threads. The next one waits.

A picture of up to 25 million pixels is decoded and converted in full. One beyond that
is made smaller by a whole factor as early as possible, and before it becomes RGB. No
model looks at more than a few hundred pixels a side.

Where an image is only made to be resized, as in training, a JPEG is decoded at a half,
a quarter or an eighth of its size if twice the pixels that are needed are left then.
"""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from clip_np.data.errors import DataError

MEGABYTE = 2**20
MEMORY_VARIABLE = "CLIP_NP_IMAGE_MIB"
"""The environment variable with the most MiB that one picture may take."""
USUAL_MEMORY = 2048  # MiB
WHOLE_PIXELS = 25 * MEGABYTE
"""A picture of up to 26,214,400 pixels, 100 MiB in RGB, keeps its size. Most cameras
make 12 to 24 million."""
REDUCED_PIXELS = 8 * MEGABYTE
"""A larger picture becomes at most that large, which is 32 MiB in RGB."""
BOMB_BYTES = 208 * MEGABYTE
"""What a file may become however small it is: a picture of WHOLE_PIXELS, decoded (100
MiB) and converted (100 MiB), and a little more."""
BOMB_RATIO = 300
"""Decoded bytes for each byte of the file. PNG files of photographs have a ratio of 2,
JPEG files 10, scanned pages up to 200, and zlib reaches 1,000 for a single colour."""
DECODED_SMALLER = 2
"""So many times the pixels that are decoded may a JPEG have."""
SPARE_SIZE = 2
"""So many times the pixels that are needed are decoded on each side, at least."""
SMALLEST_SCALE = 8  # of a JPEG, as one part of its size: each block becomes one pixel
MAX_ELONGATION = 1000
"""Longer side over shorter side. Resizing makes the shorter side n pixels long. A strip
of 1 x 500,000 pixels would become n x 500,000 n pixels, which fills the memory."""
RGB_BYTES = 4  # Pillow keeps a byte unused in each pixel
DECODER_BYTES = {"WEBP": 12, "AVIF": 8, "HEIF": 5, "JPEG2000": 16, "QOI": 4, "SGI": 4, "TIFF": 4}
"""Bytes a pixel that a decoder needs next to the picture, measured with Pillow 13. Of
other formats it needs a few rows."""
MAX_SCANS = 100
"""Of a JPEG. Programs write 1 to 4, and about 10 if it is progressive."""
START_OF_SCAN = b"\xff\xda"  # compressed data never holds these bytes
COEFFICIENT_BYTES = 2  # of one coefficient of a JPEG


def refuse_huge(image: Image.Image, coefficients: int = 0) -> int:
    """How many bytes an image takes until it is RGB; `coefficients` are some of them.

    Raises DataError if they are too many, or if it is too elongated to be resized.
    """
    width, height = image.size
    if max(width, height) > MAX_ELONGATION * min(width, height):
        raise DataError(
            f"{width}x{height} pixels are too elongated: expected sides up to "
            f"{MAX_ELONGATION}:1; cut the image"
        )
    pixels = width * height
    decoder = pixels * DECODER_BYTES.get(image.format or "", 0)
    in_rgb = pixels // shrink_factor(image.size) ** 2 * RGB_BYTES
    needed = coefficients + pixels * stored_bytes(image.mode) + decoder + in_rgb
    if needed > memory_limit():
        raise DataError(
            f"{width}x{height} pixels need {needed / MEGABYTE:,.0f} MiB of memory, at most "
            f"{memory_limit() / MEGABYTE:,.0f} MiB are allowed: make the image smaller, or set "
            f"the environment variable {MEMORY_VARIABLE}={math.ceil(needed / MEGABYTE)}"
        )
    return needed


def memory_limit() -> int:
    """The bytes that one picture may take; ValueError for a limit that is no number."""
    text = os.environ.get(MEMORY_VARIABLE, "")
    if not text:
        return USUAL_MEMORY * MEGABYTE
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{MEMORY_VARIABLE} is {text!r}, expected a number of MiB, such as 4096")
    return int(text) * MEGABYTE


def refuse_scans(image: Image.Image) -> None:
    """Raise DataError for a JPEG that is stored in more than MAX_SCANS scans.

    Each scan makes the decoder walk over all pixels again. A scan that changes nothing
    has a few bytes.
    """
    file = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or file is None:
        return
    place = file.tell()
    file.seek(0)
    scans = 0
    while (chunk := file.read(MEGABYTE)) and scans <= MAX_SCANS:
        scans += chunk.count(START_OF_SCAN)
    file.seek(place)
    if scans > MAX_SCANS:
        raise DataError(f"a JPEG of more than {MAX_SCANS} scans (MAX_SCANS): save it again")


def prepare(image: Image.Image, file_bytes: int, needed_side: int | None = None) -> int:
    """Let a large JPEG be decoded smaller; return how many bytes the image will take.

    needed_side: see `decode_smaller`. Raises DataError for an image that is too big or
    too elongated, or a small file that would take much memory.
    """
    refuse_scans(image)
    most = DECODED_SMALLER * (Image.MAX_IMAGE_PIXELS or math.inf)
    if math.prod(image.size) > most:
        raise DataError(f"{image.width}x{image.height} pixels are too many: at most {most:,}")
    coefficients = math.prod(image.size) * coefficient_bytes(image)
    decode_smaller(image, needed_side)
    needed = refuse_huge(image, coefficients)
    stored = math.prod(image.size) * stored_bytes(image.mode)
    if needed > BOMB_BYTES and coefficients + stored > BOMB_RATIO * file_bytes:
        raise DataError(
            f"{image.width}x{image.height} pixels in {file_bytes:,} bytes need "
            f"{needed / MEGABYTE:,.0f} MiB of memory: more than {BOMB_BYTES // MEGABYTE} MiB is "
            f"only for files that unpack to at most {BOMB_RATIO} times their size; "
            "make the image smaller"
        )
    return needed


def stored_bytes(mode: str) -> int:
    """Bytes that Pillow keeps for a pixel of a mode.

    >>> [stored_bytes(mode) for mode in ("L", "I;16", "RGB", "F")]
    [1, 2, 4, 4]
    """
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def coefficient_bytes(image: Image.Image) -> int:
    """Bytes for each pixel of a progressive JPEG; 0 for other images.

    Its decoder keeps the coefficients of the whole image, in full size, until the last
    refinement has arrived. A photograph has 1.5 for each pixel: one of brightness, and
    two of colour for each square of 4 pixels.
    """
    if not image.info.get("progressive"):
        return 0
    layers = getattr(image, "layer", [])  # name, samples across, samples down, table
    samples = sum(across * down for _, across, down, _ in layers)
    pixels = max(across for _, across, _, _ in layers) * max(down for _, _, down, _ in layers)
    return math.ceil(COEFFICIENT_BYTES * samples / max(pixels, 1))


def shrink_factor(size: tuple[int, int]) -> int:
    """By which factor a picture of (width, height) is made smaller: 1 for most.

    >>> shrink_factor((6000, 4000))
    1
    >>> shrink_factor((9400, 9400))
    4
    """
    pixels = math.prod(size)
    return 1 if pixels <= WHOLE_PIXELS else math.ceil(math.sqrt(pixels / REDUCED_PIXELS))


def decode_smaller(image: Image.Image, needed_side: int | None = None) -> None:
    """Let a JPEG be decoded at half its size, or a quarter, or an eighth.

    Its decoder can leave out the finest details, which takes less time and memory.

    - A JPEG of more than WHOLE_PIXELS has at most that many afterwards.
    - needed_side: to how many pixels the shorter side will be resized. At least
      SPARE_SIZE times as many are decoded, and the square that is made of them differs
      little from the one of all pixels. None: as many pixels as there are.

    Nothing happens to an image of another format.
    """
    factor = 1
    while math.prod(image.size) > WHOLE_PIXELS * factor**2:
        factor *= 2
    if needed_side is not None:
        while factor < SMALLEST_SCALE and min(image.size) // (2 * factor) >= (
            SPARE_SIZE * needed_side
        ):
            factor *= 2
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))


class Budget:
    """At most `total` bytes are in use at any time, over all threads.

    Whoever wants more than are free waits. Whoever wants more than `total` waits until
    nothing is in use, and then gets it. A thread must not ask twice: it would wait for
    itself.

    >>> budget = Budget(total=100)
    >>> with budget.hold(60):
    ...     budget.in_use
    60
    >>> budget.in_use
    0
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.in_use = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and use them within the block."""
        with self._changed:
            self._changed.wait_for(lambda: self.in_use == 0 or self.in_use + size <= self.total)
            self.in_use += size
        try:
            yield
        finally:
            with self._changed:
                self.in_use -= size
                self._changed.notify_all()


DECODED = Budget(total=1024 * MEGABYTE)
"""The bytes of all pictures that are being decoded. It lets 10 photographs of 12
million pixels be decoded at once."""

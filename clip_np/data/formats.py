"""Which files are opened as pictures?

Pillow tells the format of a file by its first bytes, whatever its name is, and hands it
to a plugin. Not every plugin is harmless: the one for EPS starts Ghostscript, which
*runs* the file, and the one for IPTC opens any picture that it finds inside, an EPS as
well. So `open_picture` admits only FORMATS. It is the one place in this project where
a picture is opened.

A format is in FORMATS if people keep pictures in it, and if Pillow

- reads it with its own code, without starting a program or needing another package,
- finds in the header the size of what it will decode, and decodes at machine speed.

One format comes from another package: HEIC, the photographs of telephones. It is read
if pillow-heif is installed, which adds itself to Pillow when it is imported.

What the names of such files end in, `image_suffixes`, is what Pillow's registry says.

A path must lead to a regular file: reading a pipe may wait for ever, and reading a
device may do anything.
"""

import importlib
import importlib.util
import io
import os
import stat
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from clip_np.data.errors import DataError

# The most frequent come first, and TGA last: it has no mark by which it is recognised.
FORMATS = (
    "PNG",
    "JPEG",  # and MPO, which begins as a JPEG
    "GIF",
    "BMP",
    "PPM",  # and PGM, PBM, PNM, PFM
    "WEBP",
    "TIFF",
    "AVIF",
    "HEIF",  # with pillow-heif
    "JPEG2000",
    "ICO",
    "CUR",
    "DIB",
    "PCX",
    "PSD",
    "QOI",
    "SGI",
    "SUN",
    "XBM",
    "XPM",
    "TGA",
)

SAME_READER = {"MPO": "JPEG"}
"""Formats that are read as another one, with which they begin."""
HEIC_SUFFIXES = (".heic", ".heics", ".heif", ".heifs", ".hif")
MISSING = {
    ".avif": "a newer Pillow: pip install -U pillow",
    ".jxl": "convert them",
    ".svg": "convert them",
    **dict.fromkeys(HEIC_SUFFIXES, "pip install pillow-heif"),
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf"), "convert them"),
}
"""Endings of pictures that may not be read here -> what to do about it."""
NO_PICTURES = {".h5", ".hdf", ".mpeg", ".mpg", ".pdf", ".ps"}
"""Endings that Pillow knows, of files that are other things than pictures."""
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ".avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), ".heic"),
}
"""What stands after "ftyp" at the start of a file -> the ending of such files."""

ICON_MAGIC = b"\0\0\1\0"
ICON_ENTRY_BYTES = 16
MAX_ICON_SIDE = 1024
"""Pixels. An icon's header can only say sizes up to 256; a few programs write more."""
PREFIX_BYTES = 16  # at the start of a file, by which Pillow tells its format
NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)  # as Image.open has it
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@cache
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this version of Pillow reads."""
    Image.init()  # import the plugins, which takes 20 ms
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif.HeifImagePlugin")
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def image_suffixes() -> frozenset[str]:
    """What the names of picture files end in, in lower case, with a dot.

    >>> {".jpg", ".jpeg", ".jfif", ".png", ".tga"} <= image_suffixes()
    True
    >>> ".eps" in image_suffixes()
    False
    """
    known = known_formats()
    return frozenset(
        suffix for suffix, name in Image.EXTENSION.items() if SAME_READER.get(name, name) in known
    )


def is_image_name(path: Path | str) -> bool:
    """Whether a file is a picture that is read here, by its name.

    >>> is_image_name("cat.JPG"), is_image_name("cat.txt")
    (True, False)
    """
    return Path(path).suffix.lower() in image_suffixes()


def left_out(files: Iterable[Path]) -> str:
    """How many of the files are pictures that are not read, by ending, or "".

    >>> left_out(map(Path, ("a.svg", "b.SVG", "c.eps", "d.png", "e.txt")))
    '1 .eps, 2 .svg (convert them)'
    """
    refused = {suffix for suffix in Image.EXTENSION if suffix not in image_suffixes()}
    unread = (refused | MISSING.keys()) - image_suffixes() - NO_PICTURES
    counts = Counter(file.suffix.lower() for file in files)
    return ", ".join(
        f"{counts[suffix]} {suffix}" + (f" ({MISSING[suffix]})" if suffix in MISSING else "")
        for suffix in sorted(unread & counts.keys())
    )


@contextmanager
def open_picture(source: Path | str | bytes) -> Iterator[Image.Image]:
    """The picture in a file, or in the bytes of one; its pixels are not yet decoded.

    Raises OSError for what is no regular file, and UnidentifiedImageError (an OSError)
    for what is in none of FORMATS.

    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (6, 4)).save(buffer, "PNG")
    >>> with open_picture(buffer.getvalue()) as picture:
    ...     print(picture.format, picture.size)
    PNG (6, 4)
    """
    with _binary_file(source) as file:
        refuse_false_icon(file)
        with _recognised(file) as picture:
            yield picture


def _recognised(file: BinaryIO) -> Image.Image:
    """What `Image.open` does, without its warning of 89 million pixels or more.

    How large a picture may be is decided in decoding.py, and a warning would only
    confuse: it is Python's own text, with a line of Pillow's source.
    """
    start = file.read(PREFIX_BYTES)
    for name in known_formats():
        read, accepts = Image.OPEN[name]
        try:
            # A text says why a plugin cannot read what would be its format.
            answer = accepts is None or accepts(start)
            if answer and not isinstance(answer, str):
                file.seek(0)
                return read(file, "")
        except NOT_THIS_FORMAT:
            continue
    raise UnidentifiedImageError(
        f"cannot identify image file{_remedy(start)}; the formats that are read are "
        f"{', '.join(known_formats())}"
    )


def _remedy(start: bytes) -> str:
    """What to install, if a file that is not recognised begins as HEIC or AVIF."""
    suffix = BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None
    return f", which begins as {suffix} ({MISSING[suffix]})" if suffix else ""


def _binary_file(source: Path | str | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading; OSError if it is a folder, a pipe or a device."""
    # Opening a pipe waits for its other end, but for O_NONBLOCK. Windows has no such
    # flag, and no such files.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is a folder, a pipe or a device, not a regular file")
        return open(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def file_bytes(source: Path | str | bytes) -> int:
    """The size of a source, encoded as it is."""
    return len(source) if isinstance(source, bytes) else os.path.getsize(source)


def refuse_false_icon(file: BinaryIO) -> None:
    """Raise DataError for an icon (ICO) with an image far larger than icons are.

    Pillow decodes an icon as soon as it is opened, and takes the size that the header
    says for the true one. So the pictures inside are looked at before.
    """
    header = file.read(6)
    if header.startswith(ICON_MAGIC):
        entries = file.read(int.from_bytes(header[4:6], "little") * ICON_ENTRY_BYTES)
        for start in range(0, len(entries), ICON_ENTRY_BYTES):
            entry = entries[start : start + ICON_ENTRY_BYTES]
            file.seek(int.from_bytes(entry[12:16], "little"))
            width, height = _size_inside_icon(file.read(24))
            if max(width, height) > MAX_ICON_SIDE:
                raise DataError(
                    f"an icon of {width}x{height} pixels, expected at most "
                    f"{MAX_ICON_SIDE}x{MAX_ICON_SIDE}"
                )
    file.seek(0)


def _size_inside_icon(start: bytes) -> tuple[int, int]:
    """Width and height of a PNG or a bitmap, from its first 24 bytes.

    A bitmap in an icon says twice its height: its transparency follows as a second one.
    """
    if start.startswith(PNG_MAGIC):
        return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    width = int.from_bytes(start[4:8], "little", signed=True)
    height = int.from_bytes(start[8:12], "little", signed=True)
    return abs(width), abs(height) // 2

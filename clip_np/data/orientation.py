"""How was the camera held?

A camera stores the rows of its sensor, and notes how it was held: a number from 1 to 8
in the tag *orientation* of its EXIF data, or in XMP. Other programs write such notes
too, and many are damaged. The photograph is good all the same, and the orientation,
too, if another note is damaged. So it is looked for in two ways: Pillow reads all
notes, and gives up at a damaged one; `_own_reading` steps from tag to tag and looks at
one of them.

EXIF data are a TIFF file without pixels (CIPA DC-008, section 4.6):

    II or MM             the order of bytes
    42, offset           where the table of tags begins
    count of tags, and for each tag: its number, type, count, and value or its offset
"""

import re
import struct
from typing import Any

from PIL import ExifTags, Image

UPRIGHT = 1
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How the camera was held, as EXIF counts it -> what makes the image upright."""

DAMAGED_NOTES = (
    SyntaxError,
    ValueError,  # and UnicodeError
    TypeError,
    LookupError,
    OSError,
    EOFError,
    ArithmeticError,  # a fraction over 0
    AttributeError,
    AssertionError,
    struct.error,
)
"""How the versions of Pillow complain of damaged notes."""
RAW_PROFILE = "Raw profile type exif"
XMP = ("XML:com.adobe.xmp", "xmp")
NOTES = ("exif", RAW_PROFILE, "Raw profile type APP1", *XMP)
"""Where Pillow keeps notes, under `image.info`."""
XMP_ORIENTATION = re.compile(r'tiff:Orientation(?:="|>)([1-8])')
SHORT = 3  # the type of a number of 2 bytes
TAG_BYTES = 12
MOST_TAGS = 1000


def orientation_of(image: Image.Image) -> int:
    """How the camera was held, from 1 to 8; 1 (upright) if no note says it.

    >>> image = Image.new("L", (6, 4))
    >>> image.getexif()[ExifTags.Base.Orientation] = 6
    >>> orientation_of(image)
    6
    """
    try:
        orientation: Any = image.getexif().get(ExifTags.Base.Orientation)
    except DAMAGED_NOTES:
        orientation = None
    if orientation is None:
        orientation = _own_reading(image.info)
    known = orientation == UPRIGHT or orientation in TRANSPOSITIONS
    return int(orientation) if known else UPRIGHT


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image upright, if the camera was held so."""
    method = TRANSPOSITIONS.get(orientation)
    return image if method is None else image.transpose(method)


def forget_notes(image: Image.Image) -> None:
    """Remove all notes of an image, so that nothing turns it once more."""
    for note in NOTES:
        image.info.pop(note, None)


def keep_orientation_only(image: Image.Image) -> None:
    """Remove all notes of a TIFF besides its orientation, before it is decoded.

    Pillow turns a TIFF upright while it decodes it. It then writes all notes again, and
    fails if one of them is damaged.
    """
    forget_notes(image)
    try:
        exif = image.getexif()
        for tag in list(exif):
            if tag != ExifTags.Base.Orientation:
                del exif[tag]
    except DAMAGED_NOTES:
        return


def _own_reading(info: dict[Any, Any]) -> int | None:
    """The orientation among the notes of a file, read without Pillow; None for none."""
    exif = info.get("exif")
    if isinstance(exif, bytes) and (orientation := orientation_in(exif)) is not None:
        return orientation
    for key in XMP:
        xmp = info.get(key)
        text = xmp.decode("latin-1") if isinstance(xmp, bytes) else str(xmp)
        if match := XMP_ORIENTATION.search(text):
            return int(match[1])
    return None


def orientation_in(exif: bytes) -> int | None:
    """The orientation in EXIF data, or None, whatever else is in them.

    >>> table = struct.pack("<H HHIHxx I", 1, 0x0112, 3, 1, 6, 0)
    >>> orientation_in(b"II*\\0" + struct.pack("<I", 8) + table)
    6
    >>> orientation_in(b"no EXIF data") is None
    True
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for place in range(start + 2, start + 2 + TAG_BYTES * min(count, MOST_TAGS), TAG_BYTES):
        if place + TAG_BYTES > len(exif):
            return None
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
        if tag == ExifTags.Base.Orientation:
            return int(value) if kind == SHORT else None
    return None

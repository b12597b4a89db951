"""How are pairs read from tar files?

Large sets are kept as tar files of some thousand pairs, called shards. webdataset and
img2dataset write them so. The files of a pair have one name but for their endings:

    00000.tar
        000000000.jpg
        000000000.txt     the caption
        000000000.json    more about it; its "caption" counts if there is no .txt

Nothing is unpacked onto the disk. The shard is read once, from header to header. After
that, each image is read from its place in the shard when it is needed. Only plain files
count: a link, a device, or a path that leads out of the shard is an error. Hidden files
(".name") are left out, as in folders. macOS writes such files next to the others.

A tar file is a sequence of files. In front of each is a header of 512 bytes with its
name, size and type (POSIX.1-1988, ustar). A name that is too long for the header comes
before it, as a *note*: a file of a special type, as GNU's tar or POSIX.1-2001 (pax)
write it.
"""

import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from clip_np.data.bounds import MAX_CELL, refuse_rows
from clip_np.data.columns import Columns, Entry
from clip_np.data.compact import Located
from clip_np.data.errors import DataError
from clip_np.data.formats import is_image_name

CAPTION_ENDINGS = ("txt", "caption", "text")
MAX_TEXT = 4 * MAX_CELL  # bytes of a caption or of JSON
MAX_IMAGE = 2**28
"""Bytes of one encoded image: 256 MiB."""
BLOCK = 512  # bytes; headers and files begin at multiples
MAX_NOTE = 2**16  # bytes of a long name, or of notes about a file
# Types in headers. PAX is about the next file, PAX_OF_ALL about all that follow.
FILES = (b"0", b"\0")
FOLDER = b"5"
LONG_NAME, PAX, PAX_OF_ALL = b"L", b"x", b"g"
NOTES = (LONG_NAME, PAX, PAX_OF_ALL)
WAYS_OUT = re.compile(r"^/|^\\|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
"""Names of files that would not lie below the shard."""
HIDDEN = re.compile(r"(^|/)\.[^/]")  # but not "./" in front, which some programs write


class Member(NamedTuple):
    """A plain file in a tar file."""

    name: str
    start: int
    size: int


def is_tar(path: Path, asked_for: bool) -> bool:
    """Whether a file is a tar file, by its name, whether or not the user named it.

    >>> is_tar(Path("00000.tar"), asked_for=False)
    True
    """
    return path.suffix.lower() == ".tar"


@dataclass
class TarImages:
    """The images of a tar file; called with a number, it reads one.

    It can be pickled and used by several threads.
    """

    path: str
    starts: array = field(default_factory=lambda: array("q"))
    sizes: array = field(default_factory=lambda: array("q"))

    def add(self, start: int, size: int) -> int:
        """Add an image by its place, and return its number."""
        self.starts.append(start)
        self.sizes.append(size)
        return len(self.starts) - 1

    def __call__(self, number: int) -> bytes:
        """The encoded image."""
        with open(self.path, "rb") as file:
            return _content(file, self.starts[number], self.sizes[number])


@dataclass
class _Sample:
    """What lies in a shard under one name."""

    image: int | None = None
    caption: Any = None
    notes: dict[str, Any] = field(default_factory=dict)


def read_tar(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each name in the shard.

    Raises DataError for a damaged shard, or one that holds anything but plain files.
    """
    images = TarImages(str(path))
    samples: dict[str, _Sample] = {}
    length = path.stat().st_size
    with open(path, "rb") as file:
        for name, start, size in _members(path, file, length):
            if HIDDEN.search(name):
                continue
            folder, slash, base = name.rpartition("/")
            stem, _, ending = base.partition(".")  # "a.b.jpg" belongs to "a"
            sample = samples.setdefault(folder + slash + stem, _Sample())
            if is_image_name(base):
                _refuse_size(path, name, size, MAX_IMAGE)
                if sample.image is None:
                    sample.image = images.add(start, size)
            elif ending.lower() in CAPTION_ENDINGS or ending.lower() == "json":
                _refuse_size(path, name, size, MAX_TEXT)
                _read_text(path, name, _content(file, start, size), sample)
            refuse_rows(path, len(samples), length)
    for name, sample in samples.items():
        yield _entry(name, sample, images, columns)


def _entry(name: str, sample: _Sample, images: TarImages, columns: Columns) -> Entry:
    """The entry of what lies under one name.

    `columns[role]` lists headers, the preferred one first. A later item of a dictionary
    replaces an earlier one, so the list is walked from its end.
    """
    by_lower = {key.lower(): value for key, value in sample.notes.items()}
    cells = {
        role: by_lower[header.lower()]
        for role in ("caption", "tags", "split")
        for header in reversed(columns[role])
        if header.lower() in by_lower
    }
    if sample.caption is not None:
        cells["caption"] = sample.caption
    if sample.image is None or "caption" not in cells:
        missing = "image" if sample.image is None else "caption (.txt, or in .json)"
        return Entry(name, {}, f"no {missing} under this name")
    return Entry(name, {**cells, "image": Located(images, sample.image)})


def _read_text(path: Path, name: str, content: bytes, sample: _Sample) -> None:
    """Put a caption, or what a JSON file says, into a sample."""
    try:
        text = content.decode("utf-8-sig")
        if not name.lower().endswith(".json"):
            sample.caption = text
            return
        notes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} {name}: cannot be read ({error})") from error
    sample.notes = notes if isinstance(notes, dict) else {}


def _members(path: Path, file: BinaryIO, length: int) -> Iterator[Member]:
    """The plain files of a tar file of `length` bytes, in order.

    Folders are passed over. DataError for anything else, and for damage.
    """
    long_name, long_size = "", -1  # what notes say of the next member; -1 is nothing
    place = 0
    while True:
        header = _content(file, place, BLOCK)
        if not header:
            raise DataError(f"{path} is cut off: blocks of zeros are missing at its end")
        if not header.strip(b"\0"):
            return
        kind, name, size = _parse_header(path, place, header)
        if kind in FILES and long_size >= 0:
            size = long_size
        start = place + BLOCK
        if start + size > length:
            raise DataError(f"{path} {name[:200]}: is cut off")
        if kind in NOTES:
            if size > MAX_NOTE:
                raise DataError(f"{path}: a note of {size:,} bytes, at most {MAX_NOTE:,}")
            note = _content(file, start, size)
            if kind == LONG_NAME:
                long_name = note.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif kind == PAX:
                long_name, long_size = _parse_pax(path, note, long_name)
        elif kind in FILES or kind == FOLDER:
            name = long_name or name
            if WAYS_OUT.search(name):
                raise DataError(f"{path} {name[:200]}: its path leads out of the shard")
            if kind in FILES and not name.endswith("/"):
                yield Member(name, start, size)
            long_name, long_size = "", -1
        else:
            raise DataError(
                f"{path} {name[:200]}: a link, a device or another odd file (type {kind!r})"
            )
        place = start + BLOCK * -(-size // BLOCK)  # rounded up to whole blocks


def _parse_header(path: Path, place: int, header: bytes) -> tuple[bytes, str, int]:
    """The type, name and size in a header of 512 bytes. DataError if it is damaged."""
    stated = header[148:156]  # the sum of all bytes, in which these eight count as spaces
    total = sum(header) - sum(stated) + 8 * ord(" ")
    try:
        sound = len(header) == BLOCK and int(stated.strip(b" \0"), 8) == total
        digits = header[124:136]
        if digits[:1] == b"\x80":  # a number of more than 11 octal digits, in binary
            size = int.from_bytes(digits[1:], "big")
        else:
            size = int(digits.strip(b" \0") or b"0", 8)
    except ValueError:
        sound = False
    if not sound or size < 0:
        raise DataError(f"{path} cannot be read as a tar file: a damaged header at byte {place:,}")
    name = header[:100].rstrip(b"\0")
    prefix = header[345:500].rstrip(b"\0") if header[257:263] == b"ustar\0" else b""
    whole = prefix + b"/" + name if prefix else name
    return header[156:157], whole.decode("utf-8", "surrogateescape"), size


def _parse_pax(path: Path, note: bytes, name: str) -> tuple[str, int]:
    """The path and the size in notes of the form "length key=value\\n"; -1 for none."""
    size = -1
    while note.strip(b"\0"):
        digits = note.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 7 else 0
        key, equals, value = note[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or not 0 < length <= len(note):
            raise DataError(f"{path} cannot be read as a tar file: a damaged note")
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise DataError(f"{path} cannot be read as a tar file: a damaged note")
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise DataError(f"{path} {name[:200]}: a file with holes")
        note = note[length:]
    return name, size


def _content(file: BinaryIO, start: int, size: int) -> bytes:
    """`size` bytes from byte `start` on; fewer if the file ends before."""
    file.seek(start)
    return file.read(size)


def _refuse_size(path: Path, name: str, size: int, most: int) -> None:
    """DataError for a file in the shard that is too large to be read."""
    if size > most:
        raise DataError(f"{path} {name}: {size:,} bytes, at most {most:,} are read")

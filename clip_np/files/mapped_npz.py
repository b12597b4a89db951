"""How is a table of gigabytes opened at once?

By not reading it. The system *maps* the file: its bytes appear as memory, and a page of
them is read from the disk when something asks for it. Several processes share one copy,
and the system drops it when memory runs short.

An .npz file is a zip archive. Its entries are not compressed, so the numbers of an
array lie in it as they would in memory, after two headers:

    zip header of the entry | padding | .npy header | the numbers

The padding makes the numbers begin at a multiple of 64 bytes. Without it NumPy would
copy the whole table before each product, since its fast routines read aligned numbers
only. Android's zipalign does the same; any program that reads .npz files skips it.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7 and 4.5
"""

import io
import math
import mmap
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.npz import read_npy_header
from clip_np.files.whole import replace_file
from clip_np.files.zip_files import open_zip

ALIGNMENT = 64  # bytes: the .npy header is padded to as much, and so are lines of caches
ZIP_HEADER = 30  # bytes of an entry's header before its name
NAME_LENGTHS = 26  # where in it the lengths of the name and of the extra field stand
ZIP64_EXTRA = 20  # bytes that `force_zip64` adds to the extra field
PADDING_ID = 0xD935  # of an extra field that is padding, as zipalign writes it
EXTRA_HEADER = struct.Struct("<HH")  # the id and the length of what follows
NPY_HEADER_LIMIT = 12_000  # bytes; NumPy itself parses no more than 10,000


def write_mapped_npz(path: File, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays so that `map_npz` can map them, whole or not at all.

    Any reader of .npz files reads the file. ValueError for arrays of Python objects.
    """
    with replace_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.extra = _padding(file.tell() + len(entry.filename.encode()))
            with archive.open(entry, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, np.asanyarray(array), allow_pickle=False)


def _padding(end_of_name: int) -> bytes:
    """An extra field after which the entry's content begins at a multiple of 64."""
    content = end_of_name + ZIP_HEADER + ZIP64_EXTRA + EXTRA_HEADER.size
    length = -content % ALIGNMENT
    return EXTRA_HEADER.pack(PADDING_ID, length) + bytes(length)


def map_npz(path: File) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz file, mapped: read-only, and not yet read.

    FileError for anything but plain, complete arrays in a regular file. Nothing is
    allocated for the numbers, whatever the file claims.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mapped_npz(f"{folder}/a.npz", {"rows": np.arange(6.0).reshape(2, 3)})
    ...     arrays = map_npz(f"{folder}/a.npz")
    >>> arrays["rows"].sum(), arrays["rows"].flags.aligned
    (np.float64(15.0), True)
    """
    arrays: dict[str, np.ndarray] = {}
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise FileError(f"{path}: not a regular file", path)
    with file_errors(path, "damaged, or not an .npz file"), open(path, "rb") as file:
        with open_zip(file) as archive:
            entries = archive.infolist()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise FileError("compressed; only uncompressed arrays are read")
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise FileError(f"holds two arrays named {name!r}")
            arrays[name] = _map_array(name, content, _start_of(entry, content), entry.file_size)
    return arrays


def _start_of(entry: zipfile.ZipInfo, content: mmap.mmap) -> int:
    """Where the content of an entry begins in the file."""
    lengths = content[entry.header_offset + NAME_LENGTHS : entry.header_offset + ZIP_HEADER]
    name_length, extra_length = struct.unpack("<HH", lengths)
    start: int = entry.header_offset + ZIP_HEADER + name_length + extra_length
    if start + entry.file_size > len(content):
        raise FileError(f"{entry.filename} is cut off")
    return start


def _map_array(name: str, content: mmap.mmap, start: int, size: int) -> np.ndarray:
    """The array whose .npy form lies at content[start : start + size]."""
    file = io.BytesIO(content[start : start + min(size, NPY_HEADER_LIMIT)])
    header = read_npy_header(name, file, size)
    count = math.prod(header.shape)
    if count * header.dtype.itemsize == 0:  # no bytes, which cannot be mapped
        return np.empty(header.shape, header.dtype)
    array = np.frombuffer(content, header.dtype, count, offset=start + file.tell())
    return array.reshape(header.shape, order=header.order)  # shape

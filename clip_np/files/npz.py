"""How are NumPy's own files read safely?

An .npz file is a zip archive of .npy files, one for each array:

    name.npy    "\\x93NUMPY", a version, a header, then the numbers
    header      Python text: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }

`np.load` would do, but for three things. It unpickles arrays of Python objects if asked
to, which runs programs. It unpacks compressed entries, and a few kilobytes can unpack
to gigabytes. It believes the shape in the header and allocates before it looks. Here an
entry is not compressed, is no longer than the file, and has a shape that accounts for
its bytes. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

The archive has a checksum of each entry, but none of its own table of contents.
`archives.py` adds what is missing; for it, reader and writer show the checksums.
"""

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.whole import replace_file
from clip_np.files.zip_files import open_zip

# By version of the .npy format. Version 3 is for field names beyond Latin-1, which
# weights do not have.
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpzWriter:
    """Adds arrays to an .npz file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def write(self, name: str, array: np.ndarray) -> int:
        """Add an array: returns the CRC-32 of its entry. ValueError for objects."""
        file_name = f"{name}.npy"
        with self.archive.open(file_name, "w", force_zip64=True) as entry:
            np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
        return self.archive.getinfo(file_name).CRC


@contextlib.contextmanager
def npz_writer(path: File) -> Iterator[NpzWriter]:
    """A writer for the file `path`, which is whole or not there after the block."""
    with replace_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        yield NpzWriter(archive)


def write_npz(path: File, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, whole or not at all; equal arrays give equal bytes.

    ValueError for arrays of Python objects.
    """
    with npz_writer(path) as writer:
        for name, array in arrays.items():
            writer.write(name, array)


class NpzReader:
    """The arrays of an .npz file, to be read one by one. Use it in `file_errors`.

    `checksums` has the CRC-32 of each entry, `sizes` its length in bytes, both by the
    name of the array.
    """

    def __init__(self, archive: zipfile.ZipFile, file_size: int) -> None:
        self.archive = archive
        entries = archive.infolist()
        # Against zip bombs: a few kilobytes that unpack to gigabytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise FileError("compressed; only uncompressed arrays are read")
        # Against entries that share their bytes: many large arrays out of a small file.
        claimed = sum(entry.file_size + entry.compress_size for entry in entries)
        if claimed > 2 * file_size:
            raise FileError("claims more bytes of arrays than it has")
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in self._entries:
                raise FileError(f"holds two arrays named {name!r}")
            self._entries[name] = entry
        self.checksums = {name: entry.CRC for name, entry in self._entries.items()}
        self.sizes = {name: entry.file_size for name, entry in self._entries.items()}

    def read(self, name: str) -> np.ndarray:
        """An array; KeyError if there is none, BadZipFile if its checksum is wrong."""
        return _parse_array(name, self.archive.read(self._entries[name]))


@contextlib.contextmanager
def npz_reader(path: File) -> Iterator[NpzReader]:
    """A reader of the file `path`; whatever is wrong in the block is a FileError."""
    with (
        file_errors(path, "damaged, or not an .npz file"),
        open(path, "rb") as file,
        open_zip(file) as archive,
    ):
        yield NpzReader(archive, os.fstat(file.fileno()).st_size)


def read_npz(path: File) -> dict[str, np.ndarray]:
    """All arrays of an uncompressed .npz file, as `write_npz` and `np.savez` write it.

    FileError for anything but plain, complete arrays. Whatever the file claims, reading
    it takes at most twice its size of memory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_npz(f"{folder}/a.npz", {"weight": np.arange(3)})
    ...     read_npz(f"{folder}/a.npz")
    {'weight': array([0, 1, 2])}
    """
    with npz_reader(path) as reader:
        return {name: reader.read(name) for name in reader.sizes}


class NpyHeader(NamedTuple):
    """What the header of an .npy file says of its array."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]  # which index changes fastest: the last, or the first
    dtype: np.dtype


def read_npy_header(name: str, file: BinaryIO, size: int) -> NpyHeader:
    """The header of an .npy file of `size` bytes, which begins where `file` stands.

    Afterwards `file` stands at the numbers. FileError, calling the array `name`, for
    anything but plain numbers that take the rest of the bytes.
    """
    start = file.tell()
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise FileError(f"{name} is in version {version} of the format")
    shape, is_fortran, dtype = HEADER_READERS[version](file)
    # Python objects are stored as pickles, and a pickle is a program.
    if dtype.hasobject:
        raise FileError(f"{name} holds Python objects, which are never loaded")
    # Python's integers do not overflow. NumPy's do, and a huge product could pass as a
    # small one.
    n_bytes = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or n_bytes != size - (file.tell() - start):
        raise FileError(f"{name} has shape {shape}, which does not fit its size")
    return NpyHeader(shape, "F" if is_fortran else "C", dtype)


def _parse_array(name: str, content: bytes) -> np.ndarray:
    """The array in the bytes of an .npy file."""
    file = io.BytesIO(content)
    header = read_npy_header(name, file, len(content))
    array = np.frombuffer(content, header.dtype, offset=file.tell())
    # The copy is aligned and writable, which a view of `content` is not.
    return array.reshape(header.shape, order=header.order).copy("A")  # shape

"""Chapter 27: how is a file written so that nothing is lost, and read so that nothing happens?

Writing: a program can be killed at any instant, and a half-written checkpoint is worse than an
old one. So a file is written under another name beside its place, forced to the disk, and then
renamed onto its place in one indivisible step. Whoever looks finds the old file or the new one.

Reading: a file of weights comes from strangers. It holds numbers and must do nothing but be
read: no pickles, which can run programs, and no header that is believed before it is checked
against the size of the file. What is damaged is refused, with a reason.
"""

import contextlib
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

MAX_BYTES = 1 << 36  # 64 GB of arrays: more than any CLIP, less than a forged header can claim


class FileError(ValueError):
    """A file is damaged, foreign or dangerous; the message names it and says why."""


@contextlib.contextmanager
def replace_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file to write; it takes the place of `path` when the block ends without error."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # a rename is safe once its directory is on the disk
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_npz(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, uncompressed; equal arrays give equal bytes."""
    with replace_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file. FileError for anything but plain, complete arrays."""
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise FileError(f"{path}: claims more than {MAX_BYTES} bytes of arrays")
            names = [entry.filename for entry in entries]
            if len(set(names)) < len(names):
                raise FileError(f"{path}: holds two arrays of one name")
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry, path)
                for entry in entries
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FileError(f"{path}: damaged or cut short ({error})") from error


def _read_array(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: pathlib.Path
) -> np.ndarray:
    where = f"{path}: {entry.filename}"
    with archive.open(entry) as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran_order, dtype = read_header(file)
        except (ValueError, KeyError) as error:
            raise FileError(f"{where} is no NumPy array ({error})") from error
        if dtype.hasobject:
            raise FileError(f"{where} holds Python objects, which are never loaded")
        count = 1
        for n in shape:  # Python integers: a product that overflows would pass as a small one
            count *= n
        if any(n < 0 for n in shape) or count * dtype.itemsize != entry.file_size - file.tell():
            raise FileError(f"{where} has shape {shape}, which does not fit its size")
        array = np.frombuffer(bytearray(file.read()), dtype=dtype)
    if array.size != count:
        raise FileError(f"{where} is cut short")
    return array.reshape(shape, order="F" if fortran_order else "C")  # shape

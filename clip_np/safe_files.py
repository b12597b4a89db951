"""Chapter 33: how is a file written so that nothing is lost, and read so that nothing happens?

Writing: a program can be killed at any instant, and a half-written checkpoint is worse than an
old one. So a file is written under another name beside its place, forced to the disk, and then
renamed onto its place in one indivisible step. Whoever looks finds the old file or the new one.

Reading: a file of weights comes from strangers. It holds numbers and must do nothing but be
read: no pickles, which can run programs, and no header that is believed before it is checked
against the size of the file. What is damaged is refused, with a reason.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

JSON_LIMIT = 100_000_000  # bytes


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


def is_finite(array: np.ndarray) -> bool:
    """Whether no number is NaN or infinite. A sum is finite only if all of its terms are, and one
    pass; where it is not, every number is asked, because a sum can overflow."""
    with np.errstate(all="ignore"):
        total = np.add.reduce(array, axis=None)
    return bool(np.isfinite(total) or np.isfinite(array).all())


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write a JSON file, one entry a line."""
    with replace_file(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The object in a JSON file; FileError for another file, or one of more than 100 MB."""
    try:
        if os.path.getsize(path) > JSON_LIMIT:
            raise ValueError(f"it has more than {JSON_LIMIT:,} bytes")
        with open(path, "rb") as file:
            content = json.loads(file.read())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: expected a JSON object ({error})") from error
    return content


def write_npz(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, uncompressed; equal arrays give equal bytes."""
    with replace_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of an uncompressed .npz file: what `write_npz` and `np.savez` write.

    FileError for anything but plain, complete arrays. Needs no more than twice the file's size
    of memory, whatever the file says.
    """
    arrays: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                    raise FileError(f"{path}: compressed; only uncompressed arrays are read")
                if sum(entry.file_size + entry.compress_size for entry in entries) > 2 * size:
                    raise FileError(f"{path}: claims more bytes of arrays than it has")
                for entry in entries:
                    name = entry.filename.removesuffix(".npy")
                    if name in arrays:
                        raise FileError(f"{path}: holds two arrays named {name!r}")
                    arrays[name] = _parse_array(archive.read(entry), f"{path}: {name}")
        except FileError:
            raise
        except Exception as error:
            # On damaged archives and headers, zipfile and NumPy raise BadZipFile, EOFError,
            # RuntimeError, TokenError, RecursionError and more: all mean the same here.
            raise FileError(f"{path}: damaged, or no .npz file ({error!r})") from error
    return arrays


def _parse_array(data: bytes, where: str) -> np.ndarray:
    """The array of an .npy file's bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise FileError(f"{where} holds Python objects, which are never loaded")
    # Python integers: a product that overflows would pass as a small one.
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise FileError(f"{where} has shape {shape}, which does not fit its size")
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran_order else "C").copy("A")  # shape

"""Chapter 32: how is a file written so that nothing is lost, and read so that nothing happens?

Writing: a program can be killed at any instant, and a half-written checkpoint is worse than an
old one. So a file is written under another name beside its place, forced to the disk, and then
renamed onto its place in one indivisible step. Whoever looks finds the old file or the new one.

Reading: a file of weights comes from strangers. It holds numbers and must do nothing but be
read: no pickles, which can run programs, and no header that is believed before it is checked
against the size of the file. What is damaged is refused, with a reason.
"""

import contextlib
import gzip
import io
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from minigrad.threads import available_cores, parallel_map

File = str | os.PathLike
TEXT_LIMIT = 8 << 20  # bytes, unpacked; the largest published vocabulary has half of that


class FileError(ValueError):
    """A file is damaged, foreign or dangerous; the message says why, and `naming` adds which."""

    def __init__(self, message: str, filename: File | None = None) -> None:
        super().__init__(message)
        self.filename = filename  # as in an OSError; None until the message names the file


@contextlib.contextmanager
def naming(path: File, what: str) -> Iterator[None]:
    """Turns whatever the contents of a file raise in the block into a FileError that names it.
    (Damage makes the libraries raise BadZipFile, EOFError, TokenError, RecursionError and more.)"""
    try:
        yield
    except Exception as error:
        own = isinstance(error, FileError)
        if (own or isinstance(error, OSError)) and error.filename:
            raise  # it names a file already, or there is none
        why = str(error) if own else f"{what} ({type(error).__name__}: {error!s:.500})"
        raise FileError(f"{path}: {why}", path) from error


@contextlib.contextmanager
def replace_file(path: File) -> Iterator[BinaryIO]:
    """A binary file to write; it takes the place of `path` when the block ends without error."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        try:
            file = open(temporary, "xb")  # noqa: SIM115
        except OSError as error:
            error.filename = str(path)  # what the caller asked for
            raise
        with file:
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


def require_finite(arrays: Mapping[str, np.ndarray], consequence: str = "not read") -> None:
    """FileError, naming the array, where a number is NaN or infinite."""
    contents, cores = list(arrays.values()), available_cores()
    finite = parallel_map(lambda array: np.isfinite(array).all(), contents, cores)
    for name, is_finite in zip(arrays, finite):
        if not is_finite:
            raise FileError(f"{name} holds a NaN or an infinity: {consequence}")


def read_text(path: File) -> str:
    """The text of a file, unpacked if its name ends in .gz; FileError for more than 8 MB."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
        data = file.read(TEXT_LIMIT + 1)
    if len(data) > TEXT_LIMIT:
        raise FileError(f"it has more than {TEXT_LIMIT:,} bytes")
    return data.decode("utf-8-sig")


def parse_json(text: str) -> dict[str, Any]:
    """The object that a JSON text is; ValueError for another text, or two values for one key."""
    content = json.loads(text, object_pairs_hook=_without_doubles)
    if type(content) is not dict:
        raise ValueError(f"it holds a {type(content).__name__}")
    return content


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name appears twice: two values for one key")
    return found


def read_json(path: File) -> dict[str, Any]:
    """The object in a JSON file; FileError for another file, or one of more than 8 MB."""
    with naming(path, "expected a JSON object"):
        return parse_json(read_text(path))


def write_json(path: File, content: Mapping[str, Any]) -> None:
    """Write a JSON file, one entry a line."""
    with replace_file(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def write_npz(path: File, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays, uncompressed; equal arrays give equal bytes."""
    with replace_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def read_npz(path: File) -> dict[str, np.ndarray]:
    """Read all arrays of an uncompressed .npz file: what `write_npz` and `np.savez` write.

    FileError for anything but plain, complete arrays. Needs no more than twice the file's size
    of memory, whatever the file says.
    """
    arrays: dict[str, np.ndarray] = {}
    with naming(path, "damaged, or no .npz file"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise FileError("compressed; only uncompressed arrays are read")
        claimed = sum(entry.file_size + entry.compress_size for entry in entries)
        if claimed > 2 * os.path.getsize(path):
            raise FileError("claims more bytes of arrays than it has")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise FileError(f"holds two arrays named {name!r}")
            arrays[name] = _parse_array(name, archive.read(entry))
    return arrays


def write_record(
    path: File, kind: str, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write an .npz file of arrays and of one more, `header`: a record, as the text of JSON, which
    says what kind of file it is ("checkpoint")."""
    text = json.dumps({"format": f"clip_np {kind} 1", **record}).encode("ascii")
    write_npz(path, {"header": np.frombuffer(text, np.uint8), **arrays})


def read_record(path: File, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the arrays of a file that `write_record` wrote; FileError for another kind."""
    arrays = read_npz(path)
    with naming(path, f"no {kind} of clip_np"):
        record = json.loads(arrays.pop("header").tobytes())
        if record["format"] != f"clip_np {kind} 1":
            raise ValueError(f"its format is {record['format']!r}")
    return record, arrays


def _parse_array(name: str, data: bytes) -> np.ndarray:
    """The array of an .npy file's bytes."""
    file = io.BytesIO(data)
    form = np.lib.format
    version = form.read_magic(file)
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    if version not in readers:  # a newer one is for names of fields beyond Latin-1
        raise FileError(f"{name} is in version {version} of the format")
    shape, fortran_order, dtype = readers[version](file)
    if dtype.hasobject:
        raise FileError(f"{name} holds Python objects, which are never loaded")
    # Python integers: a product that overflows would pass as a small one.
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise FileError(f"{name} has shape {shape}, which does not fit its size")
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if fortran_order else "C").copy("A")  # shape

"""How can a gigabyte of weights be opened in no time, and without fear?

A safetensors file is the numbers themselves with a table of contents in front:

    8 bytes     n, the length of the table (little-endian)
    n bytes     the table, JSON; offsets count from the end of the table:
                {"ln.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                 "__metadata__": {"format": "pt"}}
    the rest    the arrays back to back, little-endian, row after row

So only the table has to be parsed, and an array is a view of the mapped file. The table
is believed only if it accounts for every byte exactly once.
https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from clip_np.files.arrays import DTYPES, MAX_DIMENSIONS, as_numbers, map_file
from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.text_files import parse_json
from clip_np.files.whole import replace_file

LENGTH_BYTES = 8  # in front of the table
# Bytes. The format itself allows 100 MB, of which Python makes 2.6 GB of lists and
# dicts. An array takes about 100, so there is room for 40,000; the largest published
# CLIP has fewer than 2,000.
TABLE_LIMIT = 4 << 20
ALIGNMENT = 8  # bytes; the arrays begin at a multiple, which is enough for every type
METADATA = "__metadata__"
# NumPy's names of types -> the format's. NumPy has no bfloat16: its bits alone would be
# integers.
CODES = {dtype: code for code, dtype in DTYPES.items() if code != "BF16"}


class Entry(NamedTuple):
    """What the table says of an array: its bytes are [start, end)."""

    code: str
    shape: list[int]
    start: int
    end: int


def read_safetensors(path: File) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a file by name, in the order of its table, and its metadata.

    BF16 becomes float32. Arrays are views of the file, mapped copy-on-write. FileError,
    naming the array, for a file that is not exactly as the format demands. The values
    are not looked at.
    """
    with file_errors(path, "damaged header, or no safetensors file"):
        content = map_file(path)
        table, metadata, data_start = _read_table(content)
        entries = {name: _parse_entry(name, value) for name, value in table.items()}
        _require_every_byte_once(entries, len(content) - data_start)
        arrays: dict[str, np.ndarray] = {}
        for name, entry in entries.items():
            part = content[data_start + entry.start : data_start + entry.end]
            arrays[name] = as_numbers(name, part, entry.code).reshape(entry.shape)  # shape
    return arrays, metadata


def _read_table(content: np.ndarray) -> tuple[dict[str, Any], dict[str, str], int]:
    """The table of a mapped file, its metadata, and where the arrays start."""
    table_length = int.from_bytes(content[:LENGTH_BYTES].tobytes(), "little")
    data_start = LENGTH_BYTES + table_length
    if data_start > min(len(content), LENGTH_BYTES + TABLE_LIMIT):
        raise FileError(
            f"its header ends at {data_start}, past the file's end or the limit of "
            f"{TABLE_LIMIT:,} bytes"
        )
    text = content[LENGTH_BYTES:data_start].tobytes().decode("utf-8")
    if not text.startswith("{"):
        raise ValueError("it must begin with '{'")
    table = parse_json(text)
    metadata = table.pop(METADATA, {})
    if type(metadata) is not dict or any(type(note) is not str for note in metadata.values()):
        raise FileError(f"its {METADATA} must give text for text")
    return table, metadata, data_start


def _parse_entry(name: str, value: Any) -> Entry:
    """An entry of the table, if its fields fit each other. FileError if not."""
    if type(value) is not dict or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"{name!r} needs a dtype, a shape and data_offsets, and nothing else")
    code = value["dtype"]
    shape = value["shape"]
    offsets = value["data_offsets"]
    if type(code) is not str or code not in DTYPES:
        raise FileError(f"{name!r} has an unknown dtype")
    if not (_are_natural(shape) and _are_natural(offsets)):
        raise FileError(f"{name!r}: its shape and data_offsets must be natural numbers")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise FileError(f"{name!r} has {len(shape)} dimensions and {len(offsets)} data_offsets")
    start, end = offsets
    # Python's integers do not overflow. NumPy's do, and it multiplies the sizes other
    # than 0 also if one of them is 0. So a shape such as (0, 2^62, 2^62) must not reach
    # it.
    itemsize = np.dtype(DTYPES[code]).itemsize
    fits = math.prod(shape) * itemsize == end - start
    overflows = math.prod(max(size, 1) for size in shape) * itemsize >= 2**63
    if not fits or overflows:
        raise FileError(f"{name!r} has a shape that does not fit its bytes")
    return Entry(code, shape, start, end)


def _are_natural(numbers: Any) -> bool:
    """Whether this is a list of integers >= 0. (True is an instance of int.)"""
    return type(numbers) is list and all(type(n) is int and n >= 0 for n in numbers)


def _require_every_byte_once(entries: Mapping[str, Entry], n_bytes: int) -> None:
    """FileError unless the arrays lie back to back and use up all bytes.

    Holes could hide data from those who check a file, and overlaps make a small file
    large.
    """
    claimed = max((entry.end for entry in entries.values()), default=0)
    if n_bytes != claimed:
        raise FileError(f"has {n_bytes} bytes of arrays; its header says {claimed}")
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            raise FileError(f"{name!r} begins at {entry.start} and not at {position}")
        position = entry.end


def write_safetensors(
    path: File, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays and metadata, whole or not at all.

    Equal arrays give equal bytes.

    TypeError for anything but arrays of real numbers or truth values, and for names or
    metadata that are not text. Wide types come first, so that every array is aligned
    for its type.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.safetensors"
    ...     write_safetensors(path, {"bias": np.zeros(2)}, {"made by": "me"})
    ...     read_safetensors(path)
    ({'bias': array([0., 0.])}, {'made by': 'me'})
    """
    arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    table = _table_text({name: arrays[name] for name in order}, dict(metadata or {}))
    with replace_file(path) as file:
        file.write(len(table).to_bytes(LENGTH_BYTES, "little") + table)
        for name in order:
            little_endian = arrays[name].dtype.newbyteorder("<")
            file.write(np.ascontiguousarray(arrays[name], little_endian).data)


def _table_text(arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The table for arrays that lie back to back in this order, padded with blanks."""
    if any(type(text) is not str for text in (*metadata, *metadata.values())):
        raise TypeError("write_safetensors: `metadata` must be text for text")
    table: dict[str, Any] = {METADATA: metadata} if metadata else {}
    start = 0
    for name, array in arrays.items():
        code = CODES.get(array.dtype.newbyteorder("<").str)
        if code is None or type(name) is not str or name == METADATA:
            raise TypeError(
                f"write_safetensors: {name!r} of {array.dtype} cannot be written; `arrays` must "
                f"map names to arrays of real numbers or truth values"
            )
        end = start + array.nbytes
        table[name] = {"dtype": code, "shape": array.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    padding = -len(text) % ALIGNMENT
    return text + b" " * padding

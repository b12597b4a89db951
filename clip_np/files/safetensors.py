"""Chapter 34: how can a gigabyte of weights be opened in no time, and with nothing to fear?

A safetensors file is the numbers themselves with a table of contents in front:

    8 bytes     n, the length of the table (little-endian)
    n bytes     the table, JSON: {"ln.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "__metadata__": {"format": "pt"}}; offsets count from the end of the table
    the rest    the arrays back to back, little-endian, row after row

So only the table has to be parsed, and an array is a view of the file: the system maps the file
into memory and fetches a page of it when someone looks there. The mapping is "copy on write":
who writes gets a page of his own, and the file stays as it is. (A mapped file may be replaced, as
`replace_file` does it, but must not be overwritten where it lies.) The table is believed only if
it accounts for every byte exactly once. https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_np.files.whole import File, FileError, naming, parse_json, replace_file

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "|b1", "U8": "|u1"}
_DTYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "U64": "<u8", "U32": "<u4", "U16": "<u2"}
_DTYPES |= {"I8": "|i1"}
_CODES = {dtype: code for code, dtype in _DTYPES.items() if code != "BF16"}
_TABLE_LIMIT = 100_000_000  # bytes, the format's own
MAX_DIMENSIONS = 32  # of an array; NumPy 2 can have 64


def map_file(path: File) -> np.ndarray:
    """The bytes of a file, (n,) uint8: read when looked at, and writing does not reach the file.
    ValueError for an empty file: nothing cannot be mapped."""
    return np.asarray(np.memmap(path, np.uint8, mode="c"))  # copy on write


def as_numbers(name: str, data: np.ndarray, code: str) -> np.ndarray:
    """Bytes (n,) as numbers of a type such as "F32": a view if it can be; "BF16" gives float32."""
    numbers = data.view(_DTYPES[code])  # (n / itemsize,)
    if code == "BF16":  # the upper half of a float32
        return np.left_shift(numbers, 16, dtype=np.uint32).view(np.float32)  # (n / 2,)
    if code == "BOOL" and data.max(initial=0) > 1:
        raise FileError(f"{name!r} has truth values other than 0 and 1")
    return numbers if numbers.flags.aligned else numbers.copy()


def read_safetensors(path: File) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays of a file by name, in the order of its table, and its notes, "__metadata__".

    BF16 becomes float32. Arrays are views of the file, mapped copy-on-write. FileError, naming the
    array, for a file that is not exactly as the format demands; values are not looked at.
    """
    with naming(path, "damaged header, or no safetensors file"):
        data = map_file(path)
        table, notes, start = _read_table(data)
        places = {name: _place(name, entry) for name, entry in table.items()}
        size, claimed = len(data) - start, max((last for *_, last in places.values()), default=0)
        if size != claimed:
            raise FileError(f"has {size} bytes of arrays; its header says {claimed}")
        end = 0
        for name, (code, shape, first, last) in sorted(places.items(), key=lambda x: x[1][2:]):
            if first != end:
                raise FileError(f"{name!r} begins at {first} and not at {end}, where it must")
            end = last
            numbers = as_numbers(name, data[start + first : start + last], code)
            table[name] = numbers.reshape(shape)  # shape
    return table, notes


def _read_table(data: np.ndarray) -> tuple[dict, dict[str, str], int]:
    """Of a mapped file the entries of the table, its notes, and where the arrays start."""
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if start > min(len(data), 8 + _TABLE_LIMIT):
        raise FileError(f"its header ends at {start}, past the file's end or the limit")
    text = data[8:start].tobytes().decode("utf-8")
    if not text.startswith("{"):
        raise ValueError("it must begin with '{'")
    table = parse_json(text)
    notes = table.pop("__metadata__", {})
    if type(notes) is not dict or any(type(note) is not str for note in notes.values()):
        raise FileError("its __metadata__ must give text for text")
    return table, notes, start


def _place(name: str, entry: Any) -> tuple[str, list[int], int, int]:
    """(type, shape, first byte, last byte + 1) that an entry of the table says, if it can be."""
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"{name!r} needs a dtype, a shape and data_offsets, and nothing else")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(code) is not str or code not in _DTYPES:
        raise FileError(f"{name!r} has an unknown dtype")
    for numbers in (shape, offsets):  # to `isinstance`, True is an int
        if type(numbers) is not list or any(type(n) is not int or n < 0 for n in numbers):
            raise FileError(f"{name!r}: its shape and data_offsets must be natural numbers")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise FileError(f"{name!r} has {len(shape)} dimensions and {len(offsets)} data_offsets")
    # Python's integers do not overflow. NumPy's do, also where a 0 makes the product 0.
    size = np.dtype(_DTYPES[code]).itemsize
    fits = math.prod(shape) * size == offsets[1] - offsets[0]
    if not fits or math.prod(max(n, 1) for n in shape) * size >= 2**63:
        raise FileError(f"{name!r} has a shape that does not fit its bytes")
    return code, shape, *offsets


def write_safetensors(
    path: File, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays and notes, whole or not at all; equal arrays give equal bytes.

    TypeError for anything but arrays of real numbers or truth values, and text for names and
    notes. Wide types come first, so that every array lies where its type needs it.
    """
    arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
    notes = dict(metadata or {})
    table: dict[str, Any] = {"__metadata__": notes} if notes else {}
    if any(type(text) is not str for text in (*notes, *notes.values())):
        raise TypeError("write_safetensors: metadata must be text for text")
    end, order = 0, sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in order:
        array = arrays[name]
        code = _CODES.get(array.dtype.newbyteorder("<").str)
        if code is None or type(name) is not str or name == "__metadata__":
            raise TypeError(f"write_safetensors: {name!r} of {array.dtype} has no place in a file")
        offsets = [end, end := end + array.nbytes]
        table[name] = {"dtype": code, "shape": array.shape, "data_offsets": offsets}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replace_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in (arrays[name] for name in order):
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)

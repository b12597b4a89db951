"""How do the bytes of a file become arrays, without a copy?

The system can *map* a file into memory: the file's bytes get addresses, and a page of
them is fetched when someone looks there. So a gigabyte of weights opens in no time. The
mapping is "copy on write": whoever writes to such an array gets a private page, and the
file stays as it is. (A mapped file may be replaced, as `replace_file` does it, but must
not be overwritten in place.)

An array over mapped bytes is a view: a type, a shape and an address. Two cases need a
copy: numbers that do not start at a multiple of their size, and bfloat16, which NumPy
does not know. A bfloat16 is the upper half of a float32, so a shift by 16 bits makes it
one.
"""

from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from clip_np.files.errors import File, FileError
from minigrad.threads import available_cores, parallel_map

# The safetensors format's names of number types, and NumPy's names.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # the bits; `as_numbers` makes float32 of them
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
# A limit of this library: NumPy 1 has 32, NumPy 2 has 64, and weights have 4.
MAX_DIMENSIONS = 32


def map_file(file: File | BinaryIO) -> np.ndarray:
    """The bytes of a file, given by its path or open, (n,) uint8, mapped copy-on-write.

    ValueError for an empty file, because no bytes cannot be mapped.

    >>> import pathlib
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "weights")
    ...     _ = path.write_bytes(b"abc")
    ...     map_file(path).tolist()
    [97, 98, 99]
    """
    return np.asarray(np.memmap(file, np.uint8, mode="c"))


def as_numbers(name: str, content: np.ndarray, code: str) -> np.ndarray:
    """Bytes (n,) as numbers (n / itemsize,) of a type in `DTYPES`: a view, if possible.

    "BF16" gives float32. ValueError if the bytes are not a whole number of numbers.
    FileError, naming `name`, for truth values other than 0 and 1: NumPy's results for
    those are undefined.

    >>> as_numbers("bias", np.array([0, 0, 128, 63, 0, 0, 0, 192], np.uint8), "F32")
    array([ 1., -2.], dtype=float32)
    >>> as_numbers("bias", np.array([128, 63, 0, 192], np.uint8), "BF16")
    array([ 1., -2.], dtype=float32)
    """
    numbers = content.view(DTYPES[code])  # (n / itemsize,)
    if code == "BF16":
        return np.left_shift(numbers, 16, dtype=np.uint32).view(np.float32)  # (n / 2,)
    if code == "BOOL" and content.max(initial=0) > 1:
        raise FileError(f"{name!r} has truth values other than 0 and 1")
    return numbers if numbers.flags.aligned else numbers.copy()


def with_dtype(state: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """The arrays with their floating-point numbers as `dtype`, and whole ones as int64.

    What has the type already is not copied.

    >>> state = {"bias": np.zeros(2, np.float16), "count": np.array(3)}
    >>> [str(array.dtype) for array in with_dtype(state, "float32").values()]
    ['float32', 'int64']
    """
    return {
        path: np.asarray(array, dtype) if array.dtype.kind == "f" else np.asarray(array, np.int64)
        for path, array in state.items()
    }


def require_finite(arrays: Mapping[str, np.ndarray], consequence: str = "not read") -> None:
    """FileError, naming the array, if a number is NaN or infinite.

    `consequence` ends the message. The cores share the arrays, since all numbers are
    read.

    >>> require_finite({"scale": np.array([1.0, np.inf])}, "not saved")
    Traceback (most recent call last):
    clip_np.files.errors.FileError: scale holds a NaN or an infinity: not saved
    """

    def all_finite(array: np.ndarray) -> bool:
        return bool(np.isfinite(array).all())

    verdicts = parallel_map(all_finite, list(arrays.values()), available_cores())
    for name, is_finite in zip(arrays, verdicts):
        if not is_finite:
            raise FileError(f"{name} holds a NaN or an infinity: {consequence}")

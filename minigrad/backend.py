"""Chapter 9: where does an array live, and who computes with it?

The engine is written against the part of NumPy that CuPy shares. Which module an operation
uses is decided from the array it is given, never from a global switch, so that one source
serves a CPU and a GPU and two models on two devices can live in one program:

    xp = array_module(x)        # numpy, or cupy where x lies on a GPU
    y = xp.exp(x)

Three things differ between the two modules and are settled here: how an array moves, how
values with repeated indices are added up, and what guards an index that is out of range
(CuPy wraps it around silently). The last part of the chapter is about the CPU alone: how
many threads the BLAS library behind `@` may use.

CuPy is imported only when a caller asks for it. Its user guide: https://docs.cupy.dev
"""

import importlib
import sys
import types
from typing import Any

import numpy as np

Array = Any  # np.ndarray or cupy.ndarray


def array_module(array: Array) -> types.ModuleType:
    """The module (numpy or cupy) whose functions work on `array`."""
    if isinstance(array, np.ndarray):
        return np
    name = type(array).__module__.partition(".")[0]
    return sys.modules[name] if name == "cupy" else np


def as_array(value: Array) -> Array:
    """NumPy's 0-d results are scalars, not arrays; make them arrays again."""
    return (
        value
        if type(value) is np.ndarray or not isinstance(value, np.generic)
        else np.asarray(value)
    )


def backend_of(array: Array) -> str:
    """The backend's name: "numpy", "cupy" (device 0) or "cupy:1"."""
    if array_module(array) is np:
        return "numpy"
    return "cupy" if array.device.id == 0 else f"cupy:{array.device.id}"


def use_device(*arrays: Array | None) -> None:
    """CuPy computes on one device at a time in each thread: let it be that of the arrays."""
    for array in arrays:
        if array is not None and array_module(array) is not np:
            array.device.use()


class BackendError(RuntimeError):
    """This machine lacks what a backend needs; the message says what."""


def move(array: Array, backend: str) -> Array:
    """`array` on the named backend; the same array if it is there already. The thread goes on
    computing on the device that it moved to.
    Raises ValueError for an unknown name and BackendError where CuPy or its device is missing."""
    if backend == backend_of(array):
        return array
    if backend == "numpy":
        return array.get()
    _device(backend).use()
    return sys.modules["cupy"].asarray(array)


def _device(backend: str) -> Any:
    """The cupy.cuda.Device that `backend` names."""
    name, _, index = backend.partition(":")
    if name != "cupy" or (index and not index.isdigit()):
        raise ValueError(f'backend must be "numpy", "cupy" or "cupy:1", not {backend!r}')
    try:
        cuda = importlib.import_module("cupy").cuda
    except ImportError as error:
        advice = 'pip install "minigrad-clip[gpu]"'
        raise BackendError(f"backend {backend!r} needs CuPy: {advice} ({error})") from error
    if cuda.runtime.driverGetVersion() < cuda.runtime.runtimeGetVersion() // 1000 * 1000:
        advice = "CuPy finds no NVIDIA driver, or an old one: install the GPU's current driver"
        raise BackendError(f"backend {backend!r}: {advice}")
    try:
        count = cuda.runtime.getDeviceCount()
    except cuda.runtime.CUDARuntimeError:  # which it raises instead of returning 0
        count = 0
    if int(index or 0) >= count:
        advice = "nvidia-smi lists them; CUDA_VISIBLE_DEVICES can hide some"
        raise BackendError(f"backend {backend!r}: the driver offers {count} GPUs ({advice})")
    return cuda.Device(int(index or 0))


def check_indices(name: str, indices: Array, size: int) -> None:
    """Raise IndexError unless every index lies in 0..size-1; `name` is the op's name."""
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, got dtype {indices.dtype}")
    for index in (int(indices.min()), int(indices.max())) if indices.size else ():
        if not 0 <= index < size:
            raise IndexError(f"{name}: index {index} is out of range; expected 0 to {size - 1}")


def scatter_add(target: Array, index: Any, values: Array) -> None:
    """target[index] += values where a position that occurs twice receives both values."""
    if array_module(target) is np:
        np.add.at(target, index, values)
    else:
        importlib.import_module("cupyx").scatter_add(target, index, values)


def add_rows(target: Array, rows: Array, values: Array) -> None:
    """`scatter_add` for whole rows: target (V, D), rows (N,), values (N, D).
    Sorting brings equal rows together, so each is summed in one contiguous run: about ten times
    faster than visiting the rows one by one."""
    if array_module(target) is not np or rows.size == 0:
        scatter_add(target, rows, values)
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    target[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0)


def row_dot(a: Array, b: Array) -> Array:
    """Dot products along the last axis without conjugation: (..., D), (..., D) -> (...)."""
    xp = array_module(a)
    use_vecdot = xp is np and a.dtype.kind != "c"
    return np.vecdot(a, b) if use_vecdot else xp.einsum("...d,...d->...", a, b)


def row_sum(a: Array) -> Array:
    """Sums along the last axis, (..., D) -> (...): a product with ones is faster than .sum."""
    return a @ array_module(a).ones(a.shape[-1], a.dtype)


def column_sum(a: Array) -> Array:
    """Sums along the first axis, (N, D) -> (D,)."""
    return array_module(a).ones(a.shape[0], a.dtype) @ a

"""Where does an array live?

On the CPU as a NumPy array, or on a GPU as a CuPy array. The engine is written against
the part of NumPy that CuPy shares. The module that an operation uses is decided by the
array, never by a global switch. So one source serves both, and two models on two
devices can live in one program:

    xp = array_module(x)     # numpy, or cupy if x is on a GPU
    y = xp.exp(x)

The backend is named by a string: "numpy", "cupy" (the first GPU) or "cupy:1". CuPy is
imported only if a caller asks for it.

The two modules differ in a few points. The differences that several operations meet are
settled here: arrays move between them (`move`), positions that occur several times are
added up (`scatter_add`), and an index out of range is an error (`check_indices`; CuPy
would wrap it around in silence). A few operations ask `on_host`, mostly because a
question about the values of an array makes the program wait for the GPU.

The user guide of CuPy: https://docs.cupy.dev
"""

import importlib
import sys
import types
from typing import Any

import numpy as np

Array = Any  # np.ndarray or cupy.ndarray


class BackendError(RuntimeError):
    """This machine lacks what a backend needs. The message says what."""


# --- which module, which device ---


def array_module(array: Array) -> types.ModuleType:
    """The module (numpy or cupy) with the functions that work on `array`.

    >>> array_module(np.ones(3)).__name__
    'numpy'
    """
    if isinstance(array, np.ndarray):
        return np
    package = type(array).__module__.partition(".")[0]
    return sys.modules[package] if package == "cupy" else np


def backend_of(array: Array) -> str:
    """The name of the backend that `array` lives on: "numpy", "cupy" or "cupy:1".

    >>> backend_of(np.ones(3))
    'numpy'
    """
    if on_host(array):
        return "numpy"
    return "cupy" if array.device.id == 0 else f"cupy:{array.device.id}"


def on_host(array: Array) -> bool:
    """Whether an array is NumPy's. Then its values can be looked at without waiting.

    >>> on_host(np.ones(3))
    True
    """
    return isinstance(array, np.ndarray) or array_module(array) is np


def as_array(value: Array) -> Array:
    """`value` as an array. NumPy returns a scalar for a result without axes.

    >>> as_array(np.ones(3).sum())
    array(3.)
    """
    return np.asarray(value) if isinstance(value, np.generic) else value


def use_device(*arrays: Array | None) -> None:
    """Let this thread compute on the device of the arrays.

    In each thread, CuPy computes on one current device. NumPy arrays change nothing.
    """
    for array in arrays:
        if array is not None and not on_host(array):
            array.device.use()


def move(array: Array, backend: str) -> Array:
    """`array` on the named backend, without a copy if it is there already.

    The thread goes on computing on the device that it moved to. Raises ValueError for
    an unknown name, and BackendError if CuPy or its device is missing.

    >>> move(np.ones(3), "gpu")
    Traceback (most recent call last):
    ValueError: backend must be "numpy", "cupy" or "cupy:1", not 'gpu'
    """
    if backend == backend_of(array):
        return array
    if backend == "numpy":
        return array.get()
    device_of_backend(backend).use()
    return sys.modules["cupy"].asarray(array)


def device_of_backend(backend: str) -> Any:
    """The cupy.cuda.Device that `backend` names: "cupy" or "cupy:1".

    Raises as `move` does.
    """
    name, _, number = backend.partition(":")
    if name != "cupy" or (number and not number.isdigit()):
        raise ValueError(f'backend must be "numpy", "cupy" or "cupy:1", not {backend!r}')
    index = int(number or 0)
    try:
        cuda = importlib.import_module("cupy").cuda
    except ImportError as error:
        raise BackendError(
            f'backend {backend!r} needs CuPy: pip install "minigrad-clip[gpu]" ({error})'
        ) from error
    # A driver serves all CUDA versions of its major number. 12090 stands for CUDA 12.9.
    needed_driver = cuda.runtime.runtimeGetVersion() // 1000 * 1000
    if cuda.runtime.driverGetVersion() < needed_driver:
        raise BackendError(
            f"backend {backend!r}: CuPy finds no NVIDIA driver, or an old one: "
            "install the GPU's current driver"
        )
    try:
        count = cuda.runtime.getDeviceCount()
    except cuda.runtime.CUDARuntimeError:  # CuPy's answer if there are none
        count = 0
    if index >= count:
        raise BackendError(
            f"backend {backend!r}: the driver offers {count} GPUs "
            "(nvidia-smi lists them; CUDA_VISIBLE_DEVICES can hide some)"
        )
    return cuda.Device(index)


# --- indices ---

NARROW_ROW = 64  # numbers; up to there, `reduceat` is as fast as a sum for each run


def check_indices(name: str, indices: Array, size: int) -> None:
    """Raise IndexError unless every index lies in 0..size-1. `name` is the operation's.

    >>> check_indices("take", np.array([0, 3]), size=3)
    Traceback (most recent call last):
    IndexError: take: index 3 is out of range; expected 0 to 2
    """
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, got dtype {indices.dtype}")
    if indices.size == 0:
        return
    for extreme in (int(indices.min()), int(indices.max())):
        if not 0 <= extreme < size:
            raise IndexError(f"{name}: index {extreme} is out of range; expected 0 to {size - 1}")


def scatter_add(target: Array, index: Any, values: Array) -> None:
    """target[index] += values. An element that `index` names twice gets both values.

    >>> counts = np.zeros(3)
    >>> scatter_add(counts, np.array([1, 1, 2]), np.array([1.0, 10.0, 5.0]))
    >>> counts
    array([ 0., 11.,  5.])
    """
    array_module(target).add.at(target, index, values)


def add_rows(target: Array, rows: Array, values: Array) -> None:
    """The fast form of `scatter_add` for whole rows.

    target is (V, ...), rows (N,), values (N, ...). Sorting brings equal rows together,
    in their old order. Those of a wide row are then summed in one run. With rows of 512
    numbers this needs 3 ms for 4,928 values of 449 rows, `scatter_add` needs 17 ms.

    >>> target = np.zeros((3, 2))
    >>> add_rows(target, np.array([2, 0, 2]), np.array([[1, 2], [3, 4], [5, 6]]))
    >>> target
    array([[3., 4.],
           [0., 0.],
           [6., 8.]])
    """
    if not on_host(target) or rows.size == 0:
        scatter_add(target, array_module(target).asarray(rows), values)
        return
    order = np.argsort(rows, kind="stable")  # [2, 0, 2] -> [1, 0, 2]
    ordered = rows[order]  # [0, 2, 2]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # [0, 1]: a new row begins here
    target[ordered[starts]] += _sum_runs(values[order], starts)


def _sum_runs(values: Array, starts: Array) -> Array:
    """The fast form of `np.add.reduceat` along axis 0.

    One sum for all rows from a start to the next start. `reduceat` goes down a single
    column at a time, which is slow if the next number of a column is far away.
    """
    if values.size <= NARROW_ROW * len(values):
        return np.add.reduceat(values, starts, axis=0)
    ends = np.append(starts[1:], len(values))
    sums = values[starts]
    for run in np.flatnonzero(ends - starts > 1).tolist():  # most rows occur once
        sums[run] = values[starts[run] : ends[run]].sum(axis=0)
    return sums


# --- sums ---


def row_dot(a: Array, b: Array) -> Array:
    """Dot products along the last axis, (..., D) and (..., D) -> (...).

    Complex numbers are not conjugated, because conjugation has no complex derivative.

    >>> row_dot(np.array([[1, 2], [3, 4]]), np.array([[1, 1], [0, 2]]))
    array([3, 8])
    """
    if on_host(a) and a.dtype.kind != "c":
        return np.vecdot(a, b)  # which CuPy lacks, and which conjugates
    return array_module(a).einsum("...d,...d->...", a, b)


def row_sum(a: Array) -> Array:
    """Sums along the last axis, (..., D) -> (...), as a @ ones.

    BLAS computes this in 60 % of the time of a.sum(axis=-1), in 25 % if rows are short.

    >>> row_sum(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([3., 7.])
    """
    return a @ np.ones(a.shape[-1], a.dtype) if on_host(a) else a.sum(axis=-1)


def column_sum(a: Array) -> Array:
    """Sums along the first axis, (N, D) -> (D,), as ones @ a.

    >>> column_sum(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    return np.ones(a.shape[0], a.dtype) @ a if on_host(a) else a.sum(axis=0)

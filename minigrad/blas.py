"""How many threads does a matrix product use?

NumPy leaves `@` to a BLAS library, which is most often OpenBLAS and starts threads of
its own. A program with worker threads does not want these: an idle thread of OpenBLAS
spins, waiting for work, and takes away the core that another worker needs. So

    with blas_threads(1):
        ...                     # each matrix product runs in the thread that calls it

NumPy has no function for that, but OpenBLAS has. The library is already part of this
process: the operating system's list of loaded files says where it lies, and `ctypes`
calls its functions openblas_get_num_threads and openblas_set_num_threads, in about a
microsecond. For another BLAS, the package threadpoolctl is used if it is installed.
Without that, nothing happens.

OpenBLAS: https://github.com/OpenMathLib/OpenBLAS; threadpoolctl:
https://github.com/joblib/threadpoolctl
"""

import contextlib
import ctypes
import functools
import importlib
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# NumPy's own wheels put scipy_ in front of the functions' names, and builds with 64-bit
# integers add a suffix. {} stands for "get" or "set".
FUNCTION_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)
LOADED_FILES = pathlib.Path("/proc/self/maps")  # on Linux


class Control(NamedTuple):
    """The two functions of one OpenBLAS library."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], None]


def _library_paths() -> list[str]:
    """The OpenBLAS libraries in this process; without a list, NumPy's libraries."""
    if LOADED_FILES.exists():
        text = LOADED_FILES.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if "openblas" in line]
        return sorted({line[line.index("/") :] for line in lines})  # the path ends the line
    numpy_folder = pathlib.Path(np.__file__).parent
    library_folders = (
        numpy_folder.parent / "numpy.libs",  # Windows
        numpy_folder / ".libs",
        numpy_folder / ".dylibs",  # macOS
    )
    return sorted(str(path) for folder in library_folders for path in folder.glob("*openblas*"))


def _control_of(library: ctypes.CDLL) -> Control | None:
    """The functions of a library under the first of FUNCTION_NAMES that it has."""
    for name in FUNCTION_NAMES:
        if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
            return Control(
                get_threads=getattr(library, name.format("get")),
                set_threads=getattr(library, name.format("set")),
            )
    return None


@functools.cache
def openblas_controls() -> tuple[Control, ...]:
    """The functions of every OpenBLAS library in this process; there may be none."""
    controls = []
    for path in _library_paths():
        with contextlib.suppress(OSError):
            control = _control_of(ctypes.CDLL(path))
            if control is not None:
                controls.append(control)
    return tuple(controls)


class Limits:
    """The blocks of `blas_threads` that are being run, in all threads.

    The number of threads belongs to the whole process, and blocks of several threads
    overlap. If each block restored what it found, the last one out could restore the
    limit of another block, for good. So the first block in saves the number, the last
    one out restores it, and the least limit holds in between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: list[int] = []  # one for each block
        self._restore = contextlib.ExitStack()

    def add(self, count: int) -> None:
        with self._lock:
            before = min(self._counts, default=None)
            self._counts.append(count)
            self._apply(before)

    def remove(self, count: int) -> None:
        with self._lock:
            before = min(self._counts)
            self._counts.remove(count)
            self._apply(before)

    def _apply(self, before: int | None) -> None:
        """Set the least of the counts, or if there is none, what was set before all."""
        least = min(self._counts, default=None)
        if least != before:
            self._restore.close()
            if least is not None:
                self._restore.enter_context(_limited(least))


LIMITS = Limits()  # of this process


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Within the block, each matrix product uses at most `count` threads.

    It is a setting of the whole process, so it also holds for other threads. It is
    restored when the last of the blocks that overlap ends. Entering and leaving takes
    a few microseconds.

    >>> with blas_threads(1):
    ...     float((np.ones((2, 3)) @ np.ones((3, 2))).sum())
    12.0
    """
    LIMITS.add(count)
    try:
        yield
    finally:
        LIMITS.remove(count)


@contextlib.contextmanager
def _limited(count: int) -> Iterator[None]:
    """Set the number of threads, and restore it, whatever other threads do."""
    controls = openblas_controls()
    if not controls:
        with _threadpoolctl_limits(count):
            yield
        return
    before = [control.get_threads() for control in controls]
    for control in controls:
        control.set_threads(count)
    try:
        yield
    finally:
        for control, threads in zip(controls, before):
            control.set_threads(threads)


def _threadpoolctl_limits(count: int) -> contextlib.AbstractContextManager:
    """The same through threadpoolctl; without any effect if it is not installed."""
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(count, "blas")

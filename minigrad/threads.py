"""How do the cores of a processor share the work?"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import ctypes
import functools
import importlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.memory import using

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_workers(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the jobs, one or more, at once, the first in this thread; an error is raised again here.
    A new thread starts with empty context variables, so each gets a copy of this thread's, that a
    no_grad around the call may reach it; but not the arena, which no two threads may share."""
    if len(jobs) == 1:
        jobs[0]()
        return

    def run(job: Callable[[], None]) -> None:
        with using(None):
            job()

    with ThreadPoolExecutor(len(jobs) - 1) as pool:
        running = [pool.submit(contextvars.copy_context().run, run, job) for job in jobs[1:]]
        jobs[0]()
    for each in running:
        each.result()


def parallel_map(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[Any]:
    """[function(item) for item in items] on several threads: the first of w takes the items 0, w,
    2w, ..., so that a run adds up its numbers in the same order every time."""
    workers = max(1, min(workers, len(items)))
    results: list[Any] = [None] * len(items)

    def work(first: int) -> None:
        for position in range(first, len(items), workers):
            results[position] = function(items[position])

    run_workers([lambda first=first: work(first) for first in range(workers)])
    return results


def count_workers(array: Array, workers: int | None) -> int:
    """How many threads work on arrays like `array`: `workers`, or if it is None, all cores.

    A GPU always has one worker. More threads would only wait for each other there.

    >>> count_workers(np.zeros(3), workers=2)
    2
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if array_module(array) is not np:
        return 1
    return workers or available_cores()


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Iterator[Result]:
    """function(item) for each item, in order, computed by threads while the caller is busy.

    At most `ahead` results wait or are being made. Items are taken lazily, in the caller's thread.
    An error of the function is raised when its result is due. Closing the iterator, or leaving its
    loop in any way, ends the threads.

    >>> list(map_ahead(abs, [-1, -2, 3], workers=2, ahead=2))
    [1, 2, 3]
    """
    pool = ThreadPoolExecutor(workers)
    futures = (pool.submit(function, item) for item in items)
    try:
        pending = collections.deque(itertools.islice(futures, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(itertools.islice(futures, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


# NumPy's own wheels prefix the functions' names, and builds with 64-bit integers add a suffix.
_SYMBOLS = [f"{a}openblas_{{}}_num_threads{b}" for a in ("scipy_", "") for b in ("64_", "")]


def _openblas_files() -> list[str]:
    """Paths of the OpenBLAS libraries that are loaded, or that NumPy ships where none is listed."""
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists():
        lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
        return sorted({line[line.index("/") :] for line in lines if "openblas" in line})
    home = pathlib.Path(np.__file__).parent
    folders = (home.parent / "numpy.libs", home / ".libs", home / ".dylibs")
    return sorted(str(path) for folder in folders for path in folder.glob("*openblas*"))


@functools.cache
def _openblas_controls() -> tuple[tuple[Any, Any], ...]:
    """A (getter, setter) pair for each OpenBLAS library in this process."""
    controls = []
    for path in _openblas_files():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            pairs = [(symbol.format("get"), symbol.format("set")) for symbol in _SYMBOLS]
            there = [pair for pair in pairs if all(hasattr(library, name) for name in pair)]
            controls += [tuple(getattr(library, name) for name in pair) for pair in there[:1]]
    return tuple(controls)


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Within the block, each matrix product uses at most `count` threads.
    Worker threads that each call BLAS want count=1: OpenBLAS's own idle threads spin and take the
    core that the other worker needs. OpenBLAS is set through its own functions (about a
    microsecond); for another BLAS, threadpoolctl is used where it is installed."""
    controls = _openblas_controls()
    if not controls:
        try:
            limits = importlib.import_module("threadpoolctl").threadpool_limits(count, "blas")
        except ImportError:
            limits = contextlib.nullcontext()
        with limits:
            yield
        return
    before = [getter() for getter, _ in controls]
    for _, setter in controls:
        setter(count)
    try:
        yield
    finally:
        for (_, setter), threads in zip(controls, before):
            setter(threads)

"""How long does a step take on a device that works on while the program goes on?

A clock of the host stops when the work has been handed over, not when it is done. So
the device takes the time itself: an *event* is a mark in its queue of work, and knows
when the device came by. Between two of them lies a step. They are read only at the end
of all steps, so that the measurement does not make the program wait.
"""

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

WARM_UP = 3
"""Steps that are not counted: they compile kernels and fill memory pools."""


class Marks(NamedTuple):
    """How a device marks moments: mark() makes one, passed(a, b) are milliseconds."""

    mark: Callable[[], Any]
    passed: Callable[[Any, Any], float]


def marks_of(backend: str) -> Marks:
    """The marks of "cupy", "cuda" (PyTorch on a GPU), or of anything on the host."""
    if backend.startswith("cupy"):
        return _marks_of_cupy()
    if backend == "cuda":
        return _marks_of_torch()
    return Marks(time.perf_counter, lambda first, last: 1e3 * (last - first))


def _marks_of_cupy() -> Marks:
    cuda = importlib.import_module("cupy").cuda

    def mark() -> Any:
        event = cuda.Event()
        event.record()
        return event

    def passed(first: Any, last: Any) -> float:
        last.synchronize()
        return cuda.get_elapsed_time(first, last)

    return Marks(mark, passed)


def _marks_of_torch() -> Marks:
    cuda = importlib.import_module("torch").cuda

    def mark() -> Any:
        event = cuda.Event(enable_timing=True)
        event.record()
        return event

    def passed(first: Any, last: Any) -> float:
        last.synchronize()
        return first.elapsed_time(last)

    return Marks(mark, passed)


def times_of(step: Callable[[], Any], backend: str, count: int) -> Iterator[float]:
    """The milliseconds of `count` steps, after some that do not count."""
    marks = marks_of(backend)
    for _ in range(WARM_UP):
        step()
    marks.passed(marks.mark(), marks.mark())  # waits until all is done
    pairs = []
    for _ in range(count):
        first = marks.mark()
        step()
        pairs.append((first, marks.mark()))
    for first, last in pairs:
        yield marks.passed(first, last)


def median_time(call: Callable[[], Any], backend: str, calls: int = 10, tries: int = 7) -> float:
    """The milliseconds of a call: the median of `tries` runs of `calls` calls."""

    def run() -> None:
        for _ in range(calls):
            call()

    return statistics.median(times_of(run, backend, tries)) / calls

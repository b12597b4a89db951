"""How do the cores of a processor share the work?

Python runs one thread at a time. But NumPy leaves Python's lock while it computes, so
threads that spend their time in NumPy do run at once. (Some Pythons have no such lock:
see `is_free_threaded`.) Three functions cover every use of threads here:

    run_workers(jobs)                              several jobs, until all are done
    parallel_map(function, items, workers)         the results of all items
    map_ahead(function, items, workers, ahead)     the results one by one, early

Two rules keep the numbers the same on every run. In `run_workers` and `parallel_map`,
which thread does which piece is fixed in advance and does not depend on who is free
first. And a sum over threads is taken in a fixed order. `map_ahead` needs neither: its
items are independent of each other, so any free thread may compute the next one, and
the results come in the order of the items.

The context of the caller, `no_grad` for instance, holds in the threads of `run_workers`
and `parallel_map`. It does not hold in the threads of `map_ahead`, which read and
prepare data and record nothing.

A matrix product may start threads of its own; `blas_threads` (minigrad/blas.py) says
how many.
"""

import collections
import contextvars
import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from minigrad.backend import Array, on_host
from minigrad.blas import blas_threads as blas_threads  # belongs to this interface
from minigrad.memory import using
from minigrad.recording import is_recording, recording

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_free_threaded() -> bool:
    """Whether threads run at once in Python's own steps too: a Python without the lock.

    PEP 703: there are such builds from Python 3.13 on, called 3.13t. They may be told
    to use the lock all the same.

    >>> type(is_free_threaded())
    <class 'bool'>
    """
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)
    return not has_lock()


def count_workers(array: Array, workers: int | None) -> int:
    """How many threads work on arrays like `array`: `workers`, or for None all cores.

    A GPU always has one worker. More threads would only wait for each other there.

    >>> import numpy as np
    >>> count_workers(np.zeros(3), workers=2)
    2
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if not on_host(array):
        return 1
    return workers or available_cores()


def run_workers(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the jobs at once, the first in this thread; return when all are done.

    An error in a job is raised again here. A new thread would start with empty context
    variables. So each job gets a copy of the variables of this thread. A `no_grad`
    around the call is in force in all jobs. The arena is not passed on, because no two
    threads may share one.

    >>> seen = []
    >>> run_workers([lambda: seen.append("first"), lambda: seen.append("second")])
    >>> sorted(seen)
    ['first', 'second']
    """
    if len(jobs) <= 1:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(len(jobs) - 1) as pool:
        running = []
        for job in jobs[1:]:
            context = contextvars.copy_context()
            running.append(pool.submit(context.run, _run_in_thread, job, is_recording()))
        jobs[0]()
    for future in running:
        future.result()


def _run_in_thread(job: Callable[[], None], is_on: bool) -> None:
    with using(None), recording(is_on):
        job()


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> list[Result]:
    """[function(item) for item in items], computed by several threads.

    With w threads, the first one computes the items 0, w, 2w, ..., the second one the
    items 1, w + 1, 2w + 1, ...

    >>> parallel_map(abs, [-1, 2, -3], workers=2)
    [1, 2, 3]
    """
    workers = max(1, min(workers, len(items)))
    results: dict[int, Result] = {}

    def work(first: int) -> None:
        for index in range(first, len(items), workers):
            results[index] = function(items[index])

    run_workers([partial(work, first) for first in range(workers)])
    return [results[index] for index in range(len(items))]


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Result, None, None]:
    """function(item) for each item, in order, computed while the caller is busy.

    At most `ahead` results wait or are being made. Items are taken lazily, in the
    caller's thread. An error of the function is raised when its result is due. Closing
    the iterator, or leaving its loop in any way, ends the threads. The context
    variables of the caller are not passed on.

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

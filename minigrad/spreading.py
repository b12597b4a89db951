"""How do several cores share one operation?

A training step gives each core samples of its own
(clip_np/training/batch_gradient.py). A batch norm needs all samples of a batch at once,
so a ResNet cannot be cut like that. But its operations can. They go over their arrays
block by block, and the blocks do not depend on each other:

    blocks   0  1  2  3  4  5  6  7        of the samples of one operation
    runs    [0  1  2  3][4  5  6  7]       one for each thread

`spread(work, blocks)` cuts the blocks into runs and calls work(run) for each. Here is
all that it computes:

    return [work(run) for run in runs]

Inside of a `spreading` block, other threads take runs as well. A run that no thread has
begun when the caller has finished its own is done by the caller. Who does a run changes
nothing. The number of runs does: `work` may add up over its blocks, and sums of floats
depend on their order. So the same number of threads gives the same bits.
"""

import contextlib
import contextvars
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

import numpy as np

from minigrad.backend import Array
from minigrad.context import setting
from minigrad.memory import Arena, using

Result = TypeVar("Result")
Run = Sequence[slice]


class Helper(NamedTuple):
    """A thread that takes runs of others, and the memory that it computes in."""

    thread: ThreadPoolExecutor
    arena: Arena


_helpers: ContextVar[tuple[Helper, ...]] = ContextVar("helpers", default=())


def spread(work: Callable[[Run], Result], blocks: Iterable[slice]) -> list[Result]:
    """The results of work(run) for runs of the blocks, in order.

    Without helpers there is one run. An error in a run is raised again. The context
    variables of the caller hold in all runs, so `np.errstate` around the call does.

    >>> spread(lambda run: len(run), [slice(0, 2), slice(2, 4), slice(4, 6)])
    [3]
    >>> with spreading([Arena()]):
    ...     spread(lambda run: len(run), [slice(0, 2), slice(2, 4), slice(4, 6)])
    [2, 1]
    """
    helpers = _helpers.get()
    if not helpers:
        return [work(list(blocks))]
    first, *others = cut_into_runs(list(blocks), 1 + len(helpers))
    begun = [
        helper.thread.submit(contextvars.copy_context().run, _work_apart, work, run, helper.arena)
        for run, helper in zip(others, helpers)
    ]
    results = [work(first)]
    for run, future in zip(others, begun):
        results.append(work(run) if future.cancel() else future.result())
    return results


def total(parts: Sequence[Array]) -> Array:
    """The sum of the runs' arrays, in order. It is added up in the first one.

    >>> import numpy as np
    >>> total([np.array([1.0]), np.array([2.0])])
    array([3.])
    """
    first, *others = parts
    for part in others:
        first += part
    return first


def cut_into_runs(blocks: Run, count: int) -> list[Run]:
    """The blocks in `count` runs; fewer if there are too few rows.

    >>> blocks = [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    >>> [len(run) for run in cut_into_runs(blocks, 2)]
    [3, 2]

    If there are fewer blocks than runs, the blocks are cut:

    >>> cut_into_runs([slice(0, 8)], 2)
    [[slice(0, 4, None)], [slice(4, 8, None)]]
    """
    if len(blocks) < count:
        blocks = [part for block in blocks for part in _parts_of(block, count)]
    bounds = np.ceil(np.linspace(0, len(blocks), count + 1)).astype(int).tolist()
    runs = [blocks[start:stop] for start, stop in itertools.pairwise(bounds)]
    return [run for run in runs if run] or [blocks]


def _parts_of(block: slice, count: int) -> list[slice]:
    """A block cut into `count` parts of about the same number of rows."""
    bounds = np.linspace(block.start, block.stop, count + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds) if stop > start]


def _work_apart(work: Callable[[Run], Result], run: Run, arena: Arena) -> Result:
    """work(run) in a helper's thread, with the helper's memory."""
    with using(arena):
        return work(run)


@contextlib.contextmanager
def spreading(arenas: Sequence[Arena]) -> Iterator[None]:
    """Within the block, operations that spread have a helper for each arena.

    A helper is a thread that computes in its arena. Keep the arenas from block to
    block, so that the helpers need not ask the system for new memory.
    """
    with contextlib.ExitStack() as stack:
        helpers = []
        for arena in arenas:
            arena.sweep()
            helpers.append(Helper(stack.enter_context(ThreadPoolExecutor(1)), arena))
        stack.enter_context(setting(_helpers, tuple(helpers)))
        yield

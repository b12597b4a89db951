"""What do ranks look like where nothing can go wrong?

They are threads of one process that lay their arrays on a table. This is the plain form
of all communicators: to be read first, and to test the mathematics of a step over ranks
within milliseconds. It saves no time, because the threads take turns at Python's lock.

    rank 0   lays rows on the table  |  barrier  |  reads all rows  |
    rank 1   lays rows on the table  |  barrier  |  reads all rows  |

Two tables are used in turn. A rank that is quick may lay its next rows on the second
one, while a slow rank still reads the first. It cannot get to the first one again
before the slow rank has come to the barrier of the second.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from clip_np.training.communicator.protocol import RankError

Result = TypeVar("Result")


class Tables:
    """What the threads have in common: two tables with a seat for each rank."""

    def __init__(self, size: int, seconds: float) -> None:
        self.seats: list[list[Any]] = [[None] * size, [None] * size]
        self.meeting = threading.Barrier(size, timeout=seconds)


class ThreadRank:
    """One of several threads that compute a step together; see `Communicator`."""

    shared_parameters = False
    overlaps = True

    def __init__(self, rank: int, size: int, tables: Tables, whole_batch: bool) -> None:
        self.rank = rank
        self.size = size
        self.ranks_here = size
        self.whole_batch = whole_batch
        self._tables = tables
        self._turn = 0

    def _exchange(self, value: Any) -> list[Any]:
        """The values of all ranks."""
        seats = self._tables.seats[self._turn]
        self._turn = 1 - self._turn
        seats[self.rank] = value
        self.barrier()
        return list(seats)

    def started(self) -> None:
        """Threads start at once."""

    def barrier(self) -> None:
        try:
            self._tables.meeting.wait()
        except threading.BrokenBarrierError as error:
            raise RankError(f"rank {self.rank}: another rank has failed or stalled") from error

    def broadcast(self, value: Any = None, patient: bool = False) -> Any:
        return self._exchange(value)[0]

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]:
        return self._exchange(rows.copy())  # the rank may go on and change its own

    def all_reduce(
        self, arrays: Sequence[np.ndarray | None], like: Sequence[np.ndarray], early: bool = False
    ) -> list[np.ndarray | None]:
        everybodys = self._exchange(list(arrays))
        sums = [add_in_order(candidates) for candidates in zip(*everybodys)]
        self.barrier()  # the arrays are their owners' again
        return sums

    def abort(self, message: str) -> None:
        self._tables.meeting.abort()


def add_in_order(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """A new array: the sum of those that are not None, from left to right.

    >>> add_in_order([None, np.array([1.0]), np.array([2.0])])
    array([3.])
    >>> add_in_order([None, None]) is None
    True
    """
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    total = present[0].copy()
    for array in present[1:]:
        total += array
    return total


def run_thread_ranks(
    function: Callable[[ThreadRank], Result],
    size: int,
    whole_batch: bool = True,
    seconds: float = 60.0,
) -> list[Result]:
    """[function(rank 0), function(rank 1), ...], computed in threads at once.

    seconds is the most that a rank waits for another. An error of one rank ends the
    others, and is raised here.

    >>> def work(comm):
    ...     rows = np.full((comm.rank + 1, 1), float(comm.rank))
    ...     return np.concatenate(comm.all_gather(rows)).ravel().tolist()
    >>> run_thread_ranks(work, size=2)
    [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    tables = Tables(size, seconds)

    def run(rank: int) -> Result:
        comm = ThreadRank(rank, size, tables, whole_batch)
        try:
            return function(comm)
        except BaseException as error:
            comm.abort(str(error))
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, RankError))  # the cause comes first
    if errors:
        raise errors[0]
    return [future.result() for future in futures]

"""What do programs that train one model together have to tell each other?

Each of them is a *rank*: it has a number, from 0 to size - 1, and computes a part of
every step, for a part of the batch (*data parallel* training). Five ways to talk are
enough. All ranks call the same one at the same time; such a call is a *collective*.

    barrier()          nobody goes on before all are here
    broadcast(value)   everybody gets rank 0's value
    all_gather(rows)   everybody gets everybody's rows, in the order of the ranks
    all_reduce(...)    everybody gets the sums of everybody's arrays
    abort(message)     this rank cannot go on, and so nobody can

Four kinds of ranks offer them, and a training step does not know which it has:

    OneProcess      no others: every call returns what it was handed
    ThreadRank      threads of one process (thread_ranks.py): to test and to read
    ProcessRank     processes of one machine that share memory (process_ranks.py)
    MpiRank         processes on one machine or many, through MPI (mpi_ranks.py)

*Patience.* A rank that waits for another one for longer than its `deadline` takes that
for stalled. A step has a deadline of its own. But a rank's start may be slow: it
imports this package, opens its data and reads its first images, perhaps from a busy
disk. So until `started` is called, the deadline is at least STARTING.

Sums are taken in the order of the ranks, so that the same number of ranks gives the
same bits. (MPI's own sum has an order of its own, which is the same in every run with
the same library, ranks and machines.)

Message Passing Interface Forum, "MPI: A Message-Passing Interface Standard", chapter 6.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

STARTING = 120.0
"""Seconds that a rank may keep the others waiting before its first step is done.

It is a generous number: on a quiet machine, to import this package is less than one.
"""


class RankError(RuntimeError):
    """A rank has failed, stalled or gone; the others cannot go on without it."""


class StalledError(RankError):
    """Some ranks have kept another one waiting for longer than its deadline."""

    def __init__(self, waiting: int, ranks: Sequence[int], deadline: float) -> None:
        self.ranks = ranks
        late = ", ".join(str(rank) for rank in ranks)
        super().__init__(
            f"rank {waiting} has waited {deadline:g} s for rank {late}, which has stalled. If a "
            "step of this model really takes so long, set a longer `deadline`"
        )


class Communicator(Protocol):
    """One rank's connection to the others.

    - rank, size: its number, and how many there are.
    - ranks_here: how many of them are on this machine. They share its cores.
    - whole_batch: every rank is handed the whole batch of a step, and the plan divides
      it. If not, it is handed its own rows, and the batch is all of them together.
    - shared_parameters: the ranks see one copy of the parameters in shared memory, and
      each updates a part of them. If not, each has a copy and updates all of it.
    - overlaps: sums may be taken in one thread while others compute (overlap.py).
    """

    rank: int
    size: int
    ranks_here: int
    whole_batch: bool
    shared_parameters: bool
    overlaps: bool

    def started(self) -> None:
        """From now on the deadline of a step holds, and not that of the start."""

    def barrier(self) -> None:
        """Return when all ranks have called this."""

    def broadcast(self, value: Any = None, patient: bool = False) -> Any:
        """Rank 0's value. What the others pass is not looked at.

        With patient, a rank waits for as long as rank 0 is alive, and no deadline
        holds: rank 0 may have something else to do.
        """

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows of all ranks, by rank. Their numbers may differ, and may be 0.

        The arrays are to be read, and only until this rank calls the next collective.
        """

    def all_reduce(
        self, arrays: Sequence[np.ndarray | None], like: Sequence[np.ndarray], early: bool = False
    ) -> list[np.ndarray | None]:
        """The sum over the ranks of each array, in place of None where one has nothing.

        like has an array of the same shape and dtype for each. The result is None where
        no rank had anything. The arrays may be overwritten. With shared_parameters, all
        ranks see the same arrays as the result. With early, other threads of this rank
        compute meanwhile, and go on afterwards.
        """

    def abort(self, message: str) -> None:
        """End all ranks, because this one cannot go on. message says why."""


class OneProcess:
    """The only rank.

    >>> comm = OneProcess()
    >>> comm.all_gather(np.array([[1.0, 2.0]]))
    [array([[1., 2.]])]
    """

    rank = 0
    size = 1
    ranks_here = 1
    whole_batch = True
    shared_parameters = False
    overlaps = False

    def started(self) -> None:
        """Nobody else starts."""

    def barrier(self) -> None:
        """Nobody else has to come."""

    def broadcast(self, value: Any = None, patient: bool = False) -> Any:
        return value

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]:
        return [rows]

    def all_reduce(
        self, arrays: Sequence[np.ndarray | None], like: Sequence[np.ndarray], early: bool = False
    ) -> list[np.ndarray | None]:
        return list(arrays)

    def abort(self, message: str) -> None:
        """Nobody else has to end."""

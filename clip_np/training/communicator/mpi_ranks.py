"""How do processes on several machines gather and add arrays?

By MPI, the interface that clusters have had for this since 1994. It comes with a
launcher, which starts the same program on every machine:

    mpiexec -n 4 python -m mpi4py -m clip_np train --data photos

Each rank has its own memory: its parameters, its rows of the batch. Embeddings and
gradients travel. `-m mpi4py` matters: with it, a rank that ends with an error ends the
others too. Without it they would wait for ever.

*Deadlines.* A call of MPI that waits cannot be stopped. So each collective here is
started, and then asked again and again whether it is complete. If it is not after
`deadline` seconds, this rank ends the whole job. A rank that is busy for that long
writes where it is first, so that the one that keeps the others waiting is known. (After
a barrier it is not known to have work that others wait for, and writes nothing.)

*Buckets.* Gradients are copied into a few long buffers. While one travels, the next is
filled. And while the first encoder's travel, the second one's are made: another thread
asks for them (overlap.py). One thread at a time calls MPI.

https://mpi4py.readthedocs.io; Message Passing Interface Forum, "MPI: A Message-Passing
Interface Standard", chapter 6.
"""

import faulthandler
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from clip_np.training.communicator import messages
from clip_np.training.communicator.process_ranks import view_of
from clip_np.training.communicator.protocol import STARTING
from clip_np.training.communicator.waiting import wait_until

BUCKET_BYTES = 1 << 24
"""16 MiB: long enough that a bucket's start, some 10 us, does not count."""

LONGEST_PAUSE = 1e-3
"""Seconds between two looks at numbers that travel: MPI moves them while it is asked.

With 5 ms, a sum of 128 MB over two ranks of one machine took 1.5 times as long.
"""

SIZES_OF_LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Set by mpiexec of MPICH, Open MPI and MVAPICH: the number of ranks."""


class MpiRank:
    """One of the ranks that an MPI launcher started; see `Communicator`."""

    whole_batch = False
    shared_parameters = False

    def __init__(self, world: Any, deadline: float = 120.0) -> None:
        """world is `mpi4py.MPI.COMM_WORLD`, or a part of it. deadline is a step's."""
        from mpi4py import MPI  # here, since few have it

        self.rank: int = world.Get_rank()
        self.size: int = world.Get_size()
        here = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.ranks_here: int = here.Get_size()
        here.Free()
        # Whether another thread than the one that started MPI may call it.
        self.overlaps: bool = MPI.Query_thread() >= MPI.THREAD_SERIALIZED
        self.deadline = max(deadline, STARTING)
        self._step_deadline = deadline
        self._world = world
        self._sum = MPI.SUM
        self._in_place = MPI.IN_PLACE

    def _wait(self, request: Any, patient: bool = False) -> None:
        """Return when a collective is complete, or end the job."""
        faulthandler.cancel_dump_traceback_later()
        if patient:
            wait_until(request.Test, look=_nothing_to_see, deadline=None)
        elif not wait_until(request.Test, _nothing_to_see, self.deadline, LONGEST_PAUSE):
            self.abort(
                f"rank {self.rank} has waited {self.deadline:g} s for the others. If a step of "
                "this model really takes so long, set a longer `deadline`"
            )

    def _begin_work(self) -> None:
        """Let this rank write where it is if it keeps the others waiting."""
        faulthandler.dump_traceback_later(0.9 * self.deadline)

    def started(self) -> None:
        self.deadline = self._step_deadline

    def barrier(self) -> None:
        self._wait(self._world.Ibarrier())

    def broadcast(self, value: Any = None, patient: bool = False) -> Any:
        stream = _stream_of(value) if self.rank == 0 else np.empty(0, np.uint8)
        length = np.array([len(stream)], np.int64)
        self._wait(self._world.Ibcast(length), patient)
        if self.rank != 0:
            stream = np.empty(int(length[0]), np.uint8)
        for start in range(0, len(stream), BUCKET_BYTES):
            self._wait(self._world.Ibcast(stream[start : start + BUCKET_BYTES]), patient)
        heard = value if self.rank == 0 else messages.decode(view_of(stream))
        if heard is not None:
            self._begin_work()
        return heard

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]:
        stream = _stream_of(rows)
        lengths = np.empty(self.size, np.int64)
        self._wait(self._world.Iallgather(np.array([len(stream)], np.int64), lengths))
        received = np.empty(int(lengths.sum()), np.uint8)
        starts = np.cumsum(lengths) - lengths
        self._wait(self._world.Iallgatherv(stream, [received, (lengths, starts), None]))
        self._begin_work()
        return [
            messages.decode(view_of(received[start : start + length]))
            for start, length in zip(starts, lengths)
        ]

    def all_reduce(
        self, arrays: Sequence[np.ndarray | None], like: Sequence[np.ndarray], early: bool = False
    ) -> list[np.ndarray | None]:
        counts = np.array([array is not None for array in arrays], np.int64)
        self._wait(self._world.Iallreduce(self._in_place, counts, self._sum))
        running = []
        sums: list[np.ndarray | None] = [None] * len(like)
        for positions in buckets_of(like, wanted=counts > 0):
            size = sum(like[position].size for position in positions)
            bucket, start = np.empty(size, like[positions[0]].dtype), 0
            for position in positions:
                stretch = bucket[start : start + like[position].size]
                own = arrays[position]
                stretch[:] = 0.0 if own is None else own.reshape(-1)
                sums[position] = stretch.reshape(like[position].shape)
                start += stretch.size
            running.append(self._world.Iallreduce(self._in_place, bucket, self._sum))
        for request in running:
            self._wait(request)
        if early:
            self._begin_work()
        return sums

    def abort(self, message: str) -> None:
        print(f"rank {self.rank} ends the job: {message}", file=sys.stderr, flush=True)
        self._world.Abort(1)


def _nothing_to_see() -> None:
    """The launcher ends all ranks if one of them ends."""


def _stream_of(value: Any) -> np.ndarray:
    """A message as one array of bytes."""
    parts = messages.encode(value)
    stream = np.empty(messages.size_of(parts), np.uint8)
    messages.write(parts, view_of(stream))
    return stream


def buckets_of(like: Sequence[np.ndarray], wanted: np.ndarray) -> list[list[int]]:
    """The positions of the arrays that are wanted, in lists for one bucket each.

    A bucket has one dtype, and as many arrays as fit into BUCKET_BYTES, at least one.

    >>> small, other = np.zeros(3), np.zeros(3, np.float32)
    >>> buckets_of([small, small, other, small], np.array([True, True, True, False]))
    [[0, 1], [2]]
    """
    buckets: list[list[int]] = []
    filled = 0
    for position in np.flatnonzero(wanted).tolist():
        array = like[position]
        is_full = filled + array.nbytes > BUCKET_BYTES
        if not buckets or is_full or like[buckets[-1][0]].dtype != array.dtype:
            buckets.append([])
            filled = 0
        buckets[-1].append(position)
        filled += array.nbytes
    return buckets


def rank_of_launch(deadline: float = 120.0) -> MpiRank | None:
    """This process's rank, if an MPI launcher has started several; else None.

    ValueError if it was started without `-m mpi4py`, or if there is no MPI library.
    """
    started = max(int(os.environ.get(name, 1)) for name in SIZES_OF_LAUNCHERS)
    if "mpi4py" in sys.modules:  # `-m mpi4py` has imported it
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            if started == 1:
                return None  # a program that only imports mpi4py
            raise ValueError(
                f"a launcher has started {started} processes, and mpi4py finds no MPI library: "
                f'{error}. One that is easy to install: pip install "minigrad-clip[mpi]"'
            ) from error
        return MpiRank(MPI.COMM_WORLD, deadline) if MPI.COMM_WORLD.Get_size() > 1 else None
    if started > 1:
        raise ValueError(
            f"a launcher has started {started} processes, but not through mpi4py: write "
            "`mpiexec -n N python -m mpi4py -m clip_np ...`, with mpi4py installed: "
            'pip install "minigrad-clip[mpi]"'
        )
    return None

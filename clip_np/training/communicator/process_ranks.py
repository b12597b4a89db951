"""How do processes of one machine gather and add arrays without sending them?

They lay them into memory that all of them see (shared_block.py), tell that they are
ready, and read what the others have laid there.

*Barrier.* Each rank has a counter that it alone writes. To come to barrier number k is
to set it to k; to pass is to see that all counters are k or more.

*Why is there a lock?* Some processors (ARM) let others see writes in another order than
the program made them: the counter first, and the gradients later. A lock forbids that.
What a rank wrote before it let go of the lock is seen by whoever gets the lock later.

    rank A:  writes data   [lock]  sets its counter
    rank B:                        sees the counter   [lock]   reads the data

Why must B have the lock after A? If B had it first, all that B did before would have
come before A got the lock. But B saw a counter that A sets after that. So B reads the
data of A. No rank holds the lock for longer than an instant.

*Messages.* Each rank has two places for messages and uses them in turn. What it wrote
into one is safe until all others have come to the next collective: only then can it
pass that one, and write into the same place in the collective after it. A message that
is too long for its place is sent in several rounds.

*Sums.* Each rank lays its gradients into a region of its own. Rank r adds up those of
the parameters that it owns (owning.py), in the order of the ranks, into the region of
the first rank that has any. So each number is added once, by one rank.

    region of rank 0   | vision: g_0         | text: (nothing)     |
    region of rank 1   | vision: (nothing)   | text: g_1           |
    the sums           | vision: g_0         | text: g_1           |   nothing to add

If each encoder is one rank's work, no number has to be added or copied again.

Nothing travels here, so no sum begins early, while other gradients are being made: to
add is work for a core, and the cores are busy. One sum for all needs fewer barriers.

A rank that fails sets a mark, and the others stop waiting for it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from clip_np.training.communicator import messages
from clip_np.training.communicator.owning import owned_by
from clip_np.training.communicator.protocol import STARTING, RankError, StalledError
from clip_np.training.communicator.shared_block import Block, aligned
from clip_np.training.communicator.waiting import wait_until

MESSAGE_BYTES = 1 << 22
"""Room for a message: 4 MiB, a few hundred small images. What is not used is free."""


class Sizes(NamedTuple):
    """What a team needs to know to divide a block in the same way in every process."""

    ranks: int
    gradient_bytes: int  # of one rank
    parameters: int
    message_bytes: int = MESSAGE_BYTES

    @property
    def total(self) -> int:
        """The bytes of all regions."""
        counters = 2 * aligned(8 * self.ranks)
        texts = 2 * self.ranks * aligned(self.message_bytes)
        marks = aligned(self.ranks * self.parameters)
        return counters + texts + marks + self.ranks * aligned(self.gradient_bytes)


class Regions:
    """The parts of a block through which ranks talk, at its start."""

    def __init__(self, block: Block, sizes: Sizes) -> None:
        self.arrived = view_of(block.take((sizes.ranks,), np.int64))
        self.failed = view_of(block.take((sizes.ranks,), np.int64))
        self.messages = [
            [view_of(block.take((sizes.message_bytes,), np.uint8)) for _ in range(sizes.ranks)]
            for _ in range(2)
        ]
        self.has_gradient = block.take((sizes.ranks, sizes.parameters), np.bool_)
        self.gradients = [block.take((sizes.gradient_bytes,), np.uint8) for _ in range(sizes.ranks)]


def view_of(array: np.ndarray) -> memoryview:
    """The memory of an array, of which single numbers are read faster."""
    return memoryview(array)  # type: ignore[arg-type]  # before Python 3.12


class ProcessRank:
    """One of several processes on one machine; see `Communicator`.

    lock is one that all ranks have. deadline is the most seconds that a rank waits for
    another in a step. look raises RankError if another rank has ended.
    """

    whole_batch = True
    shared_parameters = True
    overlaps = False

    def __init__(
        self,
        rank: int,
        sizes: Sizes,
        block: Block,
        lock: Any,
        deadline: float,
        look: Callable[[], None],
    ) -> None:
        self.rank = rank
        self.size = self.ranks_here = sizes.ranks
        self.deadline = max(deadline, STARTING)
        self._step_deadline = deadline
        self._lock = lock
        self._look = look
        self._regions = Regions(block, sizes)
        self._meetings = 0
        self._turn = 0
        self._views: list[list[np.ndarray]] = []  # of the gradients: by rank, by parameter
        self._shapes: list[tuple] = []

    def started(self) -> None:
        self.deadline = self._step_deadline

    def barrier(self, patient: bool = False) -> None:
        self._meetings += 1
        number, arrived = self._meetings, self._regions.arrived
        self._touch_lock()
        arrived[self.rank] = number
        others = [other for other in range(self.size) if other != self.rank]

        def are_here() -> bool:
            return all(arrived[other] >= number for other in others)

        deadline = None if patient else self.deadline
        if not wait_until(are_here, self._look_for_failures, deadline):
            late = [other for other in others if arrived[other] < number]
            raise StalledError(self.rank, late, self.deadline)
        self._touch_lock()

    def _touch_lock(self) -> None:
        """Make what was written before visible to who touches the lock afterwards."""
        if not self._lock.acquire(timeout=self.deadline):
            raise RankError(f"rank {self.rank}: a rank has ended while it held the lock")
        self._lock.release()

    def _look_for_failures(self) -> None:
        self._look()  # first, because it knows more
        failed = [str(rank) for rank in range(self.size) if self._regions.failed[rank]]
        if failed:
            raise RankError(f"rank {', '.join(failed)} has failed")

    def broadcast(self, value: Any = None, patient: bool = False) -> Any:
        parts = messages.encode(value) if self.rank == 0 else None
        streams = self._exchange(parts, senders=[0], patient=patient)
        if self.rank == 0:
            return value
        return messages.decode(memoryview(bytearray(streams[0])))  # a copy that stays

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]:
        streams = self._exchange(messages.encode(rows), senders=range(self.size))
        return [messages.decode(stream) for stream in streams]

    def _exchange(
        self, parts: list[Any] | None, senders: Sequence[int], patient: bool = False
    ) -> list[Any]:
        """The messages of the senders, as they lie in memory; of long ones, copies.

        parts is this rank's message, if it is a sender.
        """
        place = self._next_place()
        capacity = len(place)
        too_long: memoryview | None = None
        if parts is not None:
            if messages.size_of(parts) <= capacity:
                messages.write(parts, place)
            else:
                too_long = memoryview(bytearray(messages.size_of(parts)))
                messages.write(parts, too_long)
                place[:] = too_long[:capacity]
        self.barrier(patient)
        first = self._places(senders)
        sizes = [messages.size_in(place) for place in first]
        rounds = -(-max(sizes) // capacity)
        if rounds == 1:
            return [place[:size] for place, size in zip(first, sizes)]
        received = [bytearray(place) for place in first]
        for number in range(1, rounds):
            place = self._next_place()
            if too_long is not None:
                piece = too_long[number * capacity : (number + 1) * capacity]
                place[: len(piece)] = piece
            self.barrier()
            for stream, place in zip(received, self._places(senders)):
                stream += place  # beyond a message's end: what was there before
        return [memoryview(stream)[:size] for stream, size in zip(received, sizes)]

    def _next_place(self) -> Any:
        """Where this rank's next message goes."""
        self._turn = 1 - self._turn
        return self._regions.messages[self._turn][self.rank]

    def _places(self, senders: Sequence[int]) -> list[Any]:
        """Where the messages of the senders lie."""
        return [self._regions.messages[self._turn][sender] for sender in senders]

    def all_reduce(
        self, arrays: Sequence[np.ndarray | None], like: Sequence[np.ndarray], early: bool = False
    ) -> list[np.ndarray | None]:
        self._divide_regions(like)
        has_gradient = self._regions.has_gradient
        for position, array in enumerate(arrays):
            has_gradient[self.rank, position] = array is not None
            if array is not None:
                self._views[self.rank][position][...] = array
        self.barrier()
        sums: list[np.ndarray | None] = []
        owned = owned_by(self.rank, self.size, [array.size for array in like])
        for position in range(len(like)):
            ranks = np.flatnonzero(has_gradient[:, position]).tolist()
            candidates = [self._views[rank][position] for rank in ranks]
            if owned.start <= position < owned.stop:
                for other in candidates[1:]:
                    candidates[0] += other
            sums.append(candidates[0] if candidates else None)
        self.barrier()
        return sums

    def _divide_regions(self, like: Sequence[np.ndarray]) -> None:
        """Views of the gradients' regions, an array for each parameter of each rank."""
        shapes = [(array.shape, array.dtype) for array in like]
        if shapes == self._shapes:
            return
        self._shapes, self._views = shapes, []
        for region in self._regions.gradients:
            offset, views = 0, []
            for array in like:
                stretch = region[offset : offset + array.nbytes]
                views.append(stretch.view(array.dtype).reshape(array.shape))
                offset += aligned(array.nbytes)
            self._views.append(views)

    def abort(self, message: str) -> None:
        self._regions.failed[self.rank] = 1

    def close(self) -> None:
        """Let go of the memory."""
        self._views.clear()
        del self._regions

"""How do several processes take the steps of one training?

Rank 0 is the process that trains: it reads the data, looks after the run and writes all
files. It starts the others, its *followers*. Each of them has a copy of the model whose
parameters are the same memory as rank 0's, and waits for batches:

    rank 0                                     follower
    parameters, averages  -> shared memory
    start  ----------------------------------> open the memory, unpack the model
    batch  ----------------------------------> batch
    step  <------------- (meeting.py) -------> step
    ...                                        ...
    close  ----------------------------------> end
    parameters, averages <- own memory

A follower is started anew by the system ("spawn"), which is possible everywhere and
takes about as long as the import of this package.

*If something fails, all ends.* A follower that fails writes its traceback into a pipe,
and rank 0 raises it as a `RankError`. Rank 0 also looks whether followers are alive
while it waits, and ends them whenever it leaves the team, at the latest when the
program ends. What a follower does is in follower.py.
"""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from clip_np.training.batch_gradient import trained_parameters
from clip_np.training.communicator import Block, ProcessRank, RankError, Sizes, StalledError, pack
from clip_np.training.communicator.shared_block import aligned
from clip_np.training.follower import follow, signals_blocked
from clip_np.training.step import TrainingStep
from minigrad.backend import Array, on_host
from minigrad.optim import Optimizer
from minigrad.threads import available_cores

DEADLINE = 120.0
"""Seconds that a rank waits for another in a step before it takes it for stalled."""

WRITING = 0.3
"""Seconds for a rank that has stalled to write where it is."""

ENDING = 2.0
"""Seconds for followers to end by themselves before they are ended."""


class Settings(NamedTuple):
    """What may change from step to step outside of a step: the optimizer's numbers."""

    step_count: int
    groups: list[dict[str, Any]]  # without their parameters

    @classmethod
    def of(cls, optimizer: Optimizer) -> "Settings":
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in optimizer.groups
        ]
        return cls(optimizer.step_count, groups)

    def give_to(self, optimizer: Optimizer) -> None:
        """Let another rank's optimizer have the same numbers."""
        optimizer.step_count = self.step_count
        for group, values in zip(optimizer.groups, self.groups):
            group.update(values)


class ProcessTeam:
    """A training step that several processes take together: team(images, tokens).

    step is rank 0's. While the team is open, the parameters and the optimizer's arrays
    are in shared memory; `close` brings them back. Raises ValueError for arrays on a
    GPU, for fewer than one process, and for a step that ranks take already.

        with ProcessTeam(TrainingStep(model, optimizer), processes=2) as team:
            for images, tokens in batches:
                team(images, tokens)

    Like all programs that start processes, a script needs
    `if __name__ == "__main__":` around what it does.
    """

    def __init__(self, step: TrainingStep, processes: int, deadline: float = DEADLINE) -> None:
        if processes < 1:
            raise ValueError(f"ProcessTeam: `processes` must be at least 1, got {processes}")
        if step.comm.size > 1:
            raise ValueError(
                f"ProcessTeam: the step is taken by {step.comm.size} ranks already; close their "
                "team first, or make a `TrainingStep` of another model"
            )
        self.step = step
        self.processes: list[Any] = []
        self.is_open = True
        self._pipes: list[Connection] = []
        parameters = trained_parameters(step.model, step.loss)
        if not on_host(step.model.logit_scale.data):
            raise ValueError("`processes` share the memory of the host, but the model is on a GPU")
        step.optimizer.repack()  # the model may have been converted since
        sizes = Sizes(
            ranks=processes,
            gradient_bytes=sum(aligned(parameter.data.nbytes) for parameter in parameters),
            parameters=len(parameters),
        )
        context = multiprocessing.get_context("spawn")
        lock = context.Lock()
        self._block = Block(sizes.total + bytes_of(step.optimizer))
        self._comm = ProcessRank(0, sizes, self._block, lock, deadline, self._look)
        self._comm_before, step.comm = step.comm, self._comm
        self._is_sent = False  # what the followers start with
        self._is_ready = False  # all of them have it
        try:
            move_into(step.optimizer, self._block)
            for rank in range(1, processes):
                here, there = context.Pipe(duplex=False)
                process = context.Process(
                    target=follow,
                    args=(rank, sizes, self._block.name, lock, deadline, there),
                    daemon=True,
                    name=f"rank {rank}",
                )
                with signals_blocked():
                    process.start()
                there.close()
                self.processes.append(process)
                self._pipes.append(here)
            # At the end of a program, multiprocessing waits for its processes. If the
            # program has not closed the team, they would wait for batches for ever.
            atexit.register(self.close, at_once=True)
        except BaseException:
            self.close(at_once=True)
            raise

    def wait_until_ready(self) -> None:
        """Return when all followers have the model. Else the first step waits."""
        if self._is_sent:
            return
        self._is_sent = True
        self._comm.broadcast(pack(self.step.parts, self._block))
        self._comm.barrier()
        self._comm.started()
        self._is_ready = True
        self._block.forget_name()

    def __call__(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor, positives: Array | None = None
    ) -> dict[str, Array]:
        """Take a step; see `TrainingStep`. After an error the team is closed.

        RuntimeError if it is closed.
        """
        if not self.is_open:
            raise RuntimeError("ProcessTeam: the team is closed; make a new one")
        try:
            self.wait_until_ready()
            images = images.data if isinstance(images, mg.Tensor) else images
            tokens = tokens.data if isinstance(tokens, mg.Tensor) else tokens
            settings = Settings.of(self.step.optimizer)
            self._comm.broadcast((settings, images, tokens, positives))
            return self.step(images, tokens, positives)
        except StalledError as error:
            is_started = self._is_ready
            if is_started:
                self._show_where(error.ranks)
            self.close(at_once=True)
            if is_started:
                raise
            raise RankError(
                f"{len(error.ranks)} of {len(self.processes)} more processes have not started in "
                f"time. This machine has {available_cores()} cores, and more `processes` than that "
                "save no time: take fewer"
            ) from error
        except BaseException:
            self.close(at_once=True)
            raise

    def _show_where(self, ranks: Sequence[int]) -> None:
        """Let ranks that have stalled write to stderr where they are."""
        for rank in ranks:
            process = self.processes[rank - 1]
            if hasattr(signal, "SIGUSR1") and process.exitcode is None:
                print(f"rank {rank} has stalled here:", file=sys.stderr, flush=True)
                os.kill(process.pid, signal.SIGUSR1)
        time.sleep(WRITING)

    def _look(self) -> None:
        """RankError if a follower has ended, with its traceback if it left one."""
        for rank, (process, pipe) in enumerate(zip(self.processes, self._pipes), start=1):
            exit_code = process.exitcode  # before the pipe: it may say why
            with contextlib.suppress(EOFError, OSError):
                if pipe.poll():
                    raise RankError(f"rank {rank} has failed:\n{pipe.recv()}")
            if exit_code is None:
                continue
            ended = f"rank {rank} {how_it_ended(exit_code)}"
            if self._is_ready:
                raise RankError(f"{ended} in the middle of the training")
            raise RankError(
                f"{ended} before the first step. Its own message stands above. A script that "
                'starts processes needs `if __name__ == "__main__":` around what it does'
            )

    def close(self, at_once: bool = False) -> None:
        """End the followers, and bring the parameters back into this process's memory.

        With at_once they are ended wherever they are.
        """
        if not self.is_open:
            return
        self.is_open = False
        patience = 0.0
        try:
            if not at_once and self.processes:
                with contextlib.suppress(RankError):  # one that is gone needs no end
                    self.wait_until_ready()
                    self._comm.broadcast(None)
                patience = ENDING
        finally:  # a Ctrl-C too leaves no process behind
            self._end_followers(patience)
            move_out_of(self.step, self._block)
            self.step.comm = self._comm_before
            self._comm.close()
            self._block.close()
            atexit.unregister(self.close)

    def _end_followers(self, patience: float) -> None:
        """Wait `patience` seconds in all for followers to end, then end them."""
        give_up = time.monotonic() + patience
        for process in self.processes:
            process.join(max(0.0, give_up - time.monotonic()))
            if process.exitcode is None:
                process.kill()
            process.join()
            process.close()
        for pipe in self._pipes:
            pipe.close()

    def __enter__(self) -> "ProcessTeam":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close(at_once=error is not None)


def how_it_ended(exit_code: int) -> str:
    """What a process's exit status says, in words.

    >>> how_it_ended(0), how_it_ended(-9)
    ('ended with the exit status 0', 'was ended by the signal SIGKILL')
    """
    if exit_code >= 0:
        return f"ended with the exit status {exit_code}"
    return f"was ended by the signal {signal.Signals(-exit_code).name}"


# --- the optimizer's arrays in shared memory ------------------------------------------


def arrays_of(optimizer: Optimizer) -> list[Array]:
    """The parameters and moments of an optimizer, as the long arrays that they are."""
    moments = [moment for group in optimizer.moments for moment in group]
    return [*(flat.data for flat in optimizer.flats), *moments]


def bytes_of(optimizer: Optimizer) -> int:
    """The room that these arrays need in a block."""
    return sum(aligned(array.nbytes) for array in arrays_of(optimizer))


def move_into(optimizer: Optimizer, block: Block) -> None:
    """Lay parameters and moments into a block. The model's are views there."""
    for flat, moments in zip(optimizer.flats, optimizer.moments):
        flat.move_to(block.take(flat.data.shape, flat.data.dtype))
        for number, moment in enumerate(moments):
            moments[number] = block.take(moment.shape, moment.dtype)
            moments[number][...] = moment


def move_out_of(step: TrainingStep, block: Block) -> None:
    """Give parameters and moments memory of their own again."""
    for flat, moments in zip(step.optimizer.flats, step.optimizer.moments):
        if block.place_of(flat.data) is not None:
            flat.move_to(np.empty_like(flat.data))
        moments[:] = [moment.copy() for moment in moments]
    for parameter in trained_parameters(step.model, step.loss):
        parameter.zero_grad()  # it may lie in the block

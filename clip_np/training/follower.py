"""What does a process do that takes part in the steps of another one?

Its whole life is `follow`. Rank 0 (process_team.py) starts it, and it

    ignores requests to end      they are for rank 0
    opens the shared memory      and unpacks the model, whose arrays lie there
    takes steps                  one for each batch that rank 0 sends
    ends                         when rank 0 says so, or is gone

*Requests to end are for rank 0.* A Ctrl-C, a terminal that is closed and a batch system
send their signal to all processes of a training. Rank 0 finishes its step, saves and
ends the followers (interrupts.py). If they obeyed the signal too, that step could not
be finished.

*Rank 0 may end in any way.* Where it is killed, it tells nobody. But the system closes
the pipe by which it started the follower. A thread waits for that.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from clip_np.training.communicator import Block, ProcessRank, Sizes, unpack
from clip_np.training.interrupts import ENDINGS
from clip_np.training.step import StepParts, TrainingStep

SIGNALS_FOR_RANK_0 = [
    getattr(signal, name) for name in ("SIGINT", *ENDINGS) if hasattr(signal, name)
]
"""Requests to end, which followers leave to rank 0."""


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Within the block, requests to end reach no process that is started here.

    A process begins with the signals that its starter has blocked. So it is safe from
    its first moment on, long before its Python has started and can ignore them. To this
    process they are delivered after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_FOR_RANK_0)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow(
    rank: int, sizes: Sizes, name: str, lock: Any, deadline: float, failures: Connection
) -> None:
    """The whole life of a follower: take steps until rank 0 says that it was the last.

    failures is the pipe into which it writes the traceback of an error.
    """
    for number in SIGNALS_FOR_RANK_0:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        faulthandler.register(signal.SIGUSR1)  # writes a traceback; see `ProcessTeam`
    threading.Thread(target=end_with_parent, daemon=True).start()
    comm: ProcessRank | None = None
    try:
        block = Block(sizes.total, name)
        comm = ProcessRank(rank, sizes, block, lock, deadline, look=lambda: None)
        step = receive_step(comm, block)
        while (order := comm.broadcast(patient=True)) is not None:
            settings, images, tokens, positives = order
            settings.give_to(step.optimizer)
            step(images, tokens, positives)
    except BaseException:
        failures.send(traceback.format_exc())
        if comm is not None:
            comm.abort("see the traceback")
        sys.stderr.flush()
        os._exit(1)


def end_with_parent() -> None:
    """End this process, whatever it does, when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # a follower was started by rank 0
    wait([parent.sentinel])
    os._exit(1)


def receive_step(comm: ProcessRank, block: Block) -> TrainingStep:
    """The training step of rank 0, with the same parameters and moments."""
    parts: StepParts = unpack(comm.broadcast(patient=True), block)
    for flat in parts.optimizer.flats:  # views of one array, which `intact` asks for
        flat.move_to(flat.data)
    comm.barrier()
    comm.started()
    return parts.step(comm)

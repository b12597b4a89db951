"""What each rank does in tests/clip_np/training/test_mpi.py, started by mpiexec."""

import os
import signal
import sys
import time

import numpy as np
from mpi4py import MPI
from rank_checks import (
    assert_equal_gradients,
    expected_gradients,
    gradients_over,
    own_rows,
    some_positives,
)
from small_models import batch, small_model

from clip_np.training import TrainingStep
from clip_np.training.communicator import MpiRank
from minigrad.optim import AdamW


def gradients(comm):
    for loss in ("clip", "sigmoid"):
        positives = some_positives(11)
        expected = expected_gradients(loss, 11, positives)
        found = gradients_over(comm, loss, 11, positives, shards=2, workers=1)
        assert_equal_gradients(found, expected)
    expected = expected_gradients("resnet", 11, None)
    found = gradients_over(comm, "resnet", 11, None, workers=1)
    assert_equal_gradients(found, expected, tolerance=1e-11)


def steps(comm):
    def run():
        model, arrays = small_model(np.float32), batch(11, np.float32)
        images, tokens = own_rows(comm, *arrays)
        step = TrainingStep(model, AdamW(model.parameters(), lr=1e-2), workers=1, comm=comm)
        for _ in range(3):
            step(images, tokens)
        return b"".join(parameter.data.tobytes() for parameter in model.parameters())

    first = run()
    everybodys = comm.all_gather(np.frombuffer(first, np.uint8))
    assert all(piece.tobytes() == first for piece in everybodys)
    assert run() == first


def messages(comm):
    heard = comm.broadcast({"rows": np.arange(3)} if comm.rank == 0 else None, patient=True)
    assert heard["rows"].tolist() == [0, 1, 2]
    pieces = comm.all_gather(np.full((comm.rank, 2), comm.rank))
    assert [piece.shape for piece in pieces] == [(rank, 2) for rank in range(comm.size)]
    mine = [np.ones(3) if comm.rank == 0 else None, None]
    first, second = comm.all_reduce(mine, [np.zeros(3), np.zeros(2)])
    assert first.tolist() == [1.0] * 3 and second is None


def patience(comm):
    """A slow start is no stall, and the deadline of a step comes after it."""
    slow = MpiRank(MPI.COMM_WORLD, deadline=0.05)
    if comm.rank == comm.size - 1:
        time.sleep(0.3)  # imports, opens data
    slow.all_gather(np.zeros(1))
    slow.barrier()
    slow.started()
    assert slow.deadline == 0.05


def fault(comm, kind):
    comm.deadline = 1.0
    comm.all_gather(np.zeros(1))
    if comm.rank == comm.size - 1:
        if kind == "error":
            raise ArithmeticError("planted in the last rank")
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "exit":
            os._exit(0)
        time.sleep(1000)
    comm.barrier()


if __name__ == "__main__":
    comm = MpiRank(MPI.COMM_WORLD, deadline=60.0)
    if len(sys.argv) > 1:
        fault(comm, sys.argv[1])
    else:
        patience(comm)
        messages(comm)
        gradients(comm)
        steps(comm)
    comm.barrier()
    if comm.rank == 0:
        print("all ranks are done", flush=True)

"""What every communicator has to do, whatever it is made of."""

import threading
import tracemalloc

import numpy as np
import pytest
from rank_checks import run_process_ranks

from clip_np.training.communicator import (
    Block,
    OneProcess,
    ProcessRank,
    RankError,
    Sizes,
    StalledError,
    messages,
    run_thread_ranks,
    waiting,
)
from clip_np.training.communicator.protocol import STARTING, Communicator

RUNS = {"threads": run_thread_ranks, "processes": run_process_ranks}


def small_messages(function, size):
    """Messages that need many rounds."""
    return run_process_ranks(function, size, message_bytes=512)


@pytest.fixture(params=[*RUNS, "small messages"])
def run(request):
    return {**RUNS, "small messages": small_messages}[request.param]


def test_rows_come_in_the_order_of_the_ranks(run):
    def work(comm: Communicator):
        found = []
        for turn in range(5):  # the places of messages are used again
            rows = np.full((comm.rank * 40, 3), 10.0 * turn + comm.rank)
            found.append([piece.copy() for piece in comm.all_gather(rows)])
        return found

    for found in run(work, 3):
        for turn, pieces in enumerate(found):
            assert [piece.shape for piece in pieces] == [(0, 3), (40, 3), (80, 3)]
            assert all((piece == 10.0 * turn + rank).all() for rank, piece in enumerate(pieces))


def test_everybody_gets_what_rank_0_says(run):
    def work(comm):
        said = {"numbers": np.arange(300), "text": "from rank 0"} if comm.rank == 0 else None
        heard = comm.broadcast(said, patient=True)
        comm.all_gather(np.zeros(3))
        comm.all_gather(np.zeros(3))  # what was heard stays
        return heard["text"], heard["numbers"].sum()

    assert run(work, 3) == [("from rank 0", 44850)] * 3


def test_sums_are_those_of_the_ranks_that_have_anything(run):
    def work(comm):
        arrays = [np.full((2, 3), comm.rank + 1.0), None, None]
        if comm.rank == 1:
            arrays[1] = np.array(7.0, np.float32)
        like = [np.zeros((2, 3)), np.zeros((), np.float32), np.zeros(4)]
        first, second, third = comm.all_reduce(arrays, like)
        comm.barrier()
        return first.copy(), second.copy(), third

    for first, second, third in run(work, 3):
        assert (first == 6.0).all() and first.shape == (2, 3)
        assert second == 7.0 and second.dtype == np.float32
        assert third is None


def test_a_short_message_is_not_copied_with_all_the_room_for_long_ones():
    def work(comm):
        lengths = [len(stream) for stream in comm._exchange(messages.encode("x"), senders=[0, 1])]
        tracemalloc.start()
        comm.broadcast("x", patient=True)
        return lengths, tracemalloc.get_traced_memory()[1]

    try:
        results = run_process_ranks(work, 2, message_bytes=1 << 22)
    finally:
        tracemalloc.stop()
    for lengths, most in results:
        assert lengths == [messages.size_of(messages.encode("x"))] * 2
        assert most < 1 << 16


def test_one_process_has_only_itself():
    comm = OneProcess()
    comm.barrier()
    comm.abort("nobody hears this")
    assert comm.broadcast("x") == "x"
    assert comm.all_reduce([None, np.ones(2)], [np.zeros(1), np.zeros(2)])[0] is None


def test_an_error_of_one_rank_ends_the_others(run):
    def work(comm):
        if comm.rank == 1:
            raise ArithmeticError("in rank 1")
        comm.barrier()

    with pytest.raises((ArithmeticError, RankError), match=r"rank 1|another rank"):
        run(work, 2)


def test_a_rank_that_does_not_come_is_named():
    def work(comm):
        comm.deadline = 0.05
        if comm.rank == 0:
            comm.barrier()

    with pytest.raises(StalledError, match=r"rank 0 has waited 0.05 s for rank 1, 2, which"):
        run_process_ranks(work, 3)


def test_a_start_has_more_time_than_a_step():
    sizes = Sizes(1, gradient_bytes=1, parameters=1, message_bytes=1 << 10)
    block = Block(sizes.total)
    comm = ProcessRank(0, sizes, block, threading.Lock(), deadline=0.5, look=lambda: None)
    assert comm.deadline == STARTING
    comm.started()
    assert comm.deadline == 0.5
    comm.close()
    block.close()


def test_what_has_come_counts_although_a_rank_failed_afterwards(monkeypatch):
    monkeypatch.setattr(waiting, "SPINNING", -1.0)
    monkeypatch.setattr(waiting, "LOOKING_AFTER", -1.0)
    ready = iter([False, True])

    def look():
        raise RankError("rank 1 has failed")

    assert waiting.wait_until(lambda: next(ready), look, deadline=5.0)
    with pytest.raises(RankError, match="rank 1"):
        waiting.wait_until(lambda: False, look, deadline=5.0)

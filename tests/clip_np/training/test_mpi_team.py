"""Ranks of a launch, here threads: they are alike, or refused, and runs go on."""

import json
import pickle
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from small_runs import SHORT, at_step, numbers_of, trainer_of, write_pairs

from clip_np.cli import main, runs
from clip_np.data import Pairs
from clip_np.training import (
    FilesTask,
    Trainer,
    TrainingOptions,
    TrainingStep,
    follow_rank_0,
    mpi_team,
    require_same_data,
    require_same_program,
)
from clip_np.training.communicator import rank_of_launch, run_thread_ranks
from clip_np.training.communicator.mpi_ranks import SIZES_OF_LAUNCHERS
from clip_np.weights import read_checkpoint

here = threading.local()  # what differs from rank to rank


@pytest.fixture(autouse=True)
def on_the_host(small, request):
    if request.config.getoption("--stand-in"):
        pytest.skip("ranks are tried on the host")


def run_ranks(function, size):
    """[function(rank 0), ...] for ranks with their own rows and models."""

    def work(comm):
        send = comm.broadcast

        def broadcast(value=None, patient=False):
            """What arrives elsewhere is a copy, as it is from another process."""
            heard = send(value, patient)
            return heard if comm.rank == 0 else pickle.loads(pickle.dumps(heard))

        comm.broadcast = broadcast
        here.comm = comm
        return function(comm)

    return run_thread_ranks(work, size, whole_batch=False)


def refusals(check, size=3):
    """What each rank is told."""

    def work(comm):
        with pytest.raises(ValueError, match="the ranks differ in their") as caught:
            check(comm)
        return str(caught.value)

    return run_ranks(work, size)


# --- ranks that differ ----------------------------------------------------------------


def test_all_ranks_refuse_another_version(monkeypatch):
    def versions():
        return {"numpy": "1.0" if here.comm.rank == 2 else "2.0"}

    monkeypatch.setattr(mpi_team, "versions", versions)
    (message,) = set(refusals(lambda comm: require_same_program(comm, ["train"])))
    assert message == (
        'the ranks differ in their versions: rank 0 has {"numpy": "2.0"}, '
        'rank 2 has {"numpy": "1.0"}'
    )


def test_all_ranks_refuse_other_options():
    def check(comm):
        require_same_program(comm, ["train", "--steps", "5" if comm.rank == 1 else "6"])

    (message,) = set(refusals(check))
    assert "in their options: rank 0 has " in message
    assert message.endswith('rank 1 has ["train", "--steps", "5"]')


@pytest.mark.parametrize("rows", [[0, 1], [1, 0, 2], [0, 1, 1]], ids=["fewer", "order", "other"])
def test_all_ranks_refuse_other_data(rows):
    pairs = Pairs.from_arrays(np.zeros((3, 2, 2, 3), np.uint8), ["a cat", "a dog", "a hat"])

    def check(comm):
        require_same_data(comm, pairs.select(rows) if comm.rank == 1 else pairs)

    (message,) = set(refusals(check))
    assert "in their data: rank 0 has 3 pairs " in message
    assert f"rank 1 has {len(rows)} pairs " in message


def test_ranks_that_are_alike_go_on():
    pairs = Pairs.from_arrays(np.zeros((1, 2, 2, 3), np.uint8), ["a cat"])

    def check(comm):
        require_same_program(comm, ["train"])
        require_same_data(comm, pairs)
        return True

    assert run_ranks(check, 3) == [True] * 3


def test_a_training_with_other_data_on_one_rank_never_begins(tmp_path, monkeypatch):
    data = write_pairs(tmp_path / "data", ["train"] * 40)
    other = write_pairs(tmp_path / "other", ["train"] * 41)
    monkeypatch.setattr(mpi_team, "open_task", lambda source: FilesTask(str(other)))
    task = FilesTask(str(data))

    def check(comm):
        if comm.rank > 0:
            follow_rank_0(comm)
        else:
            Trainer(task, TrainingOptions(**SHORT), tmp_path / "run", comm=comm).run()

    messages = set(refusals(check, size=2))
    assert len(messages) == 1 and "in their data" in messages.pop()
    assert not list((tmp_path / "run").glob("*.npz"))


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_the_deadline_of_a_step_holds_after_the_first_step(tmp_path, monkeypatch):
    """A rank may import, open its data and read a batch before: nobody is hurried."""
    task = FilesTask(str(write_pairs(tmp_path / "data", ["train"] * 40)))
    told = []

    def note(what, function):
        def noting(*arguments, **options):
            told.append((here.comm.rank, what))
            return function(*arguments, **options)

        return noting

    def work(comm):
        comm.started = note("started", comm.started)
        if comm.rank > 0:
            return follow_rank_0(comm)
        return Trainer(task, TrainingOptions(**SHORT), tmp_path / "run", comm=comm).run()["steps"]

    monkeypatch.setattr(mpi_team, "require_same_data", note("data", require_same_data))
    monkeypatch.setattr(TrainingStep, "__call__", note("step", TrainingStep.__call__))
    assert run_ranks(work, 2) == [SHORT["steps"]] * 2
    for rank in (0, 1):
        order = [what for number, what in told if number == rank]
        assert order[:3] == ["data", "step", "started"]
        assert order.count("step") == SHORT["steps"]


# --- runs that go on ------------------------------------------------------------------


def train_over(size, task, directory, resume=False, stop=None):
    """A training over thread ranks, ended by an error at step `stop`."""

    def work(comm):
        if comm.rank > 0:
            return follow_rank_0(comm)
        checkpoint = read_checkpoint(directory) if resume else None
        options = TrainingOptions(**SHORT)
        trainer = Trainer(task, options, directory, checkpoint=checkpoint, comm=comm)
        if stop is not None:
            at_step(trainer, stop, lambda: 1 / 0)
        return trainer.run()["steps"]

    return run_ranks(work, size)


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_a_run_goes_on_to_the_same_bits_on_as_many_ranks_and_elsewhere_to_rounding(tmp_path):
    task = FilesTask(str(write_pairs(tmp_path / "data", ["train"] * 40)))
    assert train_over(2, task, tmp_path / "whole") == [SHORT["steps"]] * 2
    for size in (2, 3):
        directory = tmp_path / f"on {size}"
        with pytest.raises(ZeroDivisionError):
            train_over(2, task, directory, stop=10)
        assert train_over(size, task, directory, resume=True) == [SHORT["steps"]] * size
    assert numbers_of(tmp_path / "on 2") == numbers_of(tmp_path / "whole")
    whole, moved = (read_checkpoint(tmp_path / name).model for name in ("whole", "on 3"))
    for first, second in zip(whole.parameters(), moved.parameters(), strict=True):
        np.testing.assert_allclose(first.data, second.data, atol=1e-3)
    assert numbers_of(tmp_path / "on 3") != numbers_of(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_another_number_of_ranks_is_said(tmp_path, monkeypatch, capsys):
    data = write_pairs(tmp_path / "data", ["train"] * 40 + ["validation"] * 8)
    trainer_of(FilesTask(str(data)), tmp_path / "run", processes=1).run()

    def join(arguments, deadline):
        arguments.json = here.comm.rank == 0
        return here.comm

    monkeypatch.setattr(runs, "join_launch", join)
    command = ["train", "--resume", str(tmp_path / "run"), "--steps", "26"]
    monkeypatch.setattr(runs, "draw_pictures", lambda arguments, draw: None)
    assert run_ranks(lambda comm: main(command), 2) == [0, 0]
    output, errors = capsys.readouterr()
    assert "this run had 1 process and goes on with 2: sums are taken in another order" in errors
    assert json.loads(output)["steps"] == 26


@pytest.mark.parametrize("batch_size, pairs", [(2, 16), (16, 2)])
def test_ranks_without_a_row_are_refused(batch_size, pairs):
    images = np.zeros((pairs, 2, 2, 3), np.uint8)
    task = SimpleNamespace(train=Pairs.from_arrays(images, ["a ring"] * pairs))
    message = f"`batch_size` {batch_size} and {pairs} pairs are too few for 3 ranks"
    with pytest.raises(ValueError, match=message):
        mpi_team.MpiTeam(
            step=None,
            comm=SimpleNamespace(size=3),
            tokenizer=None,
            options=TrainingOptions(batch_size=batch_size),
            task=task,
            preprocess=None,
            steps=(0, 1),
        )


def test_mpi4py_without_a_library_is_no_launch_unless_a_launcher_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", ModuleType("mpi4py"))  # it has no MPI
    for name in SIZES_OF_LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    assert rank_of_launch() is None
    monkeypatch.setenv("PMI_SIZE", "3")
    with pytest.raises(ValueError, match="started 3 processes, and mpi4py finds no MPI library"):
        rank_of_launch()

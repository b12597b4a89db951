"""Two training runs in one directory: one after the other, and at once."""

import os
import threading

import pytest
from small_runs import everything_in, trainer_of

from clip_np import cli
from clip_np.files import LockedError, exclusive
from clip_np.training import METRICS
from clip_np.training.description import DESCRIPTION
from clip_np.training.directory import LOCK
from clip_np.weights import BEST, CHECKPOINT, PREVIOUS

pytestmark = pytest.mark.usefixtures("small_runs")

WAIT = 60.0  # seconds, for a program that should take two


def test_new_runs_move_earlier_ones_aside_when_they_have_a_checkpoint(task, tmp_path, capsys):
    directory = tmp_path / "run"
    trainer_of(task, directory).run()
    (directory / "notes.txt").write_text("of the user")
    good = everything_in(directory)
    failing = trainer_of(task, directory, seed=1)
    failing.take_step = lambda images, tokens, positives: 1 / 0
    with pytest.raises(ZeroDivisionError):
        failing.run()
    assert everything_in(directory) == good
    for number in (1, 2):  # two accidents
        trainer_of(task, directory, steps=2, seed=number).run()
        assert f"earlier run was here; its files are now in {directory}" in capsys.readouterr().err
    names = {CHECKPOINT, PREVIOUS, BEST, METRICS, DESCRIPTION}
    kept = everything_in(directory / "earlier.1")
    assert kept == {name: good[name] for name in names}
    assert set(everything_in(directory / "earlier.2")) == names
    assert (directory / "notes.txt").read_text() == "of the user"
    resumed = trainer_of(task, directory / "earlier.1", resume=True, steps=30)
    assert resumed.step == 24
    resumed.run()


def test_a_second_run_in_a_directory_is_refused_with_the_number_of_the_first(
    task, tmp_path, capsys
):
    directory = tmp_path / "run"
    trainer_of(task, directory, steps=3).run()
    before = everything_in(directory)
    with exclusive(directory / LOCK, "a run"):
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
            trainer_of(task, directory).run()
        for arguments in (["--resume", str(directory)], ["--out", str(directory)]):
            assert cli.main(["train", *arguments]) == 1
            assert f"in use by process {os.getpid()} " in capsys.readouterr().err
    assert everything_in(directory) == before
    (directory / LOCK).write_text("999999999\n")  # left behind by a dead process
    trainer_of(task, directory, resume=True, steps=5).run()
    assert not (directory / LOCK).exists()


def test_a_lock_and_a_run_in_threads(task, tmp_path):
    """Of several runs that start at once in one directory, one gets it."""
    outcomes = []

    def work(trainer):
        try:
            outcomes.append(trainer.run()["steps"])
        except LockedError:
            outcomes.append("refused")

    trainers = [trainer_of(task, tmp_path / "run", steps=40) for _ in range(3)]
    threads = [threading.Thread(target=work, args=(trainer,)) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=WAIT)
    assert sorted(outcomes, key=str) == [40, "refused", "refused"]

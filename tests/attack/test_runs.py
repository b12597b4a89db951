"""Attacks on a training run: kills, signals, two writers, damage, spoiled numbers."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from paths import ROOT
from small_runs import MICRO, at_step, numbers_of, trainer_of

from clip_np import cli
from clip_np.data import shapes
from clip_np.encoders import PRESETS
from clip_np.files import FileError, LockedError, exclusive
from clip_np.training import (
    METRICS,
    PREVIOUS,
    ShapesTask,
    TrainingError,
    TrainingWarning,
    loop,
    read_metrics,
    read_run,
    schedule,
    tasks,
)
from clip_np.training.directory import LOCK
from clip_np.training.interrupts import stop_on_signals
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint

IS_WINDOWS = os.name == "nt"
KILLS = 3
MUTANTS = int(os.environ.get("RUN_MUTANTS", "300"))
WAIT = 60.0  # seconds, for a program that should take two

PROGRAM = """
import sys
from pathlib import Path
from clip_np.encoders import PRESETS
from clip_np.training import ShapesTask, loop, tasks
from clip_np import cli
from small_runs import MICRO, trainer_of
PRESETS["micro"] = PRESETS["tiny"] = MICRO
tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES = 256, 64
loop.SAVE_SECONDS = 0.0
if sys.argv[1] == "train":
    sys.exit(cli.main(sys.argv[1:]))
trainer_of(ShapesTask(0), Path(sys.argv[1]), steps=int(sys.argv[2])).run()
"""


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setitem(PRESETS, "tiny", MICRO)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 256)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)
    monkeypatch.setattr(shapes, "IMAGES_PER_CLASS", 1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # drawing takes longer than all else
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TRAINING_IMAGES", 256)
        patch.setattr(tasks, "VALIDATION_IMAGES", 64)
        return ShapesTask(0)


def start(*arguments) -> subprocess.Popen:
    helpers = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": helpers},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path) -> None:
    deadline = time.monotonic() + WAIT
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


def everything_in(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- kills and signals ----------------------------------------------------------------


@pytest.mark.skipif(IS_WINDOWS, reason="no kill -9 there")
def test_killed_at_any_instant_a_run_goes_on_to_the_same_bits(task, tmp_path):
    steps = 150
    trainer_of(task, tmp_path / "whole", steps=steps).run()
    directory = tmp_path / "killed"
    rng = random.Random(9)
    for _ in range(KILLS):
        with start(directory, steps) as process:
            wait_for(directory / CHECKPOINT)
            time.sleep(rng.uniform(0.0, 0.5))
            process.kill()
            process.communicate(timeout=WAIT)
        resumed = trainer_of(task, directory, resume=True, steps=steps)
        assert 1 <= resumed.step <= steps
        resumed.run()
        assert numbers_of(directory) == numbers_of(tmp_path / "whole")
        assert read_metrics(directory / METRICS)[-1]["step"] == steps
        assert not (directory / LOCK).exists()
        shutil.rmtree(directory)


@pytest.mark.skipif(IS_WINDOWS, reason="a process cannot be sent SIGTERM there")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_end_saves_and_gives_its_status(tmp_path, name):
    directory = tmp_path / "run"
    options = ("--steps", 10**6, "--batch-size", 8, "--vocab-size", 560, "--out", directory)
    with start("train", *options) as process:
        wait_for(directory / CHECKPOINT)
        process.send_signal(getattr(signal, name))
        output, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 128 + getattr(signal, name), errors
    assert "Traceback" not in errors
    step = read_checkpoint(directory).training["step"]
    assert f"stopped at step {step}, all is saved; go on with:" in output


def test_what_somebody_else_has_settled_about_signals_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.is_set()
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_python_did_not_set_is_left_alone(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        with stop_on_signals():
            patch.undo()
            assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_the_first_step_leaves_an_earlier_run_alone(task, tmp_path, capsys):
    trainer_of(task, tmp_path / "run", steps=3).run()
    before = everything_in(tmp_path / "run")
    trainer = trainer_of(task, tmp_path / "run", steps=3, seed=1)
    trainer.finished = lambda: signal.raise_signal(signal.SIGINT) is not None
    trainer.run()
    assert trainer.interrupted
    assert everything_in(tmp_path / "run") == before


# --- errors in the loop ---------------------------------------------------------------


@pytest.mark.parametrize("steps_before", [3, 12])
def test_any_error_saves_the_steps_that_were_taken(task, tmp_path, steps_before):
    trainer_of(task, tmp_path / "whole").run()
    trainer = trainer_of(task, tmp_path / "run")
    step = trainer.take_step

    def fail_later(images, tokens):
        if trainer.step == steps_before:
            raise ZeroDivisionError("something unforeseen")
        return step(images, tokens)

    trainer.take_step = fail_later
    with pytest.raises(ZeroDivisionError):
        trainer.run()
    resumed = trainer_of(task, tmp_path / "run", resume=True)
    assert resumed.step == steps_before
    resumed.run()
    assert numbers_of(tmp_path / "run") == numbers_of(tmp_path / "whole")


def test_a_step_that_was_cut_short_is_not_saved(task, tmp_path):
    trainer = trainer_of(task, tmp_path / "run")
    update = trainer.optimizer.update

    def half_an_update(p, g, moments, group):
        update(p, g, moments, group)
        if trainer.optimizer.step_count == 6:
            raise SystemExit("in the middle of an update")

    trainer.optimizer.update = half_an_update
    with pytest.raises(SystemExit):
        trainer.run()
    assert read_checkpoint(tmp_path / "run").training["step"] == 1


def test_a_save_that_fails_loses_neither_checkpoint(task, tmp_path, monkeypatch, capsys):
    trainer_of(task, tmp_path / "run", steps=3).run()
    before = everything_in(tmp_path / "run")
    full = OSError(28, "No space left on device")

    def no_space(path, **entries):
        path.with_suffix(".tmp").write_bytes(b"half")
        path.with_suffix(".tmp").unlink()
        raise full

    monkeypatch.setattr(loop, "save_checkpoint", no_space)
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "run", seed=1).run()
    assert everything_in(tmp_path / "run") == before
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "new" / "run").run()
    assert not (tmp_path / "new").exists()


# --- two runs in one directory --------------------------------------------------------


def test_new_runs_move_earlier_ones_aside_when_they_have_a_checkpoint(task, tmp_path, capsys):
    directory = tmp_path / "run"
    trainer_of(task, directory).run()
    (directory / "notes.txt").write_text("of the user")
    good = everything_in(directory)
    failing = trainer_of(task, directory, seed=1)
    failing.take_step = lambda images, tokens: 1 / 0
    with pytest.raises(ZeroDivisionError):
        failing.run()
    assert everything_in(directory) == good
    for number in (1, 2):  # two accidents
        trainer_of(task, directory, steps=2, seed=number).run()
        assert f"earlier run was here; its files are now in {directory}" in capsys.readouterr().err
    names = {CHECKPOINT, PREVIOUS, BEST, METRICS}
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


# --- damage ---------------------------------------------------------------------------


def test_a_damaged_checkpoint_gives_way_to_the_one_before(task, tmp_path, capsys):
    directory = tmp_path / "run"
    trainer_of(task, tmp_path / "whole").run()
    first = trainer_of(task, directory)
    at_step(first, 20, lambda: signal.raise_signal(signal.SIGINT))
    first.run()
    assert read_checkpoint(directory / PREVIOUS).training["step"] == 1
    content = (directory / CHECKPOINT).read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\0" * len(content)):
        (directory / CHECKPOINT).write_bytes(damaged)
        with pytest.warns(TrainingWarning) as caught:
            assert read_run(directory).training["step"] == 1
        assert str(directory / CHECKPOINT) in str(caught[0].message)
        assert str(directory / PREVIOUS) in str(caught[0].message)
    (directory / CHECKPOINT).unlink()
    with pytest.warns(TrainingWarning, match="instead"):
        assert cli.main(["train", "--resume", str(directory)]) == 0
    assert numbers_of(directory) == numbers_of(tmp_path / "whole")
    for name in (CHECKPOINT, PREVIOUS):
        (directory / name).write_bytes(b"damaged")
    with pytest.raises(FileError, match=rf"{CHECKPOINT}"):
        read_run(directory)


ODD_LINES = (
    b"", b"no JSON", b"[1, 2]", b"7", b"null", b'"text"', b"{}", b'{"loss": 1.0}', b'{"step": "x"}',
    b'{"step": null}', b'{"step": NaN, "loss": 1}', b'{"step": 3, "loss": "high"}', b"\xff\xfe\x00",
    b'{"step": 3, "validation_loss": []}', b'{"step": 1e999}', b'{"step": true}', b"[" * 100_000,
    b'{"step": -1}', b'{"step": ' + b"9" * 5000 + b"}",
    b'{"step": 3, "validation_loss": -Infinity}',
)  # fmt: skip


def test_odd_lines_of_the_metrics_stop_no_run(task, tmp_path):
    trainer_of(task, tmp_path, steps=10).run()
    lines = (tmp_path / METRICS).read_bytes()
    (tmp_path / METRICS).write_bytes(b"\n".join(ODD_LINES) + b"\n" + lines + b'{"st')
    with pytest.warns(TrainingWarning, match=f"{len(ODD_LINES)} lines are no entries.* line 1"):
        trainer_of(task, tmp_path, resume=True, steps=20).run()
    assert [entry["step"] for entry in read_metrics(tmp_path / METRICS)] == [10, 20]


# --- spoiled numbers ------------------------------------------------------------------

SPOILED = {"nan": np.nan, "inf": np.inf, "huge": 1e30, "very large": 2e6}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
@pytest.mark.parametrize("value", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("saving", ["at a report", "by the clock"])
def test_spoiled_weights_end_the_run_with_their_names(task, tmp_path, monkeypatch, value, saving):
    trainer = trainer_of(task, tmp_path, steps=60)
    if saving == "by the clock":
        monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)

    def spoil() -> None:
        trainer.model.vision.proj.data[0, 0] = value

    at_step(trainer, 10, spoil)
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    message = str(caught.value)
    step = 10 if saving == "by the clock" else 20
    assert f"at step {step};" in message
    if np.isfinite(value) or step == 10:
        assert "vision.proj holds " in message
    else:  # ten steps later all weights are NaN; one of them is named
        assert " holds a NaN or an infinity" in message
    assert "The learning rate was 0.00" in message
    kept = read_checkpoint(tmp_path)
    assert f"{tmp_path / CHECKPOINT}, of step {kept.training['step']}." in message
    assert kept.training["step"] < step


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_spoiled_moments_are_never_saved(task, tmp_path, value):
    trainer = trainer_of(task, tmp_path)
    trainer.run()
    trainer.optimizer.moments[0][1][-1] = value
    with pytest.raises(TrainingError, match=r"moment of [a-z.0-9_]+ holds .* at step 24; the last"):
        trainer.save()
    assert np.isfinite(read_checkpoint(tmp_path).optimizer_state["group0.moment1"]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_a_checkpoint_none_is_promised(task, tmp_path):
    trainer = trainer_of(task, tmp_path / "run")
    trainer.model.vision.proj.data[0, 0] = np.nan
    with pytest.raises(TrainingError, match="at step 1; no checkpoint of this run was written"):
        trainer.run()
    assert not (tmp_path / "run").exists()
    trainer = trainer_of(task, tmp_path / "run", learning_rate=1e18)
    with pytest.raises(TrainingError, match="at step 1; no checkpoint of this run was written"):
        trainer.run()
    assert not (tmp_path / "run").exists()


# --- what a checkpoint says of its training -------------------------------------------

VALUES = (
    None, True, False, 0, -1, 7, 1.5, float("nan"), float("inf"), 1e308, 5e-324, 10**18, 10**30,
    10**400, "", "x", "shapes", "files", "\0", "\ud800", "a" * 10_000, "/dev/null", "..", [], [1],
    {}, {"a": 1}, json.loads("[" * 200 + "]" * 200),
)  # fmt: skip
REMOVED = "removed"


def mutants(training: dict):
    """The entry with one place in it replaced, or removed."""
    paths = [(), *((key,) for key in training)]
    paths += [(key, name) for key in ("source", "options") for name in training[key]]
    for path in paths:
        for value in (*VALUES, REMOVED):
            copy = json.loads(json.dumps({"training": training}))
            place, last = copy, "training"
            for key in path:
                place, last = place[last], key
            if value is REMOVED:
                del place[last]
            else:
                place[last] = value
            yield path, copy.get("training")


FILES_SOURCE = {
    "task": "files",
    "path": "nowhere",
    "skip_bad": False,
    "seed": 0,
    "image_column": None,
    "streaming": False,
}


class SavedState:
    """Stands for an optimizer when a checkpoint is written."""

    def __init__(self, state) -> None:
        self.state = state

    def state_dict(self):
        return self.state


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_mutated_entries_give_errors_of_the_project_only(task, tmp_path, monkeypatch, capsys):
    directory = tmp_path / "run"
    trainer_of(task, directory, steps=3).run()
    (directory / PREVIOUS).unlink()
    good = read_checkpoint(directory)
    files_of_run = everything_in(directory)
    calls = []

    def is_finished(options, step, elapsed):  # two steps at most
        calls.append(step)
        return len(calls) > 2 or schedule.is_finished(options, step, elapsed)

    split = shapes.test_split(tasks.TEST_SEED)
    monkeypatch.setattr(shapes, "test_split", lambda seed: split)

    monkeypatch.setattr(loop, "is_finished", is_finished)
    monkeypatch.setattr(tasks.ShapesTask, "report", lambda *arguments: {"recall": 0.0})
    monkeypatch.setattr("clip_np.cli.runs.draw_run", lambda trainer: [])
    made = list(mutants(good.training))
    made += [
        mutant
        for mutant in mutants({**good.training, "source": FILES_SOURCE})
        if mutant[0][:1] == ("source",)
    ]
    made = random.Random(0).sample(made, MUTANTS)
    problems = []
    for number, (path, training) in enumerate(made):
        state = SavedState(good.optimizer_state)
        loop.save_checkpoint(directory / CHECKPOINT, good.model, good.tokenizer, state, training)
        mutated = (directory / CHECKPOINT).read_bytes()
        commands = ["info", "plot", "evaluate", "train --resume"]
        # Each mutant meets the two quick commands, and by turns one of the others.
        for command in (*commands[:2], commands[2 + number % 2]):
            calls.clear()
            try:
                status = cli.main([*command.split(), str(directory)])
            except Exception as error:
                problems.append((command, path, str(training)[:100], repr(error)[:200]))
                continue
            errors = capsys.readouterr().err
            if status == 1 and not calls and "training: " in errors:
                assert str(directory) in errors
            if status == 1 and command != "train --resume":
                assert (directory / CHECKPOINT).read_bytes() == mutated
        for name, content in files_of_run.items():
            if not (directory / name).exists() or name == METRICS:
                (directory / name).write_bytes(content)
    assert problems == []


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

"""Attacks on a training run: kills, signals, errors in the middle."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT
from small_runs import everything_in, numbers_of, trainer_of

from clip_np.training import METRICS, read_metrics, saving
from clip_np.training.directory import LOCK
from clip_np.training.interrupts import stop_on_signals
from clip_np.weights import CHECKPOINT, read_checkpoint

pytestmark = pytest.mark.usefixtures("small_runs")

IS_WINDOWS = os.name == "nt"
KILLS = 3
WAIT = 60.0  # seconds, for a program that should take two

PROGRAM = """
import sys
from pathlib import Path
from clip_np.encoders import PRESETS
from clip_np.training import ShapesTask, saving, tasks
from clip_np import cli
from small_runs import MICRO, trainer_of
PRESETS["micro"] = PRESETS["tiny"] = MICRO
tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES = 256, 64
saving.SAVE_SECONDS = 0.0
if sys.argv[1] == "train":
    sys.exit(cli.main(sys.argv[1:]))
trainer_of(ShapesTask(0), Path(sys.argv[1]), steps=int(sys.argv[2])).run()
"""


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

    def fail_later(images, tokens, positives):
        if trainer.step == steps_before:
            raise ZeroDivisionError("something unforeseen")
        return step(images, tokens, positives)

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

    monkeypatch.setattr(saving, "save_checkpoint", no_space)
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "run", seed=1).run()
    assert everything_in(tmp_path / "run") == before
    with pytest.raises(OSError, match="No space"):
        trainer_of(task, tmp_path / "new" / "run").run()
    assert not (tmp_path / "new").exists()

"""Ctrl-C: a run saves what it has, and says how it goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from paths import ROOT
from small_runs import at_step, press_ctrl_c, trainer_of

from clip_np.training import METRICS, TrainingError
from clip_np.training.interrupts import stop_on_signals
from clip_np.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("small")


def test_a_second_ctrl_c_interrupts_at_once(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    at_step(trainer, 10, twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert not any(thread.name.startswith("clip-") for thread in threading.enumerate())


def test_an_error_between_ctrl_c_and_the_end_of_the_step_loses_no_step(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def stop_and_fail() -> None:
        press_ctrl_c()
        raise OSError("the disk of the metrics is full")

    at_step(trainer, 10, stop_and_fail)
    with pytest.raises(OSError, match="the disk"):
        trainer.run()
    assert read_checkpoint(tmp_path).training["step"] == 10


def test_weights_that_are_no_numbers_are_not_saved_on_ctrl_c(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def spoil() -> None:
        trainer.model.vision.proj.data[0, 0] = np.nan
        press_ctrl_c()

    at_step(trainer, 10, spoil)
    with pytest.raises(TrainingError, match=r"vision\.proj holds a NaN or an infinity at step 10"):
        trainer.run()
    assert read_checkpoint(tmp_path).training["step"] == 1


PROGRAM = """
import sys
from clip_np import cli
from clip_np.data import shapes
from clip_np.training import tasks
tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES, shapes.RETRIEVAL_IMAGES = 256, 64, 100
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be sent Ctrl-C there")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    directory = tmp_path / "a run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", PROGRAM, "train"]
    options = ["--batch-size", "8", "--steps", "100000", "--out", str(directory)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    metrics = directory / METRICS
    with subprocess.Popen(program + options, env=environment, cwd=tmp_path, **pipes) as process:
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    step = read_checkpoint(directory).training["step"]
    assert f"stopped at step {step}, all is saved; go on with:" in output
    assert f"clip-np train --resume '{directory}'" in output
    more = ["--resume", str(directory), "--steps", str(step + 3), "--json"]
    run = subprocess.run(program + more, env=environment, cwd=tmp_path, timeout=100, **pipes)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1])["steps"] == step + 3


def test_ctrl_c_within_the_block_sets_the_event_and_only_there():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        press_ctrl_c()
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before

"""Runs that are killed at random instants go on to the same bits, and leave nothing.

pytest tests/attack/test_killed_runs.py                       2 to 5 kills of each kind
pytest tests/attack/test_killed_runs.py -s --kills=50         the long form
"""

import json
import os
import pathlib
import random
import shutil
import signal
import time
from typing import Any, NamedTuple

import pytest
from rank_faults import shared_names
from separate_runs import WAIT, start, wait_for
from small_runs import arrays_of, trainer_of, write_pairs

from clip_np.training import METRICS, FilesTask, read_metrics
from clip_np.training.directory import LOCK
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint

pytestmark = [
    pytest.mark.usefixtures("small_runs"),
    pytest.mark.skipif(os.name == "nt", reason="no kill -9 and no SIGTERM there"),
]

STEPS = 60
WAIT_FOR_OTHERS = 10.0  # seconds in which all end that a killed process has started
PAIRS = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20


class Kind(NamedTuple):
    """What a killed run trains on, and with which options beside the usual ones."""

    is_on_files: bool
    changes: dict[str, Any]
    kills: int  # if --kills does not say another number


KINDS = {
    "the built-in shapes": Kind(is_on_files=False, changes={}, kills=3),
    "files, varied": Kind(is_on_files=True, changes={"augment": "strong"}, kills=3),
    "two processes": Kind(is_on_files=False, changes={"processes": 2}, kills=2),
    "two processes, and two that decode": Kind(
        is_on_files=True, changes={"processes": 2, "data_workers": 2}, kills=5
    ),
}


class Whole(NamedTuple):
    """A run that nobody disturbs: what the killed ones are compared with."""

    task: Any
    data: pathlib.Path | None
    changes: dict[str, Any]
    directory: pathlib.Path
    seconds: float
    kills: int


SIGNALS = [("the built-in shapes", name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
SIGNALS += [(kind, "SIGTERM") for kind in KINDS if kind != "the built-in shapes"]


@pytest.fixture(scope="module")
def wholes():
    """The runs so far, by kind. One takes seconds, and several tests need it."""
    return {}


@pytest.fixture(params=KINDS)
def whole(request, wholes, task, tmp_path_factory):
    name = request.param
    kind = KINDS[name]
    if kind.changes.get("processes") and request.config.getoption("--stand-in"):
        pytest.skip("processes share the memory of the host")
    if name not in wholes:
        kills = request.config.getoption("--kills") or kind.kills
        wholes[name] = run_whole(kind, task, tmp_path_factory.mktemp("whole"), kills)
    return wholes[name]


def run_whole(kind: Kind, task: Any, tmp_path: pathlib.Path, kills: int) -> Whole:
    """A run of a kind, from its beginning to its end, in a process of its own."""
    changes = {"steps": STEPS, "validate_every": 20, **kind.changes}
    data = write_pairs(tmp_path / "pictures", PAIRS) if kind.is_on_files else None
    chosen = task if data is None else FilesTask(str(data))
    directory = tmp_path / "whole"
    with start(data or "", directory, json.dumps(changes)) as process:
        wait_for(directory / LOCK)
        started = time.monotonic()
        _, errors = process.communicate(timeout=WAIT)
        seconds = time.monotonic() - started
    assert process.returncode == 0, errors
    return Whole(chosen, data, changes, directory, seconds, kills)


def assert_same_run(directory: pathlib.Path, whole: Whole) -> None:
    """The same bits in all files, the same losses, and no file that was left behind."""
    for name in (CHECKPOINT, BEST):
        assert arrays_of(directory / name) == arrays_of(whole.directory / name)
    entries = [read_metrics(folder / METRICS) for folder in (directory, whole.directory)]
    shown = ("step", "loss", "grad_norm", "learning_rate")
    picked = [[[entry[key] for key in shown] for entry in run] for run in entries]
    assert picked[0] == picked[1]
    files = [sorted(os.listdir(folder)) for folder in (directory, whole.directory)]
    assert files[0] == files[1]
    assert LOCK not in files[0]


def go_on(directory: pathlib.Path, whole: Whole) -> int:
    """Resume a run, or begin it again if it had no checkpoint yet; from which step."""
    is_begun = (directory / CHECKPOINT).exists()
    trainer = trainer_of(whole.task, directory, resume=is_begun, **whole.changes)
    step = trainer.step
    trainer.run()
    return step


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_killed_at_any_instant_a_run_goes_on_to_the_same_bits(whole, tmp_path):
    rng = random.Random(9)
    directory = tmp_path / "killed"
    steps = []
    shared_before = shared_names()
    for _ in range(whole.kills):
        with start(whole.data or "", directory, json.dumps(whole.changes)) as process:
            wait_for(directory / LOCK)
            time.sleep(rng.uniform(0.0, whole.seconds))
            process.kill()
            # The processes that it started hold its stderr: this waits for them, too.
            process.communicate(timeout=WAIT_FOR_OTHERS)
        assert shared_names() == shared_before
        steps.append(go_on(directory, whole))
        assert_same_run(directory, whole)
        shutil.rmtree(directory)
    count = whole.kills
    print(f"{count} of {count} killed runs ended with the same bits; killed at steps {steps}")


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
@pytest.mark.parametrize(("whole", "name"), SIGNALS, indirect=["whole"])
def test_a_run_that_was_asked_to_end_goes_on_to_the_same_bits(whole, tmp_path, name):
    directory = tmp_path / "stopped"
    with start(whole.data or "", directory, json.dumps(whole.changes)) as process:
        wait_for(directory / CHECKPOINT)
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert not (directory / LOCK).exists()
    assert 1 <= go_on(directory, whole) < STEPS
    assert_same_run(directory, whole)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
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
    left = {path.name for path in directory.iterdir()}
    assert left <= {CHECKPOINT, "checkpoint.previous.npz", BEST, METRICS, "run.json"}

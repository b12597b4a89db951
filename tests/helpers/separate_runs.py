"""A training run in a process of its own, which can be killed."""

import json
import os
import pathlib
import subprocess
import sys
import time

from paths import ROOT

WAIT = 120.0  # seconds, for a program that should take a few


PROGRAM = """
import json, sys
from pathlib import Path
from clip_np import cli
from clip_np.encoders import PRESETS
from clip_np.training import saving, tasks
from small_runs import MICRO
import separate_runs
PRESETS["micro"] = PRESETS["tiny"] = MICRO
tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES = 256, 64
saving.SAVE_SECONDS = 0.0
if __name__ == "__main__":
    if sys.argv[1] == "train":
        sys.exit(cli.main(sys.argv[1:]))
    separate_runs.train(*sys.argv[1:])
"""


def start(*arguments) -> subprocess.Popen:
    """A run of a tiny model that saves after every step.

    The arguments are those of `clip-np train`, "train" first, or else those of `train`.
    """
    helpers = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": helpers},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(data: str, directory: str, changes: str) -> None:
    """Train on a folder, or for "" on the built-in shapes. changes: options as JSON."""
    from small_runs import trainer_of

    from clip_np.training import FilesTask, ShapesTask

    task = FilesTask(data) if data else ShapesTask(0)
    trainer_of(task, pathlib.Path(directory), **json.loads(changes)).run()


def wait_for(path: pathlib.Path) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + WAIT
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert path.exists()

"""A training over processes in which one of them fails, and what is left afterwards.

    python tests/helpers/rank_faults.py --times 20 --starts 50

plants each fault 20 times, starts and stops a team 50 times, and prints the slowest
end. As a test, tests/clip_np/training/test_rank_faults.py does it once.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from clip_np.losses import ContrastiveLoss
from clip_np.training import ShapesTask, Trainer, TrainingOptions, TrainingStep, tasks
from clip_np.training.process_team import ProcessTeam
from clip_np.weights import read_checkpoint
from minigrad.optim import AdamW

FAULTS = {  # what happens to rank 1: what is said about it
    "error": "planted in rank 1",
    "killed": "rank 1 was ended by the signal SIGKILL",
    "exit": "rank 1 ended with the exit status 0",
    "stalled": "for rank 1, which has stalled",
}
AT_STEP = 13
SHARED_FOLDER = pathlib.Path("/dev/shm")


class FaultyLoss(ContrastiveLoss):
    """CLIP's loss, which does something else in step AT_STEP of rank 1."""

    def __init__(self, logit_scale, fault, steps, note) -> None:
        super().__init__(logit_scale)
        self.fault = fault
        self.left = steps
        self.note = note

    def forward(self, image_features, text_features, positives=None):
        self.left -= 1
        if self.left == 0 and multiprocessing.parent_process() is not None:
            pathlib.Path(self.note).write_text(str(time.time()))
            fail(self.fault)
        return super().forward(image_features, text_features, positives)


def fail(fault):
    if fault == "error":
        raise ArithmeticError("planted in rank 1")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exit":
        os._exit(0)
    if fault == "stalled":
        time.sleep(1000)
    if fault == "parent killed":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)


def trainer_in(directory, processes=2, resume=False, deadline=60.0):
    """A training of 16 steps of a small model."""
    tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES = 64, 16
    options = TrainingOptions(
        steps=16, batch_size=12, vocab_size=560, processes=processes, workers=1, deadline=deadline
    )
    checkpoint = read_checkpoint(directory) if resume else None
    return Trainer(ShapesTask(0), options, pathlib.Path(directory), checkpoint=checkpoint)


def run_with(fault, directory):
    """What the process that will fail does."""
    # On a busy machine a rank may be late for seconds, and nothing is wrong with it.
    trainer = trainer_in(directory, deadline=2.0 if fault == "stalled" else 60.0)
    loss = FaultyLoss(trainer.model.logit_scale, fault, AT_STEP, f"{directory}/note")
    trainer.take_step.loss = loss
    start = ProcessTeam.__init__

    def start_and_tell(team, *arguments):
        start(team, *arguments)
        pids = [process.pid for process in team.processes]
        pathlib.Path(directory, "pids").write_text(json.dumps(pids))

    ProcessTeam.__init__ = start_and_tell
    trainer.run()


def watch_fault(fault, directory):
    """(exit status, stderr, seconds from the fault to the end, what is left)."""
    before = shared_names()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, __file__, "--fault", fault, "--directory", str(directory)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=120,
    )
    ended = time.time()
    folder = pathlib.Path(directory)
    if not (folder / "note").exists():
        return process.returncode, process.stderr, 0.0, ["a training without the fault"]
    failed = float((folder / "note").read_text())
    pids = json.loads((folder / "pids").read_text())
    while any(is_alive(pid) for pid in pids) and time.time() < ended + 5.0:
        time.sleep(0.01)
    seconds = time.time() - failed
    left = [f"process {pid}" for pid in pids if is_alive(pid)]
    left += sorted(shared_names() - before)
    return process.returncode, process.stderr, seconds, left


def shared_names():
    """What has a name in shared memory, although no process uses it any more.

    Other trainings may start on this machine at the same time. Theirs is in use.
    """
    names = {path.name for path in SHARED_FOLDER.glob("psm_*")} if SHARED_FOLDER.exists() else set()
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps") if names else ():
        with contextlib.suppress(OSError):  # has ended, or is somebody else's
            text = maps.read_text(errors="replace")
            names = {name for name in names if name not in text}
    return names


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = pathlib.Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def start_and_stop(times):
    """Teams that take one step each. Returns what is left of them."""
    from small_models import batch, small_model

    before, pids = shared_names(), []
    for _ in range(times):
        model, (images, tokens) = small_model(np.float32), batch(4, np.float32)
        step = TrainingStep(model, AdamW(model.parameters()), workers=1)
        with ProcessTeam(step, 2) as team:
            team(images, tokens)
            pids += [process.pid for process in team.processes]
    return [f"process {pid}" for pid in pids if is_alive(pid)] + sorted(shared_names() - before)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault")
    parser.add_argument("--directory")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.fault:
        run_with(arguments.fault, arguments.directory)
        return
    for fault, message in FAULTS.items():
        slowest, good = 0.0, 0
        for _ in range(arguments.times):
            with tempfile.TemporaryDirectory() as directory:
                status, text, seconds, left = watch_fault(fault, directory)
            slowest = max(slowest, seconds)
            good += status != 0 and message in text and not left
        counts = f"{good} of {arguments.times}"
        print(f"{fault:<10} as specified {counts}, slowest {slowest:.1f} s", flush=True)
    left = start_and_stop(arguments.starts)
    print(f"{arguments.starts} starts and stops left: {left or 'nothing'}")


if __name__ == "__main__":
    main()

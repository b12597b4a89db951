"""When is a run saved, and what is never saved?

A checkpoint is written after the first step, at the end, on Ctrl-C, and when an error
ends the run. In between the pauses grow from 4 seconds to a minute, each twice the one
before. So a crash costs a minute, or if it comes early, about half of what was done.

A model with a weight or a moment that is NaN, infinite or huge is never saved: the last
good checkpoint stays. Nor is one whose update was cut short by an error.
"""

import dataclasses
from pathlib import Path

from clip_np.training.description import write_description
from clip_np.training.health import fault_of
from clip_np.training.log import Log, Stopwatch
from clip_np.training.spoiled import TrainingError, spoiled
from clip_np.training.state import RunState
from clip_np.weights import BEST, save_checkpoint

SAVE_SECONDS = 60.0
"""Time between two checkpoints: the most that a crash can cost."""

FIRST_SAVE_SECONDS = 4.0
"""Time between the first checkpoint, after the first step, and the second one.

Each time is twice the one before, up to SAVE_SECONDS.
"""


class Saver:
    """Saves a run when it is time, and says in its log where an earlier run went."""

    def __init__(self, state: RunState, log: Log) -> None:
        self.state = state
        self.log = log
        self.pause = FIRST_SAVE_SECONDS
        self.since_last = Stopwatch()
        self.is_described = False

    def save_first(self) -> None:
        """Save, unless a checkpoint of this run was written before."""
        if not self.state.files.is_begun:
            self.save()
            self.since_last.restart()

    def save_in_time(self) -> None:
        """Save if the last checkpoint is so long ago that it is time for another."""
        if self.since_last.seconds() > min(self.pause, SAVE_SECONDS):
            self.save()
            self.since_last.restart()
            self.pause *= 2

    def save(self) -> None:
        """Save now, as `write_checkpoint` does."""
        folder = write_checkpoint(self.state)
        if not self.is_described:
            self.is_described = True
            write_description(self.state.directory, self.state.description)
        if folder is not None:
            self.log.say(f"an earlier run was here; its files are now in {folder}")

    def save_after_error(self) -> None:
        """Save what was reached, and say how that went. The error itself goes on."""
        files, step = self.state.files, self.state.step
        if not files.is_begun or files.last_step == step:
            return
        try:
            write_checkpoint(self.state)
        except (OSError, ValueError, TrainingError) as error:
            self.log.say(f"an error ends the run, and step {step} could not be saved: {error}")
        else:
            self.log.say(f"an error ends the run; it is saved as of step {step}")


def write_checkpoint(state: RunState) -> Path | None:
    """Write CHECKPOINT, from which a run goes on.

    Returns the folder to which an earlier run in the directory was moved, if there was
    one. Raises TrainingError, and leaves the file as it was, if a weight or a moment is
    NaN, infinite or huge.
    """
    _require_health(state)
    return state.files.write_checkpoint(
        lambda path: _write(state, path, with_optimizer=True), state.step
    )


def write_best(state: RunState) -> None:
    """Write BEST, which is for use only. Raises as `write_checkpoint` does."""
    _require_health(state)
    _write(state, state.directory / BEST, with_optimizer=False)


def _require_health(state: RunState) -> None:
    """TrainingError if a weight or a moment is NaN, infinite or huge."""
    if (fault := fault_of(state.model, state.optimizer)) is not None:
        raise spoiled(state, fault)


def _write(state: RunState, path: Path, with_optimizer: bool) -> None:
    save_checkpoint(
        path=path,
        model=state.model,
        tokenizer=state.tokenizer,
        optimizer=state.optimizer if with_optimizer else None,
        training={
            "step": state.step,
            "elapsed": state.elapsed,
            "source": state.task.source,
            "options": dataclasses.asdict(state.options),
            "data": state.task.record,
            "init": state.start.origin,
        },
        preprocess=state.start.preprocess,
    )

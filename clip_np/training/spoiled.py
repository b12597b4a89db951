"""What is said when the numbers of a run are spoiled?

A NaN, an infinity or a huge number ends a run: nothing is learned from then on. The
error names what was seen, the step, the learning rate and the checkpoint that is kept.
"""

from clip_np.training.health import fault_of
from clip_np.training.state import RunState
from clip_np.weights import CHECKPOINT


class TrainingError(RuntimeError):
    """Training cannot go on: its numbers are spoiled. They are not saved."""


def spoiled(state: RunState, problem: str) -> TrainingError:
    """The error that ends a run when its numbers are spoiled."""
    if state.files.last_step is None:
        kept = "no checkpoint of this run was written yet"
    else:
        path = state.directory / CHECKPOINT
        kept = f"the last checkpoint is kept: {path}, of step {state.files.last_step}"
    fault = fault_of(state.model, state.optimizer)
    more = "" if fault in (None, problem) else f"; {fault}"
    return TrainingError(
        f"{problem} at step {state.step}; {kept}. The learning rate was "
        f"{state.optimizer.lr:g}{more}. Usual cause: a `learning_rate` that is too high"
    )

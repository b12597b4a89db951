"""What is said when the numbers of a run are spoiled?

A NaN, an infinity or a huge number ends a run: nothing is learned from then on. The
error names what was seen, the step, the learning rate and the checkpoint that is kept.
Where the number came from is searched for in replay.py.
"""

import math

from clip_np.training.health import fault_of
from clip_np.training.state import RunState
from clip_np.weights import CHECKPOINT

USUAL_CAUSE = "Usual cause: a `learning_rate` that is too high"


class TrainingError(RuntimeError):
    """Training cannot go on: its numbers are spoiled. They are not saved.

    is_explained says whether the message names the samples and the operation.
    """

    is_explained = False


def problem_in(loss: float, norm: float) -> str | None:
    """What is wrong with the loss and the length of the gradients of a step, if so.

    >>> problem_in(loss=2.5, norm=math.inf)
    'the length of the gradients is inf'
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(norm):
        return f"the length of the gradients is {norm}"
    return None


def spoiled(state: RunState, problem: str, step: int | None = None) -> TrainingError:
    """The error that ends a run when its numbers are spoiled.

    step is the one in which that was seen; None for the last one that was taken.
    """
    if state.files.last_step is None:
        kept = "no checkpoint of this run was written yet"
    else:
        path = state.directory / CHECKPOINT
        kept = f"the last checkpoint is kept: {path}, of step {state.files.last_step}"
    fault = fault_of(state.model, state.optimizer)
    more = "" if fault in (None, problem) else f"; {fault}"
    return TrainingError(
        f"{problem} at step {state.step if step is None else step}; {kept}. The learning rate "
        f"was {state.optimizer.lr:g}{more}. {USUAL_CAUSE}"
    )


def explained(error: TrainingError, cause: str) -> TrainingError:
    """The same error with the cause that was looked for, in place of the usual one."""
    longer = TrainingError(f"{str(error).removesuffix(USUAL_CAUSE)}{cause}")
    longer.is_explained = True
    return longer

"""Which operation made the first NaN of a run?

A loss that is NaN names no cause. But a step can be taken again: a batch is a function
of the seed and the step. With the same weights, the same operation gives the NaN again,
and `minigrad.detect_anomaly` names it. There are two cases, a cheap and a costly one:

- The loss or the gradients are not finite, and the update was not made. The weights are
  as they were: the batch is replayed once.
- Weights or moments are spoiled. The steps since the last checkpoint are taken again,
  and looked at one by one. That may cost as much time as they did, so it has a limit.

If the steps do not repeat the fault, then something outside of them wrote the number.
If `seconds` ends the run, the learning rate follows the clock. Then it is repeated only
approximately, from the mean time of a step.
"""

from collections.abc import Callable
from contextlib import closing

import numpy as np

from clip_np.data import Batch, BatchLoader, a_few
from clip_np.losses import equal_captions
from clip_np.training.batch_gradient import loss_and_gradients
from clip_np.training.directory import read_run
from clip_np.training.health import fault_of
from clip_np.training.interrupts import Stop
from clip_np.training.log import Log, Stopwatch
from clip_np.training.schedule import learning_rate
from clip_np.training.spoiled import USUAL_CAUSE, problem_in
from clip_np.training.state import RunState, make_step, training_loss
from minigrad import detect_anomaly
from minigrad.backend import Array, move

REPLAY_SECONDS = 60.0
"""The longest that steps are taken again: about what lies between two checkpoints."""

SAMPLES_SHOWN = 16  # of a batch: a person can look at them


class SpoiledStep(ArithmeticError):
    """The loss or the gradients of a step are not finite."""


def refuse_spoiled(loss: Array, norm: Array) -> None:
    """SpoiledStep if a loss or the length of the gradients is not finite."""
    problem = problem_in(float(loss), float(norm))
    if problem is not None:
        raise SpoiledStep(problem)


def samples_of(batch: Batch) -> str:
    """Which samples a batch holds, and which of them hold a NaN or an infinity.

    >>> images = np.zeros((2, 3, 1, 1), np.float32)
    >>> samples_of(Batch(images, captions=["a", "b"], names=["a.png", "b.png"]))
    'the samples are a.png, b.png'
    >>> images[1] = np.inf
    >>> samples_of(Batch(images, captions=["a", "b"], names=["a.png", "b.png"]))
    'the samples are a.png, b.png; the image of b.png holds a NaN or an infinity'
    """
    hidden = len(batch.names) - SAMPLES_SHOWN
    text = f"the samples are {', '.join(batch.names[:SAMPLES_SHOWN])}"
    text += f" and {hidden} more" if hidden > 0 else ""
    is_finite = np.isfinite(move(batch.images, "numpy")).all(axis=(1, 2, 3))  # (B,)
    odd = [batch.names[row] for row in np.flatnonzero(~is_finite)]
    return f"{text}; the image of {a_few(odd)} holds a NaN or an infinity" if odd else text


def anomaly_in(action: Callable[[], object]) -> str:
    """What `detect_anomaly` says of the first NaN or infinity in an action.

    >>> import minigrad as mg
    >>> anomaly_in(lambda: mg.log(mg.tensor([0.0])))
    'log of shapes (1,) gave a NaN or an infinity, called at ...'
    >>> anomaly_in(lambda: mg.log(mg.tensor([1.0])))
    'no operation gives a NaN or an infinity when it is computed again'
    """
    try:
        with detect_anomaly(), np.errstate(all="ignore"):
            action()
    except FloatingPointError as error:
        return str(error)
    return "no operation gives a NaN or an infinity when it is computed again"


def replay(state: RunState, batch: Batch) -> str:
    """Compute a batch again with the present weights; what is wrong, in words."""
    tokens = state.tokenizer(batch.captions, truncate=True)
    anomaly = anomaly_in(
        lambda: loss_and_gradients(
            model=state.model,
            images=batch.images,
            tokens=tokens,
            shards=state.options.shards,
            workers=1,
            positives=equal_captions(tokens),
            loss=training_loss(state.model, state.options),
        )
    )
    return f"Of the batch, {samples_of(batch)}. The first operation: {anomaly}"


def find_cause(state: RunState, batch: Batch, loader: BatchLoader, log: Log, stop: Stop) -> str:
    """Where the spoiled numbers of a run came from, in words.

    batch is the last one that was used, loader brings it and those before it, and
    setting `stop` ends the search.
    """
    if fault_of(state.model, state.optimizer) is None:
        return replay(state, batch)
    again = last_good_state(state)
    first = again.step + 1
    if first <= state.step:
        log.say(f"looking for the cause: steps {first} to {state.step} are taken again")
        cause = find_step(again, state, loader, stop)
        if cause is not None:
            return cause
        if again.step < state.step:
            return f"Up to step {again.step} all was finite; the search was ended there"
    return (
        "The steps since the last checkpoint, taken again, do not give it: the numbers were "
        f"changed outside of them. {replay(state, batch)}"
    )


def last_good_state(state: RunState) -> RunState:
    """The state of the last checkpoint of a run; its beginning if there is none."""
    checkpoint = read_run(state.directory) if state.files.last_step is not None else None
    good = RunState(state.task, state.options, state.directory, checkpoint)
    good.model.train()
    return good


def find_step(again: RunState, state: RunState, loader: BatchLoader, stop: Stop) -> str | None:
    """Take steps with `again` up to that of `state`: which one spoils the numbers?

    None if none of them does before the time is over.
    """
    take_step = make_step(again, check=refuse_spoiled)
    clock = Stopwatch()
    pace = (state.elapsed - again.elapsed) / (state.step - again.step)  # seconds for a step
    with closing(loader.batches(start_step=again.step, stop_step=state.step)) as batches:
        for batch in batches:
            if stop.is_set() or clock.seconds() > REPLAY_SECONDS:
                return None
            again.optimizer.lr = learning_rate(again.options, again.step, again.elapsed)
            tokens = again.tokenizer(batch.captions, truncate=True)
            try:
                take_step(batch.images, tokens, equal_captions(tokens))
            except SpoiledStep as problem:
                return f"It began in step {again.step + 1}: {problem}. {replay(again, batch)}"
            again.step += 1
            again.elapsed += pace
            fault = fault_of(again.model, again.optimizer)
            if fault is not None:
                return (
                    f"It began in the update of step {again.step}, whose loss and gradients are "
                    f"finite, at a learning rate of {again.optimizer.lr:g}: {fault}. Of the "
                    f"batch, {samples_of(batch)}. {USUAL_CAUSE}"
                )
    return None

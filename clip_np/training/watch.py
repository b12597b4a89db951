"""How does one notice that training goes wrong?

A training that fails rarely stops. It goes on and learns nothing. There are signs, and
each has a usual cause:

- *The loss stays at the loss of guessing.* A model that knows nothing guesses evenly
  among the N captions of a batch; its contrastive loss is ln N.
- *The temperature is at its bound.* It is held between 1 and 100, and should find a
  value between them.
- *Captions are longer than the context.* They lose their end.
- *The model waits for its images.* It computes less than it could.
- *The training pairs are learned by heart.* The loss of pairs that are held out is
  above that of guessing, or has risen far above its minimum, while the loss of the
  training pairs falls. (Label smoothing counts in the training loss only. It keeps that
  above 0, but a share of 0.2 or less lets it fall below half of the loss of guessing.)
- *There is nothing to tell apart.* In batches of one pair, or of one caption, the loss
  is ln 1 = 0 whatever the model does. That is no success.

A loss that is NaN or infinite is not a sign. It ends the run: see spoiled.py.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from warnings import warn

import numpy as np

from clip_np.losses import MAX_LOGIT_SCALE

WINDOW = 20
"""How many entries of metrics.jsonl are looked at together."""

PATIENCE = 300
"""Steps after which something should have been learned."""

GUESSING_MARGIN = 0.02
"""The part of the loss of guessing within which a loss counts as that loss."""

BOUND_MARGIN = 1e-4
"""The part of a bound within which the temperature counts as being at it."""

ABOVE_GUESSING = 0.05
"""The part by which a validation loss must exceed that of guessing to be above it."""

RISE = 0.2
"""The part of the loss of guessing by which a validation loss may rise again."""

RECENT = 10
"""Entries whose mean is the training loss of the moment: single batches jump.

Nothing is learned by heart before there are so many of them. A model that is fine-tuned
may have a low loss from the first step on.
"""

TRUNCATED_SHARE = 0.05
"""The part of the captions that may lose their end without a warning."""

WAITING_SHARE = 0.25
"""The part of the time that the model may wait for images without a warning."""

WAITING_SECONDS = 5.0
"""Time that must have passed in the window. A shorter wait may be chance."""


class TrainingWarning(UserWarning):
    """Training goes on, but perhaps not as it should. The message names a cause."""


def warn_of_truncation(lengths: np.ndarray, context_length: int) -> None:
    """Warn if too many captions, of `lengths` (N,) in tokens, exceed the context.

    >>> warn_of_truncation(np.array([5, 7, 16]), context_length=16)  # all fit
    """
    share = float(np.mean(lengths > context_length))
    if share > TRUNCATED_SHARE:
        warn(
            f"{share:.0%} of the captions are longer than {context_length} tokens and lose "
            "their end. Usual cause: captions of several sentences, or too small a vocabulary "
            "for their words (`vocab_size`)",
            TrainingWarning,
            stacklevel=2,
        )


def warn_of_small_data(captions: Sequence[str], batch_size: int) -> None:
    """Warn if the pairs to train on, or the batches, are too few to learn from.

    >>> warn_of_small_data(["a cat", "a dog", "a cow", "a pig"], batch_size=2)  # enough
    """
    count = len(captions)
    size = min(batch_size, count)
    if size == 1:
        sign = "a batch of one pair has no wrong answers: the loss is 0 whatever the model does"
        cause = "a `batch_size` of 1" if count > 1 else "a data set of one pair"
    elif all(caption == captions[0] for caption in captions):  # ends at the first other one
        sign = (
            f"all {count:,} images have one caption, so that there is nothing to tell apart: "
            "the loss is 0 whatever the model does"
        )
        cause = "a wrong `caption_column`, or a class name in place of captions"
    elif count < 2 * batch_size:
        sign = (
            f"{count:,} pairs make less than two batches of {batch_size:,}: nearly the same "
            "batch comes again and again, and is learned by heart"
        )
        cause = "a `batch_size` that is too large for few pairs"
    else:
        return
    warn(f"{sign}. Usual cause: {cause}", TrainingWarning, stacklevel=2)


class Moment(NamedTuple):
    """What the watch remembers of an entry, with the seconds waited until then."""

    loss: float
    guessing: float
    seconds: float
    waited: float


class Watch:
    """Looks at the entries of a run as they are made, and warns of each sign once.

    formula is how the loss of guessing is written (see `clip_np.losses.Loss`). What it
    is stands in the entries, since it depends on the captions of a batch: where some of
    them are equal, guessing is easier.

    >>> watch = Watch(formula="ln N")
    >>> entry = {"step": 10, "seconds": 1.0, "loss": 2.9, "guessing": math.log(32)}
    >>> entry["temperature"] = 14.0
    >>> watch.look(entry, waited=0.1)  # a good start: no warning
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.window: deque[Moment] = deque(maxlen=WINDOW)
        self.warned: set[str] = set()
        self.lowest = math.inf  # of the validation losses
        self.training_at_lowest = math.inf

    def look(self, entry: Mapping[str, float], waited: float) -> None:
        """Look at a line of metrics.jsonl.

        waited is how long, in seconds since the start of the run, the model has been
        without a batch.
        """
        moment = Moment(
            loss=entry["loss"], guessing=entry["guessing"], seconds=entry["seconds"], waited=waited
        )
        self.window.append(moment)
        self._look_at_loss(entry["step"])
        self._look_at_temperature(entry["temperature"])
        self._look_at_waiting()

    def remember(self, entry: Mapping[str, float]) -> None:
        """Know an entry from before a run was resumed, without a warning."""
        self._note_lowest(
            validation=entry.get("validation_loss", math.inf), training=entry.get("loss", math.inf)
        )

    def look_at_validation(self, entry: Mapping[str, float]) -> None:
        """Look at a line of metrics.jsonl that has the figures of a validation."""
        loss = entry["validation_loss"]
        guessing = entry.get("validation_guessing", math.nan)
        training = float(np.mean([moment.loss for moment in self.window][-RECENT:]))
        if len(self.window) >= RECENT:
            self._look_at_learning_by_heart(loss, guessing, training)
        self._note_lowest(validation=loss, training=training)

    def _look_at_learning_by_heart(self, loss: float, guessing: float, training: float) -> None:
        """Look at the losses of held-out pairs, of guessing, and of the training."""
        if loss > (1 + ABOVE_GUESSING) * guessing and training < loss / 2:
            self._warn_of_learning_by_heart(
                f"the validation loss is {loss:.2f}, more than that of guessing, {guessing:.2f}, "
                f"and the training loss is {training:.2f}"
            )
        elif loss > self.lowest + RISE * guessing and training < self.training_at_lowest:
            self._warn_of_learning_by_heart(
                f"the validation loss has risen from {self.lowest:.2f} to {loss:.2f}, and the "
                f"training loss has fallen from {self.training_at_lowest:.2f} to {training:.2f}"
            )

    def _note_lowest(self, validation: float, training: float) -> None:
        if validation < self.lowest:
            self.lowest = validation
            self.training_at_lowest = training

    def _warn_of_learning_by_heart(self, figures: str) -> None:
        self._warn(
            sign=f"the training pairs are learned by heart: {figures}",
            cause="few pairs for the size of the model. What helps: more pairs, more variation of "
            "them (`shift`, `zoom`), a smaller `preset`, more `weight_decay`, an earlier end "
            "(`patience`). best.npz holds the state of the highest recall",
        )

    def _look_at_loss(self, step: float) -> None:
        if len(self.window) < WINDOW or step < PATIENCE:
            return
        if all(
            abs(moment.loss - moment.guessing) < GUESSING_MARGIN * moment.guessing
            for moment in self.window
        ):
            guessing = float(np.mean([moment.guessing for moment in self.window]))
            self._warn(
                sign=f"the loss stays at {self.formula} = {guessing:.2f}, the loss of guessing",
                cause="a `learning_rate` that is too high or too low, or captions that do not "
                "belong to their images. Can 100 pairs alone be learned?",
            )

    def _look_at_temperature(self, temperature: float) -> None:
        lowest = 1.0 + BOUND_MARGIN
        highest = math.exp(MAX_LOGIT_SCALE) * (1.0 - BOUND_MARGIN)
        if not lowest < temperature < highest:
            self._warn(
                sign="the temperature is at its bound",
                cause="few pairs, learned by heart (at 100), or a `learning_rate` that is too high",
            )

    def _look_at_waiting(self) -> None:
        first = self.window[0]
        last = self.window[-1]
        passed = last.seconds - first.seconds
        waited = last.waited - first.waited
        if passed > WAITING_SECONDS and waited > WAITING_SHARE * passed:
            self._warn(
                sign=f"the model waits for images {waited / passed:.0%} of the time",
                cause="large image files, or a slow disk or network: store them smaller, or "
                "nearer, or let more processes decode them (`data_workers`)",
            )

    def _warn(self, sign: str, cause: str) -> None:
        """Warn, unless this cause was named before. The sign may hold other numbers."""
        if cause not in self.warned:
            self.warned.add(cause)
            warn(f"{sign}. Usual cause: {cause}", TrainingWarning, stacklevel=4)

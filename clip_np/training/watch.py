"""Chapter 29: how does one notice that training goes wrong?

A training that fails rarely stops; it goes on and learns nothing. There are signs, and each has
its usual cause. The loss of a model that guesses evenly among the N pairs of a batch is ln N, so
a loss that stays there says that nothing is learned. The temperature is held between bounds, and
should not lie at one. Captions longer than the context lose their end. A model that waits for
its images computes less than it could. (A loss that is no number ends the run: clip_np/train.py.)
"""

import math
from collections import deque
from collections.abc import Mapping
from warnings import warn

import numpy as np

from clip_np.losses import MAX_LOGIT_SCALE

RECORDS = 20  # how many records of metrics.jsonl are looked at together
PATIENCE = 300  # steps after which something should have been learned
SHARE_TRUNCATED, SHARE_WAITING, SECONDS = 0.05, 0.25, 5.0


class TrainingWarning(UserWarning):
    """Training goes on, but perhaps not as it should; the message names the usual cause."""


def warn_of_truncation(lengths: np.ndarray, context_length: int) -> None:
    """Warn where more than 5 % of captions, of `lengths` (N,) in tokens, exceed the context."""
    share = float(np.mean(lengths > context_length))
    if share > SHARE_TRUNCATED:
        message = f"{share:.0%} of the captions are longer than {context_length} tokens and lose "
        message += "their end. Usual cause: captions of several sentences, or too small a "
        warn(message + "vocabulary for their words (--vocab-size)", TrainingWarning, stacklevel=2)


class Watch:
    """Looks at the records of a run as they are made, and warns of each sign once."""

    def __init__(self, batch_size: int) -> None:
        self.guessing = math.log(batch_size)
        self.seen: deque[tuple[float, float, float]] = deque(maxlen=RECORDS)
        self.warned: set[str] = set()

    def look(self, record: Mapping[str, float], waited: float) -> None:
        """`record`: a line of metrics.jsonl; waited: seconds without a batch since the start."""
        self.seen.append((record["loss"], record["seconds"], waited))
        losses, seconds, waits = np.array(self.seen).T  # (3, n)
        stuck = max(abs(losses - self.guessing)) < 0.02 * self.guessing
        if stuck and len(losses) == RECORDS and record["step"] >= PATIENCE:
            self._warn(
                f"the loss stays at ln N = {self.guessing:.2f}, that of guessing",
                "a learning rate that is too high or too low, or captions that do not belong to "
                "their images. Can 100 pairs alone be learned?",
            )
        if not 1.0001 < record["temperature"] < 0.9999 * math.exp(MAX_LOGIT_SCALE):
            cause = "few pairs, learned by heart (at 100), or a learning rate that is too high"
            self._warn("the temperature is at its bound", cause)
        passed, waiting = seconds[-1] - seconds[0], waits[-1] - waits[0]
        if passed > SECONDS and waiting > SHARE_WAITING * passed:
            cause = "large image files, or a slow disk or network: store them smaller, or nearer"
            self._warn(f"the model waits for images {waiting / passed:.0%} of the time", cause)

    def _warn(self, sign: str, cause: str) -> None:
        if cause not in self.warned:
            self.warned.add(cause)
            warn(f"{sign}. Usual cause: {cause}", TrainingWarning, stacklevel=3)

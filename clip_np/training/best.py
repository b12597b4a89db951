"""Which state of a run is the best one, and when will there be no better one?

The validation measures two things, and they disagree. A model that begins to know its
training pairs by heart grows certain. Where it is wrong on others, it is certain too,
and the loss is high. But recall counts only which caption comes first, and often goes
on rising. Recall is what a model is used for, so it decides; where it is equal, the
lower loss does.

    better:   (recall at 1, -loss) is larger, compared from left to right

A run may have a *patience*: if the recall has not risen in that many validations, it
ends. This is *early stopping*.

What is needed to go on stands in the metrics of the run. One thing does not: which
state the file best.npz holds. Runs of earlier versions chose it by the lowest loss
alone. So the file itself is asked for its step, and the entry of that step says how
good it is.
"""

import math
from collections.abc import Mapping, Sequence

RECALL = "validation_recall_at_1"
LOSS = "validation_loss"


def score_of(entry: Mapping[str, float]) -> tuple[float, float]:
    """What two validations are compared by; entries of old runs may lack the recall.

    >>> better = score_of({"validation_loss": 9.0, "validation_recall_at_1": 0.5})
    >>> better > score_of({"validation_loss": 2.0, "validation_recall_at_1": 0.4})
    True
    """
    return entry.get(RECALL, 0.0), -entry.get(LOSS, math.inf)


class Best:
    """The validations of a run so far.

    entries are those of metrics.jsonl before this run went on, and kept_step is the
    step of the state in best.npz; None if there is none. stale counts the validations
    since the recall rose last.

    >>> best = Best(entries=[], kept_step=None)
    >>> best.look({"step": 10, "validation_loss": 3.0, "validation_recall_at_1": 0.2})
    True
    >>> best.look({"step": 20, "validation_loss": 2.5, "validation_recall_at_1": 0.1})
    False
    >>> best.step, best.stale
    (10, 1)
    """

    def __init__(self, entries: Sequence[Mapping[str, float]], kept_step: int | None) -> None:
        self.score = (-math.inf, -math.inf)  # of the state in best.npz
        self.step: int | None = None  # of the same state
        self.last = self.score  # of the last validation
        self.recall = -math.inf  # the highest so far
        self.stale = 0
        for entry in entries:
            if LOSS in entry:
                self._count(entry)
                if entry["step"] == kept_step:
                    self._keep(entry)

    def look(self, entry: Mapping[str, float]) -> bool:
        """Whether this state is better than the kept one: then it is to be kept."""
        self._count(entry)
        is_better = score_of(entry) > self.score
        if is_better:
            self._keep(entry)
        return is_better

    def _keep(self, entry: Mapping[str, float]) -> None:
        self.score = score_of(entry)
        self.step = int(entry["step"])

    def _count(self, entry: Mapping[str, float]) -> None:
        self.last = score_of(entry)
        recall, _ = self.last
        self.stale = 0 if recall > self.recall else self.stale + 1
        self.recall = max(self.recall, recall)

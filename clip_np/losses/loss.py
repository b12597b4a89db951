"""What does a training step need to know of a loss?

Three things: how features become one number, what keeps its parameters within their
bounds, and what a model scores that knows nothing. The last one is for people. A loss
by itself says little; compared with the loss of guessing, it says whether anything was
learned.

A new loss is a new file with a subclass of `Loss`, and a line in kinds.py.
"""

import math
from typing import ClassVar, Protocol

import numpy as np

from minigrad.backend import Array
from minigrad.nn import Module, Parameter
from minigrad.tensor import Tensor


class HasLogitScale(Protocol):
    """A model that owns the temperature; `CLIP` does."""

    logit_scale: Parameter


class Loss(Module):
    """A loss with parameters. A subclass defines `forward` and may define the rest.

    guessing_formula is how people write `guessing`. initial_logit_bias is where the
    bias of a new model begins, and None for a loss without one.
    """

    guessing_formula: ClassVar[str] = "?"
    initial_logit_bias: ClassVar[float | None] = None

    def forward(
        self, image_features: Tensor, text_features: Tensor, positives: Array | None = None
    ) -> Tensor:
        """The loss of N pairs: features (N, E), not normalised -> ().

        positives is as in `contrastive_loss`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def clamp(self) -> None:
        """Bring the parameters back into their bounds, after a training step."""

    @staticmethod
    def guessing(count: int, positives: np.ndarray | None = None) -> float:
        """The loss of a model that knows nothing, in a batch of `count` pairs.

        positives (N, N), on the host, is as for `forward`. NaN if the loss of guessing
        is not known.
        """
        return math.nan

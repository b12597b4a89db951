"""Which losses are there, and what does a model need for them?

Options and the command line ask for a loss by its name, "clip" or "sigmoid". The
parameters of a loss belong to the model, so that they are saved with it: every model
has a temperature, and a model for the sigmoid loss has a bias, too.
"""

from typing import Any

from clip_np.losses.contrastive import ContrastiveLoss
from clip_np.losses.loss import HasLogitScale, Loss
from clip_np.losses.sigmoid import SigmoidLoss

LOSSES: dict[str, Any] = {"clip": ContrastiveLoss, "sigmoid": SigmoidLoss}
"""The name of a loss -> its class. `of(model)` makes it with the model's parameters."""


def loss_for(model: HasLogitScale, loss: str | Loss) -> Loss:
    """The loss that a caller of a training step asks for, as a module.

    A name in LOSSES means that loss with the model's parameters. A `Loss` is returned
    as it is. ValueError for anything else, and for "sigmoid" if the model has no bias.

    >>> import clip_np
    >>> import numpy as np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> loss_for(model, "clip").logit_scale is model.logit_scale
    True
    """
    if isinstance(loss, Loss):
        return loss
    if type(loss) is str and loss in LOSSES:
        return LOSSES[loss].of(model)
    names = ", ".join(f'"{name}"' for name in LOSSES)
    raise ValueError(f"loss must be {names} or a module of class clip_np.losses.Loss, got {loss!r}")

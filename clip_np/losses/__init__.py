"""Two batches of vectors become one number to make small.

    features (N, E), (N, E)  ->  similarity_logits  ->  logits (N, N)  ->  a loss ()

contrastive     all captions of the batch compete for an image, and all images for a
                caption: CLIP's loss
sigmoid         each pair by itself: does it belong together? SigLIP's loss
repeated_captions   the pairs that neither of them should take for wrong

A loss is a module with parameters of its own (loss.py). LOSSES has their names.

>>> import numpy as np
>>> import minigrad as mg
>>> features = mg.tensor(np.eye(4, dtype=np.float32))
>>> round(contrastive_loss(features, features, mg.tensor(0.0)).item(), 4)
0.7437
"""

from clip_np.losses.contrastive import (
    INITIAL_LOGIT_SCALE,
    ContrastiveLoss,
    contrastive_loss,
    plain_contrastive_loss,
    require_share,
)
from clip_np.losses.repeated_captions import equal_captions
from clip_np.losses.kinds import LOSSES, loss_for
from clip_np.losses.loss import HasLogitScale, Loss
from clip_np.losses.sigmoid import (
    INITIAL_LOGIT_BIAS,
    INITIAL_SIGMOID_LOGIT_SCALE,
    SigmoidLoss,
    plain_sigmoid_loss,
    sigmoid_loss,
)
from clip_np.losses.similarity import (
    MAX_LOGIT_SCALE,
    MIN_LOGIT_SCALE,
    clamp_logit_scale,
    match_probabilities,
    similarity_logits,
)

__all__ = [
    "INITIAL_LOGIT_BIAS",
    "INITIAL_LOGIT_SCALE",
    "INITIAL_SIGMOID_LOGIT_SCALE",
    "LOSSES",
    "MAX_LOGIT_SCALE",
    "MIN_LOGIT_SCALE",
    "ContrastiveLoss",
    "HasLogitScale",
    "Loss",
    "SigmoidLoss",
    "clamp_logit_scale",
    "contrastive_loss",
    "equal_captions",
    "loss_for",
    "match_probabilities",
    "plain_contrastive_loss",
    "plain_sigmoid_loss",
    "require_share",
    "sigmoid_loss",
    "similarity_logits",
]

"""How do two batches of vectors become one number to make small?"""

import math

import numpy as np

import minigrad as mg
from minigrad.backend import Array, array_module

MAX_LOGIT_SCALE = math.log(100.0)


def similarity_logits(
    image_features: mg.Tensor, text_features: mg.Tensor, logit_scale: mg.Tensor
) -> mg.Tensor:
    """exp(logit_scale) times all cosines: (N, E), (M, E), () -> (N, M)."""
    if image_features.ndim != 2 or image_features.shape[1:] != text_features.shape[1:]:
        found = f"image features {image_features.shape} and text features {text_features.shape}"
        raise ValueError(f"similarity: {found} must be (N, E) and (M, E)")
    images, texts = mg.normalize(image_features), mg.normalize(text_features)
    return mg.exp(logit_scale) * (images @ texts.T)


def contrastive_loss(
    image_features: mg.Tensor,
    text_features: mg.Tensor,
    logit_scale: mg.Tensor,
    positives: Array | None = None,
) -> mg.Tensor:
    """The symmetric cross-entropy over a batch of N pairs: (N, E), (N, E), () -> ().
    Features are not normalised, logit_scale is a logarithm. positives (N, N), boolean, marks pairs
    that must not count as wrong answers, such as two images with the same caption: they are left
    out of the comparison (the diagonal always stays in)."""
    count = len(image_features)
    if image_features.shape != text_features.shape or count == 0:
        found = f"image features {image_features.shape} and text features {text_features.shape}"
        raise ValueError(f"contrastive_loss: {found} must have one shape (N, E), N at least 1")
    logits = similarity_logits(image_features, text_features, logit_scale)
    if positives is not None:
        if positives.shape != logits.shape:
            found = f"positives {positives.shape}"
            raise ValueError(f"contrastive_loss: {found} must be {logits.shape}")
        xp = array_module(logits.data)
        ignored = xp.asarray(positives) & ~xp.eye(count, dtype=bool)
        logits = mg.where(ignored, -math.inf, logits)
    labels = np.arange(count)
    return (mg.cross_entropy(logits, labels) + mg.cross_entropy(logits.T, labels)) * 0.5

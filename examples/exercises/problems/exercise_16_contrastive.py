"""The loss of CLIP, in NumPy.

images and texts are features (N, E) of any length; row i of both belongs together.

    divide each row by its length
    logits = exp(logit_scale) images @ texts^T                  (N, N)
    loss   = mean of two cross-entropies with the diagonal as the right answers:
             each image chooses among the captions, each caption among the images

The check also tries logits of 100 in float32, which cannot hold e^100.
examples/steps/step_08_contrastive_loss.py does it for two pairs.
"""

import numpy as np


def clip_loss(images, texts, logit_scale):
    """The loss, a number."""
    ...  # your lines

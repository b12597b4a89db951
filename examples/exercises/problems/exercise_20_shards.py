"""Somebody cut a batch into pieces to save memory, and made a mistake.

The loss needs all features at once, so each piece computes the loss of the whole batch,
but lets only its own rows receive a gradient. All rows together get the right gradient
this way. But one of the three results is wrong as soon as there are two pieces. Which
one? Training hides it well, because the loss is right in every piece.
"""

import numpy as np

import minigrad as mg
from clip_np.losses import contrastive_loss


def gradients(images, texts, logit_scale, shards):
    """The gradients for images (N, E), texts (N, E) and logit_scale of the loss."""
    to_images, to_texts = np.zeros_like(images), np.zeros_like(texts)
    to_scale = 0.0
    for rows in np.array_split(np.arange(len(images)), shards):
        image_leaf = mg.tensor(images, requires_grad=True)
        text_leaf = mg.tensor(texts, requires_grad=True)
        scale_leaf = mg.tensor(np.array(logit_scale), requires_grad=True)
        contrastive_loss(image_leaf, text_leaf, scale_leaf).backward()
        to_images[rows] = image_leaf.grad[rows]
        to_texts[rows] = text_leaf.grad[rows]
        to_scale = to_scale + scale_leaf.grad
    return to_images, to_texts, to_scale

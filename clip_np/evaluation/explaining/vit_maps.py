"""Which maps does a vision transformer offer?

The encoder is run once as the paper defines it, not in the fast form: the fast one
never computes the last block's attention between patches. On the way the attention
probabilities of all blocks are kept, and the tokens that enter the last block. Then the
tape gives, for each text, the derivative of the cosine with respect to all of them.

Three of the maps are made of attention (attention_maps.py). The fourth is of the family
of Grad-CAM (resnet_maps.py has the original). With x_j the token of patch j as it
enters the last block, and s the cosine,

    map_j = max(0, x_j . ds/dx_j)

It is how much s would fall, in the linear approximation, if the token went to zero.
Grad-CAM averages the gradient over all places first, because a convolution treats all
places alike. In a transformer they are not alike, and the average says little.

Selvaraju et al. 2017, arXiv:1610.02391 (Grad-CAM); Draelos & Carin 2020,
arXiv:2011.08891 (without the average).
"""

import math
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from clip_np.evaluation.explaining.attention_maps import gradient_attention, last_attention, rollout
from minigrad.backend import move


class Trace(NamedTuple):
    """What is kept of a forward pass of one image.

    probabilities: (1, H, T, T) for each block. tokens: what enters the last block,
    (1, T, W). features: unit length, (1, E). All of them are on the tape.
    """

    probabilities: list[mg.Tensor]
    tokens: mg.Tensor
    features: mg.Tensor


def trace(vision: Any, image: mg.Tensor) -> Trace:
    """Run a vision transformer on an image (1, 3, S, S); keep what the maps need."""
    x = vision.tokens(image)  # (1, T, W)
    probabilities = []
    entering = x
    for block in vision.transformer.resblocks:
        entering = x
        normed = block.ln_1(x)
        probabilities.append(block.attn.probabilities(normed))  # (1, H, T, T)
        x = x + block.attn.mix(probabilities[-1], normed)
        x = x + block.mlp(block.ln_2(x))
    features = vision.ln_post(x[:, 0]) @ vision.proj  # (1, E)
    return Trace(probabilities, tokens=entering, features=mg.normalize(features))


def vit_maps(
    vision: Any, image: mg.Tensor, text_features: np.ndarray
) -> list[dict[str, np.ndarray]]:
    """The maps (G, G) by their names in METHODS, for each text.

    image (1, 3, S, S) requires a gradient. text_features: unit rows (M, E).
    """
    kept = trace(vision, image)
    attention = [move(tensor.data[0], "numpy") for tensor in kept.probabilities]  # (H, T, T)
    tokens = move(kept.tokens.data[0], "numpy")  # (T, W)
    maps = []
    for text in text_features:
        cosine = (kept.features * mg.tensor(text, backend=image.backend)).sum()
        gradients = mg.grad(cosine, [*kept.probabilities, kept.tokens], retain_graph=True)
        *to_attention, to_tokens = [move(gradient[0], "numpy") for gradient in gradients]
        rows = {
            "attention": last_attention(attention),
            "rollout": rollout(attention),
            "gradient_attention": gradient_attention(attention, to_attention),
            "grad_cam": np.maximum((tokens * to_tokens).sum(axis=1)[1:], 0.0),  # (N,)
        }
        side = math.isqrt(len(tokens) - 1)
        maps.append({name: row.reshape(side, side) for name, row in rows.items()})
    return maps

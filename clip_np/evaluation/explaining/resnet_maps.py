"""Which maps does a ResNet offer?

Its last stage makes a vector of D numbers, the channels, for each of G x G positions,
and the attention pool gathers them into one. Two maps follow.

*Attention.* How much the pool takes from each position, whatever the text says.

*Grad-CAM.* A channel is a pattern that the network looks for, and F_kij says how much
of pattern k there is at position (i, j). The gradient of the cosine s, averaged over
all positions, says how much the pattern speaks for the text. So

    a_k = mean over i and j of ds/dF_kij
    map_ij = max(0, sum over k of a_k F_kij)

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks",
arXiv:1610.02391.
"""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import move


def grad_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The map (G, G): activations F (D, G, G), and the gradients ds/dF of the cosine.

    >>> patterns = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])  # two, at two positions
    >>> gradients = np.array([[[2.0, 0.0]], [[-3.0, 0.0]]])
    >>> grad_cam(patterns, gradients)
    array([[1., 0.]])
    """
    weights = gradients.mean(axis=(1, 2), keepdims=True)  # (D, 1, 1)
    return np.maximum((weights * activations).sum(axis=0), 0.0)


def resnet_maps(
    vision: Any, image: mg.Tensor, text_features: np.ndarray
) -> list[dict[str, np.ndarray]]:
    """The maps (G, G) by their names in METHODS, for each text.

    image (1, 3, S, S) requires a gradient. text_features: unit rows (M, E).
    """
    positions = vision.positions(image)  # (1, D, G, G)
    features = mg.normalize(vision.attnpool(positions))  # (1, E)
    pooled = move(vision.attnpool.probabilities(positions).data, "numpy")  # (1, H, 1, 1 + G*G)
    attention = pooled.mean(axis=1)[0, 0, 1:]  # (G*G,), the mean token left out
    activations = move(positions.data[0], "numpy")  # (D, G, G)
    maps = []
    for text in text_features:
        cosine = (features * mg.tensor(text, backend=image.backend)).sum()
        (gradient,) = mg.grad(cosine, [positions], retain_graph=True)
        maps.append(
            {
                "attention": attention.reshape(activations.shape[1:]),
                "grad_cam": grad_cam(activations, move(gradient[0], "numpy")),
            }
        )
    return maps

"""Which patches does the class token see through many layers?

In each block, token i receives a mixture of all tokens, with the probabilities A_ij of
its row in a matrix A (T, T). The features are read from the class token, row 0, after
the last block. Three ways to see which patches they come from:

*Attention.* Row 0 of the last block's A. It is easy to read, but it leaves out most of
the way: what the last block mixes was mixed before, in all blocks below.

*Attention rollout.* A block adds the mixture to the token itself, so half of what goes
on is the token and half is the mixture. Let A_1 ... A_L be the matrices of the L
blocks, averaged over heads, and Id the identity matrix. If nothing else happened in a
block, what goes through all of them would be

    R = (A_L + Id)/2 ... (A_2 + Id)/2 (A_1 + Id)/2

These two ask what the model looks at, whatever the text says.

*Attention with gradients.* How much would the cosine s of image and text grow if a
probability grew? Where ds/dA is positive, looking there speaks for the text. So the
gradient serves as a weight, and what speaks against the text is cut off:

    A' = mean over heads of  max(0, (ds/dA) A)
    R <- R + A' R        from the first block to the last, starting with R = Id

In all three, the map is row 0 of the result at the N patches.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv:2005.00928
(rollout); Chefer et al. 2021, "Generic Attention-model Explainability",
arXiv:2103.15679, equations 5 and 6 (with gradients).
"""

from collections.abc import Sequence

import numpy as np

CLASS_TOKEN = 0  # its row; the patches are the tokens behind it


def last_attention(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """How much the class token takes from each patch in the last block: (N,).

    probabilities: (H, T, T) for each block. The heads are averaged.

    >>> even = np.full((2, 5, 5), 0.2)
    >>> last_attention([even, even])
    array([0.2, 0.2, 0.2, 0.2])
    """
    return probabilities[-1].mean(axis=0)[CLASS_TOKEN, 1:]


def rollout(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each patch reaches the class token through all blocks: (N,).

    probabilities: (H, T, T) for each block.

    >>> even = np.full((2, 5, 5), 0.2)
    >>> rollout([even, even]).round(3)  # half of 0.2, and a quarter of it over others
    array([0.15, 0.15, 0.15, 0.15])
    """
    reach = np.eye(probabilities[0].shape[-1])
    for heads in probabilities:
        step = (heads.mean(axis=0) + np.eye(len(reach))) / 2  # (T, T)
        reach = step @ reach
    return reach[CLASS_TOKEN, 1:]


def gradient_attention(
    probabilities: Sequence[np.ndarray], gradients: Sequence[np.ndarray]
) -> np.ndarray:
    """How much of what speaks for a text reaches the class token, by patch: (N,).

    probabilities A, and gradients ds/dA of the cosine s: (H, T, T) for each block.

    >>> even = np.full((1, 3, 3), 0.5)
    >>> gradient = np.zeros((1, 3, 3))
    >>> gradient[0, 0] = [0.0, 4.0, -4.0]  # a look at patch 1 speaks for the text
    >>> gradient_attention([even], [gradient])
    array([2., 0.])
    """
    reach = np.eye(probabilities[0].shape[-1])
    for heads, gradient in zip(probabilities, gradients):
        support = np.maximum(gradient * heads, 0.0).mean(axis=0)  # (T, T)
        reach = reach + support @ reach
    return reach[CLASS_TOKEN, 1:]

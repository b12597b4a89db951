"""A solution of exercise 17."""

import numpy as np


def softmax(x, axis):
    """Probabilities along an axis."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def to_logits(logits):
    """The gradient of CLIP's loss for its logits (N, N): an array (N, N)."""
    count = len(logits)
    return (softmax(logits, axis=1) + softmax(logits, axis=0) - 2 * np.eye(count)) / (2 * count)

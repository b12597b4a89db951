"""A solution of exercise 8: one length and one factor for all arrays."""

import numpy as np


def clip_norm(gradients, max_norm):
    """Return a list of arrays, whose common length is at most max_norm."""
    length = np.sqrt(sum((array**2).sum() for array in gradients))
    factor = min(1.0, max_norm / length) if length > 0 else 1.0
    return [array * factor for array in gradients]

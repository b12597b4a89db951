"""A solution of exercise 2: sum leading axes away, keep the others with size 1."""

import numpy as np


def unbroadcast(g, shape):
    """Sum g down to `shape`, from which it can be broadcast."""
    missing = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(missing)))
    stretched = [axis for axis, size in enumerate(shape) if size == 1 and g.shape[axis] > 1]
    return np.sum(g, axis=tuple(stretched), keepdims=True)

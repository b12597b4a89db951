"""A solution of exercise 4: take out the largest; the derivative is softmax."""

import numpy as np


def logsumexp(x):
    """For rows x (N, C), return (value (N,), vjp); vjp(g) is (N, C) for g (N,)."""
    largest = x.max(axis=1, keepdims=True)
    powers = np.exp(x - largest)  # at most 1
    sums = powers.sum(axis=1, keepdims=True)
    value = (largest + np.log(sums))[:, 0]

    def vjp(g):
        return g[:, None] * (powers / sums)

    return value, vjp

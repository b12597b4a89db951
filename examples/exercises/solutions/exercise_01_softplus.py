"""A solution of exercise 1: the derivative of softplus is the sigmoid."""

import numpy as np


def softplus(x):
    """Return (value, vjp) for an array x; vjp(g) has the shape of x."""
    value = np.logaddexp(0.0, x)

    def vjp(g):
        return g * np.exp(-np.logaddexp(0.0, -x))  # sigmoid(x) = 1 / (1 + e^-x)

    return value, vjp

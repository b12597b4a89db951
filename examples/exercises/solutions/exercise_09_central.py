"""A solution of exercise 9: h near the cube root of the rounding, 6e-6."""

import numpy as np


def numeric_gradient(f, x):
    """The gradient of f at x, an array of x's shape."""
    h = 6e-6
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += h
        behind[place] -= h
        gradient[place] = (f(ahead) - f(behind)) / (2 * h)
    return gradient

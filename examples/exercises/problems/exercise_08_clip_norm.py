"""A single bad batch can throw a model far away. So a gradient that is too long is cut.

All arrays together are one long vector. If its length is more than max_norm, multiply
every array by max_norm / length, so that the direction stays. Otherwise leave them.
Do not change the arrays in place; return new ones.
"""

import numpy as np


def clip_norm(gradients, max_norm):
    """Return a list of arrays, whose common length is at most max_norm."""
    ...  # your lines

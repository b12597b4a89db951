"""A solution of exercise 15."""

import numpy as np


def read_end(hidden, tokens):
    """The rows of hidden (B, T, W) at the end tokens: (B, W)."""
    places = tokens.argmax(axis=1)  # (B,)
    return hidden[np.arange(len(tokens)), places]

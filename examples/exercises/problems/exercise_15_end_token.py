"""Of a caption, CLIP reads one token: the end token, which has seen all others.

tokens (B, T) are the ids of captions. Behind the end token of a caption there may be
padding, id 0. The end token has the highest id of its row; so its place can be found
without knowing its id. hidden (B, T, W) has a row of W numbers for each token. Return
the rows of the end tokens, (B, W).
"""

import numpy as np


def read_end(hidden, tokens):
    """The rows of hidden (B, T, W) at the end tokens: (B, W)."""
    ...  # your lines

"""Make attention use a window.

In a long text, most of what a word needs stands near it. With a window of w, a token
looks at itself and the w - 1 tokens before it, and at nothing else.

A mask is added to the scores (T, T), in which row i asks and column j answers. So it is
0 where i may look at j, and -infinity where it may not: exp(-infinity) = 0.
"""

import numpy as np


def window_mask(tokens, window):
    """The mask (tokens, tokens) of causal attention with a window."""
    ...  # your lines

"""How often is the right caption among the first k?

scores[i, j] says how well caption j fits image i; the right one is j = i. Recall at k
is the share of images whose right caption has at most k - 1 others before it.

A tie counts against the model: a caption with the same score as the right one stands
before it. Otherwise a model that gives every caption the same score would look perfect.
"""

import numpy as np


def recall_at(scores, k):
    """Recall at k of scores (N, N), a number from 0 to 1."""
    ...  # your lines

"""Which parameters are a rank's own?

Where ranks share memory, sums of gradients and moves of parameters are divided: a rank
does them for the parameters that it owns. They are a stretch of the list of all
parameters, with about as many numbers as the others own. A parameter is never divided,
so it is one piece of memory that one rank writes.
"""

from collections.abc import Sequence

import numpy as np


def owned_by(rank: int, size: int, numbers: Sequence[int]) -> slice:
    """Which parameters, of `numbers` numbers each, a rank moves: a stretch of the list.

    A parameter whose middle lies in the rank's share of all numbers belongs to it.

    >>> [owned_by(rank, 2, [10, 20, 5, 5]) for rank in (0, 1)]
    [slice(0, 1, None), slice(1, 4, None)]
    """
    stops = np.cumsum(numbers)
    middles = stops - np.asarray(numbers) / 2.0
    bounds = np.array([rank, rank + 1]) * (stops[-1] / size)
    start, stop = np.searchsorted(middles, bounds).tolist()
    return slice(start, stop)

"""How do sequences of unequal length share one array?

Captions have different lengths, and an array needs equal rows. So short ones are filled
up, with *padding*:

    a  b  c  d
    e  f  .  .        (B, T): 3 captions, 12 places, 8 of them used
    g  h  .  .

Most of a transformer works token by token: norms, linear layers, activations. They do
not care which caption a token belongs to. For them the tokens can be laid end to end,
without padding. This is called *packing*:

    a  b  c  d  e  f  g  h        lengths 4, 2, 2        (N,)

Only attention has to know where a caption ends. Neighbours of one length are a *run*,
and a run is an array of equal rows again, a view of the packed one, so no number is
copied:

    run of length 4    a  b  c  d
    run of length 2    e  f
                       g  h

`padded` goes back from the packed form to the padded one. Its derivative packs: what
reaches the padding is dropped.

Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination",
arXiv:2107.02027 (packing several sequences as one).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from minigrad.backend import Array
from minigrad.inputs import coerce
from minigrad.memory import empty
from minigrad.tensor import Tensor, constant, record


class Run(NamedTuple):
    """Sequences of one length, laid end to end from row `start` on."""

    start: int
    sequences: int
    length: int

    def of(self, packed: Array) -> Array:
        """The rows of the run, as a view: (N, W) -> (sequences, length, W).

        >>> import numpy as np
        >>> Run(start=1, sequences=2, length=2).of(np.arange(6)[:, None])[..., 0]
        array([[1, 2],
               [3, 4]])
        """
        rows = packed[self.start : self.start + self.sequences * self.length]
        return rows.reshape(self.sequences, self.length, packed.shape[1])


def runs_of(name: str, lengths: Iterable[int], rows: int) -> list[Run]:
    """Neighbours of one length, as runs. `name` is the operation that asks.

    ValueError unless the lengths are whole numbers, none negative, with the sum `rows`.

    >>> runs_of("self_attention", [2, 2, 3], rows=7)
    [Run(start=0, sequences=2, length=2), Run(start=4, sequences=1, length=3)]
    """
    lengths = list(constant(name, "lengths", lengths))
    wanted = [int(length) for length in lengths]
    if sum(wanted) != rows or min(wanted, default=0) < 0 or wanted != lengths:
        raise ValueError(
            f"{name}: the lengths of the sequences must be whole numbers, none negative, and add "
            f"up to the {rows} rows that there are; got {len(lengths)} lengths that add up to "
            f"{sum(lengths)}"
        )
    runs = []
    start = 0
    for length, equal in itertools.groupby(wanted):
        run = Run(start, sequences=len(list(equal)), length=length)
        runs.append(run)
        start += run.sequences * length
    return runs


def padded(x: Any, lengths: Iterable[int]) -> Tensor:
    """The fast form of `plain.padded`: packed rows (N, W) -> (B, T, W).

    lengths (B,) are those of the sequences, and T is the longest of them. What lies
    behind the end of a sequence is 0.

    >>> padded([[1.0], [2.0], [3.0]], lengths=[2, 1]).data[..., 0].tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    (x,) = coerce("padded", x)
    if x.ndim != 2:
        raise ValueError(f"padded: x must be (N, W), got shape {x.shape}")
    rows, width = x.shape
    runs = runs_of("padded", lengths, rows)
    batch = sum(run.sequences for run in runs)
    longest = max((run.length for run in runs), default=0)
    result = empty((batch, longest, width), x.data)  # (B, T, W)
    for sequences, run in _with_numbers(runs):
        result[sequences, : run.length] = run.of(x.data)
        result[sequences, run.length :] = 0.0

    def vjp(g: Array) -> Array:
        gradient = empty((rows, width), g)  # (N, W)
        for sequences, run in _with_numbers(runs):
            run.of(gradient)[...] = g[sequences, : run.length]
        return gradient

    return record("padded", result, (x,), vjp)


def _with_numbers(runs: Sequence[Run]) -> list[tuple[slice, Run]]:
    """Each run, with the numbers of its sequences.

    >>> _with_numbers([Run(0, 2, 5), Run(10, 1, 7)])[1]
    (slice(2, 3, None), Run(start=10, sequences=1, length=7))
    """
    ends = list(itertools.accumulate(run.sequences for run in runs))
    return [(slice(end - run.sequences, end), run) for end, run in zip(ends, runs)]

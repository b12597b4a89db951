"""Which thread does what in a training step?

The work of a step is cut into *units*: one encoder, applied to a range of rows of its
batch. If a batch is too large for the memory, it is first cut into `shards` pieces,
which are encoded one after another (batch_gradient.py says why this is exact). The plan
gives each worker thread a list of units. It depends on sizes only, never on how long
anything took, so that the same batch is cut in the same way every time.

The cost of a unit is the number of multiplications in its rows. The encoder itself
knows that of a row: `encoder.cost(length)`. On a CPU a row has its own length, because
captions are packed (clip_np/encoders/packing.py). On a GPU it has the length of the
unit's longest row, because shorter ones are padded to it. Five rules make a plan.

**Sorted by length, and where rows are padded, cut where that saves work.** The captions
arrive with the short ones first:

    lengths    5  5  6  6  6 | 30  31
    one unit:  7 rows of 31 tokens                     = 217 tokens
    two units: 5 rows of 6 tokens, 2 rows of 31 tokens =  92 tokens

**One piece of the batch (shards=1): equal parts of a line.** The units are laid end to
end, each as long as its cost. Two cuts divide the line among three workers:

    |----------- vision: 80 -----------|--- text: 40 ---|
    0                |                 |               120
                     40                80
        worker 0     |     worker 1    |    worker 2

A cut inside a unit divides its rows. That has two prices: both workers then make
gradients for all parameters of this encoder, which have to be added up, and there is
one more unit, with all the calls that even a small one needs. So a cut near a *seam*,
the end of a unit, moves onto the seam.

**Several pieces (shards > 1): the most expensive first.** Each unit, in the order of
falling cost, goes to the worker that has the least to do.

**An encoder that mixes samples is one unit of a process.** A ResNet's batch norms use,
while they train, the statistics of the batch. Half a batch has other statistics. So
this encoder is one unit. If it fills a worker's share, a worker has nothing else to do,
and the rest is cut for the others. More threads help inside of its operations
(minigrad/spreading.py). Several pieces are refused: they would be another training.
Several processes ("ranks") exchange their statistics in the middle of the encoder
(minigrad/gathering.py). There each of them has an equal part of every encoder's rows.

**A frozen encoder is shared out by itself.** Its parameters do not learn. It takes part
in the way forward only. In one line with the other encoder, one worker could have all
of the way back. So each of the two is shared out among all workers.

The third rule is R. L. Graham 1969, "Bounds on Multiprocessing Timing Anomalies".
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from clip_np.encoders import Encoder, is_frozen
from minigrad.backend import Array

PRICE_PER_PARAMETER = 50.0
"""Multiplications that take as long as making and adding up one more gradient number.

A product of matrices does some ten multiplications for each number that memory
delivers, and several numbers travel: the gradient is written, read again and added.
With this price, ViT-B/32 at a batch of 8 is divided at the seam between its encoders. A
cut inside one of them took 350 MB more.
"""

PRICE_PER_UNIT = 2e7
"""Multiplications that take as long as the calls of one more unit.

On an Intel Xeon (family 6, model 167), a single sample takes 2.6 ms forward and
backward through four blocks of width 64, nearly all of them for Python and for NumPy's
calls. In the same time, a larger unit does 2e7 multiplications of the forward pass, and
all that goes with them.
"""

LARGEST_UNIT_PRICE = 0.05
"""The price of a unit, with that of its gradients, is at most this share of the step.

Of a step with few small samples, calls are the larger part. It is to be divided among
the workers all the same, by its multiplications.
"""

TOLERATED_IMBALANCE = 0.1
"""The part of a worker's share by which a cut may move to reach a seam.

It is a compromise. At 0.22, the preset `tiny` got one encoder for each of two threads,
and one core was idle for a fifth of the step.
"""

WORTHWHILE_TOKENS = 0.8
"""A cut by length is made only if it leaves at most this share of the padded tokens.

One more unit costs a few hundred calls of small operations, forward and backward. A
fifth of the tokens outweighs them. The number is a rough one. On a CPU nothing is
padded, and no cut is made.
"""


class Unit(NamedTuple):
    """An encoder's name, rows of its batch, and the cost in multiplications.

    row_costs are those of the rows, one by one. Without them, all rows cost the same.
    """

    encoder: str
    rows: slice
    cost: float
    row_costs: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.rows.stop - self.rows.start

    def part(self, start: int, stop: int) -> "Unit":
        """The unit for the rows from `start` to `stop`, which lie in this unit."""
        rows = slice(start, stop)
        costs = self.row_costs[start - self.rows.start : stop - self.rows.start]
        cost = sum(costs) if costs else self.cost * (stop - start) / self.size
        return Unit(self.encoder, rows, cost, costs)


def make_plan(
    encoders: Mapping[str, Encoder],
    lengths: Mapping[str, Array],
    shards: int,
    workers: int,
    parameter_count: int,
    ranks: int = 1,
    padded: bool = False,
) -> list[list[Unit]]:
    """A list of units for each thread. Together the units cover every row once.

    lengths has, by encoder, the length of each sample in tokens, (B,), rising. shards
    is the number of pieces into which each encoder's batch is cut at least.
    parameter_count is the number of all parameters of the model, an upper bound for
    those of one encoder, for which two workers make gradients if they share it. The
    workers belong to `ranks` processes, in this order, each with as many. padded says
    whether the rows of a unit are filled up to the longest of them.

    Raises ValueError if the batch is empty or `shards` does not lie in 1..B, and for
    several shards if an encoder mixes samples.

    >>> from clip_np import CLIP, PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> lengths = {"vision": np.full(8, 17), "text": np.array([3, 3, 3, 3, 4, 4, 4, 4])}
    >>> plan = make_plan(
    ...     model.encoders, lengths, shards=1, workers=2, parameter_count=0
    ... )
    >>> for load in plan:
    ...     print([(unit.encoder, unit.rows.start, unit.rows.stop) for unit in load])
    [('vision', 0, 5)]
    [('vision', 5, 8), ('text', 0, 8)]
    """
    batch_size = len(next(iter(lengths.values())))
    if not 1 <= shards <= batch_size:
        raise ValueError(
            f"training_step: `shards` must lie in 1..{batch_size} (the batch), got {shards}"
        )
    bounds = np.linspace(0, batch_size, shards + 1).astype(int).tolist()
    whole: list[Unit] = []
    units: list[Unit] = []
    frozen: list[Unit] = []
    for name, encoder in encoders.items():
        is_fixed = is_frozen(encoder)
        if encoder.mixes_samples():
            _require_one_shard(name, shards)
            _require_rows(name, batch_size, ranks)
            whole.append(_make_unit(name, encoder, lengths[name], slice(0, batch_size), padded))
            continue
        for start, stop in itertools.pairwise(bounds):
            piece = slice(start, stop)
            for rows in cut_by_length(lengths[name], piece) if padded else [piece]:
                unit = _make_unit(name, encoder, lengths[name], rows, padded)
                (frozen if is_fixed else units).append(unit)
    if shards > 1:
        loads, frozen_loads = share_out(units, workers), share_out(frozen, workers)
    else:
        price = PRICE_PER_PARAMETER * parameter_count
        loads = cut_for_ranks(whole, units, workers, ranks, price)
        frozen_loads = cut_evenly(frozen, workers, price=0.0)
    return [[*load, *frozen_load] for load, frozen_load in zip(loads, frozen_loads)]


def _make_unit(name: str, encoder: Encoder, lengths: Array, rows: slice, padded: bool) -> Unit:
    """The unit of an encoder for some rows of its batch."""
    of_rows = lengths[rows].tolist()
    if padded:
        of_rows = [max(of_rows)] * len(of_rows)
    cost_of = {length: encoder.cost(length) for length in set(of_rows)}
    costs = tuple(cost_of[length] for length in of_rows)
    return Unit(name, rows, sum(costs), costs)


def _require_one_shard(name: str, shards: int) -> None:
    """ValueError for several pieces of an encoder that mixes samples."""
    if shards > 1:
        raise ValueError(
            f"training_step: `shards` must be 1, got {shards}: the {name} encoder mixes samples. "
            "Its batch norms use the statistics of the whole batch, and pieces of it have others. "
            "Use a smaller batch or another encoder (`vision` 'vit'), or `eval()` this one, which "
            "makes its statistics constants"
        )


def _require_rows(name: str, batch_size: int, ranks: int) -> None:
    """ValueError if a rank would have no part of an encoder that mixes samples."""
    if batch_size < ranks:
        raise ValueError(
            f"training_step: {batch_size} samples for {ranks} ranks, but each rank needs one: the "
            f"{name} encoder mixes samples, so all ranks compute it together"
        )


def cut_by_length(lengths: Array, rows: slice) -> list[slice]:
    """Cut `rows`, of rising length, where that saves tokens; again in both parts.

    >>> cut_by_length(np.array([5, 5, 6, 6, 6, 30, 31]), slice(0, 7))
    [slice(0, 5, None), slice(5, 7, None)]
    >>> cut_by_length(np.array([6, 6, 7, 7]), slice(0, 4))
    [slice(0, 4, None)]
    """
    inside = lengths[rows]  # (n,)
    count = len(inside)
    if count < 2:
        return [rows]
    before = np.arange(1, count)  # rows in front of each possible cut, (n - 1,)
    tokens = before * inside[:-1] + (count - before) * inside[-1]  # with a cut there, (n - 1,)
    if tokens.min() > WORTHWHILE_TOKENS * count * inside[-1]:
        return [rows]
    middle = rows.start + 1 + int(tokens.argmin())
    short = cut_by_length(lengths, slice(rows.start, middle))
    long = cut_by_length(lengths, slice(middle, rows.stop))
    return short + long


def cut_for_ranks(
    whole: list[Unit], units: list[Unit], workers: int, ranks: int, price: float
) -> list[list[Unit]]:
    """As `cut_around`, where the units in `whole` are cut only between ranks.

    >>> images = Unit("vision", slice(0, 8), cost=80.0)
    >>> captions = Unit("text", slice(0, 8), cost=40.0)
    >>> for load in cut_for_ranks([images], [captions], workers=2, ranks=2, price=0.0):
    ...     print([(unit.encoder, unit.rows.start, unit.rows.stop) for unit in load])
    [('vision', 0, 4), ('text', 0, 4)]
    [('vision', 4, 8), ('text', 4, 8)]
    """
    if not whole or ranks == 1:
        return cut_around(whole, units, workers, price)
    loads = []
    for rank, units_of_rank in enumerate(cut_evenly(units, ranks, price=0.0)):
        whole_of_rank = []
        for unit in whole:
            first, last = rank * unit.size // ranks, (rank + 1) * unit.size // ranks
            whole_of_rank.append(unit.part(unit.rows.start + first, unit.rows.start + last))
        loads += cut_around(whole_of_rank, units_of_rank, workers // ranks, price)
    return loads


def cut_around(
    whole: list[Unit], units: list[Unit], workers: int, price: float
) -> list[list[Unit]]:
    """As `cut_evenly`, but the units in `whole` stay in one piece.

    >>> images = Unit("vision", slice(0, 8), cost=80.0)
    >>> captions = Unit("text", slice(0, 8), cost=40.0)
    >>> for load in cut_around([images], [captions], workers=3, price=0.0):
    ...     print([(unit.encoder, unit.rows.start, unit.rows.stop) for unit in load])
    [('vision', 0, 8)]
    [('text', 0, 4)]
    [('text', 4, 8)]
    """
    if not whole:
        return cut_evenly(units, workers, price)
    if len(whole) > 1 or workers == 1 or not units:
        return share_out([*whole, *units], workers)
    (largest,) = whole
    share = sum(unit.cost for unit in [largest, *units]) / workers
    if largest.cost < share:  # then the first cut comes after it
        return cut_evenly([largest, *units], workers, price)
    return [[largest], *cut_evenly(units, workers - 1, price)]


def cut_evenly(units: list[Unit], workers: int, price: float) -> list[list[Unit]]:
    """Lay the units end to end and cut the line into equal parts, one for each worker.

    A part of a unit is a unit more, so each part begins with the price of a unit. A cut
    moves to the nearest seam if that costs less than `price` and the part that it
    spares, or less than TOLERATED_IMBALANCE of a worker's share.

    >>> images = Unit("vision", slice(0, 8), cost=80.0)
    >>> captions = Unit("text", slice(0, 8), cost=40.0)
    >>> line = [images, captions]
    >>> for load in cut_evenly(line, workers=3, price=0.0):
    ...     print([(unit.encoder, unit.rows.start, unit.rows.stop) for unit in load])
    [('vision', 0, 4)]
    [('vision', 4, 8)]
    [('text', 0, 8)]
    >>> # The cut between two workers would be at 60. It moves to the seam at 80.
    >>> for load in cut_evenly(line, workers=2, price=30.0):
    ...     print([(unit.encoder, unit.rows.start, unit.rows.stop) for unit in load])
    [('vision', 0, 8)]
    [('text', 0, 8)]
    """
    # An encoder has about half of the parameters.
    highest = LARGEST_UNIT_PRICE * sum(unit.cost for unit in units)
    unit_price = min(PRICE_PER_UNIT + price / 2, highest)
    seams = np.cumsum([0.0, *[unit_price + unit.cost for unit in units]])  # (units + 1,)
    # Each cut makes one more part, and its price is not on the line. So what a worker
    # after the first one covers there is a share less this price.
    share = (seams[-1] + (workers - 1) * unit_price) / workers
    cuts = np.arange(workers + 1) * (share - unit_price) + unit_price  # (workers + 1,)
    cuts[0] = 0.0
    nearest_seams = seams[np.abs(seams - cuts[:, None]).argmin(axis=1)]  # (workers + 1,)
    spared = price + unit_price / workers
    is_near = np.abs(nearest_seams - cuts) < max(TOLERATED_IMBALANCE * share, spared)
    cuts = np.where(is_near, nearest_seams, cuts)
    loads = []
    for low, high in itertools.pairwise(cuts.tolist()):
        load = []
        for unit, seam in zip(units, seams.tolist()):
            begin = seam + unit_price
            start, stop = _row_at(unit, low - begin), _row_at(unit, high - begin)
            if start < stop:
                load.append(unit.part(start, stop))
        loads.append(load)
    return loads


def _row_at(unit: Unit, distance: float) -> int:
    """The row of `unit` that begins `distance` multiplications from its beginning.

    >>> _row_at(Unit("text", slice(0, 4), 12.0, (1.0, 1.0, 4.0, 6.0)), 6.0)
    3
    """
    if unit.row_costs:
        begins = np.cumsum([0.0, *unit.row_costs])  # (rows + 1,)
        return unit.rows.start + int(np.abs(begins - distance).argmin())
    covered = min(max(distance / unit.cost, 0.0), 1.0)
    return unit.rows.start + round(unit.size * covered)


def share_out(units: list[Unit], workers: int) -> list[list[Unit]]:
    """Give each unit, the most expensive first, to the worker that has the least to do.

    >>> units = [Unit("vision", slice(0, 8), cost) for cost in (3.0, 5.0, 4.0)]
    >>> [sum(unit.cost for unit in load) for load in share_out(units, workers=2)]
    [5.0, 7.0]
    """
    loads: list[list[Unit]] = [[] for _ in range(workers)]
    totals = [0.0] * workers
    for unit in sorted(units, key=lambda unit: -unit.cost):
        lightest = totals.index(min(totals))
        loads[lightest].append(unit)
        totals[lightest] += unit.cost
    return loads

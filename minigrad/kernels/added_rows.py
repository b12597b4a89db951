"""How does a GPU add rows to a table if some of them go to the same place?

The gradient of a table of embeddings is zero but for the rows of the ids that occurred.
An id that occurs five times gets the sum of five rows. Two ways lead there:

- *Atomic additions.* All rows are added at once, and the memory sees to it that none is
  lost. The order is left to chance, so two runs differ in their last digits.
- *Sorting.* The ids are sorted, which brings equal ones together. A block of threads
  has all rows of one id, and adds them up in their old order.

The second is used here, because the same program should give the same numbers. The ids
are on the host anyway, where they were checked. Some thousands of them are sorted in
less than a millisecond, in the forward pass, and copied together with the ids. The
kernel gets

    order    which of the values come first, second, ... when sorted by id
    rows     each id that occurs, rising
    stops    where the values of each id end in that order

An id that occurs thousands of times keeps one block busy: some tenths of a millisecond
for the token that fills captions up. If no id occurs twice, the ids alone are enough.

The plain form: `backend.scatter_add`.
"""

from typing import NamedTuple

import numpy as np

from minigrad.backend import Array, array_module, scatter_add
from minigrad.kernels.launching import Kernel, contiguous

ADD_ROWS = Kernel(
    "add_rows",
    """
extern "C" __global__ void add_rows(
    real *table, const real *values, const long long *order, const long long *rows,
    const long long *stops, long long runs, long long width) {
    for (long long run = blockIdx.x; run < runs; run += gridDim.x) {
        const long long start = run > 0 ? stops[run - 1] : 0;
        real *row = table + rows[run] * width;
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            real sum = 0;
            for (long long n = start; n < stops[run]; n++)
                sum += values[order[n] * width + i];
            row[i] += sum;
        }
    }
}
""",
)

ADD_DISTINCT = Kernel(
    "add_distinct_rows",
    """
extern "C" __global__ void add_distinct_rows(
    real *table, const real *values, const long long *ids, long long rows, long long width) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x)
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            table[ids[row] * width + i] += values[row * width + i];
}
""",
)

KERNELS = (ADD_ROWS, ADD_DISTINCT)


class Sorted(NamedTuple):
    """What the head of this file says the kernel gets, for R distinct ids of N."""

    order: Array  # (N,)
    rows: Array  # (R,)
    stops: Array  # (R,)


class Picks(NamedTuple):
    """Ids on the GPU, (N,), and how they are sorted.

    `runs` is None if no id occurs twice, or if nothing will be added.
    """

    ids: Array
    runs: Sorted | None


def placed(ids: np.ndarray, like: Array, needs: bool) -> tuple[Array, Picks]:
    """The ids on the GPU, in their shape, and for `add_rows` if it `needs` them.

    All of it is one copy to the GPU.
    """
    xp = array_module(like)
    flat = ids.reshape(-1).astype(np.int64)  # as the kernel reads them
    count = len(flat)
    order = np.argsort(flat, kind="stable") if needs else np.empty(0, np.int64)
    ordered = flat[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # a new id begins here
    runs = len(starts)
    if not needs or runs == count:
        there = xp.asarray(flat)
        return there.reshape(ids.shape), Picks(there, runs=None)
    stops = np.append(starts[1:], count)
    lists = xp.asarray(np.concatenate([flat, order, ordered[starts], stops]))
    there, rest = lists[:count], lists[count:]
    found = Sorted(order=rest[:count], rows=rest[count : count + runs], stops=rest[count + runs :])
    return there.reshape(ids.shape), Picks(there, runs=found)


def add_rows(table: Array, picks: Picks, values: Array) -> None:
    """table[picks.ids] += values: (V, ...), (N,), (N, ...).

    The order of the additions is fixed, but for a table with gaps, where it is left to
    chance.
    """
    if not table.flags.c_contiguous:
        scatter_add(table, picks.ids, values)
        return
    values, width = contiguous(values), table.size // max(len(table), 1)
    if picks.runs is None:
        count = picks.ids.size
        ADD_DISTINCT.over_rows((table, values, picks.ids, count, width), count, width)
        return
    runs = picks.runs.rows.size
    ADD_ROWS.over_rows((table, values, *picks.runs, runs, width), runs, width)

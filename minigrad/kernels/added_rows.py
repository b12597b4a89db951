"""How does a GPU add rows to a table if some of them go to the same place?

The gradient of a table of embeddings is zero but for the rows of the ids that occurred.
An id that occurs five times gets the sum of five rows. Two ways lead there:

- *Atomic additions.* All rows are added at once, and the memory sees to it that none is
  lost. The order is left to chance, so two runs differ in their last digits.
- *Sorting.* The ids are sorted, which brings equal ones together. A block of threads
  has all rows of one id, and adds them up in their old order.

The second is used here, because the same program should give the same numbers. The ids
are on the host anyway, where they were checked, and some thousands of them are sorted
in less time than the GPU needs to arrive at this point. It gets

    order    which of the rows come first, second, ... when sorted by id
    ids      each id that occurs, rising
    stops    where the rows of each id end in that order

An id that occurs thousands of times keeps one block busy: some tenths of a millisecond
for the token that fills captions up. If no id occurs twice, the ids that the forward
pass has copied to the GPU are enough.

The plain form: `backend.scatter_add`.
"""

import numpy as np

from minigrad.backend import Array, array_module, scatter_add
from minigrad.kernels.launching import Kernel, contiguous

ADD_ROWS = Kernel(
    "add_rows",
    """
extern "C" __global__ void add_rows(
    real *table, const real *values, const long long *order, const long long *ids,
    const long long *stops, long long runs, long long width) {
    for (long long run = blockIdx.x; run < runs; run += gridDim.x) {
        const long long start = run > 0 ? stops[run - 1] : 0;
        real *row = table + ids[run] * width;
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


def add_rows(table: Array, ids: np.ndarray, values: Array, on_gpu: Array) -> None:
    """table[ids] += values: (V, ...), ids (N,) on the host, (N, ...).

    on_gpu are the ids once more, on the GPU. The order of the additions is fixed, but
    for a table with gaps, where it is left to chance.
    """
    if not table.flags.c_contiguous:
        scatter_add(table, on_gpu, values)
        return
    values, width = contiguous(values), table.size // max(len(table), 1)
    ids = ids.astype(np.int64)  # as the kernel reads them
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # a new id begins here
    stops = np.append(starts[1:], len(ids))
    count, runs = len(ids), len(starts)
    if runs == count:
        arguments = (table, values, on_gpu.astype(np.int64, copy=False), count, width)
        ADD_DISTINCT.over_rows(arguments, count, width)
        return
    lists = array_module(table).asarray(np.concatenate([order, ordered[starts], stops]))
    first, second = count, count + runs
    arguments = (table, values, lists[:first], lists[first:second], lists[second:])
    ADD_ROWS.over_rows((*arguments, runs, width), runs, width)

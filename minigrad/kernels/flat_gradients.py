"""How does a GPU measure all gradients at once?

Gradients come from the walk back as hundreds of arrays. To visit them one by one would
be hundreds of launches. So one launch copies them into one long array (`gather`). Their
common length and the factor that shortens it (`measure`) need two more launches:

    parts of the long array    sums_k = sum of g^2 over part k, a block for a part
    one block                  norm   = sqrt(sum of all sums_k)
                               factor = min(1, max_norm / norm)

Norm and factor stay on the GPU. The update of the parameters multiplies by the factor
(adamw_update.py), and nobody waits for either number.

`gather` gets the addresses of the arrays, and where their stretches of the long array
end. A thread looks its number's array up in a few steps, because the ends rise. The
sums are the same in every run: a part is added up by one block, and parts in their
order.

The plain form: `clipping.clip_grad_norm`.
"""

from collections.abc import Sequence

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.kernels.launching import Kernel, contiguous
from minigrad.memory import empty

PART = 1 << 14
"""Numbers that a block squares and adds up; a choice.

A model of 150 million parameters has 9,000 parts, which one block can add up. A model
of 0.4 million has 22.
"""

GATHER = Kernel(
    "gather",
    """
extern "C" __global__ void gather(
    real *joined, const long long *addresses, const long long *stops, long long arrays) {
    const long long count = stops[arrays - 1];
    for (long long i = first_element(); i < count; i += element_step()) {
        // The first array whose stretch ends beyond i
        long long low = 0, high = arrays - 1;
        while (low < high) {
            const long long middle = (low + high) / 2;
            if (stops[middle] > i)
                high = middle;
            else
                low = middle + 1;
        }
        const long long start = low > 0 ? stops[low - 1] : 0;
        joined[i] = ((const real *)addresses[low])[i - start];
    }
}
""",
)

SQUARES = Kernel(
    "squares_of_parts",
    """
extern "C" __global__ void squares_of_parts(
    const real *x, real *sums, long long parts, long long part_size, long long count) {
    for (long long part = blockIdx.x; part < parts; part += gridDim.x) {
        const long long start = part * part_size;
        const long long stop = start + part_size < count ? start + part_size : count;
        real sum = 0;
        for (long long i = start + threadIdx.x; i < stop; i += blockDim.x)
            sum += x[i] * x[i];
        sum = block_sum(sum);
        if (threadIdx.x == 0)
            sums[part] = sum;
    }
}
""",
)

CLIP = Kernel(
    "norm_and_factor",
    """
extern "C" __global__ void norm_and_factor(
    const real *sums, real *norm, real *factor, long long parts, double max_norm, double tiny) {
    real sum = 0;
    for (long long i = threadIdx.x; i < parts; i += blockDim.x)
        sum += sums[i];
    const real length = sqrt(block_sum(sum));
    if (threadIdx.x == 0 && blockIdx.x == 0) {
        norm[0] = length;
        // A NaN is not below max_norm, and becomes the factor.
        factor[0] = length <= real(max_norm) ? real(1) : real(max_norm) / (length + real(tiny));
    }
}
""",
)

KERNELS = (GATHER, SQUARES, CLIP)


def gather(arrays: Sequence[Array], like: Array) -> Array:
    """All numbers of the arrays, one after the other, (n,), in the dtype of `like`."""
    arrays = [contiguous(array.astype(like.dtype, copy=False)) for array in arrays]
    stops = np.cumsum([array.size for array in arrays], dtype=np.int64)
    addresses = np.array([array.data.ptr for array in arrays], np.int64)
    table = array_module(like).asarray(np.concatenate([addresses, stops]))  # one copy to the GPU
    joined = empty((int(stops[-1]),), like)
    count = len(arrays)
    GATHER.over_elements((joined, table[:count], table[count:], count), count=joined.size)
    return joined


def measure(arrays: Sequence[Array], max_norm: float, tiny: float) -> tuple[Array, Array]:
    """The length of the contiguous arrays taken together, (), and the factor, ()."""
    parts = [-(-array.size // PART) for array in arrays]  # rounded up
    sums = empty((sum(parts),), arrays[0])
    start = 0
    for array, count in zip(arrays, parts):
        arguments = (array, sums[start : start + count], count, PART, array.size)
        SQUARES.over_rows(arguments, rows=count, width=PART)
        start += count
    norm, factor = empty((), sums), empty((), sums)
    of_sums = (sums, norm, factor, sums.size, float(max_norm), tiny)
    CLIP.over_rows(of_sums, rows=1, width=max(sums.size, 1))  # runs without numbers, too
    return norm, factor

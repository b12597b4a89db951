"""How does a GPU add up the columns of a matrix?

The gradient of a bias is the sum of all rows of a gradient, (N, D) -> (D,). A block of
threads has 8 neighbouring columns, which are 32 bytes of each row: the least that a
GPU's memory delivers at once. The threads of a column take its rows in turn, and the
first of them adds up what they have:

    thread       0    1   ...   7   |   8    9   ...  15   |  16  ...
    column       0    1   ...   7   |   0    1   ...   7   |   0  ...
    rows      0, 32, 64, ...        |   1, 33, 65, ...     |   2, 34, 66, ...

The order of the additions is always the same. A product with a row of ones would be as
short, but matrix products may be computed in fewer digits (minigrad/precision.py).
"""

from minigrad.backend import Array
from minigrad.kernels.launching import MOST_THREADS, Kernel, contiguous
from minigrad.memory import empty

COLUMNS = 8  # of a block; the kernel has the number too

COLUMN_SUMS = Kernel(
    "column_sums",
    """
extern "C" __global__ void column_sums(
    const real *x, real *sums, long long rows, long long width) {
    __shared__ real of_thread[1024];
    for (long long first = blockIdx.x * 8; first < width; first += gridDim.x * 8) {
        const long long column = first + threadIdx.x % 8;
        real sum = 0;
        if (column < width)
            for (long long row = threadIdx.x / 8; row < rows; row += blockDim.x / 8)
                sum += x[row * width + column];
        of_thread[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x < 8 && column < width) {
            real total = 0;
            for (long long thread = threadIdx.x; thread < blockDim.x; thread += 8)
                total += of_thread[thread];
            sums[column] = total;
        }
        __syncthreads();  // all have read before the next columns write
    }
}
""",
)

KERNELS = (COLUMN_SUMS,)


def column_sum(x: Array) -> Array:
    """Sums along the first axis, (N, D) -> (D,)."""
    x = contiguous(x)
    rows, width = x.shape
    sums = empty((width,), x)
    blocks = -(-width // COLUMNS)  # rounded up
    COLUMN_SUMS.over_rows((x, sums, rows, width), rows=blocks, width=MOST_THREADS)
    return sums

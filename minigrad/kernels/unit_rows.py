"""How does a GPU bring rows to length 1 in one launch?

A block of threads has a row x of D numbers:

    length     = max(|x|, eps)
    y          = x / length
    dL/dx      = (g - y sum(g y)) / length      but g / eps for a row shorter than eps

These are the formulas of minigrad/ops/normalisation.py. Squares that are too large for
their type are computed anew in a smaller unit, the largest number of the row.

The plain form: `plain.normalize`.
"""

from collections.abc import Callable

from minigrad.backend import Array
from minigrad.kernels.launching import Kernel, contiguous
from minigrad.memory import as_rows, empty

FORWARD = Kernel(
    "unit_rows_forward",
    """
extern "C" __global__ void unit_rows_forward(
    const real *x, real *y, real *lengths, long long rows, long long width, double eps) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_x = x + row * width;
        real sum = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            sum += row_x[i] * row_x[i];
        sum = block_sum(sum);
        real length = sqrt(sum);
        if (isinf(sum)) {  // so it is for every thread of the block
            real size = 0;
            for (long long i = threadIdx.x; i < width; i += blockDim.x)
                size = fabs(row_x[i]) > size ? fabs(row_x[i]) : size;
            size = block_largest(size);
            sum = 0;
            for (long long i = threadIdx.x; i < width; i += blockDim.x)
                sum += (row_x[i] / size) * (row_x[i] / size);
            length = size * sqrt(block_sum(sum));
        }
        const real divisor = length < real(eps) ? real(eps) : length;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            y[row * width + i] = row_x[i] / divisor;
        if (threadIdx.x == 0)
            lengths[row] = length;
    }
}
""",
)

BACKWARD = Kernel(
    "unit_rows_backward",
    """
extern "C" __global__ void unit_rows_backward(
    const real *g, const real *y, const real *lengths, real *to_x,
    long long rows, long long width, double eps) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_g = g + row * width;
        const real *row_y = y + row * width;
        real along = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            along += row_g[i] * row_y[i];
        along = block_sum(along);
        const bool is_short = lengths[row] < real(eps);
        const real divisor = is_short ? real(eps) : lengths[row];
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real removed = is_short ? real(0) : row_y[i] * along;
            to_x[row * width + i] = (row_g[i] - removed) / divisor;
        }
    }
}
""",
)

KERNELS = (FORWARD, BACKWARD)


def forward(x: Array, eps: float) -> tuple[Array, Array]:
    """y (N, D), and the lengths (N,) for `backward`; x (N, D)."""
    x = contiguous(x)
    rows, width = x.shape
    y, lengths = empty(x.shape, x), empty((rows,), x)
    FORWARD.over_rows((x, y, lengths, rows, width, eps), rows, width)
    return y, lengths


def backward(g: Array, y: Array, lengths: Array, eps: float) -> Array:
    """dL/dx, (N, D)."""
    g = contiguous(g)
    rows, width = g.shape
    to_x = empty(g.shape, g)
    BACKWARD.over_rows((g, y, lengths, to_x, rows, width, eps), rows, width)
    return to_x


def along_last_axis(
    x: Array, axes: tuple[int, ...], eps: float, p: float
) -> tuple[Array, Callable[[Array], Array]]:
    """x divided by Euclid's length along the last axis, and the vjp.

    `axes` has this axis alone, and p is 2: what the form for the CPU is passed too.
    """
    y, lengths = forward(as_rows(x), eps)  # (N, D), (N,)

    def vjp(g: Array) -> Array:
        return backward(as_rows(g), y, lengths, eps).reshape(g.shape)  # shape of x

    return y.reshape(x.shape), vjp

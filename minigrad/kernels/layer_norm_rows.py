"""How does a GPU normalise rows in one launch?

A block of threads has a row x of D numbers. Each thread adds up the numbers of its own
columns, and `block_sum` adds up what the threads have:

    mean(x)  = sum x / D
    std(x)   = sqrt(sum (x - mean(x))^2 / D + eps)
    h        = (x - mean(x)) / std(x)
    y        = w h + b

    dL/dx    = (g w - mean(g w) - h mean(g w h)) / std(x)
    dL/dw    = the sum of g h over all rows
    dL/db    = the sum of g over all rows

These are the formulas of minigrad/ops/normalisation.py, which derives them. The sums
over all rows need numbers of all blocks, and blocks cannot wait for each other. So each
block goes through several rows, adds up the columns of these, and CuPy's sum adds up
the blocks in a second launch. The order of the additions is always the same.

As on the CPU, the mean is taken away twice: at 1e6, float32 knows a mean to 0.06 only.
And squares that are too large for their type are computed anew in a smaller unit, the
largest number of the row.

The plain form: `plain.layer_norm`. Ba, Kiros, Hinton 2016, "Layer Normalization",
arXiv:1607.06450.
"""

from minigrad.backend import Array
from minigrad.kernels.launching import Kernel, contiguous
from minigrad.memory import empty

MOST_SUMS = 512  # blocks of the backward pass, each with sums of its own; a choice

FORWARD = Kernel(
    "layer_norm_forward",
    """
extern "C" __global__ void layer_norm_forward(
    const real *x, const real *weight, const real *bias,
    real *y, real *h, real *inverse_std, long long rows, long long width, double eps) {
    const real share = real(1) / width;
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_x = x + row * width;
        real sum = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            sum += row_x[i] * share;
        const real mean = block_sum(sum);
        // What rounding has left of the mean
        sum = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            sum += (row_x[i] - mean) * share;
        const real rest = block_sum(sum);
        real squares = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real centred = row_x[i] - mean - rest;
            squares += centred * centred;
        }
        squares = block_sum(squares);
        real inverse = 1 / sqrt(squares / width + real(eps));
        if (isinf(squares)) {  // so it is for every thread of the block
            real size = 0;
            for (long long i = threadIdx.x; i < width; i += blockDim.x) {
                const real distance = fabs(row_x[i] - mean - rest);
                size = distance > size ? distance : size;
            }
            size = block_largest(size);
            squares = 0;
            for (long long i = threadIdx.x; i < width; i += blockDim.x) {
                const real scaled = (row_x[i] - mean - rest) / size;
                squares += scaled * scaled;
            }
            const real variance = block_sum(squares) / width + real(eps) / size / size;
            inverse = 1 / sqrt(variance) / size;
        }
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real normalised = (row_x[i] - mean - rest) * inverse;
            h[row * width + i] = normalised;
            y[row * width + i] = normalised * weight[i] + bias[i];
        }
        if (threadIdx.x == 0)
            inverse_std[row] = inverse;
    }
}
""",
)

BACKWARD = Kernel(
    "layer_norm_backward",
    """
extern "C" __global__ void layer_norm_backward(
    const real *g, const real *h, const real *inverse_std, const real *weight,
    real *to_x, real *sums, long long rows, long long width) {
    // sums (blocks, 2, D): of g h, and of g, over the rows of a block
    real *to_weight = sums + 2 * blockIdx.x * width;
    real *to_bias = to_weight + width;
    for (long long i = threadIdx.x; i < width; i += blockDim.x)
        to_weight[i] = to_bias[i] = 0;
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_g = g + row * width;
        const real *row_h = h + row * width;
        real sum_gw = 0, sum_gwh = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real gw = row_g[i] * weight[i];
            sum_gw += gw;
            sum_gwh += gw * row_h[i];
            to_weight[i] += row_g[i] * row_h[i];
            to_bias[i] += row_g[i];
        }
        const real mean_gw = block_sum(sum_gw) / width;
        const real mean_gwh = block_sum(sum_gwh) / width;
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real removed = mean_gw + row_h[i] * mean_gwh;
            to_x[row * width + i] = (row_g[i] * weight[i] - removed) * inverse_std[row];
        }
    }
}
""",
)

KERNELS = (FORWARD, BACKWARD)


def forward(x: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """y (N, D), and h (N, D) and 1/std (N,) for `backward`; x (N, D)."""
    x, weight, bias = contiguous(x), contiguous(weight), contiguous(bias)
    rows, width = x.shape
    y = empty(x.shape, x)
    h = empty(x.shape, x)
    inverse_std = empty((rows,), x)
    FORWARD.over_rows((x, weight, bias, y, h, inverse_std, rows, width, eps), rows, width)
    return y, h, inverse_std


def backward(
    g: Array, h: Array, inverse_std: Array, weight: Array, x_needs: bool
) -> tuple[Array | None, Array, Array]:
    """dL/dx (N, D), or None unless `x_needs` it; dL/dweight and dL/dbias (D,)."""
    g, weight = contiguous(g), contiguous(weight)
    rows, width = g.shape
    to_x = empty(g.shape, g)
    blocks = min(rows, MOST_SUMS)
    sums = empty((blocks, 2, weight.size), g)  # (blocks, 2, D)
    arguments = (g, h, inverse_std, weight, to_x, sums, rows, width)
    BACKWARD.over_rows(arguments, rows, width, most_blocks=MOST_SUMS)
    totals = sums.sum(axis=0)  # (2, D)
    return to_x if x_needs else None, totals[0], totals[1]

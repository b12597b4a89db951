"""How does a GPU compute the surprise of many samples in one launch?

A block of threads has the row x of one sample, C scores, and its label l:

    loss    = log(sum(exp(x - m))) - (x_l - m)        m = max(x)
    p       = exp(x - m) / sum(exp(x - m))
    dL/dx   = (p - one_hot(l)) g

`scale` multiplies the gradient: 1/N if the losses are averaged. The derivation:
minigrad/ops/losses.py. A row of -inf alone has p = 0 and an infinite loss.

The plain form: `plain.cross_entropy`.
"""

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.kernels.launching import Kernel, contiguous
from minigrad.memory import empty

FORWARD = Kernel(
    "cross_entropy_forward",
    """
extern "C" __global__ void cross_entropy_forward(
    const real *x, const long long *labels, real *losses, real *p,
    long long rows, long long width) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_x = x + row * width;
        real *row_p = p + row * width;
        real largest = row_x[0];
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            largest = row_x[i] > largest ? row_x[i] : largest;
        const real shift = block_shift(largest);
        const real sum = block_exponentials(row_x, row_p, width, shift);
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            row_p[i] /= sum;
        if (threadIdx.x == 0)
            losses[row] = log(sum) - (row_x[labels[row]] - shift);
    }
}
""",
)

BACKWARD = Kernel(
    "cross_entropy_backward",
    """
extern "C" __global__ void cross_entropy_backward(
    const real *p, const long long *labels, const real *g, real *to_x,
    long long rows, long long width, long long g_step, double scale) {
    // g has a number for every row (g_step 1), or one for all of them (g_step 0)
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real of_loss = real(scale) * g[row * g_step];
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            const real right = i == labels[row] ? 1 : 0;
            to_x[row * width + i] = (p[row * width + i] - right) * of_loss;
        }
    }
}
""",
)

KERNELS = (FORWARD, BACKWARD)


def forward(x: Array, labels: Array) -> tuple[Array, Array, Array]:
    """The losses (N,), and p (N, C) and labels for `backward`.

    x (N, C). labels (N,) may lie on the host.
    """
    x = contiguous(x)
    on_device = contiguous(array_module(x).asarray(labels, dtype=np.int64))
    rows, width = x.shape
    losses = empty((rows,), x)
    p = empty(x.shape, x)
    FORWARD.over_rows((x, on_device, losses, p, rows, width), rows, width)
    return losses, p, on_device


def backward(g: Array, p: Array, labels: Array, scale: float) -> Array:
    """dL/dx (N, C) from the gradient of the losses (N,), or of their sum ()."""
    g = contiguous(g)
    rows, width = p.shape
    to_x = empty(p.shape, p)
    step = 1 if g.ndim else 0
    BACKWARD.over_rows((p, labels, g, to_x, rows, width, step, scale), rows, width)
    return to_x

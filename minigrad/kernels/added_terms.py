"""How does a GPU add a bias and a residual in one launch?

To each row of a matrix, (N, D), comes the bias, (D,), and the row of what the layer
adds its result to, (N, D). A block of threads has a row.

The plain form: `plain.linear`.
"""

from minigrad.backend import Array
from minigrad.kernels.launching import Kernel, contiguous

ADD = Kernel(
    "add_bias_and_residual",
    """
extern "C" __global__ void add_bias_and_residual(
    real *y, const real *bias, const real *residual, long long rows, long long width) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x)
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            y[row * width + i] += bias[i] + residual[row * width + i];
}
""",
)

KERNELS = (ADD,)


def add(y: Array, bias: Array | None, residual: Array | None) -> None:
    """y + bias + residual, in the memory of y: (N, D), (D,), (N, D)."""
    if bias is not None and residual is not None:
        rows, width = y.shape
        ADD.over_rows((y, contiguous(bias), contiguous(residual), rows, width), rows, width)
    elif bias is not None:
        y += bias
    elif residual is not None:
        y += residual

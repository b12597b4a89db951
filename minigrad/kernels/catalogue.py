"""Which kernels are there?

All of them are here, for the tests, which compile and run every one, and for counting.

    >>> [kernel.name for kernel in KERNELS if "layer_norm" in kernel.name]
    ['layer_norm_forward', 'layer_norm_backward']
"""

from minigrad.kernels import cross_entropy_rows, gelu_elements, layer_norm_rows, softmax_rows
from minigrad.kernels.launching import Kernel

KERNELS: tuple[Kernel, ...] = (
    *layer_norm_rows.KERNELS,
    *softmax_rows.KERNELS,
    *cross_entropy_rows.KERNELS,
    *gelu_elements.KERNELS,
)

"""Which kernels are there?

All of them are here, for the tests, which compile and run every one, and for counting.

    >>> [kernel.name for kernel in KERNELS if "layer_norm" in kernel.name]
    ['layer_norm_forward', 'layer_norm_backward']
"""

from minigrad.kernels import (
    adamw_update,
    added_rows,
    added_terms,
    column_sums,
    cross_entropy_rows,
    flat_gradients,
    gelu_elements,
    layer_norm_rows,
    softmax_rows,
    unit_rows,
)
from minigrad.kernels.launching import Kernel

KERNELS: tuple[Kernel, ...] = (
    *layer_norm_rows.KERNELS,
    *softmax_rows.KERNELS,
    *cross_entropy_rows.KERNELS,
    *gelu_elements.KERNELS,
    *unit_rows.KERNELS,
    *column_sums.KERNELS,
    *added_rows.KERNELS,
    *added_terms.KERNELS,
    *flat_gradients.KERNELS,
    *adamw_update.KERNELS,
)

"""How many digits does training need?

Numbers are float32, with 24 binary digits. Two savings are worth their price to some,
and each has to be asked for:

    float32      nothing is saved; the default
    tf32         products of matrices see 11 digits of each factor; sums have all 24
    float16      what the forward pass keeps for the backward pass has 11 digits

*tf32* is for GPUs from NVIDIA's Ampere on, which multiply such numbers several times as
fast. A float32 is cut to 11 digits inside of the product; its range stays. So the error
of a product is about one part in 2,000 of its terms, and no result can overflow that
did not before.

*float16* halves what a transformer keeps for the backward pass: the inputs of linear
layers, normalised rows, the derivatives of GELU, and queries, keys, values and
probabilities of attention. (Convolutions keep float32.) The forward pass
computes with float32 and is not changed, so the loss is not either. The gradients are
computed in float32 from the kept numbers, which have an error of one part in 2,048.
Numbers below 6e-5 keep fewer digits, and below 3e-8 become 0. A number above 65,504
becomes infinite, and the run ends with an error; no trained CLIP comes near it.

*Is a loss scale needed?* Elsewhere the loss is multiplied by some thousands before the
backward pass, and the gradients are divided by it afterwards, because gradients are
small and float16 would lose them. Here no gradient is stored as float16, so there is
nothing to scale. (Neither is there a bfloat16 here, which NumPy does not have.)

tests/minigrad/test_precision.py measures what both cost.

Micikevicius et al. 2018, "Mixed Precision Training", arXiv:1710.03740; NVIDIA 2020,
"A100 Tensor Core GPU Architecture" (TF32).
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from minigrad.backend import Array, array_module, on_host
from minigrad.context import setting
from minigrad.recording import is_recording

PRECISIONS = ("float32", "tf32", "float16")

TF32_PRODUCTS = 3  # CUBLAS_TF32_TENSOR_OP_MATH in NVIDIA's cublas_api.h

_keeps_half: ContextVar[bool] = ContextVar("keeps_half", default=False)


def precision(name: str, like: Array) -> contextlib.AbstractContextManager[object]:
    """Within the block, this thread computes as the head of this file says.

    name is one of `PRECISIONS`. like is an array where the computation is: "tf32" needs
    a GPU. ValueError for another name, or without one.

    >>> with precision("float16", like=np.zeros(1)):
    ...     kept(np.ones(3, np.float32)).dtype
    dtype('float16')
    """
    if name == "float32":
        return contextlib.nullcontext()
    if name == "float16":
        return setting(_keeps_half, True)
    if name != "tf32":
        raise ValueError(f"`precision` must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if on_host(like):
        raise ValueError(
            "`precision` tf32 is for products on a GPU: set `backend`, or leave it out"
        )
    return _tf32_products(like)


@contextlib.contextmanager
def _tf32_products(like: Array) -> Iterator[None]:
    """Within the block, cuBLAS multiplies matrices of this thread's device in TF32."""
    cuda = array_module(like).cuda
    with like.device:
        handle = cuda.get_cublas_handle()
        before = cuda.cublas.getMathMode(handle)
        cuda.cublas.setMathMode(handle, TF32_PRODUCTS)
    try:
        yield
    finally:
        cuda.cublas.setMathMode(handle, before)


def kept(array: Array) -> Array:
    """What a vjp keeps of an array: the array, or with "float16" a half as large copy.

    Only float32 becomes smaller, and only if the operation is recorded. `restored`
    undoes it.

    >>> x = np.ones(3, np.float32)
    >>> kept(x) is x
    True
    """
    if _keeps_half.get() and array.dtype == np.float32 and is_recording():
        with np.errstate(over="ignore"):  # it becomes infinite, which a run notices
            return array.astype(np.float16)
    return array


def restored(array: Array, dtype: np.dtype) -> Array:
    """An array that was `kept`, in its own dtype.

    >>> half = np.array([0.1], np.float16)
    >>> restored(half, np.dtype(np.float32)).dtype
    dtype('float32')
    """
    return array if array.dtype == dtype else array.astype(dtype)

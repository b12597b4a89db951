"""The mode in which the stand-in multiplies matrices: float32, or TF32.

In TF32, cuBLAS rounds the factors to 11 binary digits, and adds up in float32.
"""

import threading

import numpy as np

from strict_cupy.device import current_device

DEFAULT, TF32 = 0, 3
DROPPED_BITS = 13  # float32 has 24 binary digits, TF32 11

_modes = threading.local()


def get_cublas_handle() -> int:
    """Each device has one for each thread."""
    return 1 + current_device()


def getMathMode(handle: int) -> int:
    return getattr(_modes, f"of_{handle}", DEFAULT)


def setMathMode(handle: int, mode: int) -> None:
    setattr(_modes, f"of_{handle}", mode)


def is_tf32() -> bool:
    return getMathMode(get_cublas_handle()) == TF32


def rounded(factor: np.ndarray) -> np.ndarray:
    """A factor of a product as the present mode sees it."""
    if factor.dtype != np.float32 or not is_tf32():
        return factor
    half = 1 << (DROPPED_BITS - 1)
    bits = np.ascontiguousarray(factor).view(np.int32) + np.int32(half)
    return (bits & np.int32(-1 << DROPPED_BITS)).view(np.float32).reshape(factor.shape)

"""How does one launch on a GPU replace a chain of NumPy's steps?

A GPU gets its work in *launches*. Each costs the processor some microseconds, and each
reads its inputs from memory and writes its result back. Twenty small steps of CuPy are
twenty launches. A *kernel* is a function in CUDA C++ that does all twenty at once.

Thousands of threads run it at the same time. They come in blocks of up to 1,024, and
the threads of one block can exchange numbers. Two patterns are enough here:

    a block for a row         for (row = blockIdx.x; row < rows; row += gridDim.x)
                                  for (column = threadIdx.x; column < width; ...)
    a thread for an element   for (i = first_element(); i < count; i += element_step())

Both loops are right for every number of blocks and threads. So arrays may be of any
size, and the numbers of blocks and threads are a matter of speed alone.

**Rules for the text of a kernel.** `real` stands for float or double. Parameters are
pointers to `real` or `long long`, then numbers, `long long` or `double`: what Python's
int and float become. Positions are `long long`, since an array may have more than 2^31
numbers. Rows lie one after the other without gaps (`contiguous`). If a function's name
begins with `block_`, all threads of a block call it, or none does. The number of
threads is a multiple of WARP. A text defines its kernel and nothing else, so that all
texts may stand in one file: what two kernels share is in COMMON.

`choose` is the place that decides which form of an operation runs.

NVIDIA, "CUDA C++ Programming Guide"; CuPy's RawKernel:
https://docs.cupy.dev/en/stable/user_guide/kernel.html
"""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigrad.backend import Array, array_module, on_host

Form = TypeVar("Form", bound=Callable[..., Any])

REAL = {"f": "float", "d": "double"}  # NumPy's letter -> the type of C++

WARP = 32  # threads that a GPU runs in step; they exchange numbers without memory
MOST_THREADS = 256  # of a block: more would leave too few registers for each of them
MOST_BLOCKS = 1 << 20  # of a launch; a GPU holds some thousand at a time

COMMON = """
// The sum of the values of all threads of a block. Every thread gets it.
__device__ real block_sum(real value) {
    __shared__ real of_warp[32];
    for (int distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffff, value, distance);
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : real(0);
    for (int distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffff, value, distance);
    __syncthreads();  // all have read before the next sum writes
    return value;
}

// The largest of the values of all threads of a block. Every thread gets it.
__device__ real block_largest(real value) {
    __shared__ real of_warp[32];
    for (int distance = 16; distance > 0; distance /= 2) {
        real other = __shfl_xor_sync(0xffffffff, value, distance);
        value = other > value ? other : value;
    }
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = of_warp[threadIdx.x % 32 < blockDim.x / 32 ? threadIdx.x % 32 : 0];
    for (int distance = 16; distance > 0; distance /= 2) {
        real other = __shfl_xor_sync(0xffffffff, value, distance);
        value = other > value ? other : value;
    }
    __syncthreads();  // all have read before the next one writes
    return value;
}

// What is subtracted from the scores of a row before exp: the largest of them, or 0 if that
// is not finite. A thread passes the largest score that it has seen.
__device__ real block_shift(real seen) {
    const real largest = block_largest(seen);
    return isfinite(largest) ? largest : real(0);
}

// Writes y = exp(x - shift) for a row; y may be x. Every thread gets the sum of the row. It
// is 1 for a row of -inf alone: divided by it, zeros stay zeros.
__device__ real block_exponentials(const real *x, real *y, long long width, real shift) {
    real sum = 0;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        y[i] = exp(x[i] - shift);
        sum += y[i];
    }
    sum = block_sum(sum);
    return sum == 0 ? real(1) : sum;
}

__device__ long long first_element() {
    return blockIdx.x * (long long)blockDim.x + threadIdx.x;
}

__device__ long long element_step() {
    return gridDim.x * (long long)blockDim.x;
}
"""


class Kernel(NamedTuple):
    """A function in CUDA C++: its name and its text, for float and for double."""

    name: str
    source: str

    def code(self, real: str) -> str:
        """The whole text for the compiler; `real` is "float" or "double"."""
        return f"typedef {real} real;\n{COMMON}\n{self.source}"

    def over_rows(
        self, arguments: tuple, rows: int, width: int, most_blocks: int = MOST_BLOCKS
    ) -> None:
        """Run the kernel with a block for a row, at most `most_blocks` of them.

        The first argument is an array on the GPU. It says for which type and on which
        device the kernel runs. Nothing runs for arrays without elements.
        """
        if rows and width:
            threads = WARP * min(-(-width // WARP), MOST_THREADS // WARP)
            self._launch(arguments, blocks=min(rows, most_blocks), threads=threads)

    def over_elements(self, arguments: tuple, count: int) -> None:
        """Run the kernel with a thread for an element, of `count` ones.

        The first argument is as for `over_rows`.
        """
        if count:
            blocks = min(-(-count // MOST_THREADS), MOST_BLOCKS)
            self._launch(arguments, blocks=blocks, threads=MOST_THREADS)

    def _launch(self, arguments: tuple, blocks: int, threads: int) -> None:
        first = arguments[0]
        for position, argument in enumerate(arguments):
            dtype = getattr(argument, "dtype", first.dtype)  # a plain number fits
            if dtype != first.dtype and dtype != np.int64:
                # The kernel would read the numbers of one type as those of another.
                raise TypeError(
                    f"{self.name}: argument {position} has dtype {dtype}, expected {first.dtype}"
                )
        compiled = _compiled(array_module(first), self, first.dtype.char)
        with first.device:
            compiled((blocks,), (threads,), arguments)


@functools.cache
def _compiled(xp: types.ModuleType, kernel: Kernel, letter: str) -> Any:
    """CuPy's object for a kernel. It compiles at its first launch on a device."""
    return xp.RawKernel(kernel.code(REAL[letter]), kernel.name)


def choose(array: Array, portable: Form, on_gpu: Form) -> Form:
    """The form of an operation that fits `array`: the one place that decides this.

    `on_gpu` launches kernels, which there are for float32 and float64. `portable` is
    written in the functions that NumPy and CuPy share. It serves NumPy, and on a GPU
    the complex numbers of a complex step (minigrad/checking). Both take the same
    arguments and return the same.

    >>> choose(np.ones(2), portable=min, on_gpu=max)((1, 2))
    1
    """
    return portable if on_host(array) or array.dtype.char not in REAL else on_gpu


def contiguous(array: Array) -> Array:
    """The array, or a copy if there are gaps between its numbers.

    >>> contiguous(np.broadcast_to(np.ones(1), (2, 3))).strides
    (24, 8)
    """
    return array if array.flags.c_contiguous else array.copy()

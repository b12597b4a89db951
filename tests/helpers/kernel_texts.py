"""`cupy.RawKernel` of the stand-in, which runs the kernel's own text as well.

Each launch runs three times: the text with the first thread ahead, the text with the
last thread ahead, and the model (kernel_models.py). All three must agree.
"""

import contextlib
import sys
from collections.abc import Iterator

import cuda_on_cpu
import numpy as np
from strict_cupy.kernels import RawKernel

from minigrad.kernels.launching import REAL

TOLERANCE = {"f": 1e-6, "d": 1e-12}  # by the letter of the type, of the largest number
LETTER = {real: letter for letter, real in REAL.items()}


class CheckedKernel(RawKernel):
    """A kernel of which text and model are compared at every launch."""

    def __init__(self, code: str, name: str) -> None:
        super().__init__(code, name)
        real = code.partition("typedef ")[2].partition(" ")[0]
        self.letter = LETTER[real]
        self.library = cuda_on_cpu.library(self.letter)

    def run(self, arguments: list, blocks: int, threads: int) -> None:
        by_model, backwards = copies(arguments), copies(arguments)
        size = max(map(largest, arguments))
        super().run(by_model, blocks, threads)
        cuda_on_cpu.run(self.library, self.name, blocks, threads, backwards, backwards=True)
        cuda_on_cpu.run(self.library, self.name, blocks, threads, arguments)
        for others in (by_model, backwards):
            for found, expected in zip(arguments, others):
                if isinstance(found, np.ndarray):
                    tolerance = TOLERANCE[self.letter]
                    atol = tolerance * max(size, largest(expected))
                    check_agree(self.name, found, expected, tolerance, atol)


def copies(arguments: list) -> list:
    """The arguments with copies of the arrays. What was one array before stays one."""
    made: dict[tuple, np.ndarray] = {}
    for each in arguments:
        if isinstance(each, np.ndarray):
            made.setdefault(place_of(each), each.copy())
    return [made[place_of(each)] if isinstance(each, np.ndarray) else each for each in arguments]


def place_of(array: np.ndarray) -> tuple:
    return array.ctypes.data, array.shape


def largest(argument: object) -> float:
    """The largest finite number of an array of floats; 0 for anything else."""
    if not isinstance(argument, np.ndarray) or argument.dtype.kind != "f":
        return 0.0
    return float(np.abs(argument[np.isfinite(argument)]).max(initial=0.0))


def check_agree(
    name: str, found: np.ndarray, expected: np.ndarray, rtol: float, atol: float
) -> None:
    """Equal to `rtol` and `atol`, which follows the largest number in or out."""
    np.testing.assert_allclose(found, expected, rtol, atol, err_msg=f"kernel {name}")


@contextlib.contextmanager
def running_texts() -> Iterator[None]:
    """Within the block, kernels run as texts, too. The stand-in must be installed."""
    cupy = sys.modules["cupy"]
    before = cupy.RawKernel
    cupy.RawKernel = CheckedKernel
    try:
        yield
    finally:
        cupy.RawKernel = before

"""`cupy.RawKernel` of the stand-in: checks what a kernel is handed, and runs its model.

CuPy hands over whatever it gets: a kernel for floats reads doubles as floats, and a
view as if it had no gaps. The stand-in refuses both. What the kernel would compute, its
model does (kernel_models.py).
"""

import re

import numpy as np
from kernel_models import MODELS

from strict_cupy import events
from strict_cupy.array import ndarray, to_host

MOST_BLOCKS, MOST_THREADS, WARP = 2**31 - 1, 1024, 32

launches: list[str] = []  # the names of the kernels that ran, in order


def parameter_types(code: str, name: str) -> list[str]:
    """The types of a kernel's parameters without `const`: ["real *", "long long"]."""
    found = re.search(rf'extern "C" __global__ void {name}\(([^)]*)\)', code)
    if found is None:
        raise ValueError(f"cupy: the source has no kernel {name}")
    declarations = [each.strip().removeprefix("const ") for each in found[1].split(",")]
    return [re.sub(r"\w+$", "", each).strip() for each in declarations]


class RawKernel:
    """A kernel by its source; `real` there is what a typedef makes it."""

    def __init__(self, code: str, name: str, options: tuple = (), backend: str = "nvrtc") -> None:
        real = re.search(r"typedef (\w+) real;", code)[1]
        self.name = name
        self.types = [kind.replace("real", real) for kind in parameter_types(code, name)]

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0) -> None:
        (blocks,), (threads,) = grid, block
        if not (0 < blocks <= MOST_BLOCKS and 0 < threads <= MOST_THREADS and threads % WARP == 0):
            raise ValueError(f"cupy: {self.name}: invalid launch: {grid} blocks of {block} threads")
        if len(args) != len(self.types):
            raise TypeError(f"cupy: {self.name}: {len(args)} arguments for {len(self.types)}")
        for position, (argument, kind) in enumerate(zip(args, self.types)):
            if not _fits(argument, kind):
                what = getattr(argument, "dtype", type(argument))
                raise TypeError(f"cupy: {self.name}: argument {position} is {what}, not {kind}")
        launches.append(self.name)
        events.note_launches(self.name, 1)
        hosts = [to_host(argument, []) for argument in args]  # which asks for the device
        self.run(hosts, blocks, threads)

    def run(self, arguments: list, blocks: int, threads: int) -> None:
        """Compute with NumPy's arrays and numbers."""
        with np.errstate(all="ignore"):
            MODELS[self.name](*arguments, blocks=blocks)


POINTERS = {"float *": "f", "double *": "d", "long long *": "q"}


def _fits(argument: object, kind: str) -> bool:
    if kind in POINTERS:
        return (
            type(argument) is ndarray
            and argument.dtype == np.dtype(POINTERS[kind])
            and argument.flags.c_contiguous
        )
    return type(argument) is {"long long": int, "double": float}.get(kind)

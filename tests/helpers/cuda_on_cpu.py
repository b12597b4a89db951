"""What does the text of a kernel compute? It is run on the CPU.

`cuda_on_cpu.h` plays the GPU, and a C++ compiler translates the text of a kernel as it
stands. That tells what a kernel computes, and whether its threads wait for each other
in the right places. It does not tell how fast it is, what two threads that race for one
address would do, or how a GPU rounds.
"""

import ctypes
import functools
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.kernels.catalogue import KERNELS
from minigrad.kernels.launching import REAL, WARP, Kernel

HEADER = pathlib.Path(__file__).with_name("cuda_on_cpu.h")
OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-w")
LAUNCH = """
extern "C" int launch_{name}(
    unsigned int blocks, unsigned int threads, const long long *values, int backwards) {{
    return playing::play({name}, blocks, threads, values, backwards);
}}
"""


class ThreadsDisagreeError(RuntimeError):
    """Threads of a block wait for others that never come."""


def compiler() -> str | None:
    """The C++ compiler of this machine, if there is one."""
    return shutil.which("g++") or shutil.which("clang++")


def why_not() -> str:
    """Why kernels cannot be run here, or "" if they can."""
    return "" if compiler() else "no C++ compiler (g++ or clang++) in PATH"


@functools.cache
def library(letter: str) -> ctypes.CDLL:
    """All kernels for one type of number, in one library."""
    return build(KERNELS, letter)


def text_of(kernels: Sequence[Kernel], letter: str) -> str:
    """The text of several kernels in one file."""
    sources = "".join(kernel.source for kernel in kernels)
    return Kernel("all of them", sources).code(REAL[letter])


def build(kernels: Sequence[Kernel], letter: str) -> ctypes.CDLL:
    """A library of these kernels."""
    parts = [f'#include "{HEADER}"', text_of(kernels, letter)]
    parts += [LAUNCH.format(name=kernel.name) for kernel in kernels]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kernels-"))
    try:
        source, target = folder / "kernels.cpp", folder / "kernels.so"
        source.write_text("\n".join(parts), encoding="utf-8")
        command = [compiler(), *OPTIONS, str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the kernels do not compile for the CPU:\n{done.stderr[:4000]}")
        return ctypes.CDLL(str(target))
    finally:
        shutil.rmtree(folder)


def run(
    loaded: ctypes.CDLL,
    name: str,
    blocks: int,
    threads: int,
    arguments: Sequence[Any],
    backwards: bool = False,
) -> None:
    """Run a kernel; arguments are NumPy's arrays, which it may write, and numbers."""
    if threads % WARP:
        raise ValueError(f"{name}: {threads} threads are not whole warps of {WARP}")
    values = (ctypes.c_longlong * len(arguments))(*map(eight_bytes, arguments))
    if getattr(loaded, f"launch_{name}")(blocks, threads, values, int(backwards)):
        raise ThreadsDisagreeError(
            f"{name}: some threads of a block wait for others that have ended or wait elsewhere"
        )


def eight_bytes(argument: Any) -> int:
    """An argument as a kernel gets it: an address, an integer, or a float's bits."""
    if isinstance(argument, np.ndarray):
        return argument.ctypes.data
    if isinstance(argument, float):
        return int(np.float64(argument).view(np.int64))
    return int(argument)

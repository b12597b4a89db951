"""Chapter 10: why is the same arithmetic faster in another order?

A processor computes faster than its memory delivers. A formula of eight elementwise steps over
an array that does not fit into the cache fetches and stores that array eight times. Over a *block*
of it that does fit, the eight steps run one after the other at the cache's speed, and memory is
touched once: `blocks` cuts the rows of an array into such pieces.

The second cost is hidden in numpy.empty. A large new array is memory that the system hands out
page by page, at the first touch of each, and takes back when the array goes: a step of training
pays that for every result, every time. An `Arena` keeps the buffers that it handed out and hands
them out again once nothing but itself refers to them (CPython counts references, so that can be
asked; a view refers to its buffer, so it counts). A training step (clip_np/step.py) keeps an arena
for each of its threads, from step to step. Without one, and for small arrays, `empty` below is
numpy.empty.

Third, there is more than one core. NumPy leaves Python's lock while it computes, so threads that
call it run at once: `run_workers` and `parallel_map`.
"""

from __future__ import annotations  # else every call evaluates those of inner functions

import functools
import math
import sys
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.context import setting

SMALL = 1 << 12  # with fewer numbers, new memory costs no more than looking for old
# Numbers in a block: half a MiB in float32, of which a core's cache holds some; with less, threads
# would hand Python's lock to each other more often.
BLOCK = 1 << 17


def blocks(array: Array) -> Iterator[slice]:
    """Slices along the first axis, in each at most BLOCK numbers but at least one row, which is all
    that lies behind that axis; on a GPU, which wants few and large operations, one slice of all."""
    rows = array.shape[0]
    step = rows if type(array) is not np.ndarray else BLOCK * rows // max(array.size, 1)
    for low in range(0, rows, max(step, 1)):
        yield slice(low, min(low + max(step, 1), rows))


class Arena:
    """Memory that is handed out again when nobody else holds an array on it.
    Sizes are rounded up to one of eight steps for each doubling, so that captions that are a token
    longer than those of the last step mostly find what those left behind. An arena is for one
    thread: two could find the same buffer free."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, str], list[np.ndarray]] = {}
        self.used: set[int] = set()

    def __reduce__(self) -> tuple:
        return Arena, ()  # a copy of a model starts with memory of its own

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array whose contents are whatever was there before."""
        count = math.prod(shape)
        unit = 1 << max(count.bit_length() - 4, 0)  # an eighth of the power of two below
        room = -(-count // unit) * unit  # rounded up to whole units
        held = self.buffers.setdefault((room, dtype.char), [])
        position = 0
        while position < len(held) and sys.getrefcount(held[position]) > _UNSHARED:
            position += 1
        if position == len(held):
            held.append(np.empty(room, dtype))
        self.used.add(id(held[position]))
        return held[position][:count].reshape(shape)  # a view, which keeps the buffer taken

    def sweep(self) -> None:
        """Forget the buffers that nobody asked for since the last sweep, lest old sizes pile up;
        called once a step. An array that is still held stays as it is."""
        for held in self.buffers.values():
            held[:] = [buffer for buffer in held if id(buffer) in self.used]
        self.used.clear()


def _count_unshared() -> int:
    held = [np.empty(0)]
    return sys.getrefcount(held[0])


_UNSHARED = _count_unshared()  # measured, as versions of Python differ by one
_arena: ContextVar[Arena | None] = ContextVar("arena", default=None)


using = functools.partial(setting, _arena)  # with using(arena): operations take arrays from it


def empty(shape: tuple[int, ...], like: Array) -> Array:
    """An uninitialised array of `like`'s dtype and backend, from the arena in use, if any."""
    arena = _arena.get()
    if arena is None or type(like) is not np.ndarray or math.prod(shape) < SMALL:
        return array_module(like).empty(shape, like.dtype)
    return arena.empty(shape, like.dtype)


def product(a: Array, b: Array) -> Array:
    """a @ b for matrices, (N, K) and (K, M); by itself, it would always be given new memory."""
    return array_module(a).matmul(a, b, out=empty((a.shape[0], b.shape[1]), a))


def times(a: Array, b: Array) -> Array:
    """a * b, element by element, for arrays of one shape and type; the same."""
    return array_module(a).multiply(a, b, out=empty(a.shape, a))


def as_rows(x: Array) -> Array:
    """x as a matrix, (..., W) -> (N, W), a view where that is possible; an empty x has no rows."""
    width = x.shape[-1] if x.ndim else 1
    return x.reshape(-1, width) if x.size else x.reshape(0, max(width, 1))  # (N, W)

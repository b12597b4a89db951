"""Why is the same arithmetic faster if it touches less memory?

A processor computes faster than its memory delivers. Two habits follow from that.

**Blocks.** A formula of eight elementwise steps over an array that does not fit into
the cache fetches and stores the whole array eight times. Over a *block*, a few rows
that do fit, the eight steps run one after the other at the cache's speed, and memory is
touched once. `blocks` cuts the rows of an array into such pieces:

    for rows in blocks(x):
        y = x[rows] * 2.0
        ...

**Arenas.** A large new array is new memory. The system hands it out page by page, at
the first touch of each page, and takes it back when the array is gone. Without an
arena, a training step pays for that with every intermediate result. An `Arena` keeps
its buffers and lends them out again as soon as nobody refers to them any more. How does
it know? An array refers to what it is a view of. So the arena puts one object between a
buffer and all arrays on it, the *loan*, and keeps a weak reference to that. When the
last array is gone, so is the loan, and the weak reference is empty:

    buffer  <--  loan  <--  array, and views of it
                  ^ weak reference of the arena

(Why not ask for the number of references to the buffer, `sys.getrefcount`? On a Python
without the lock it is not exact while other threads run. A loan costs 0.6 us more: of
a step of the preset `tiny`, 16 pairs on one core, 0.1 ms of 16.)

    with using(arena):
        y = mg.gelu(x)          # y lies on a buffer of the arena

A training step (clip_np/training) keeps one arena for each of its threads. Without an
arena, and for small arrays, `empty` is numpy.empty. It is that also in a thread that
only inherited the setting from another one, as new threads do on some Pythons.

On blocking: Lam, Rothberg, Wolf 1991, "The Cache Performance and Optimizations of
Blocked Algorithms".
"""

import contextlib
import math
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from threading import get_ident
from typing import NamedTuple

import numpy as np

from minigrad.backend import Array, array_module, on_host
from minigrad.context import Setting

BLOCK = 1 << 17
"""Numbers in a block: half a MiB in float32.

A core's cache of 1 or 2 MiB holds a few of them. With smaller blocks, threads would
hand Python's lock to each other more often.
"""

SMALL = 1 << 12
"""Arrays with fewer numbers are not taken from an arena.

16 KiB of new memory costs no more than the search for old memory.
"""


CACHE_LINE = 64
"""Bytes that a core fetches from memory together."""


def blocks(array: Array) -> Iterator[slice]:
    """Slices along the first axis, of at most BLOCK numbers but at least one row.

    A row is all that one index of the first axis selects. On a GPU, which prefers few
    and large operations, there is one slice with everything.

    >>> list(blocks(np.zeros((300, 1024), np.float32)))
    [slice(0, 128, None), slice(128, 256, None), slice(256, 300, None)]
    """
    rows = array.shape[0]
    return blocks_of(rows, row_size=array.size // max(rows, 1), like=array)


def blocks_of(rows: int, row_size: int, like: Array, times: int = 1) -> Iterator[slice]:
    """`blocks` of an array that is not there: `rows` rows of `row_size` numbers.

    An operation may make a large intermediate array block by block, so that the whole
    of it never exists. `like` says whether it would lie on a GPU. `times` makes the
    blocks larger.

    >>> list(blocks_of(300, row_size=1024, like=np.zeros(3)))
    [slice(0, 128, None), slice(128, 256, None), slice(256, 300, None)]
    """
    step = rows
    if on_host(like):
        step = times * BLOCK // max(row_size, 1)
    step = max(step, 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def round_up(count: int) -> int:
    """The size of the buffer for `count` numbers: eight sizes for each doubling.

    Between 8,192 and 16,384 the sizes are 1,024 apart. So a buffer is at most an eighth
    larger than it needs to be. The captions of the next step may be a token longer:
    mostly, they still fit into the same buffers.

    >>> round_up(10_000), round_up(10_240), round_up(10_241)
    (10240, 10240, 11264)
    """
    # A number of n bits lies between 2^(n-1) and 2^n. An eighth of 2^(n-1) is 2^(n-4).
    unit = 1 << max(count.bit_length() - 4, 0)
    return -(-count // unit) * unit  # rounded up to whole units


class Loan(np.ndarray):
    """A view of a buffer that is alive as long as any array on the buffer is.

    A view of a view refers to the first array of the chain, past those in between: but
    only past arrays of its own class. So a loan has another class than the arrays on
    it, and the memory has the same class as the loan. Then an array refers to its loan.
    """


def aligned_empty(size: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialised array (size,) that begins where a cache line begins.

    A wide instruction of the processor fetches a whole line, of 16 numbers in float32.
    From an array that begins in the middle of a line it would fetch two each time.
    numpy.empty promises no more than 16 bytes.

    >>> array = aligned_empty(100, np.dtype(np.float32))
    >>> array.shape, array.ctypes.data % CACHE_LINE
    ((100,), 0)
    """
    length = size * dtype.itemsize  # in bytes
    memory = np.empty(length + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE  # bytes to the beginning of the next line
    return memory[start : start + length].view(dtype)


class Buffer:
    """Memory of an arena, and whether it is lent."""

    __slots__ = ("loan", "memory")

    def __init__(self, size: int, dtype: np.dtype) -> None:
        self.memory = aligned_empty(size, dtype).view(Loan)
        self.loan: weakref.ref[Loan] | None = None

    def is_free(self) -> bool:
        """Whether no array lies on the memory."""
        return self.loan is None or self.loan() is None

    def lend(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of this shape on the beginning of the memory."""
        loan = Loan(shape, self.memory.dtype, buffer=self.memory)
        self.loan = weakref.ref(loan)
        return loan.view(np.ndarray)


class Arena:
    """Memory that is handed out again when nobody else holds an array on it.

    buffers maps (size, type of number) to the buffers of that kind. used has the ids of
    those that were handed out since the last `sweep`. An arena is for one thread at a
    time: two threads could take the same free buffer at the same moment, and each would
    overwrite the other's numbers.

    >>> arena = Arena()
    >>> first = arena.empty((100, 100), np.dtype(np.float32))
    >>> address = first.ctypes.data
    >>> del first
    >>> arena.empty((99, 101), np.dtype(np.float32)).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, str], list[Buffer]] = {}
        self.used: set[int] = set()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of this shape; its contents are whatever was there before."""
        size = round_up(math.prod(shape))
        candidates = self.buffers.setdefault((size, dtype.char), [])
        for buffer in candidates:
            if buffer.is_free():
                break
        else:
            buffer = Buffer(size, dtype)
            candidates.append(buffer)
        self.used.add(id(buffer))
        return buffer.lend(shape)

    def sweep(self) -> None:
        """Forget the buffers that nobody has asked for since the last sweep.

        A training step calls this each time. Otherwise the buffers of sizes that no
        longer occur would pile up. An array that is still in use stays as it is.
        """
        for candidates in self.buffers.values():
            candidates[:] = [buffer for buffer in candidates if id(buffer) in self.used]
        self.used.clear()


class InUse(NamedTuple):
    """An arena, and the number of the thread that uses it."""

    arena: Arena | None
    thread: int


_NOTHING_IN_USE = InUse(None, thread=0)
_in_use: ContextVar[InUse] = ContextVar("arena", default=_NOTHING_IN_USE)


class _Using(Setting[Arena | None]):
    """The `with` block that `using` returns."""

    __slots__ = ()

    def inside(self, outer: InUse) -> InUse:
        """The arena with this thread's number."""
        return InUse(self.value, get_ident())


def using(arena: Arena | None) -> contextlib.AbstractContextManager[Arena | None]:
    """Within the block, operations of this thread take large arrays from `arena`.

    With None they take new memory, as they do outside of such a block.

    >>> with using(Arena()) as arena:
    ...     x = empty((100, 100), like=np.zeros(3))
    >>> np.shares_memory(x, arena.buffers[10240, "d"][0].memory)
    True
    """
    return _Using(_in_use, arena)


def empty(shape: tuple[int, ...], like: Array) -> Array:
    """An uninitialised array of the dtype and backend of `like`, from the arena in use.

    >>> arena = Arena()
    >>> with using(arena):
    ...     x = empty((100, 100), like=np.zeros(3, np.float32))
    >>> x.dtype, list(arena.buffers)
    (dtype('float32'), [(10240, 'f')])
    """
    arena, thread = _in_use.get()
    if (
        arena is None
        or math.prod(shape) < SMALL
        or not on_host(like)
        or thread != get_ident()  # inherited, and the arena is another thread's
    ):
        return array_module(like).empty(shape, like.dtype)
    return arena.empty(shape, like.dtype)


def product(a: Array, b: Array) -> Array:
    """a @ b for matrices, (N, K) and (K, M), the result in memory from `empty`.

    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    return array_module(a).matmul(a, b, out=empty((a.shape[0], b.shape[1]), a))


def times(a: Array, b: Array) -> Array:
    """a * b for arrays of one shape and dtype, the result in memory from `empty`.

    >>> times(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([3., 8.])
    """
    return array_module(a).multiply(a, b, out=empty(a.shape, a))


def as_rows(x: Array) -> Array:
    """x as a matrix, (..., W) -> (N, W), as a view if that is possible.

    >>> as_rows(np.zeros((2, 3, 4))).shape
    (6, 4)
    >>> as_rows(np.zeros((2, 0, 4))).shape
    (0, 4)
    """
    width = x.shape[-1] if x.ndim else 1
    if x.size == 0:
        return x.reshape(0, max(width, 1))  # (0, W)
    return x.reshape(-1, width)  # (N, W)

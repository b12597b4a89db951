"""How do several processes see the same arrays?

The system can map one piece of memory into many processes. Python offers that as
`multiprocessing.shared_memory`. A `Block` is one such piece, in which arrays lie one
behind the other:

    block:   | counters | messages | gradients of rank 0, 1, ... | parameters | means |

An array in it is known by its place: the offset, the shape and the type of number. So
an object with arrays in the block travels to another process as a pickle that holds
their places and not their numbers (`pack`), and there has the same arrays (`unpack`).

*Nothing is left behind.* A block has a name in the system until that is taken away
(`forget_name`), which is done as soon as all processes have opened it. From then on the
memory goes when the last of them ends, in whatever way. (On Windows no name stays.)

https://docs.python.org/3/library/multiprocessing.shared_memory.html
"""

import contextlib
import io
import os
import pickle
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: an array begins with a line of the cache
SHARED_FOLDER = "/dev/shm"  # where Linux keeps the memory that has a name


def aligned(count: int) -> int:
    """`count` bytes, rounded up to the next place where an array may begin.

    >>> aligned(1), aligned(64), aligned(65)
    (64, 64, 128)
    """
    return -(-count // ALIGNMENT) * ALIGNMENT


class Block:
    """A piece of memory that processes share. `take` hands it out from the start.

    >>> block = Block(1000)
    >>> block.forget_name()
    >>> first, second = block.take((3,), np.float32), block.take((2,), np.float64)
    >>> block.place_of(second)
    (64, (2,), '<f8')
    >>> del first, second
    >>> block.close()
    """

    def __init__(self, size: int, name: str | None = None) -> None:
        """A new block of `size` bytes, or the one that has a name.

        OSError if the system has none of this kind, or too little.
        """
        if name is None:
            _require_room(size)
            self._memory = _new_memory(size)
        else:
            self._memory = SharedMemory(name=name)
        self.name = self._memory.name
        self.size = size
        everything = np.ndarray((size,), np.uint8, buffer=self._memory.buf)
        self._start: int = everything.ctypes.data
        self._taken = 0
        self._has_name = name is None

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The next free stretch, as an array. New blocks are full of zeros."""
        array = self.at(self._taken, shape, dtype)
        self._taken += aligned(array.nbytes)
        return array

    def at(self, offset: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The array at a place."""
        return np.ndarray(shape, dtype, buffer=self._memory.buf, offset=offset)

    def place_of(self, array: np.ndarray) -> tuple[int, tuple[int, ...], str] | None:
        """The place of an array in this block; None if it lies elsewhere."""
        offset = array.ctypes.data - self._start
        if not 0 <= offset < self.size or not array.flags.c_contiguous:
            return None
        return offset, array.shape, array.dtype.str

    def forget_name(self) -> None:
        """From now on nobody else can open the block, and nothing of it stays."""
        if self._has_name:
            self._has_name = False
            self._memory.unlink()

    def close(self) -> None:
        """Let go of the memory; the arrays in it must be gone."""
        self.forget_name()
        with contextlib.suppress(BufferError):  # an array is left: the memory goes with it
            self._memory.close()


def _require_room(size: int) -> None:
    """OSError if the system cannot have `size` bytes more of shared memory."""
    if not os.path.isdir(SHARED_FOLDER):
        return
    state = os.statvfs(SHARED_FOLDER)
    free = state.f_bavail * state.f_frsize
    if size > free:
        raise OSError(
            f"processes need {size / 1e6:.0f} MB of shared memory, and {SHARED_FOLDER} has "
            f"{free / 1e6:.0f} MB left: train with `processes` 1, or give it more (in a "
            "container: --shm-size)"
        )


def _new_memory(size: int) -> SharedMemory:
    """Shared memory of `size` bytes. Where nobody may have any, the OSError says so."""
    try:
        return SharedMemory(create=True, size=size)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the system offers no shared memory, which processes need ({error.strerror}): train "
            "with `processes` 1",
        ) from error


class _Packer(pickle.Pickler):
    """Writes the places of the arrays that lie in a block."""

    def __init__(self, file: io.BytesIO, block: Block) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.block = block

    def persistent_id(self, value: Any) -> Any:
        return self.block.place_of(value) if isinstance(value, np.ndarray) else None


class _Unpacker(pickle.Unpickler):
    """Reads what `_Packer` wrote."""

    def __init__(self, file: io.BytesIO, block: Block) -> None:
        super().__init__(file)
        self.block = block

    def persistent_load(self, place: Any) -> np.ndarray:
        offset, shape, dtype = place
        return self.block.at(offset, shape, dtype)


def pack(value: Any, block: Block) -> bytes:
    """A pickle in which arrays of the block are places.

    >>> block = Block(1000)
    >>> array = block.take((2,), np.float64)
    >>> copy = unpack(pack({"weights": array}, block), block)["weights"]
    >>> array[0] = 7.0
    >>> copy.tolist()
    [7.0, 0.0]
    >>> del array, copy
    >>> block.close()
    """
    file = io.BytesIO()
    _Packer(file, block).dump(value)
    return file.getvalue()


def unpack(data: bytes, block: Block) -> Any:
    """The object, with its arrays in the block. data was made by `pack`."""
    return _Unpacker(io.BytesIO(data), block).load()

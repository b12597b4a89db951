"""How do two processes look at the same memory?

A process has its memory for itself. But the system can map one piece of memory into
several processes: what one writes, the others read, and nothing is copied.

Such a piece usually has a name, and stays until somebody removes the name. A process
that is killed removes nothing. So the memory here has no name where the system allows
that. It is a file without a name (memfd_create on Linux, a temporary file elsewhere),
and its descriptor is handed to the process that is started. On Windows the memory has a
name, but the system removes it with the last process that uses it.

In both cases the memory is gone when the last process has ended, however it ended.
Linux limits the named memory of containers to 64 MiB by default (/dev/shm). This limit
does not count for memory without a name.

man memfd_create(2); https://docs.python.org/3/library/mmap.html
"""

import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

Handle = int | str
"""How another process finds the memory: a descriptor, or on Windows a name."""


class Shared(NamedTuple):
    """A piece of memory, and how another process finds it."""

    memory: mmap.mmap
    handle: Handle
    descriptors: tuple[int, ...]  # to be passed on to the process


@contextmanager
def shared_memory(size: int) -> Iterator[Shared]:
    """`size` bytes, all 0, for this process and those that are started in the block.

    The memory itself lives on after the block, as long as somebody uses it.

    >>> with shared_memory(16) as shared:
    ...     other = open_shared(shared.handle, 16)  # as another process would
    >>> shared.memory[0] = 7
    >>> other[0]
    7
    """
    if sys.platform == "win32":
        name = f"clip_np-{os.getpid()}-{secrets.token_hex(8)}"
        yield Shared(mmap.mmap(-1, size, tagname=name), name, ())
        return
    descriptor = _file_without_name()
    try:
        os.truncate(descriptor, size)
        yield Shared(mmap.mmap(descriptor, size), descriptor, (descriptor,))
    finally:
        os.close(descriptor)  # the map keeps the memory


def open_shared(handle: Handle, size: int) -> mmap.mmap:
    """The memory of `shared_memory`, in the process that was started."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=str(handle))
    return mmap.mmap(int(handle), size)


def _file_without_name() -> int:
    """The descriptor of a file that no folder lists."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("clip_np")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

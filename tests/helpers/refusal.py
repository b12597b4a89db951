"""A file is refused: the error names it, and that takes little memory and time."""

import contextlib
import time
import tracemalloc

import pytest

from clip_np.files import FileError, read_torch


@contextlib.contextmanager
def peak_below(limit: int):
    """The block takes at most `limit` bytes of memory more than there were in use."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def assert_refused(path, message: str | None = None, read=read_torch, spare: int = 400_000) -> None:
    """`read(path)` raises a FileError, in little time and memory.

    The memory may be three times the size of the file, and `spare` bytes: for what the
    first reading imports, and for the larger objects of a Python without the lock.
    """
    start = time.process_time()
    with peak_below(spare + 3 * path.stat().st_size):
        with pytest.raises(FileError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 5

"""How do two programs keep out of each other's files?

Two runs in one directory would write over each other's checkpoints, and two programs
that add to one index would each lose what the other added. So whoever writes first
opens a *lock file* next to what it guards, and writes its process number into it. The
next one finds the lock held, reads the number, and says so.

The system keeps the lock, not the file: when a process ends, in whatever way, its locks
are gone. A lock file that a dead process left behind stops nobody. Some network disks
cannot lock. There, nobody is kept out.

Linux manual: https://man7.org/linux/man-pages/man2/flock.2.html
Windows: https://docs.python.org/3/library/msvcrt.html#msvcrt.locking
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from clip_np.files.errors import File

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PROCESS_NUMBER_LIMIT = 20
"""Bytes that are read of a lock file: more digits than any process number has."""

LOCKED_BYTE = 1 << 20
"""Where Windows locks the file. Nobody else can read a locked byte, so it lies behind
the process number."""

UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What file systems answer that cannot lock."""


class LockedError(OSError):
    """Another process holds the lock. `process` is its number, or None if unknown."""

    def __init__(self, what: str, process: int | None, path: File) -> None:
        holder = "another process" if process is None else f"process {process}"
        super().__init__(
            f"{what} is in use by {holder} (lock file {path}); wait until it has ended, or end it"
        )
        self.process = process


def lock_path(path: File) -> Path:
    """The lock file that guards a file: next to it, and hidden.

    A link and the file that it leads to have one lock.

    >>> lock_path("photos/index.npz").name
    '.index.npz.lock'
    """
    path = Path(os.path.realpath(path))
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def exclusive(path: File, what: str) -> Iterator[None]:
    """Within the block, no other process can enter a block with the same lock file.

    path is the lock file itself (see `lock_path`); its folder must exist. what says in
    the error what is guarded. The file is removed at the end. The lock holds among the
    threads of one process too: it cannot be entered twice.

    Raises LockedError, at once, if the lock is held, and OSError if `path` is no file
    that could be a lock.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with exclusive(f"{folder}/run.lock", "the run"):
    ...         with exclusive(f"{folder}/run.lock", "the run"):
    ...             pass  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    clip_np.files.locks.LockedError: the run is in use by process 4711 ...
    """
    path = Path(path)
    number = _lock(path, what)
    try:
        yield
    finally:
        _release(path, number)


def _lock(path: Path, what: str) -> int:
    """Open the lock file and lock it: returns the file's number, to be closed."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _refuse_other_files(path, number)
            _lock_number(path, number, what)
            if _is_still_there(path, number):
                _write_process(path, number)
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # removed by its holder between opening and locking: again


def _refuse_other_files(path: Path, number: int) -> None:
    """OSError for a pipe, a device, or a second name of a file: none is emptied."""
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(errno.EINVAL, "a pipe, a device or a linked file, not a lock file", str(path))


def _lock_number(path: Path, number: int, what: str) -> None:
    """Lock an open file, if the file system can. LockedError if it is held."""
    try:
        if sys.platform == "win32":
            os.lseek(number, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            os.lseek(number, 0, os.SEEK_SET)
        else:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise LockedError(what, _read_process(path), path) from error
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _write_process(path: Path, number: int) -> None:
    """Write this process's number into the lock file. A full disk leaves no file."""
    try:
        os.ftruncate(number, 0)
        os.write(number, b"%d\n" % os.getpid())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _release(path: Path, number: int) -> None:
    """Remove the lock file and close it.

    It is removed while it is still held: a program that has opened it meanwhile sees
    that it has gone. Windows removes no file that is open. There, the file stays if
    such a program is as fast.
    """
    if sys.platform == "win32":
        os.close(number)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.unlink()
    else:
        path.unlink(missing_ok=True)
        os.close(number)


def _is_still_there(path: Path, number: int) -> bool:
    """Whether `path` is the name of the open file `number`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(number))
    except FileNotFoundError:
        return False


def _read_process(path: Path) -> int | None:
    """The process number in a lock file, or None if there is none."""
    try:
        with open(path, "rb") as file:
            return int(file.read(PROCESS_NUMBER_LIMIT))
    except (OSError, ValueError):
        return None

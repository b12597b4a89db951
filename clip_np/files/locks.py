"""How do two programs keep out of each other's files?

Two runs in one directory would write over each other's checkpoints, and two programs
that add to one index would each lose what the other added. So whoever writes first
opens a *lock file* next to what it guards, and writes its process number into it. The
next one finds the lock held, reads the number, and says so.

The system keeps the lock (`flock`), not the file: when a process ends, in whatever way,
its locks are gone. A lock file that a dead process left behind stops nobody. Systems
without `flock` get a plainer form: the file's existence is the lock, and it is stale if
no process has its number any more.

Linux manual: https://man7.org/linux/man-pages/man2/flock.2.html
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from clip_np.files.errors import File

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # its absence is asked for below

PROCESS_NUMBER_LIMIT = 20
"""Bytes that are read of a lock file: more digits than any process number has."""

UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What `flock` says on file systems, of some networks, that cannot lock."""


class LockedError(OSError):
    """Another process holds the lock. `process` is its number, or None if unknown."""

    def __init__(self, what: str, process: int | None, path: File) -> None:
        holder = "another process" if process is None else f"process {process}"
        super().__init__(
            f"{what} is in use by {holder} (lock file {path}); wait until it has ended, or end it"
        )
        self.process = process


def lock_path(path: File) -> Path:
    """The lock file that guards a file or a directory: next to it, and hidden.

    >>> str(lock_path("photos/index.npz"))
    'photos/.index.npz.lock'
    """
    path = Path(path)
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def exclusive(path: File, what: str) -> Iterator[None]:
    """Within the block, no other process can enter a block with the same lock file.

    path is the lock file itself (see `lock_path`); its folder must exist. what says in
    the error what is guarded. The file is removed at the end. The lock holds among the
    threads of one process too: it cannot be entered twice.

    Raises LockedError, at once, if the lock is held.

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
    if fcntl is None:
        return _create_lock(path, what)
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_there(path, number):
                os.ftruncate(number, 0)
                os.write(number, b"%d\n" % os.getpid())
                return number
        except OSError as error:
            was_empty = os.fstat(number).st_size == 0
            os.close(number)
            if isinstance(error, BlockingIOError):
                raise LockedError(what, _read_process(path), path) from error
            if error.errno not in UNSUPPORTED:
                raise
            if was_empty:  # it was made by the `open` above
                path.unlink(missing_ok=True)
            return _create_lock(path, what)
        os.close(number)  # removed by its holder between opening and locking: again


def _release(path: Path, number: int) -> None:
    """Remove the lock file and close it.

    With `flock` it is removed while it is still held: a program that has opened it
    meanwhile sees that it has gone. Windows removes no file that is open.
    """
    if fcntl is None:
        os.close(number)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    if fcntl is not None:
        os.close(number)


def _is_still_there(path: Path, number: int) -> bool:
    """Whether `path` is the name of the open file `number`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(number))
    except FileNotFoundError:
        return False


def _create_lock(path: Path, what: str) -> int:
    """The plainer form: make the file, or find that a living process made it."""
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            process = _read_process(path)
            if process is None or _is_alive(process):
                raise LockedError(what, process, path) from None
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # stale: its process ended without removing it
        else:
            os.write(number, b"%d\n" % os.getpid())
            return number


def _read_process(path: Path) -> int | None:
    """The process number in a lock file, or None if there is none."""
    try:
        with open(path, "rb") as file:
            return int(file.read(PROCESS_NUMBER_LIMIT))
    except (OSError, ValueError):
        return None


def _is_alive(process: int) -> bool:
    """Whether a process of this number runs. On doubt, it does."""
    if os.name == "nt":  # there, os.kill would end the process
        return _is_alive_on_windows(process)
    try:
        os.kill(process, 0)  # signal 0 is only a question
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _is_alive_on_windows(process: int) -> bool:
    """Whether Windows can open a process of this number."""
    import ctypes

    query, still_active = 0x1000, 259  # PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]  # on Windows only
    handle = kernel.OpenProcess(query, False, process)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == still_active

"""What becomes of the temporary files of killed programs?

A program that is killed while it writes `model.npz` leaves `.model.npz.1f3a90c2.tmp`,
as large as a model. The next program that writes the same file removes it, if nobody
writes to it any more. How can one know? Whoever writes a temporary file holds a lock on
it (`flock`), and the system takes the lock away when the program ends, however it ends.
So a file whose lock can be had is nobody's.

Between making a file and locking it there is an instant. So a file must be some time
old, too.
"""

import contextlib
import os
import pathlib
import re
import shutil
import stat
import time

try:
    import fcntl
except ImportError:  # Windows: there, the files stay
    fcntl = None  # type: ignore[assignment]  # its absence is asked for below

RANDOM_BYTES = 4  # of a name: two programs that write one file stay apart
YOUNG = 60.0  # seconds; a younger file may be about to be locked


def temporary_name(name: str) -> str:
    """A new name next to a file, hidden, by which `remove_stale` knows it.

    >>> temporary_name("a.npz")  # doctest: +SKIP
    '.a.npz.1f3a90c2.tmp'
    """
    return f".{name}.{os.urandom(RANDOM_BYTES).hex()}.tmp"


def mark_in_use(number: int) -> None:
    """Lock an open file, until it is closed or the program ends."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_stale(path: pathlib.Path, folders: bool = False, age: float = YOUNG) -> None:
    """Remove the temporary files of `path` to which nobody writes any more.

    Only regular files (or, with `folders`, folders) with names of `temporary_name` are
    looked at. What cannot be removed stays: it is in nobody's way. age is how old a
    file must be, in seconds; 0 is for a caller who knows that nobody else writes `path`
    now.
    """
    if fcntl is None:
        return
    digits = f"[0-9a-f]{{{2 * RANDOM_BYTES}}}"
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{digits}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if pattern.fullmatch(name):
                _remove_unless_in_use(path.with_name(name), folders, age)


def _remove_unless_in_use(file: pathlib.Path, is_folder: bool, age: float) -> None:
    with contextlib.suppress(OSError):
        status = file.lstat()
        is_expected = stat.S_ISDIR if is_folder else stat.S_ISREG
        if not is_expected(status.st_mode) or time.time() - status.st_mtime < age:
            return
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            # OSError, which ends the attempt, if the file is in use.
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(file)
            else:
                file.unlink()
        finally:
            os.close(number)

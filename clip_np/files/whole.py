"""How is a file written so that nothing is lost?

A program can be killed at any instant, and a half-written checkpoint is worse than an
old one. So a file is never changed where it lies:

    1. write the new contents to a temporary file in the same folder
    2. fsync: force the contents to the disk
    3. rename the temporary file to the real name: one step, which replaces the old file
    4. fsync the folder: force the new name to the disk

Whoever looks, at any instant, sees the whole old file or the whole new one. Step 2 must
come before step 3: otherwise a power cut can leave the new name with contents that
never arrived. Pillai et al. 2014, "All File Systems Are Not Created Equal", OSDI.

Three things stay as they were: the permissions of a file that is replaced; a link,
since its target is replaced; and what is no regular file. Devices and pipes, such as
/dev/null, are written to. (`stale.py` removes what killed programs leave.)
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from clip_np.files.errors import File
from clip_np.files.stale import mark_in_use, remove_stale, temporary_name

NEW_FILE_MODE = 0o666  # less the umask, as `open` makes files
PERMISSIONS = 0o777  # of a file's mode: no setuid bit comes along


@contextlib.contextmanager
def replace_file(path: File) -> Iterator[BinaryIO]:
    """A binary file to write; it replaces `path` if the block ends without an error.

    After an error the old file is as it was, and the temporary one is removed. OSError,
    naming `path`, if the folder is missing or the disk is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "notes.txt")
    ...     _ = path.write_bytes(b"old")
    ...     with replace_file(path) as file:
    ...         _ = file.write(b"new")
    ...         print(path.read_bytes())
    ...     print(path.read_bytes())
    b'old'
    b'new'
    """
    old = _status(path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with _errors_name(path), _open_device(path, old) as file:
            yield file
        return
    target = pathlib.Path(os.path.realpath(path))  # of a link
    temporary = target.with_name(temporary_name(target.name))
    kept = "nothing is written" if old is None else "the old file is kept"
    with _errors_name(path, temporary, f"; {kept}"):
        try:
            with _create(temporary, old) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                # Still open, so that nobody takes it for one that a dead program left.
                _rename(file, temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    remove_stale(target)


def refuse_to_replace(path: File, inputs: Iterable[File]) -> None:
    """ValueError if a file to be written is one of the files that are read for it.

    Links are followed.

    >>> refuse_to_replace("photos.parquet", inputs=["photos.npz"])
    >>> refuse_to_replace("./a.npz", inputs=["a.npz"])
    Traceback (most recent call last):
    ValueError: ./a.npz: is read for this, and would be replaced; take another name
    """
    target = os.path.realpath(path)
    if any(os.path.realpath(source) == target for source in inputs):
        raise ValueError(f"{path}: is read for this, and would be replaced; take another name")


def make_folder(path: File) -> None:
    """Make a folder, and those that it stands in, unless they are there.

    NotADirectoryError, which names what is in the way, if that is no folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make_folder(f"{place}/runs/first")
    ...     os.listdir(f"{place}/runs")
    ['first']
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        raise NotADirectoryError(
            f"{folder}: cannot be made, because {blocking} is no folder; take another name"
        ) from None


def _status(path: File) -> os.stat_result | None:
    """What is at a path or where its links lead; None if nothing is."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _create(temporary: pathlib.Path, old: os.stat_result | None) -> BinaryIO:
    """Open a new file with the permissions of the old one."""
    mode = NEW_FILE_MODE if old is None else old.st_mode & PERMISSIONS
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    number = os.open(temporary, flags, mode)
    if old is not None and hasattr(os, "fchmod"):
        os.fchmod(number, mode)  # the umask may have taken something away
    mark_in_use(number)
    return os.fdopen(number, "wb")


def _rename(file: BinaryIO, temporary: pathlib.Path, target: pathlib.Path) -> None:
    """The temporary file takes its place. Windows can rename closed files only."""
    if os.name == "nt":
        file.close()
    os.replace(temporary, target)


@contextlib.contextmanager
def _open_device(path: File, status: os.stat_result) -> Iterator[BinaryIO]:
    """A device or a pipe, open for writing: it is written to, never replaced.

    Nothing waits for a reader of a pipe: without one it is an OSError. A disk, a socket
    or a folder is an OSError, too.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, "a folder, where a file is to be written", str(path))
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise OSError(22, "neither a file, nor a pipe or device that takes text", str(path))
    not_waiting = getattr(os, "O_NONBLOCK", 0)  # Windows has no such pipes
    number = os.open(path, os.O_WRONLY | not_waiting)
    if not_waiting:
        os.set_blocking(number, True)
    with os.fdopen(number, "wb") as file:
        yield file


@contextlib.contextmanager
def _errors_name(
    path: File, temporary: pathlib.Path | None = None, kept: str = ""
) -> Iterator[None]:
    """Errors of the system name the file that was asked for, and say what is left.

    Those of a full disk name no file, and others name the temporary one.
    """
    try:
        yield
    except OSError as error:
        is_of_this_file = error.filename is None or str(error.filename) == str(temporary)
        if error.errno is None or not is_of_this_file:
            raise
        raise OSError(error.errno, f"{error.strerror}{kept}", str(path)) from error


def sync_folder(folder: pathlib.Path) -> None:
    """Force the names in a folder to the disk, on systems that can (Windows cannot)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""How do several files change together?

One file can replace another in one step (`whole.py`); several cannot. A program that is
stopped half-way would leave the new weights with the old vocabulary, and nobody would
see it. So there is one step for all of them, and the rest can be done again:

    1. write all files into a hidden folder, `.files.1f3a90c2.tmp`
    2. rename it to `.files.ready`: one step, from which the new files count
    3. move each file to its place, then remove the empty folder

Stopped before step 2, the old files are all there, and the hidden folder is rubbish.
Stopped after it, whoever comes next, to read or to write, does step 3 first: that is
`finish_replacing`, which may be done any number of times.

Where a link stands in place of a file, the save itself writes to the link's target.
`finish_replacing` does not, because the folder may come from a stranger, and the link
may lead to any file of this user.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence

from clip_np.files.errors import File
from clip_np.files.locks import exclusive, lock_path
from clip_np.files.stale import mark_in_use, remove_stale, temporary_name
from clip_np.files.whole import replace_file, sync_folder

NAME = "files"
READY = f".{NAME}.ready"

Obsolete = Mapping[str, Sequence[str]]
"""The name of a file -> names of other files that it makes useless, to be removed."""


@contextlib.contextmanager
def replace_together(folder: File, obsolete: Obsolete) -> Iterator[pathlib.Path]:
    """A folder to write files into; they replace those in `folder`, all or none.

    After an error in the block, `folder` is as it was. LockedError if another program
    replaces files there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = pathlib.Path(name)
    ...     _ = folder.joinpath("a.txt").write_text("old")
    ...     with replace_together(folder, obsolete={}) as new:
    ...         _ = new.joinpath("a.txt").write_text("new")
    ...         _ = new.joinpath("b.txt").write_text("new")
    ...         print(folder.joinpath("a.txt").read_text())
    ...     sorted(path.name for path in folder.iterdir())
    old
    ['a.txt', 'b.txt']
    """
    folder = pathlib.Path(folder)
    with exclusive(lock_path(folder / NAME), f"the folder {folder}"):
        finish_replacing(folder, obsolete)
        staging = folder / temporary_name(NAME)
        staging.mkdir()
        try:
            with _in_use(staging), _errors_name(folder, staging):
                yield staging
                sync_folder(staging)
                os.rename(staging, folder / READY)
        finally:
            shutil.rmtree(staging, ignore_errors=True)  # it is there after errors only
        sync_folder(folder)
        _move_all(folder, obsolete, through_links=True)
        remove_stale(folder / NAME, folders=True)


def finish_replacing(folder: File, obsolete: Obsolete) -> None:
    """Do what a `replace_together` that was stopped has left to do, if there is one.

    OSError, naming the folder, if that is not possible, or if a link is in the way.
    """
    _move_all(pathlib.Path(folder), obsolete, through_links=False)


def _move_all(folder: pathlib.Path, obsolete: Obsolete, through_links: bool) -> None:
    """Move the files that are ready to their places, if there are any."""
    ready = folder / READY
    if not _is_folder(ready):
        return
    try:
        for name in sorted(os.listdir(ready)):
            for useless in obsolete.get(name, ()):
                (folder / useless).unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another program is as fast
                _move(ready / name, folder / name, through_links)
        sync_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            ready.rmdir()
    except OSError as error:
        raise OSError(
            error.errno,
            f"a save was stopped, and its files cannot be moved out of {READY} "
            f"({error.strerror}): mend that, or move them by hand",
            str(folder),
        ) from error


def _is_folder(path: pathlib.Path) -> bool:
    """Whether this is a folder, and no link to one: files of others are not moved."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _move(source: pathlib.Path, target: pathlib.Path, through_links: bool) -> None:
    """Move a regular file. The permissions of a file that it replaces stay."""
    if not stat.S_ISREG(source.lstat().st_mode):
        return
    try:
        old = target.lstat()
    except FileNotFoundError:
        os.replace(source, target)
        return
    if stat.S_ISREG(old.st_mode):
        os.chmod(source, stat.S_IMODE(old.st_mode))
        os.replace(source, target)
        return
    if not through_links:
        raise OSError(errno.ELOOP, f"{target.name} is a link, or no file", str(target))
    with open(source, "rb") as content, replace_file(target) as file:
        shutil.copyfileobj(content, file)
    source.unlink()


@contextlib.contextmanager
def _errors_name(folder: pathlib.Path, staging: pathlib.Path) -> Iterator[None]:
    """Errors of the system name the file that was wanted, not the hidden folder."""
    try:
        yield
    except OSError as error:
        failed = pathlib.Path(str(error.filename))
        if error.errno is None or failed.parent != staging:
            raise
        raise OSError(error.errno, error.strerror, str(folder / failed.name)) from error


@contextlib.contextmanager
def _in_use(folder: pathlib.Path) -> Iterator[None]:
    """Within the block, `remove_stale` leaves the folder alone."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        yield
        return
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        mark_in_use(number)
        yield
    finally:
        os.close(number)

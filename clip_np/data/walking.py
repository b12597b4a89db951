"""Which files lie in a folder, when folders may be links?

People keep large data on another disk and put a link to it into the folder that they
work with. So a link to a folder is entered, as a folder is. Two things are watched for:

    a loop       a link to a folder that it lies in: to enter it would never end
    a copy       a link to a folder that is entered anyway: its files would come twice

A folder is known by its device and its number there (inode), whatever path leads to it.
Folders are entered before links, so the files of a folder have their own names, and not
those by way of a link.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from warnings import warn

from clip_np.data.errors import DataWarning, a_few

Identity = tuple[int, int]


def files_below(folder: Path) -> list[Path]:
    """The regular files in a folder, at any depth, sorted by their POSIX paths.

    Links to folders are entered once, and never into a folder that holds `folder`. A
    warning names those that lead out of `folder`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     (Path(name) / "cats").mkdir()
    ...     _ = (Path(name) / "cats" / "tom.txt").write_text("a cat")
    ...     [path.name for path in files_below(Path(name))]
    ['tom.txt']
    """
    entered = {_identity(parent) for parent in folder.resolve().parents}
    links: list[Path] = []
    locked: list[Path] = []
    outside: list[str] = []
    files = list(_enter(folder, entered, links, locked))
    while links:
        link = links.pop(0)
        if _identity(link) not in entered:
            target = link.resolve()
            if not target.is_relative_to(folder.resolve()):
                outside.append(f"{link} (to {target})")
            files += _enter(link, entered, links, locked)
    if locked:
        warn(
            f"folders that may not be read are left out: {a_few(locked)}", DataWarning, stacklevel=2
        )
    if outside:
        warn(f"links to folders elsewhere are entered: {a_few(outside)}", DataWarning, stacklevel=2)
    # Sorted so that the same seed means the same rows on every system.
    return sorted(files, key=Path.as_posix)


def _enter(
    folder: Path, entered: set[Identity], links: list[Path], locked: list[Path]
) -> Iterator[Path]:
    """The files of a folder and those in it.

    Links to folders are added to `links`, folders that may not be read to `locked`.
    """
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        entered.add(_identity(folder))
        try:
            entries = sorted(folder.iterdir())
        except PermissionError:
            locked.append(folder)
            continue
        for entry in entries:
            if entry.is_dir():
                (links if entry.is_symlink() else waiting).append(entry)
            elif entry.is_file():
                yield entry


def _identity(folder: Path) -> Identity:
    status = os.stat(folder)
    return status.st_dev, status.st_ino

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
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from clip_np.files.errors import File


@contextlib.contextmanager
def replace_file(path: File) -> Iterator[BinaryIO]:
    """A binary file to write; it replaces `path` if the block ends without an error.

    After an error the old file is as it was, and the temporary one is removed. OSError
    if the folder is missing or the disk is full.

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
    path = pathlib.Path(path)
    # The random part keeps two programs that write the same file apart.
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with _create(temporary, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _create(temporary: pathlib.Path, path: pathlib.Path) -> BinaryIO:
    """Open a new file. An error names `path`, the file that the caller asked for."""
    try:
        return open(temporary, "xb")
    except OSError as error:
        error.filename = str(path)
        raise


def _sync_folder(folder: pathlib.Path) -> None:
    """Force the names in a folder to the disk, on systems that can (Windows cannot)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

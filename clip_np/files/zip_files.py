"""How is a zip archive from a stranger opened?

Python's `zipfile` reads the whole table of contents when it opens an archive and makes
an object of some 700 bytes of each entry, which may take 46 bytes in the file. So the
table is refused before it is read, if it is longer than that of any archive of weights.
"""

import contextlib
import io
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from clip_np.files.errors import FileError

DIRECTORY_LIMIT = 4 << 20
"""Bytes of the table of contents. An entry takes about 100, so there is room for 40,000
arrays; the largest published CLIP has fewer than 2,000."""


class _LimitedFile(io.FileIO):
    """A file of which at most `limit` bytes are read in one go; None for any number.

    `zipfile` reads the table of contents in one go, as long as the file says it is.
    """

    limit: int | None = DIRECTORY_LIMIT

    def read(self, size: int | None = -1) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise FileError(f"its table of contents takes {size:,} bytes, more than {self.limit:,}")
        return super().read(-1 if size is None else size)


@contextlib.contextmanager
def open_zip(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive in an open file, for reading in the block.

    It takes a file and not a path: another program may replace a file at any time, and
    then a second opening would find another one.
    FileError for a table of contents over DIRECTORY_LIMIT, BadZipFile for damage.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     with zipfile.ZipFile(file, "w") as archive:
    ...         archive.writestr("a.txt", "some text")
    ...     with open_zip(file) as archive:
    ...         archive.read("a.txt")
    b'some text'
    """
    with _LimitedFile(file.fileno(), closefd=False) as limited, zipfile.ZipFile(limited) as archive:
        limited.limit = None
        yield archive

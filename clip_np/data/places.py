"""Which files may a data set name?

A table names image files. A table from a stranger may name any file: by "..", by an
absolute path, or by a link. What is opened could then be shown on a page or learned. So
all files that a data set names lie in its folder, unless the caller of `open_dataset`
says `allow_outside=True`. They are regular files in any case: a pipe would be waited
for without end.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from clip_np.data.errors import DataError

UNUSUAL = re.compile(r"^/|//|\.\.|^\.|/\.|/$|^$|\0")
"""Names that are absolute, or have parts such as ".." or "."."""


@dataclass(frozen=True)
class Places:
    """Files in `folder`, and with `allow_outside` anywhere.

    >>> Places("photos").path_of("cat.png", table="a.csv line 2")
    'photos/cat.png'
    >>> Places("photos").path_of("../cat.png", table="a.csv line 2")
    Traceback (most recent call last):
    clip_np.data.errors.DataError: a.csv line 2: photos/../cat.png lies outside of ...
    """

    folder: str
    allow_outside: bool = False

    def path_of(self, name: str, table: str) -> str:
        """The path of the file that a table calls `name`.

        Raises DataError, naming the table, for a name that leads out of the folder.
        Links are looked at when the file is opened.
        """
        name = self.native(name)
        # Quick, for a million rows: most names need no look at their parts.
        is_plain = os.sep == "/" and not UNUSUAL.search(name)
        if is_plain and self.folder not in ("", "."):
            return f"{self.folder}/{name}"
        path = str(Path(self.folder) / name)
        lies_inside = _lies_in(os.path.abspath(path), os.path.abspath(self.folder))
        if not (lies_inside or self.allow_outside):
            raise DataError(
                f"{table}: {path} lies outside of {self.folder}: move it there, or pass "
                "`allow_outside` to read files from anywhere"
            )
        return path

    def native(self, name: str) -> str:
        r"""The name with this system's separators; tables from Windows have others.

        >>> Places("photos").native(r"cats\tom.png")
        'cats/tom.png'
        """
        if os.sep == "\\" or "\\" not in name or os.path.lexists(os.path.join(self.folder, name)):
            return name
        return name.replace("\\", "/")

    def is_inside(self, path: str | Path) -> bool:
        """Whether the file lies in the folder when all links are followed."""
        if self.allow_outside:
            return True
        return _lies_in(os.path.realpath(path), os.path.realpath(self.folder))

    def __call__(self, path: str) -> Path:
        """The path of a file that may be opened.

        Raises DataError for another, FileNotFoundError if there is none.
        """
        if not self.is_inside(path):
            raise DataError(
                f"{path} leads outside of {self.folder} (to {os.path.realpath(path)}): move it "
                "there, or pass `allow_outside` to read files from anywhere"
            )
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path} is not a regular file")
        return Path(path)


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

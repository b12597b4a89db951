"""How are a million file names kept so that they need not be read?

As a dictionary they would be a million Python objects, which take seconds to make and
some hundred bytes each. Here they are a few arrays, which are mapped like the features
(see `map_npz`), and one name is decoded when somebody asks for it:

    content   all names in a row, as UTF-8:    a.pngphotos/b.png
    ends      where each name ends:            5        17

The N files that can be read come first, in the order of the features. The others
follow, each with its problem.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, overload

import numpy as np

from clip_np.evaluation.contents import DIGEST_BYTES, UNKNOWN, pack_digests, unpack_digests

# In Python, lone surrogates stand for the bytes of a file name that are no Unicode.
# Here they become again what they stand for.
ENCODING = ("utf-8", sys.getfilesystemencodeerrors())


class IndexedFile(NamedTuple):
    """What an index knows of an image file."""

    size: int  # bytes
    modified: int  # time of the last change, nanoseconds since 1970
    problem: str = ""  # why the image cannot be read
    digest: str = UNKNOWN  # of its content: see `digest_of`

    def is_unchanged(self, now: "IndexedFile") -> bool:
        """Whether the file is as it was, judged by its size and time."""
        return (self.size, self.modified) == (now.size, now.modified)


class Strings(Sequence[str]):
    """Many strings in two arrays: their `content` (uint8), and their `ends` (int64).

    ValueError for arrays that do not fit together, or a string with a NUL in it, which
    no file name has.

    >>> names = Strings.of(["a.png", "photos/b.png"])
    >>> names.ends, names[1]
    (array([ 5, 17]), 'photos/b.png')
    """

    def __init__(self, content: np.ndarray, ends: np.ndarray) -> None:
        if (
            content.dtype != np.uint8
            or ends.dtype != np.int64
            or (content.ndim, ends.ndim) != (1, 1)
        ):
            raise ValueError(
                f"expected rows of uint8 and int64, got {content.dtype} {content.shape} and "
                f"{ends.dtype} {ends.shape}"
            )
        bounds = np.concatenate([[0], ends])
        if bounds[-1] != len(content) or not (bounds[:-1] <= bounds[1:]).all():
            raise ValueError("the ends of its strings are out of order")
        if not content.all():
            raise ValueError("a NUL in a string")
        self.content, self.ends = content, ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Strings":
        """The arrays of some strings."""
        encoded = [string.encode(*ENCODING) for string in strings]
        lengths = [len(string) for string in encoded]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(lengths, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} strings")
        start = int(self.ends[row - 1]) if row else 0
        return self.content[start : int(self.ends[row])].tobytes().decode(*ENCODING)


class FileTable(NamedTuple):
    """The files of an index, M of them; those with a problem come last."""

    folder: str  # names below it are relative to it
    names: Strings
    sizes: np.ndarray  # (M,) int64
    modified: np.ndarray  # (M,) int64
    problems: Strings  # of the last files
    digests: np.ndarray | None = None  # (M, 16) uint8; version 0.1 kept none

    @classmethod
    def of(cls, files: Mapping[str, IndexedFile], folder: str) -> "FileTable":
        """The table of files, by their absolute paths."""
        readable = [path for path, file in files.items() if not file.problem]
        bad = [path for path, file in files.items() if file.problem]
        below = os.path.join(folder, "")  # with the separator at its end
        return cls(
            folder=folder,
            names=Strings.of(path.removeprefix(below) for path in readable + bad),
            sizes=np.array([files[path].size for path in readable + bad], np.int64),
            modified=np.array([files[path].modified for path in readable + bad], np.int64),
            # A NUL has no business in a message.
            problems=Strings.of(files[path].problem.replace("\0", " ") for path in bad),
            digests=pack_digests([files[path].digest for path in readable + bad]),
        )

    def below(self, folder: str) -> "FileTable":
        """The same table with names relative to another folder."""
        return self if folder == self.folder else FileTable.of(self.to_dict(), folder)

    def check(self) -> None:
        """ValueError unless all columns have a row for each file."""
        shapes = {self.sizes.shape, self.modified.shape, (len(self.names),)}
        dtypes = {self.sizes.dtype, self.modified.dtype}
        if (
            len(shapes) > 1
            or dtypes != {np.dtype(np.int64)}
            or len(self.problems) > len(self.names)
        ):
            raise ValueError("its columns do not fit together")
        if self.digests is not None and (
            self.digests.dtype != np.uint8 or self.digests.shape != (len(self.names), DIGEST_BYTES)
        ):
            raise ValueError("its digests do not fit its names")

    @property
    def readable(self) -> int:
        """How many files can be read, N."""
        return len(self.names) - len(self.problems)

    def path(self, row: int) -> str:
        """The absolute path of a file."""
        return os.path.normpath(os.path.join(self.folder, self.names[row]))

    def to_dict(self) -> dict[str, IndexedFile]:
        """All files by their absolute paths: a million take some seconds."""
        problems = [""] * self.readable + list(self.problems)
        if self.digests is None:
            digests = [UNKNOWN] * len(self.names)
        else:
            digests = unpack_digests(self.digests)
        columns = zip(self.sizes.tolist(), self.modified.tolist(), problems, digests)
        return {self.path(row): IndexedFile(*values) for row, values in enumerate(columns)}

"""What has to be kept so that no image is looked at twice?

The features of all images, and for each file enough to know it again. An *index* is

    features   the unit rows (N, E) of the N images that can be read
    files      for each file its path, size, time of change, a digest of its content,
               and any problem with it
    root       the folder that paths are relative to
    model      the path or name of the model that looked at them
    checksum   a fingerprint of that model (see fingerprints.py)
    seal       which shows the user who made the index that it is theirs

A small index is one file. A large one is a file and a folder of parts beside it (see
index_parts.py). So its rows are not one array but several, one after the other, and
whoever needs all of them goes through `parts`.

To open it reads almost nothing: all arrays are mapped (see `map_npz`), so an index of a
million images opens in a moment. What it holds is checked when it is used.

Pictures move. Files below the root are named from there. If the root is the folder of
the index, both may be moved together. If not, `read_index` can be told where the root
is now.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from clip_np.data import Preprocess
from clip_np.evaluation.fingerprints import fingerprint
from clip_np.evaluation.index_parts import Part, PartEntry, digest_of_names, parts_folder
from clip_np.evaluation.index_paths import folder_of, is_below
from clip_np.evaluation.index_table import ENCODING, FileTable, IndexedFile
from clip_np.evaluation.seals import is_sealed
from clip_np.files import FileError, file_errors
from clip_np.model import CLIP


class Growth(NamedTuple):
    """How many images an index gained and lost when it was built."""

    new: int = 0
    changed: int = 0
    gone: int = 0  # they were dropped
    missing: int = 0  # they are not there, and were kept


NOTHING_DONE = Growth()


@dataclass
class Index:
    """What a model saw in image files."""

    parts: list[Part]  # at least one: the last is what the index file itself holds
    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`
    file: str = ""  # the index file, or "" if there is none yet
    seal: str = ""  # see `seals`
    root: str = ""  # as the file says: an absolute path, or "" for the folder of the index
    moved_to: str = ""  # where the user says that the root is now
    growth: Growth = NOTHING_DONE  # when it was built

    def __len__(self) -> int:
        """How many images can be found, N."""
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of each part, and behind the last one the number of rows."""
        return np.cumsum([0, *(part.table.readable for part in self.parts)])  # (parts + 1,)

    @property
    def width(self) -> int:
        """How many numbers a row of features has, E."""
        return int(self.parts[-1].features.shape[1])

    @property
    def folder(self) -> str:
        """The folder that names of files are relative to."""
        return self.parts[-1].table.folder

    @property
    def features(self) -> np.ndarray:
        """All rows as one array, (N, E). If there are several parts, it is a copy."""
        return self.rows(0, len(self))

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows from `first` to before `last`, (last - first, E).

        They are a view if they lie in one part.
        """
        pieces = self.pieces(first, last)
        filled = [piece for piece in pieces if len(piece)]
        return filled[0] if len(filled) == 1 else np.concatenate(pieces)  # (last - first, E)

    def pieces(self, first: int, last: int) -> list[np.ndarray]:
        """The same rows as views, one for each part, which may be empty."""
        return [
            part.features[max(first - start, 0) : max(last - start, 0)]
            for part, start in zip(self.parts, self.starts.tolist())
        ]

    def row(self, number: int) -> np.ndarray:
        """The features of one image, (E,)."""
        return self.rows(number, number + 1)[0]

    def path(self, row: int) -> str:
        """The absolute path of the image of a row of `features`."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        with file_errors(self.file, "damaged"):
            return self.parts[part].table.path(row - int(self.starts[part]))

    @property
    def files(self) -> dict[str, IndexedFile]:
        """All files by their absolute paths; a new dictionary, made in seconds."""
        with file_errors(self.file, "damaged"):
            files = {}
            for part in self.parts:
                files.update(part.table.to_dict())
            return files

    @property
    def paths(self) -> list[str]:
        """The files that can be read, in the order of `features`."""
        with file_errors(self.file, "damaged"):
            tables = [part.table for part in self.parts]
            return [table.path(row) for table in tables for row in range(table.readable)]

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that cannot be read, each with its problem."""
        with file_errors(self.file, "damaged"):
            return {
                part.table.path(part.table.readable + row): problem
                for part in self.parts
                for row, problem in enumerate(part.table.problems)
            }

    @cached_property
    def is_own(self) -> bool:
        """Whether this user wrote the list of files, on this computer."""
        entries = [part.entry for part in self.parts if part.entry]
        content = sealed_content(self.parts[-1].table, self.root, entries)
        return is_sealed(self.seal, content) and all(
            part.entry.digest == digest_of_names(part.table) for part in self.parts if part.entry
        )

    def may_open(self, path: str) -> bool:
        """Whether a file that the index names may be opened without being asked for.

        In this user's own index, every file may. In a stranger's, those that really lie
        below the folder of the index, or below the root that the user has named. What
        the file itself calls its root does not count.
        """
        folders = [folder_of(self.file) if self.file else self.folder]
        if self.moved_to:
            folders.append(self.moved_to)
        return self.is_own or any(is_below(path, folder) for folder in folders)

    @property
    def own_files(self) -> list[str]:
        """The files that hold the index: the index file, and its parts."""
        if not self.file:
            return []
        folder = parts_folder(self.file)
        return [self.file, *(str(folder / part.entry.name) for part in self.parts if part.entry)]

    def check(self, model: CLIP, preprocess: Preprocess) -> "Index":
        """The index itself; ValueError if another model made it.

        FileError if it only claims to be this model's.
        """
        if self.checksum != fingerprint(model, preprocess):
            raise ValueError(
                f"the index holds what another model saw ({self.model}, as it was then); take "
                f"that one, or make a new index with `build_index` ({self.file})"
            )
        width = model.config.embed_dim
        if self.width != width:
            raise FileError(
                f"{self.file}: damaged: its rows have {self.width} numbers, the model's have "
                f"{width}",
                self.file,
            )
        return self


def sealed_content(table: FileTable, root: str, entries: list[PartEntry]) -> list[np.ndarray]:
    """What the seal of an index file vouches for: names, the root, and the parts.

    Of the parts these are the digests of their names. Without a root and parts it is
    the same as in version 0.1, whose seals stay valid.
    """
    content = [table.names.content, table.names.ends]
    if root or entries:
        content.append(np.frombuffer(root.encode(*ENCODING), np.uint8))
    if entries:
        lines = "".join(
            f"{entry.name} {entry.files} {entry.images} {entry.digest}\n" for entry in entries
        )
        content.append(np.frombuffer(lines.encode(), np.uint8))
    return content

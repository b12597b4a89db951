"""How are rows added to an index in a time that does not depend on its size?

A writer holds only what the index file itself holds, the youngest files, and a list of
the parts, which it never opens. Files are added in memory. To save them writes as many
whole parts as they fill, and the index file with the rest (see index_parts.py). So the
work depends on what is added: 32,768 files at most are written a second time.

    writer = open_writer(path)
    writer.add("/photos/a.png", IndexedFile(size, modified), row)
    writer.save()
"""

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clip_np.evaluation.index import Index, sealed_content
from clip_np.evaluation.index_files import (
    Settings,
    may_be_a_part,
    open_part,
    read_index_file,
    write_index_file,
    write_part,
)
from clip_np.evaluation.index_parts import Part, PartEntry, link_part, new_entry
from clip_np.evaluation.index_paths import folder_of
from clip_np.evaluation.index_table import FileTable, IndexedFile
from clip_np.evaluation.seals import is_sealed
from clip_np.files import File, exclusive, file_errors, lock_path

PART_ROWS = 1 << 15
"""Files in a part: 64 MiB of features at 512 numbers.

They are the most that a save writes again, and a part is a mapped file, of which a
process may have about a thousand open.
"""


@dataclass
class IndexWriter:
    """The youngest files of an index, to which others are added, and its parts."""

    path: str  # of the index file
    settings: Settings
    width: int  # of the rows of features, E
    entries: list[PartEntry]  # the parts
    seals: bool = True  # whether the index is this user's
    files: dict[str, IndexedFile] = field(default_factory=dict)  # by their absolute paths
    features: dict[str, np.ndarray] = field(default_factory=dict)  # (E,), of the readable ones

    def add(self, path: str, file: IndexedFile, row: np.ndarray | None) -> None:
        """Add a file, or replace it; row (E,) is None for one that cannot be read."""
        self.features.pop(path, None)
        self.files[path] = file
        if row is not None:
            self.features[path] = row

    def drop(self, path: str) -> None:
        """Forget a file, if it is here."""
        self.files.pop(path, None)
        self.features.pop(path, None)

    def save(self) -> list[PartEntry]:
        """Write the index; the new parts, whose files are no longer here."""
        written = []
        while len(self.files) > PART_ROWS:
            paths = list(itertools.islice(self.files, PART_ROWS))
            entry = write_part(self.path, self.settings, self._part(paths))
            self.entries.append(entry)
            written.append(entry)
            for path in paths:
                self.drop(path)
        last = self._part(list(self.files))
        write_index_file(self.path, self.settings, last, self.entries, self.seals)
        return written

    def open(self, entry: PartEntry) -> Part:
        """A part of the index, mapped. For the errors see `open_part`."""
        return open_part(self.path, self.settings.checksum, self._folder, entry)

    def as_index(self, parts: Iterable[Part]) -> Index:
        """The whole index: the parts, and the files that are here."""
        return Index(
            parts=[*parts, self._part(list(self.files))],
            model=self.settings.model,
            checksum=self.settings.checksum,
            file=self.path,
            root=self.settings.root,
        )

    @property
    def _folder(self) -> str:
        """The folder that names are relative to."""
        return self.settings.root or folder_of(self.path)

    def _part(self, paths: list[str]) -> Part:
        """Some of the files, as a part."""
        table = FileTable.of({path: self.files[path] for path in paths}, self._folder)
        rows = [self.features[path] for path in paths if not self.files[path].problem]
        return Part(table, np.array(rows, np.float32).reshape(-1, self.width))  # (N, E)


def open_writer(path: File, root: File = "") -> IndexWriter:
    """A writer for the index `path`. For `root` and the errors see `read_index`.

    An index of an earlier version may be one file with many rows. It becomes a part as
    it is.
    """
    index, entries = read_index_file(path, root)
    last = index.parts[-1]
    writer = IndexWriter(
        path=str(path),
        settings=Settings(index.model, index.checksum, index.moved_to or index.root),
        width=index.width,
        entries=entries,
        seals=is_sealed(index.seal, sealed_content(last.table, index.root, entries)),
    )
    if len(last.table.names) > PART_ROWS and may_be_a_part(path):
        entry = new_entry(last.table)
        link_part(path, entry)
        entries.append(entry)
        return writer
    with file_errors(path, "damaged"):
        writer.files = last.table.to_dict()
        paths = [last.table.path(row) for row in range(last.table.readable)]
    # A copy. The file that the rows are mapped from is about to be replaced, and
    # Windows replaces no mapped file.
    writer.features = dict(zip(paths, np.array(last.features)))
    return writer


def append_to_index(path: File, files: Mapping[str, IndexedFile], features: np.ndarray) -> None:
    """Add files that were embedded elsewhere to an index.

    files: absolute paths of files that the index does not have yet, which is not
    checked.
    features (N, E): the unit rows of those without a problem, in their order, made by
    the model of the index. The time depends on what is added, not on the size of the
    index. It stays this user's, or a stranger's, as it was.

    The errors are those of `read_index`; LockedError if another program works on the
    index, ValueError for features that do not fit.
    """
    with exclusive(lock_path(path), f"the index {path}"):
        writer = open_writer(path)
        readable = [file for file, entry in files.items() if not entry.problem]
        if features.shape != (len(readable), writer.width):
            raise ValueError(
                f"append_to_index: expected `features` of shape {(len(readable), writer.width)}, "
                f"for the files without a problem, got {features.shape}"
            )
        rows = dict(zip(readable, features))
        for file, entry in files.items():
            writer.add(os.path.abspath(file), entry, rows.get(file))
        writer.save()

"""How does an index grow without losing an hour of work?

To embed 100,000 images takes a ViT-B/32 more than an hour on two cores. So
`build_index` knows an unchanged file by its size and time and does not read it again,
saves its work every minute, and goes on where it was stopped. A lock keeps a second
program from the same index: each would overwrite what the other one added.

An index that a stranger made may list any file of this computer. To grow it would open
these files and make the list this user's own, so one that lists files elsewhere is
refused.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

import numpy as np

from clip_np.data import DataError, Preprocess, a_few
from clip_np.evaluation.folders import embed_files, image_files
from clip_np.evaluation.index import (
    Index,
    fingerprint,
    folder_of,
    is_below,
    read_index,
    write_index,
)
from clip_np.evaluation.index_table import FileTable, IndexedFile
from clip_np.files import File, exclusive, lock_path
from clip_np.model import CLIP

SAVE_SECONDS = 60.0  # the most work that can be lost


def build_index(
    path: File,
    sources: Iterable[File],
    model: CLIP,
    preprocess: Preprocess,
    name: File = "",
    allow_outside: bool = False,
) -> Index:
    """Embed images, given as files and folders, into the index file `path`.

    name: the path or name of the model. If there is an index at `path`, it grows: of
    its files and the new ones, those that are unchanged are not read again, and those
    that are gone are dropped. The index is saved every minute, at the end, and if
    anything ends the work early.

    allow_outside: whether an index that somebody else made may list files outside of
    its folder and of `sources`.

    FileError or ValueError if `path` is no index of this model, or lists such files;
    FileNotFoundError for a source that is missing, DataError for a folder without
    images, LockedError if another program works on the index.
    """
    if not os.path.isdir(folder_of(path)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with exclusive(lock_path(path), f"the index {path}"):
        sources = list(sources)
        growing = _open_or_begin(path, model, preprocess)
        if not (growing.is_own or allow_outside):
            _refuse_files_elsewhere(growing, sources)
        if os.path.exists(name):
            growing.model = os.path.abspath(name)
        elif str(name):
            growing.model = str(name)
        return _grow(growing, sources, model, preprocess)


@dataclass
class _GrowingIndex:
    """An index in memory, to which images are added."""

    path: str  # of the index file
    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`
    width: int  # of the rows of features, E
    is_own: bool  # whether this user made the index
    files: dict[str, IndexedFile]  # by their absolute paths
    features: dict[str, np.ndarray]  # path -> (E,), of the files that can be read

    def drop_changed(self, now: Mapping[str, IndexedFile]) -> None:
        """Forget the files that are gone, or are not as they were."""
        self.files = {
            file: entry
            for file, entry in self.files.items()
            if file in now and entry.is_unchanged(now[file])
        }

    def add(self, file: str, now: IndexedFile, result: np.ndarray | DataError) -> None:
        """Add an image with its features (E,), or with what is wrong with it."""
        if isinstance(result, DataError):
            self.files[file] = now._replace(problem=str(result))
        else:
            self.files[file] = now
            self.features[file] = result

    def save(self) -> Index:
        """Write the index file."""
        rows = [self.features[file] for file, entry in self.files.items() if not entry.problem]
        index = Index(
            table=FileTable.of(self.files, folder_of(self.path)),
            features=np.array(rows, np.float32).reshape(-1, self.width),  # (N, E)
            model=self.model,
            checksum=self.checksum,
            file=self.path,
        )
        write_index(self.path, index)
        return index


def _open_or_begin(path: File, model: CLIP, preprocess: Preprocess) -> _GrowingIndex:
    """The index at `path`, which must be this model's, or an empty one."""
    growing = _GrowingIndex(
        path=str(path),
        model="",
        checksum=fingerprint(model, preprocess),
        width=model.config.embed_dim,
        is_own=True,
        files={},
        features={},
    )
    if os.path.exists(path):
        index = read_index(path).check(model, preprocess)
        growing.model = index.model
        growing.is_own = index.is_own
        growing.files = index.files
        # A copy. The file that the rows are mapped from is about to be replaced, and
        # Windows replaces no mapped file.
        growing.features = dict(zip(index.paths, np.array(index.features)))
    return growing


def _refuse_files_elsewhere(growing: _GrowingIndex, sources: list[File]) -> None:
    """ValueError if a stranger's index lists files that the user did not name."""
    folders = [folder_of(growing.path), *map(str, sources)]
    elsewhere = [
        file for file in growing.files if not any(is_below(file, folder) for folder in folders)
    ]
    if elsewhere:
        raise ValueError(
            f"{growing.path}: lists {len(elsewhere):,} files outside of its folder, and is not "
            f"known to be yours ({a_few(elsewhere)}); name their folders too, or `allow_outside`"
        )


def _grow(
    growing: _GrowingIndex, sources: list[File], model: CLIP, preprocess: Preprocess
) -> Index:
    """Bring the index up to date, and save it as it grows."""
    remaining = [file for file in growing.files if os.path.exists(file)]
    requested = [os.path.abspath(file) for file in image_files(sources)]
    now = {file: _look_at(file) for file in remaining + requested}
    growing.drop_changed(now)
    new = [file for file in now if file not in growing.files]
    saved = growing.save()  # a folder that cannot be written to is noticed before the work
    saved_at, is_saved = monotonic(), True
    try:
        for file, result in embed_files(model, preprocess, new):
            growing.add(file, now[file], result)
            is_saved = False
            if monotonic() > saved_at + SAVE_SECONDS:
                saved = growing.save()
                saved_at, is_saved = monotonic(), True
    finally:
        if not is_saved:
            saved = growing.save()
    return saved


def _look_at(file: str) -> IndexedFile:
    """The file's size and time now; FileNotFoundError if it is missing."""
    status = os.stat(file)
    return IndexedFile(size=status.st_size, modified=status.st_mtime_ns)

"""How does an index grow without losing an hour of work?

To embed 100,000 images takes a ViT-B/32 more than an hour on two cores. So
`build_index` knows an unchanged file by its size and time and does not read it again,
and a file that was moved or copied by its content. It saves its work every minute, and
goes on where it was stopped. What is full is not written again: an image that goes or
changes has only its part written anew (index_parts.py). A lock keeps a second program
from the same index: each would overwrite what the other one added.

A folder that is not there may be on a disk that is not plugged in. So only files in
folders that are named count as gone when they are missing. The others stay in the
index, and are counted.

An index that a stranger made may list any file of this computer. To grow it would open
these files and make the list this user's own, so one that lists files elsewhere is
refused.
"""

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from clip_np.data import DataError, Preprocess, a_few
from clip_np.evaluation.contents import UNKNOWN, digest_of
from clip_np.evaluation.fingerprints import fingerprint
from clip_np.evaluation.folders import image_files
from clip_np.evaluation.index import NOTHING_DONE, Growth, Index
from clip_np.evaluation.index_files import Settings, read_index
from clip_np.evaluation.index_parts import Part, PartEntry
from clip_np.evaluation.index_paths import folder_of, is_below, is_inside
from clip_np.evaluation.index_table import IndexedFile
from clip_np.evaluation.index_writer import IndexWriter, open_writer
from clip_np.evaluation.rank_embedding import ConnectedRank, embed_files_over
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
    root: File = "",
    drop_missing: bool = False,
    comm: ConnectedRank | None = None,
) -> Index:
    """Embed images, given as files and folders, into the index file `path`.

    name: the path or name of the model. If there is an index at `path`, it grows: of
    the files in `sources`, those that are unchanged are not read again, and those that
    are gone are dropped. Files elsewhere stay as they are; drop_missing drops those of
    them that are not there. The index is saved every minute, at the end, and if
    anything ends the work early. Its `growth` counts what was done.

    root: the folder that paths are relative to, or where it is now if it was moved. A
    new index chooses the folder that the sources have in common, unless they lie below
    the folder of the index.

    allow_outside: whether an index that somebody else made may list files outside of
    its folder, of `root` and of `sources`.

    comm: connects this rank, rank 0, with others that embed images too. They call
    `help_to_embed`.

    FileError or ValueError if `path` is no index of this model, or lists such files;
    FileNotFoundError for a source that is missing, DataError for a folder without
    images, LockedError if another program works on the index.
    """
    if not os.path.isdir(folder_of(path)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with exclusive(lock_path(path), f"the index {path}"):
        sources = list(sources)
        growing = _open_or_begin(path, model, preprocess, str(root))
        writer = growing.writer
        if not (writer.settings.root or growing.files):
            common = _common_folder(sources, folder_of(path))
            writer.settings = writer.settings._replace(root=common)
        if not (growing.is_own or allow_outside):
            _refuse_files_elsewhere(growing, sources, str(root))
        if os.path.exists(name):
            writer.settings = writer.settings._replace(model=os.path.abspath(name))
        elif str(name):
            writer.settings = writer.settings._replace(model=str(name))
        return _grow(growing, sources, model, preprocess, drop_missing, comm)


@dataclass
class _GrowingIndex:
    """An index to which images are added, with a list of all its files in memory."""

    writer: IndexWriter  # with the youngest files
    is_own: bool  # whether this user made the index
    parts: dict[str, Part] = field(default_factory=dict)  # the others, by their names
    files: dict[str, IndexedFile] = field(default_factory=dict)  # all, by absolute paths
    features: dict[str, np.ndarray] = field(default_factory=dict)  # (E,), of the readable
    part_of: dict[str, str] = field(default_factory=dict)  # path -> name, if in a part
    growth: Growth = NOTHING_DONE

    def drop(self, paths: Iterable[str]) -> int:
        """Forget files; how many there were."""
        dropped = 0
        for path in paths:
            if self.files.pop(path, None) is None:
                continue
            self.features.pop(path, None)
            self._take_out(path)
            self.writer.drop(path)
            dropped += 1
        return dropped

    def add(self, file: str, now: IndexedFile, result: np.ndarray | DataError) -> None:
        """Put in an image with its features (E,), or with what is wrong with it."""
        self.features.pop(file, None)
        if isinstance(result, DataError):
            self.files[file] = now._replace(problem=str(result))
        else:
            self.files[file] = now
            self.features[file] = result
        self._take_out(file)
        self.writer.add(file, self.files[file], self.features.get(file))

    def _take_out(self, path: str) -> None:
        """Dissolve the part that a file is in: its others are to be written anew."""
        name = self.part_of.pop(path, None)
        if name is None:
            return
        part = self.parts.pop(name)
        entries = self.writer.entries
        entries[:] = [entry for entry in entries if entry.name != name]
        for other in map(part.table.path, range(len(part.table.names))):
            if self.part_of.get(other) == name:
                del self.part_of[other]
                self.writer.add(other, self.files[other], self.features.get(other))

    def keep(self, entry: PartEntry, part: Part) -> None:
        """List a part that lies on the disk, with rows that are mapped."""
        self.parts[entry.name] = part
        self.files.update(part.table.to_dict())
        paths = [part.table.path(row) for row in range(len(part.table.names))]
        self.features.update(zip(paths, part.features))
        self.part_of.update(dict.fromkeys(paths, entry.name))

    def save(self) -> Index:
        """Write what is new, and the index file."""
        for entry in self.writer.save():
            self.keep(entry, self.writer.open(entry))
        index = self.writer.as_index(self.parts.values())
        index.growth = self.growth
        return index


def _common_folder(sources: Sequence[File], folder: str) -> str:
    """The folder that all sources lie below, if the index in `folder` is apart from it.

    "" if there is none, or if sources lie below the folder of the index: then it is the
    root. The whole disk does not count.
    """
    paths = [os.path.abspath(source) for source in sources]
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths]
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # none, or on several drives
        return ""
    is_apart = not is_inside(folder, common) and not any(is_inside(path, folder) for path in paths)
    return common if is_apart and os.path.dirname(common) != common else ""


def _open_or_begin(path: File, model: CLIP, preprocess: Preprocess, root: str) -> _GrowingIndex:
    """The index at `path`, which must be this model's, or an empty one."""
    if not os.path.exists(path):
        settings = Settings(
            model="",
            checksum=fingerprint(model, preprocess),
            root=os.path.abspath(root) if root else "",
        )
        writer = IndexWriter(str(path), settings, width=model.config.embed_dim, entries=[])
        return _GrowingIndex(writer, is_own=True)
    index = read_index(path, root).check(model, preprocess)
    growing = _GrowingIndex(open_writer(path, root), index.is_own)
    del index  # its file is about to be replaced, and must not be mapped
    writer = growing.writer
    for entry in writer.entries:
        growing.keep(entry, writer.open(entry))
    writer.seals = True
    growing.files.update(writer.files)
    growing.features.update(writer.features)
    return growing


def _refuse_files_elsewhere(growing: _GrowingIndex, sources: list[File], root: str) -> None:
    """ValueError if a stranger's index lists files that the user did not name."""
    path = growing.writer.path
    folders = [folder_of(path), *map(str, sources)] + ([root] if root else [])
    elsewhere = [
        file for file in growing.files if not any(is_below(file, folder) for folder in folders)
    ]
    if elsewhere:
        raise ValueError(
            f"{path}: lists {len(elsewhere):,} files outside of its folder, and is not "
            f"known to be yours ({a_few(elsewhere)}); name their folders too, or `allow_outside`"
        )


def _grow(
    growing: _GrowingIndex,
    sources: list[File],
    model: CLIP,
    preprocess: Preprocess,
    drop_missing: bool,
    comm: ConnectedRank | None,
) -> Index:
    """Bring the index up to date, and save it as it grows."""
    now = {file: _look_at(file) for file in map(os.path.abspath, image_files(sources))}
    folders = [os.path.abspath(source) for source in sources]
    elsewhere = [file for file in growing.files if file not in now]
    gone = [file for file in elsewhere if any(is_inside(file, folder) for folder in folders)]
    missing = [file for file in set(elsewhere) - set(gone) if not os.path.exists(file)]
    changes = [file for file, entry in now.items() if not _is_known(growing, file, entry)]
    new = sum(file not in growing.files for file in changes)
    to_see = _recognise(growing, changes, now)  # also by those that are about to be dropped
    growing.growth = Growth(
        new=new,
        changed=len(changes) - new,
        gone=growing.drop([*gone, *missing] if drop_missing else gone),
        missing=0 if drop_missing else len(missing),
    )
    saved = growing.save()  # a folder that cannot be written to is noticed before the work
    saved_at, is_saved = monotonic(), True
    try:
        for file, result in embed_files_over(comm, model, preprocess, to_see):
            growing.add(file, now[file]._replace(digest=digest_of(file)), result)
            is_saved = False
            if monotonic() > saved_at + SAVE_SECONDS:
                saved = growing.save()
                saved_at, is_saved = monotonic(), True
    finally:
        if not is_saved:
            saved = growing.save()
    return saved


def _is_known(growing: _GrowingIndex, file: str, now: IndexedFile) -> bool:
    """Whether the index has a file as it is now."""
    return file in growing.files and growing.files[file].is_unchanged(now)


def _recognise(
    growing: _GrowingIndex, changes: list[str], now: Mapping[str, IndexedFile]
) -> list[str]:
    """Take over the features of equal files; the files that must be looked at."""
    known = {
        entry.digest: growing.features[file]
        for file, entry in growing.files.items()
        if entry.digest and file in growing.features
    }
    # To read a file takes a while. One of another size than all known ones is new.
    sizes = {entry.size for entry in growing.files.values() if entry.digest}
    remaining = []
    for file in changes:
        digest = digest_of(file) if now[file].size in sizes else UNKNOWN
        if digest in known:
            growing.add(file, now[file]._replace(digest=digest), known[digest])
        else:
            remaining.append(file)
    return remaining


def _look_at(file: str) -> IndexedFile:
    """The file's size and time now; FileNotFoundError if it is missing."""
    status = os.stat(file)
    return IndexedFile(size=status.st_size, modified=status.st_mtime_ns)

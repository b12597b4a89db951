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
from collections.abc import Iterable
from time import monotonic

import numpy as np

from clip_np.data import DataError, Preprocess, a_few
from clip_np.evaluation.folders import embed_files, image_files
from clip_np.evaluation.index import Index, fingerprint, folder_of, read_index, write_index
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
        index = _open_or_begin(path, model, preprocess)
        if not allow_outside:
            _refuse_files_elsewhere(index, sources)
        if os.path.exists(name):
            index.model = os.path.abspath(name)
        elif str(name):
            index.model = str(name)
        return _grow(index, path, sources, model, preprocess)


def _open_or_begin(path: File, model: CLIP, preprocess: Preprocess) -> Index:
    """The index at `path`, which must be this model's, or an empty one."""
    if os.path.exists(path):
        return read_index(path).check(model, preprocess)
    nothing = np.empty((0, model.config.embed_dim), np.float32)
    table = FileTable.of({}, folder_of(path))
    return Index(table, nothing, model="", checksum=fingerprint(model, preprocess), file=str(path))


def _refuse_files_elsewhere(index: Index, sources: list[File]) -> None:
    """ValueError if a stranger's index lists files that the user did not name."""
    if index.is_own:
        return
    named = [str(source) for source in sources]
    elsewhere = [path for path in index.files if not index.may_open(path, named)]
    if elsewhere:
        raise ValueError(
            f"{index.file}: lists {len(elsewhere):,} files outside of its folder, and is not "
            f"known to be yours ({a_few(elsewhere)}); name their folders too, or `allow_outside`"
        )


def _grow(
    index: Index, path: File, sources: list[File], model: CLIP, preprocess: Preprocess
) -> Index:
    """Bring the index up to date, and save it as it grows."""
    files = index.files
    # A copy: the file that the rows are mapped from is about to be replaced.
    features = dict(zip(index.paths, np.array(index.features)))  # path -> (E,)
    remaining = [file for file in files if os.path.exists(file)]
    requested = [os.path.abspath(file) for file in image_files(sources)]
    now = {file: _look_at(file) for file in remaining + requested}
    files = {
        file: entry
        for file, entry in files.items()
        if file in now and entry.is_unchanged(now[file])
    }

    def save() -> Index:
        rows = [features[file] for file, entry in files.items() if not entry.problem]
        grown = Index(
            table=FileTable.of(files, folder_of(path)),
            features=np.array(rows, np.float32).reshape(-1, model.config.embed_dim),  # (N, E)
            model=index.model,
            checksum=index.checksum,
            file=str(path),
        )
        write_index(path, grown)
        return grown

    saved = save()  # a folder that cannot be written to is noticed before the work
    saved_at, is_saved = monotonic(), True
    new = [file for file in now if file not in files]
    try:
        for file, result in embed_files(model, preprocess, new):
            if isinstance(result, DataError):
                files[file] = now[file]._replace(problem=str(result))
            else:
                files[file] = now[file]
                features[file] = result
            is_saved = False
            if monotonic() > saved_at + SAVE_SECONDS:
                saved = save()
                saved_at, is_saved = monotonic(), True
    finally:
        if not is_saved:
            saved = save()
    return saved


def _look_at(file: str) -> IndexedFile:
    """The file's size and time now; FileNotFoundError if it is missing."""
    status = os.stat(file)
    return IndexedFile(size=status.st_size, modified=status.st_mtime_ns)

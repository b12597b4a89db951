"""What has to be kept so that no image is looked at twice?

The features of all images, and for each file enough to know it again. An *index* is one
file with

    features   the unit rows (N, E) of the N images that can be read
    files      for each file its path, size and time of change, and any problem with it
    model      the path or name of the model that looked at them
    checksum   a fingerprint of that model

A ViT-B/32 needs more than an hour on two cores to embed 100,000 images. So
`build_index` knows an unchanged file by its size and time and does not read it again,
saves its work every minute, and goes on where it was stopped. Features of different
models have nothing in common, so an index belongs to one model, which its fingerprint
tells from all others.
"""

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

import numpy as np

from clip_np.data import DataError, Preprocess
from clip_np.evaluation.folders import embed_files, image_files
from clip_np.files import File, file_errors, read_archive, write_archive
from clip_np.model import CLIP

SAVE_SECONDS = 60.0  # the most work that can be lost
LENGTH_TOLERANCE = 2e-3  # of a squared length; rounding to float32 is far smaller
KIND = "index"  # what the file calls itself


class IndexedFile(NamedTuple):
    """What an index knows of an image file."""

    size: int  # bytes
    modified: int  # time of the last change, nanoseconds since 1970
    problem: str = ""  # why the image cannot be read

    def is_unchanged(self, now: "IndexedFile") -> bool:
        """Whether the file is as it was, judged by its size and time.

        >>> before = IndexedFile(size=9, modified=100)
        >>> before.is_unchanged(now=IndexedFile(size=9, modified=200))
        False
        """
        return (self.size, self.modified) == (now.size, now.modified)


@dataclass
class Index:
    """What a model saw in image files."""

    files: dict[str, IndexedFile]  # by absolute path
    features: np.ndarray  # (N, E) float32, unit rows, of the N `paths`
    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`

    @property
    def paths(self) -> list[str]:
        """The files that can be read, in the order of `features`."""
        return [path for path, file in self.files.items() if not file.problem]

    def check(self, model: CLIP, preprocess: Preprocess) -> "Index":
        """The index itself; ValueError if another model made it."""
        if self.checksum != fingerprint(model, preprocess):
            raise ValueError(
                f"the index holds what another model saw ({self.model}, as it was then); "
                "take that one, or make a new index with `build_index`"
            )
        return self


def fingerprint(model: CLIP, preprocess: Preprocess) -> str:
    """Eight hexadecimal digits that tell models apart.

    They are a checksum of all that features depend on: sizes, weights, and
    preprocessing.
    """
    checksum = zlib.crc32(f"{model.config} {preprocess}".encode())
    for parameter in model.parameters():
        checksum = zlib.crc32(np.ascontiguousarray(parameter.numpy()).data, checksum)
    return f"{checksum:08x}"


def build_index(
    path: File, sources: Iterable[File], model: CLIP, preprocess: Preprocess, name: File = ""
) -> Index:
    """Embed images, given as files and folders, into the index file `path`.

    name: the path or name of the model. If there is an index at `path`, it grows: of
    its files and the new ones, those that are unchanged are not read again, and those
    that are gone are dropped. The index is saved every minute, at the end, and if
    anything ends the work early.

    FileError or ValueError if `path` is not an index of this model, FileNotFoundError
    for a source that is missing, DataError for a folder without images.
    """
    index = _open_or_begin(path, model, preprocess)
    if os.path.exists(name):
        index.model = os.path.abspath(name)
    elif str(name):
        index.model = str(name)
    remaining = [file for file in index.files if os.path.exists(file)]
    requested = [os.path.abspath(file) for file in image_files(sources)]
    now = {file: _look_at(file) for file in remaining + requested}

    features = dict(zip(index.paths, index.features))  # path -> (E,)
    index.files = {
        file: entry
        for file, entry in index.files.items()
        if file in now and entry.is_unchanged(now[file])
    }

    def save() -> None:
        rows = [features[file] for file in index.paths]
        index.features = np.array(rows, np.float32).reshape(-1, model.config.embed_dim)  # (N, E)
        write_index(path, index)

    save()  # a folder that cannot be written to is noticed before the work
    saved_at = monotonic()
    is_saved = True
    new = [file for file in now if file not in index.files]
    try:
        for file, result in embed_files(model, preprocess, new):
            if isinstance(result, DataError):
                index.files[file] = now[file]._replace(problem=str(result))
            else:
                index.files[file] = now[file]
                features[file] = result
            is_saved = False
            if monotonic() > saved_at + SAVE_SECONDS:
                save()
                saved_at = monotonic()
                is_saved = True
    finally:
        if not is_saved:
            save()
    return index


def _open_or_begin(path: File, model: CLIP, preprocess: Preprocess) -> Index:
    """The index at `path`, which must be this model's, or an empty one."""
    if os.path.exists(path):
        return read_index(path).check(model, preprocess)
    nothing = np.empty((0, model.config.embed_dim), np.float32)
    return Index(files={}, features=nothing, model="", checksum=fingerprint(model, preprocess))


def _look_at(file: str) -> IndexedFile:
    """The file's size and time now; FileNotFoundError if it is missing."""
    status = os.stat(file)
    return IndexedFile(size=status.st_size, modified=status.st_mtime_ns)


def write_index(path: File, index: Index) -> None:
    """Write an index file, whole or not at all.

    Files below the folder of the index are named from there, so that the folder may be
    moved together with its images.
    """
    folder = os.path.join(_folder_of(path), "")  # with the separator at its end
    files = [
        [file.removeprefix(folder), entry.size, entry.modified, entry.problem]
        for file, entry in index.files.items()
    ]
    header = {"model": index.model, "checksum": index.checksum, "files": files}
    write_archive(path, KIND, header, {"features": index.features})


def read_index(path: File) -> Index:
    """Open an index file.

    FileNotFoundError if there is none, FileError if the file is something else.
    """
    header, arrays = read_archive(path, KIND)
    folder = _folder_of(path)
    with file_errors(path, "no index of clip_np"):
        files = {}
        for name, size, modified, problem in header["files"]:
            file = os.path.normpath(os.path.join(folder, name))
            files[file] = IndexedFile(int(size), int(modified), str(problem))
        index = Index(
            files=files,
            features=arrays["features"],
            model=str(header["model"]),
            checksum=str(header["checksum"]),
        )
        _check_features(index)
    return index


def _check_features(index: Index) -> None:
    """ValueError unless there is a unit row of float32 for each path."""
    features = index.features
    squared_lengths = np.einsum("ne,ne->n", features, features)  # (N,)
    are_unit_rows = features.dtype == np.float32 and np.allclose(
        squared_lengths, 1, atol=LENGTH_TOLERANCE
    )
    if not are_unit_rows or len(features) != len(index.paths):
        raise ValueError(
            f"expected {len(index.paths)} unit rows of float32, "
            f"got {features.dtype} {features.shape}"
        )


def _folder_of(path: File) -> str:
    """The absolute path of the folder that a file lies in."""
    return os.path.dirname(os.path.abspath(path))

"""What has to be kept so that no image is looked at twice?

The features of all images, and for each file enough to know it again. An *index* is one
file with

    features   the unit rows (N, E) of the N images that can be read
    files      for each file its path, size, time of change, a digest of its content,
               and any problem with it
    root       the folder that paths are relative to
    model      the path or name of the model that looked at them
    checksum   a fingerprint of that model
    seal       which shows the user who made the index that it is theirs

To open it reads almost nothing: all arrays are mapped (see `map_npz`), so an index of a
million images opens in a moment. What it holds is checked when it is used.

Pictures move. Files below the root are named from there. If the root is the folder of
the index, both may be moved together. If not, `read_index` can be told where the root
is now.

Features of different models have nothing in common, so an index belongs to one model,
which its fingerprint tells from all others.
"""

import dataclasses
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from clip_np.data import Preprocess
from clip_np.evaluation.index_table import ENCODING, FileTable, IndexedFile, Strings
from clip_np.evaluation.old_index import parse_old_header
from clip_np.evaluation.seals import is_sealed, make_seal
from clip_np.files import (
    File,
    FileError,
    file_errors,
    map_npz,
    open_zip,
    parse_json,
    write_mapped_npz,
)
from clip_np.model import CLIP

FORMAT = "clip_np index 2"  # what the file calls itself
HEADER_LIMIT = 1 << 20  # bytes; a header holds a path, a checksum and a seal
CHECKED_ROWS = 256  # that are measured when an index is opened, evenly spread
LENGTH_TOLERANCE = 2e-3  # of the squared length of a unit row in float32


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

    table: FileTable
    features: np.ndarray  # (N, E) float32, unit rows, of the N files that can be read
    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`
    file: str = ""  # the index file, or "" if there is none yet
    seal: str = ""  # see `seals`
    root: str = ""  # as the file says: an absolute path, or "" for the folder of the index
    moved_to: str = ""  # where the user says that the root is now
    growth: Growth = NOTHING_DONE  # when it was built

    def __len__(self) -> int:
        """How many images can be found, N."""
        return self.table.readable

    def path(self, row: int) -> str:
        """The absolute path of the image of a row of `features`."""
        with file_errors(self.file, "damaged"):
            return self.table.path(row)

    @property
    def files(self) -> dict[str, IndexedFile]:
        """All files by their absolute paths; a new dictionary, made in seconds."""
        with file_errors(self.file, "damaged"):
            return self.table.to_dict()

    @property
    def paths(self) -> list[str]:
        """The files that can be read, in the order of `features`."""
        return [self.path(row) for row in range(len(self))]

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that cannot be read, each with its problem."""
        with file_errors(self.file, "damaged"):
            table = self.table
            return {
                table.path(len(self) + row): problem for row, problem in enumerate(table.problems)
            }

    @cached_property
    def is_own(self) -> bool:
        """Whether this user wrote the list of files, on this computer."""
        return is_sealed(self.seal, _sealed_content(self.table, self.root))

    def may_open(self, path: str) -> bool:
        """Whether a file that the index names may be opened without being asked for.

        In this user's own index, every file may. In a stranger's, those that really lie
        below the folder of the index, or below the root that the user has named. What
        the file itself calls its root does not count.
        """
        folders = [folder_of(self.file) if self.file else self.table.folder]
        if self.moved_to:
            folders.append(self.moved_to)
        return self.is_own or any(is_below(path, folder) for folder in folders)

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
        if self.features.shape[1] != width:
            raise FileError(
                f"{self.file}: damaged: its rows have {self.features.shape[1]} numbers, "
                f"the model's have {width}",
                self.file,
            )
        return self


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, as written and after all links.

    >>> is_below("/photos/a.png", "/photos"), is_below("/photos/../a.png", "/photos")
    (True, False)
    """
    as_written = is_inside(os.path.abspath(path), os.path.abspath(folder))
    # A path that already reads as foreign is not followed: on Windows, it may name
    # another computer.
    return as_written and is_inside(os.path.realpath(path), os.path.realpath(folder))


def is_inside(path: str, folder: str) -> bool:
    """Whether a normal absolute path is a folder or lies below it, as written."""
    return path == folder or path.startswith(os.path.join(folder, ""))


# Fields that version 0.1 did not have. At their defaults they are left out, so that the
# indexes of that version stay valid.
LATER_FIELDS = {"kind", "logit_bias", "squash"}


def _described(settings: Any) -> str:
    """The text of a dataclass, as `repr` but for later fields at their defaults.

    >>> _described(Preprocess(8, mean=(0, 0, 0), std=(1, 1, 1)))
    'Preprocess(size=8, convert_first=False, mean=(0, 0, 0), std=(1, 1, 1))'
    """
    if not dataclasses.is_dataclass(settings):
        return repr(settings)
    entries = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if not (field.name in LATER_FIELDS and value == field.default):
            entries.append(f"{field.name}={_described(value)}")
    return f"{type(settings).__name__}({', '.join(entries)})"


def fingerprint(model: CLIP, preprocess: Preprocess) -> str:
    """Eight hexadecimal digits that tell models apart.

    They are a checksum of all that features depend on: sizes, weights, and
    preprocessing.
    """
    checksum = zlib.crc32(f"{_described(model.config)} {_described(preprocess)}".encode())
    tensors = [*model.parameters(), *(buffer for _, buffer in model.named_buffers())]
    for tensor in tensors:
        checksum = zlib.crc32(np.ascontiguousarray(tensor.numpy()).data, checksum)
    return f"{checksum:08x}"


def write_index(path: File, index: Index) -> None:
    """Write an index file, whole or not at all, sealed as this user's.

    Files below the root are named from there. The root is a named one, or the folder
    of the index.
    """
    table = index.table
    root = index.moved_to or index.root
    if table.folder != (root or folder_of(path)):
        table = FileTable.of(index.files, root or folder_of(path))
    settings = {
        "format": FORMAT,
        "model": index.model,
        "checksum": index.checksum,
        "root": root,
        "seal": make_seal(_sealed_content(table, root)),
    }
    digests = {} if table.digests is None else {"digests": table.digests}
    arrays = {
        "header": np.frombuffer(json.dumps(settings).encode("ascii"), np.uint8),
        "names": table.names.content,
        "name_ends": table.names.ends,
        "sizes": table.sizes,
        "modified": table.modified,
        "problems": table.problems.content,
        "problem_ends": table.problems.ends,
        **digests,
        "features": index.features,
    }
    write_mapped_npz(path, arrays)


def is_index(path: File) -> bool:
    """Whether a file is meant to be an index: a zip archive with its arrays.

    >>> is_index("nowhere.npz")
    False
    """
    if not os.path.isfile(path):  # a pipe would never end
        return False
    try:
        with file_errors(path, "no zip archive"), open_zip(path) as archive:
            return {"header.npy", "features.npy"} <= set(archive.namelist())
    except FileError:
        return False


def read_index(path: File, root: File = "") -> Index:
    """Open an index file.

    root: where the folder is now that the paths are relative to, if it was moved.
    FileNotFoundError if there is no index, FileError if the file is something else.
    """
    arrays = map_npz(path)
    moved_to = os.path.abspath(root) if str(root) else ""
    with file_errors(path, "no index of clip_np"):
        parse = _parse if "names" in arrays else _parse_old
        index = parse(arrays, str(path), moved_to)
        _check(index)
    return index


def _parse(arrays: Mapping[str, np.ndarray], path: str, moved_to: str) -> Index:
    """The index in the arrays of a file."""
    header = arrays["header"]
    if header.nbytes > HEADER_LIMIT:
        raise FileError(f"its header has {header.nbytes:,} bytes, over {HEADER_LIMIT:,}")
    settings = parse_json(header.tobytes().decode("ascii"))
    if settings["format"] != FORMAT:
        raise ValueError(f"its format is {settings['format']!r}")
    root = _parse_root(str(settings.get("root", "")))
    table = FileTable(
        folder=moved_to or root or folder_of(path),
        names=Strings(arrays["names"], arrays["name_ends"]),
        sizes=arrays["sizes"],
        modified=arrays["modified"],
        problems=Strings(arrays["problems"], arrays["problem_ends"]),
        digests=arrays.get("digests"),
    )
    return Index(
        table=table,
        features=arrays["features"],
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
        seal=str(settings["seal"]),
        root=root,
        moved_to=moved_to,
    )


def _parse_root(root: str) -> str:
    """The root that a file names; "" for a path of another system.

    ValueError for a text that no folder can have as its name.
    """
    if b"\0" in root.encode(*ENCODING):
        raise ValueError("a NUL in the name of its root")
    return root if os.path.isabs(root) else ""


def _parse_old(arrays: Mapping[str, np.ndarray], path: str, moved_to: str) -> Index:
    """The index in the arrays of a file of format 1, which has no seal."""
    settings, files = parse_old_header(arrays)
    folder = folder_of(path)
    return Index(
        table=FileTable.of(files, folder)._replace(folder=moved_to or folder),
        # They are not aligned in an old file, so every product would copy them.
        features=np.array(arrays["features"]),
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
        moved_to=moved_to,
    )


def _check(index: Index) -> None:
    """ValueError unless the table is whole, and there is a unit row for each path.

    Of a large index only some rows are looked at; `search_index` notices the others.
    """
    index.table.check()
    features = index.features
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != len(index):
        raise ValueError(
            f"expected {len(index)} rows of float32, got {features.dtype} {features.shape}"
        )
    some = features[:: len(features) // CHECKED_ROWS + 1]
    with np.errstate(over="ignore", invalid="ignore"):
        squared_lengths = np.einsum("ne,ne->n", some, some)  # (N,)
    if not np.allclose(squared_lengths, 1, atol=LENGTH_TOLERANCE):
        raise ValueError("its rows are no unit rows")


def _sealed_content(table: FileTable, root: str) -> list[np.ndarray]:
    """What the seal of an index vouches for: the names of its files, and its root.

    Without a root it is the same as in version 0.1, whose seals stay valid.
    """
    content = [table.names.content, table.names.ends]
    return [*content, np.frombuffer(root.encode(*ENCODING), np.uint8)] if root else content


def folder_of(path: File) -> str:
    """The absolute path of the folder that a file lies in."""
    return os.path.dirname(os.path.abspath(path))

"""What has to be kept so that no image is looked at twice?

The features of all images, and for each file enough to know it again. An *index* is one
file with

    features   the unit rows (N, E) of the N images that can be read
    files      for each file its path, size and time of change, and any problem with it
    model      the path or name of the model that looked at them
    checksum   a fingerprint of that model
    seal       which shows the user who made the index that it is theirs

To open it reads almost nothing: all arrays are mapped (see `map_npz`), so an index of a
million images opens in a moment. What it holds is checked when it is used.

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
from typing import Any

import numpy as np

from clip_np.data import Preprocess
from clip_np.evaluation.index_table import FileTable, IndexedFile, Strings
from clip_np.evaluation.old_index import parse_old_header
from clip_np.evaluation.seals import is_sealed, make_seal
from clip_np.files import File, FileError, file_errors, map_npz, parse_json, write_mapped_npz
from clip_np.model import CLIP

FORMAT = "clip_np index 2"  # what the file calls itself
HEADER_LIMIT = 1 << 20  # bytes; a header holds a path, a checksum and a seal
CHECKED_ROWS = 256  # that are measured when an index is opened, evenly spread
LENGTH_TOLERANCE = 2e-3  # of the squared length of a unit row in float32


@dataclass
class Index:
    """What a model saw in image files."""

    table: FileTable
    features: np.ndarray  # (N, E) float32, unit rows, of the N files that can be read
    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`
    file: str = ""  # the index file, or "" if there is none yet
    seal: str = ""  # see `seals`

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
        return is_sealed(self.seal, _sealed_content(self.table))

    def may_open(self, path: str) -> bool:
        """Whether a file that the index names may be opened without being asked for.

        In this user's own index, every file may. In a stranger's, those that really lie
        below the folder of the index.
        """
        return self.is_own or is_below(path, self.table.folder)

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
    as_written = _is_prefix(os.path.abspath(folder), os.path.abspath(path))
    # A path that already reads as foreign is not followed: on Windows, it may name
    # another computer.
    return as_written and _is_prefix(os.path.realpath(folder), os.path.realpath(path))


def _is_prefix(folder: str, path: str) -> bool:
    """Whether a normal path begins with the parts of another one."""
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

    Files below the folder of the index are named from there, so that the folder may be
    moved together with its images.
    """
    table = index.table
    if table.folder != folder_of(path):
        table = FileTable.of(index.files, folder_of(path))
    settings = {
        "format": FORMAT,
        "model": index.model,
        "checksum": index.checksum,
        "seal": make_seal(_sealed_content(table)),
    }
    arrays = {
        "header": np.frombuffer(json.dumps(settings).encode("ascii"), np.uint8),
        "names": table.names.content,
        "name_ends": table.names.ends,
        "sizes": table.sizes,
        "modified": table.modified,
        "problems": table.problems.content,
        "problem_ends": table.problems.ends,
        "features": index.features,
    }
    write_mapped_npz(path, arrays)


def read_index(path: File) -> Index:
    """Open an index file.

    FileNotFoundError if there is none, FileError if the file is something else.
    """
    arrays = map_npz(path)
    with file_errors(path, "no index of clip_np"):
        index = _parse(arrays, str(path)) if "names" in arrays else _parse_old(arrays, str(path))
        _check(index)
    return index


def _parse(arrays: Mapping[str, np.ndarray], path: str) -> Index:
    """The index in the arrays of a file."""
    header = arrays["header"]
    if header.nbytes > HEADER_LIMIT:
        raise FileError(f"its header has {header.nbytes:,} bytes, over {HEADER_LIMIT:,}")
    settings = parse_json(header.tobytes().decode("ascii"))
    if settings["format"] != FORMAT:
        raise ValueError(f"its format is {settings['format']!r}")
    table = FileTable(
        folder=folder_of(path),
        names=Strings(arrays["names"], arrays["name_ends"]),
        sizes=arrays["sizes"],
        modified=arrays["modified"],
        problems=Strings(arrays["problems"], arrays["problem_ends"]),
    )
    return Index(
        table=table,
        features=arrays["features"],
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
        seal=str(settings["seal"]),
    )


def _parse_old(arrays: Mapping[str, np.ndarray], path: str) -> Index:
    """The index in the arrays of a file of format 1, which has no seal."""
    settings, files = parse_old_header(arrays)
    return Index(
        table=FileTable.of(files, folder_of(path)),
        # They are not aligned in an old file, so every product would copy them.
        features=np.array(arrays["features"]),
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
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


def _sealed_content(table: FileTable) -> list[np.ndarray]:
    """What the seal of an index vouches for: the names of its files."""
    return [table.names.content, table.names.ends]


def folder_of(path: File) -> str:
    """The absolute path of the folder that a file lies in."""
    return os.path.dirname(os.path.abspath(path))

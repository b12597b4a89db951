"""How is an index written, and what is checked when it is opened?

An index file is an .npz file with a header in JSON, the columns of its table of files,
and the features of the files. Its header may list parts (index_parts.py), which are
files of the same kind without a list of their own.

Everything may come from a stranger. The arrays are mapped, never copied, whatever sizes
they claim; the table is checked as a whole, and of the features a few rows. These lie
together at few places: each place of a file that the system has not kept in memory is a
reading of the disk, of up to 8 MiB. A part must have as many files as the index
says, rows of the same width, and the same model.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from clip_np.evaluation.index import Index, sealed_content
from clip_np.evaluation.index_parts import (
    Part,
    PartEntry,
    entries_to_json,
    new_entry,
    parse_entries,
    parts_folder,
    remove_unused,
)
from clip_np.evaluation.index_paths import folder_of
from clip_np.evaluation.index_table import ENCODING, FileTable, Strings
from clip_np.evaluation.old_index import parse_old_header
from clip_np.evaluation.seals import make_seal
from clip_np.files import (
    File,
    FileError,
    file_errors,
    map_npz,
    open_zip,
    parse_json,
    write_mapped_npz,
)

FORMAT = "clip_np index 2"  # what a file calls itself that is whole in itself
FORMAT_WITH_PARTS = "clip_np index 3"
HEADER_LIMIT = 1 << 20  # bytes; a header holds a path, a seal and a list of parts
CHECKED_PLACES = 4  # evenly spread over an index file, where rows are measured
CHECKED_PLACES_OF_A_PART = 1
CHECKED_ROWS = 8  # that are measured at each place
LENGTH_TOLERANCE = 2e-3  # of the squared length of a unit row in float32


class Settings(NamedTuple):
    """What an index file says of all its files together."""

    model: str  # its path or name, or ""
    checksum: str  # its `fingerprint`
    root: str  # see `Index`


# --- writing --------------------------------------------------------------------------


def write_index(path: File, index: Index) -> None:
    """Write an index, whole or not at all, sealed as this user's.

    Files below the root are named from there. The root is a named one, or the folder
    of the index. All but the last part of the index become parts of the file.
    """
    root = index.moved_to or index.root
    settings = Settings(index.model, index.checksum, root)
    folder = root or folder_of(path)
    *full, last = [part._replace(table=part.table.below(folder)) for part in index.parts]
    entries = [write_part(path, settings, part) for part in full]
    write_index_file(path, settings, last, entries)


def write_part(path: File, settings: Settings, part: Part) -> PartEntry:
    """Write a new part of the index `path`, which does not know of it yet."""
    entry = new_entry(part.table)
    folder = parts_folder(path)
    folder.mkdir(exist_ok=True)
    header = {"format": FORMAT, **settings._asdict(), "seal": ""}  # the index vouches for it
    write_mapped_npz(folder / entry.name, _arrays(header, part))
    return entry


def write_index_file(
    path: File, settings: Settings, last: Part, entries: list[PartEntry], is_sealed: bool = True
) -> None:
    """Replace the index file, then remove the parts that it does not name."""
    content = sealed_content(last.table, settings.root, entries)
    header: dict[str, Any] = {
        "format": FORMAT_WITH_PARTS if entries else FORMAT,
        **settings._asdict(),
        "seal": make_seal(content) if is_sealed else "",
    }
    if entries:
        header["parts"] = entries_to_json(entries)
    write_mapped_npz(path, _arrays(header, last))
    remove_unused(path, entries)


def _arrays(header: Mapping[str, Any], part: Part) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    text = json.dumps(header).encode("ascii")
    if len(text) > HEADER_LIMIT:
        raise ValueError(
            f"the header of the index needs {len(text):,} bytes, over {HEADER_LIMIT:,}"
        )
    table = part.table
    digests = {} if table.digests is None else {"digests": table.digests}
    return {
        "header": np.frombuffer(text, np.uint8),
        "names": table.names.content,
        "name_ends": table.names.ends,
        "sizes": table.sizes,
        "modified": table.modified,
        "problems": table.problems.content,
        "problem_ends": table.problems.ends,
        **digests,
        "features": part.features,
    }


# --- reading --------------------------------------------------------------------------


def is_index(path: File) -> bool:
    """Whether a file is meant to be an index: a zip archive with its arrays.

    >>> is_index("nowhere.npz")
    False
    """
    if not os.path.isfile(path):  # a pipe would never end
        return False
    try:
        with (
            file_errors(path, "no zip archive"),
            open(path, "rb") as file,
            open_zip(file) as archive,
        ):
            return {"header.npy", "features.npy"} <= set(archive.namelist())
    except FileError:
        return False


def read_index(path: File, root: File = "") -> Index:
    """Open an index.

    root: where the folder is now that the paths are relative to, if it was moved.
    FileNotFoundError if there is no index, FileError if the file is something else, or
    if a part of it is missing or does not belong to it.
    """
    index, entries = read_index_file(path, root)
    try:
        return with_parts(index, entries)
    except FileNotFoundError:
        # Another program may have replaced the index since, and removed parts.
        again, entries_now = read_index_file(path, root)
        if entries_now == entries:
            missing = [name for name, *_ in entries if not (parts_folder(path) / name).exists()]
            raise FileError(
                f"{path}: {len(missing)} of its {len(entries)} parts are missing from "
                f"{parts_folder(path)}; that folder belongs to the index: move, copy and rename "
                "both together",
                path,
            ) from None
        return with_parts(again, entries_now)


def may_be_a_part(path: File) -> bool:
    """Whether an index file is whole in itself, and of the format that parts have."""
    arrays = map_npz(path)
    return "names" in arrays and _parse_header(arrays["header"])["format"] == FORMAT


def read_index_file(path: File, root: File = "") -> tuple[Index, list[PartEntry]]:
    """An index with its last part only, and the list of the others.

    The errors are those of `read_index`.
    """
    arrays = map_npz(path)
    moved_to = os.path.abspath(root) if str(root) else ""
    with file_errors(path, "no index of clip_np"):
        if "names" in arrays:
            index, entries = _parse(arrays, str(path), moved_to)
        else:
            index, entries = _parse_old(arrays, str(path), moved_to), []
        _check(index.parts[-1], CHECKED_PLACES)
    return index, entries


def with_parts(index: Index, entries: list[PartEntry]) -> Index:
    """The whole index: the parts of the list, and then the one that the file holds."""
    parts = []
    for entry in entries:
        part = open_part(index.file, index.checksum, index.folder, entry)
        if part.features.shape[1] != index.width:
            raise FileError(
                f"{index.file}: damaged: its rows have {index.width} numbers, those of its part "
                f"{entry.name} have {part.features.shape[1]}",
                index.file,
            )
        parts.append(part)
    index.parts = [*parts, *index.parts]
    return index


def open_part(path: File, checksum: str, folder: str, entry: PartEntry) -> Part:
    """A part of the index `path`, mapped; its names are relative to `folder`.

    FileNotFoundError if it is missing, FileError if it does not belong to the index.
    """
    file = parts_folder(path) / entry.name
    arrays = map_npz(file)
    with file_errors(file, f"no part of the index {path}"):
        settings = _parse_header(arrays["header"])
        if settings["format"] != FORMAT or str(settings["checksum"]) != checksum:
            raise ValueError("another format or another model")
        part = Part(_parse_table(arrays, folder), arrays["features"], entry)
        _check(part, CHECKED_PLACES_OF_A_PART)
        if (len(part.table.names), part.table.readable) != (entry.files, entry.images):
            raise ValueError(
                f"expected {entry.files} files, {entry.images} of them readable, got "
                f"{len(part.table.names)} and {part.table.readable}"
            )
    return part


def _parse(
    arrays: Mapping[str, np.ndarray], path: str, moved_to: str
) -> tuple[Index, list[PartEntry]]:
    """The index in the arrays of a file, and its list of parts."""
    settings = _parse_header(arrays["header"])
    if settings["format"] not in (FORMAT, FORMAT_WITH_PARTS):
        raise ValueError(f"its format is {settings['format']!r}")
    entries = parse_entries(settings["parts"]) if settings["format"] != FORMAT else []
    root = _parse_root(str(settings.get("root", "")))
    table = _parse_table(arrays, moved_to or root or folder_of(path))
    index = Index(
        parts=[Part(table, arrays["features"])],
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
        seal=str(settings["seal"]),
        root=root,
        moved_to=moved_to,
    )
    return index, entries


def _parse_header(header: np.ndarray) -> dict[str, Any]:
    """The settings in the header of a file."""
    if header.nbytes > HEADER_LIMIT:
        raise FileError(f"its header has {header.nbytes:,} bytes, over {HEADER_LIMIT:,}")
    return parse_json(header.tobytes().decode("ascii"))


def _parse_table(arrays: Mapping[str, np.ndarray], folder: str) -> FileTable:
    """The table of files in the arrays of a file."""
    return FileTable(
        folder=folder,
        names=Strings(arrays["names"], arrays["name_ends"]),
        sizes=arrays["sizes"],
        modified=arrays["modified"],
        problems=Strings(arrays["problems"], arrays["problem_ends"]),
        digests=arrays.get("digests"),
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
    table = FileTable.of(files, folder)._replace(folder=moved_to or folder)
    # They are not aligned in an old file, so every product would copy them.
    features = np.array(arrays["features"])
    return Index(
        parts=[Part(table, features)],
        model=str(settings["model"]),
        checksum=str(settings["checksum"]),
        file=path,
        moved_to=moved_to,
    )


def _check(part: Part, places: int) -> None:
    """ValueError unless the table is whole, and there is a unit row for each path.

    Of many rows only some are looked at; `search_index` notices the others.
    """
    part.table.check()
    features, count = part.features, part.table.readable
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != count:
        raise ValueError(f"expected {count} rows of float32, got {features.dtype} {features.shape}")
    # The first place is the beginning: to find the array has brought it into memory.
    starts = np.linspace(0, max(count - CHECKED_ROWS, 0), places).astype(int)
    some = np.concatenate([features[start : start + CHECKED_ROWS] for start in starts])
    with np.errstate(over="ignore", invalid="ignore"):
        squared_lengths = np.einsum("ne,ne->n", some, some)  # (N,)
    if not np.allclose(squared_lengths, 1, atol=LENGTH_TOLERANCE):
        raise ValueError("its rows are no unit rows")

"""How does a file of a million rows grow without being written anew?

It does not grow. Once an index holds more than a number of files, most of them lie in
*parts* that never change, in a folder beside the index file:

    photos.npz                 a list of the parts, and the youngest files itself
    photos.npz.parts/
        3f9c...e1.npz          a part: 32,768 files and their features
        a07b...44.npz

To add 1,000 images writes the index file only, which holds the youngest files. When
there are too many of them, they are written to a new part first. If an image is dropped
or has changed, its part is written anew, and the others stay as they are.

    1. write the new parts                  nobody knows of them yet
    2. replace the index file               one step: from here on they count
    3. remove the parts that it does not name

A program that is killed at any instant leaves the old index or the new one, and perhaps
parts that nobody names, which step 3 of the next time removes. This is how databases
that only append work (O'Neil et al. 1996, "The Log-Structured Merge-Tree").

A part is a file like an index without parts, so that an index of an earlier version may
become one as it is.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clip_np.evaluation.index_table import FileTable
from clip_np.files import File, remove_stale, replace_file, sync_folder

PART_NAME = re.compile(r"[0-9a-f]{32}\.npz")
UNFINISHED = re.compile(rf"\.({PART_NAME.pattern})\..*\.tmp")  # see `replace_file`
DIGEST = re.compile(r"[0-9a-f]{64}")  # a SHA-256
ROWS_LIMIT = 1 << 40  # files that a part may claim to have


class PartEntry(NamedTuple):
    """What an index file says of a part."""

    name: str  # of its file
    files: int  # M
    images: int  # N of them can be read, and have features
    digest: str  # of the names of its files: see `digest_of_names`


class Part(NamedTuple):
    """Some of the files of an index, and the features of those that can be read."""

    table: FileTable
    features: np.ndarray  # (N, E) float32, unit rows
    entry: PartEntry | None = None  # None for the part that the index file itself holds


def parts_folder(path: File) -> Path:
    """The folder with the parts of the index file `path`.

    >>> parts_folder("photos.npz").name
    'photos.npz.parts'
    """
    path = Path(os.path.realpath(path))  # a link and the file that it leads to have one folder
    return path.with_name(f"{path.name}.parts")


def new_entry(table: FileTable) -> PartEntry:
    """The entry of a part with these files, under a name that no other part has."""
    return PartEntry(
        name=f"{secrets.token_hex(16)}.npz",
        files=len(table.names),
        images=table.readable,
        digest=digest_of_names(table),
    )


def digest_of_names(table: FileTable) -> str:
    """A SHA-256 of the names of a table, as 64 hexadecimal digits.

    >>> len(digest_of_names(FileTable.of({}, "/photos")))
    64
    """
    code = hashlib.sha256()
    for array in (table.names.content, table.names.ends):
        code.update(f"{array.nbytes}:".encode())
        code.update(np.ascontiguousarray(array).data)
    return code.hexdigest()


def entries_to_json(entries: list[PartEntry]) -> list[dict[str, Any]]:
    """The list of parts as it stands in the header of an index file."""
    return [entry._asdict() for entry in entries]


def parse_entries(listed: Any) -> list[PartEntry]:
    """The list of parts in a header.

    ValueError if it is something else. A name is nothing but the name of a file in the
    folder of the parts.
    """
    if type(listed) is not list:
        raise ValueError(f"its list of parts is {type(listed).__name__}, not a list")
    entries = []
    for item in listed:
        if type(item) is not dict or set(item) != set(PartEntry._fields):
            raise ValueError("an entry of its parts has other keys than " + str(PartEntry._fields))
        entry = PartEntry(item["name"], item["files"], item["images"], item["digest"])
        if [type(value) for value in entry] != [str, int, int, str]:
            raise ValueError("an entry of its parts is no name, two numbers and a digest")
        if not PART_NAME.fullmatch(entry.name) or not DIGEST.fullmatch(entry.digest):
            raise ValueError(f"{entry.name!r:.80} is no name of a part, or has no digest")
        if not 0 <= entry.images <= entry.files <= ROWS_LIMIT:
            raise ValueError(f"a part with {entry.images} of {entry.files} images")
        entries.append(entry)
    if len({entry.name for entry in entries}) < len(entries):
        raise ValueError("a part stands there twice")
    return entries


def link_part(path: File, entry: PartEntry) -> None:
    """Make the index file `path` itself a part: the same file, under a second name.

    It is copied where the disk has no links.
    """
    folder = parts_folder(path)
    folder.mkdir(exist_ok=True)
    try:
        os.link(os.path.realpath(path), folder / entry.name)
        sync_folder(folder)  # before an index is written that relies on the name
    except OSError:
        with open(path, "rb") as source, replace_file(folder / entry.name) as target:
            shutil.copyfileobj(source, target)


def remove_unused(path: File, entries: list[PartEntry]) -> None:
    """Remove the parts that are not in the list, and the folder if it is empty.

    So are parts that dead programs were writing. What cannot be removed stays: on
    Windows, a file that is mapped. The next time removes it.
    """
    folder = parts_folder(path)
    used = {entry.name for entry in entries}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if PART_NAME.fullmatch(name) and name not in used:
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
            elif unfinished := UNFINISHED.fullmatch(name):
                remove_stale(folder / unfinished[1])
        if not used:
            folder.rmdir()

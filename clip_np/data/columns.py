"""What do the columns of a table mean?

Tables come from many hands. One calls its column of images "image", another "img" or
"file_name". Reading a table has two steps:

    file -- reader --> Entry(location, cells) -- table_rows --> Row(caption, name, ...)

A reader (tables.py, parquet.py, hub.py) knows one kind of file. It finds the columns by
their names (`find_columns`) and yields one entry for each row. `table_rows` is the
same for all of them. It decides what a cell may hold, and names the row that holds
something else.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.data.compact import Located
from clip_np.data.errors import DataError
from clip_np.data.images import image_cell
from clip_np.data.pairs import Row
from clip_np.data.places import Places
from clip_np.data.splits import SPLITS

Columns = Mapping[str, Sequence[str]]
"""What a column holds -> the names by which it is known, best first."""

COLUMNS: Columns = {
    "image": (
        *("img", "image", "bytes", "jpg", "png", "file_name", "filename", "path", "filepath"),
        *("image_path", "image_name", "image_file", "img_path", "file"),
    ),
    "caption": (
        *("text_EN", "caption", "text", "captions"),
        *("comment", "sentence", "sentences", "description"),
    ),
    "tags": ("tags",),
    "split": ("split",),
}
OPTIONAL = {"tags", "split"}
ADDRESS_COLUMNS = {"url", "image_url", "image url", "img_url", "coco_url", "flickr_url"}
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
DOWNLOAD = "download the images first, for instance with img2dataset, and open its folder"


class Entry(NamedTuple):
    """One row of a table, before it is checked."""

    location: str  # where it stands in the table: "row 17" or "line 18"
    cells: dict[str, Any]  # what a column holds -> its cell
    problem: str = ""  # why the row cannot be read, if it cannot


def choose_columns(image_column: str | None, caption_column: str | None) -> Columns:
    """COLUMNS, but with the columns that the caller names, if any.

    >>> choose_columns(image_column=None, caption_column="title")["caption"]
    ('title',)
    """
    columns = dict(COLUMNS)
    if image_column:
        columns["image"] = (image_column,)
    if caption_column:
        columns["caption"] = (caption_column,)
    return columns


def find_columns(table: str | Path, headers: Sequence[str], columns: Columns) -> dict[str, str]:
    """What a column holds -> its header in this table, in upper or lower case.

    Raises DataError, naming the table, if it has no column of images or of captions.

    >>> find_columns("a.csv", ["Path", "Text", "size"], COLUMNS)
    {'image': 'Path', 'caption': 'Text'}
    """
    # Reversed: if two headers are equal, the first one stays.
    by_lower = {header.strip().lower(): header for header in reversed(headers)}
    header_of = {}
    for role, names in columns.items():
        matches = [by_lower[name.lower()] for name in names if name.lower() in by_lower]
        if matches:
            header_of[role] = matches[0]
        elif role not in OPTIONAL:
            if role == "image" and ADDRESS_COLUMNS & by_lower.keys():
                raise DataError(f"{table} holds addresses in place of images: {DOWNLOAD}")
            raise DataError(
                f"{table} has no {role} column: expected {' or '.join(names)}, found "
                f"{', '.join(headers)} (`image_column` and `caption_column` name other columns)"
            )
    return header_of


def table_rows(
    entries: Iterable[Entry],
    table: str,
    default_split: str,
    places: Places,
    skipped: list[str] | None = None,
) -> Iterator[Row]:
    """The rows of a table, checked.

    A caption cell holds a text, or a list of texts: each of them becomes a row, with
    the same image. A tags cell holds a text or a list. An image cell holds an encoded
    image, a path below the folder of `places`, or a function that returns either. A row
    that names no split belongs to `default_split`.

    Raises DataError, naming the row, for anything else. If `skipped` is a list, the
    message is added to it instead, and the row is left out.

    >>> cells = {"image": "cat.png", "caption": [" cat ", "pet"], "tags": ["fur"]}
    >>> entries = [Entry("line 2", cells)]
    >>> for row in table_rows(entries, "a.csv", "train", Places("pictures")):
    ...     print(row.caption, row.name, row.tags, row.split, sep=" | ")
    cat | pictures/cat.png | fur | train
    pet | pictures/cat.png | fur | train
    """
    for entry in entries:
        try:
            rows = _rows_of(entry, f"{table} {entry.location}", default_split, places)
        except DataError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
            continue
        yield from rows


def _rows_of(entry: Entry, row_name: str, default_split: str, places: Places) -> list[Row]:
    """A row for each caption of an entry; DataError if there is none, or no image."""
    if entry.problem:
        raise DataError(f"{row_name}: {entry.problem}")
    image = _image_source(entry.cells["image"], places, row_name)
    captions = _texts(entry.cells["caption"])
    if image is None or not all(isinstance(caption, str) for caption in captions):
        cell = entry.cells["image"]
        image_type = type(image_cell(cell() if isinstance(cell, Located) else cell))
        wrong = next((caption for caption in captions if not isinstance(caption, str)), "")
        raise DataError(
            f"{row_name}: expected a text and an encoded image or its path, got "
            f"{type(wrong)} and {image_type}; `caption_column` and `image_column` name "
            "other columns"
        )
    captions = [caption.strip() for caption in captions]
    empty = "image" if image == b"" else "" if captions and all(captions) else "caption"
    if empty:
        raise DataError(f"{row_name}: the {empty} is empty (`skip_bad` leaves such rows out)")
    tags = entry.cells.get("tags") or ""
    if isinstance(tags, list):
        tags = ", ".join(map(str, tags))
    if not isinstance(tags, str):
        raise DataError(f"{row_name}: expected tags as a text, got {type(tags)}")
    is_file = isinstance(image, Located) and isinstance(image.key, str)
    name = str(image.key) if is_file else row_name
    split = _split_of_row(entry.cells, default_split, row_name)
    return [Row(caption, name, tags, image, split) for caption in captions]


def _image_source(cell: Any, places: Places, row_name: str) -> Any:
    """The source of the image in a cell; b"" for an empty one, None for others."""
    image = image_cell(cell) or b""
    if isinstance(image, str):
        if ADDRESS.match(image):
            raise DataError(f"{row_name}: {image[:100]} is an address: {DOWNLOAD}")
        return Located(reader=places, key=places.path_of(image, row_name))
    return image if isinstance(image, bytes) or callable(image) else None


def _texts(cell: Any) -> list[Any]:
    """The texts in a caption cell: a text, a list, or a list written as JSON.

    >>> _texts("a cat"), _texts(["a cat", "a pet"]), _texts('["a cat", "a pet"]')
    (['a cat'], ['a cat', 'a pet'], ['a cat', 'a pet'])
    """
    if isinstance(cell, str) and cell.startswith('["') and cell.endswith('"]'):
        try:
            listed = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell]
        return listed if all(isinstance(text, str) for text in listed) else [cell]
    cells = cell if isinstance(cell, list) else [cell]
    return ["" if text is None or text != text else text for text in cells]  # NaN, too


def _split_of_row(cells: Mapping[str, Any], default: str, row_name: str) -> str:
    named = cells.get("split") or default
    split = SPLITS.get(str(named).strip().lower())
    if split is None:
        raise DataError(f"{row_name}: split {named!r} is none of {', '.join(SPLITS)}")
    return split

"""What do the columns of a table mean?

Tables come from many hands. One calls its column of images "image", another "img" or
"file_name". Reading a table has two steps:

    file -- reader --> Entry(location, cells) -- table_rows --> Row(caption, name, ...)

A reader (tables.py, parquet.py, hub.py) knows one kind of file. It finds the columns by
their names (`find_columns`) and yields one entry for each row. `table_rows` is the
same for all of them. It decides what a cell may hold, and names the row that holds
something else.
"""

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
    "image": ("img", "image", "bytes", "jpg", "png", "file_name", "filename", "path", "filepath"),
    "caption": ("text_EN", "caption", "text", "captions"),
    "tags": ("tags",),
    "split": ("split",),
}
OPTIONAL = {"tags", "split"}


class Entry(NamedTuple):
    """One row of a table, before it is checked."""

    location: str  # where it stands in the table: "row 17" or "line 18"
    cells: dict[str, Any]  # what a column holds -> its cell


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
            raise DataError(
                f"{table} has no {role} column: expected {' or '.join(names)}, found "
                f"{', '.join(headers)} (`image_column` and `caption_column` name other columns)"
            )
    return header_of


def table_rows(
    entries: Iterable[Entry], table: str, default_split: str, places: Places
) -> Iterator[Row]:
    """The rows of a table, checked.

    A caption cell holds a text, or a list of texts; the first text of a list is used. A
    tags cell holds a text or a list. An image cell holds an encoded image, a path below
    the folder of `places`, or a function that returns either. Raises DataError, naming
    the row, for anything else. A row that names no split belongs to `default_split`.

    >>> cells = {"image": "cat.png", "caption": " cat ", "tags": ["fur", "pet"]}
    >>> entries = [Entry("line 2", cells)]
    >>> for row in table_rows(entries, "a.csv", "train", Places("pictures")):
    ...     print(row.caption, row.name, row.tags, row.split, sep=" | ")
    cat | pictures/cat.png | fur, pet | train
    """
    for entry in entries:
        row_name = f"{table} {entry.location}"
        image = _image_source(entry.cells["image"], places, row_name)
        caption = _first_text(entry.cells["caption"])
        if image is None or not isinstance(caption, str):
            cell = entry.cells["image"]
            image_type = type(image_cell(cell() if isinstance(cell, Located) else cell))
            raise DataError(
                f"{row_name}: expected a text and an encoded image or its path, got "
                f"{type(caption)} and {image_type}; `caption_column` and `image_column` name "
                "other columns"
            )
        tags = entry.cells.get("tags") or ""
        if isinstance(tags, list):
            tags = ", ".join(map(str, tags))
        if not isinstance(tags, str):
            raise DataError(f"{row_name}: expected tags as a text, got {type(tags)}")
        is_file = isinstance(image, Located) and isinstance(image.key, str)
        yield Row(
            caption=caption.strip(),
            name=str(image.key) if is_file else row_name,
            tags=tags,
            source=image,
            split=_split_of_row(entry.cells, default_split, row_name),
        )


def _image_source(cell: Any, places: Places, row_name: str) -> Any:
    """The source of the image in a cell; None if the cell holds something else.

    An empty cell gives b"", which fails as an unreadable image, so that skip_bad can
    leave it out.
    """
    image = image_cell(cell) or b""
    if isinstance(image, str):
        return Located(reader=places, key=places.path_of(image, row_name))
    return image if isinstance(image, bytes) or callable(image) else None


def _first_text(cell: Any) -> Any:
    """What a cell holds, or the first text of its list; "" for an empty cell."""
    if isinstance(cell, list):
        cell = cell[0] if cell else ""
    return cell or ""


def _split_of_row(cells: Mapping[str, Any], default: str, row_name: str) -> str:
    split = SPLITS.get(str(cells.get("split", default)).lower())
    if split is None:
        raise DataError(f"{row_name}: split {cells['split']!r} is none of {', '.join(SPLITS)}")
    return split

"""What do the columns of a table mean?

Tables come from many hands. One calls its column of images "image", another "img" or
"file_name". Reading a table has two steps:

    file -- reader --> Record(place, cells) -- `table_rows` --> Row(caption, name, ...)

A reader (tables.py, parquet.py, hub.py) knows one kind of file. It finds the columns by
their names (`find_columns`) and yields one record for each row. `table_rows` is the
same for all of them: it says what a cell may hold, and names the row in which something
else stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.data.errors import DataError
from clip_np.data.images import encoded_image
from clip_np.data.pairs import Row
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


class Record(NamedTuple):
    """One row of a table, before it is checked."""

    place: str  # where it stands in the table: "row 17" or "line 18"
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
    by_lower = {header.strip().lower(): header for header in reversed(headers)}
    found = {}
    for role, names in columns.items():
        matches = [by_lower[name.lower()] for name in names if name.lower() in by_lower]
        if matches:
            found[role] = matches[0]
        elif role not in OPTIONAL:
            raise DataError(
                f"{table} has no {role} column: expected {' or '.join(names)}, found "
                f"{', '.join(headers)} (`image_column` and `caption_column` name other columns)"
            )
    return found


def table_rows(
    records: Iterable[Record], table: str, default_split: str, folder: Path
) -> Iterator[Row]:
    """The rows of a table, checked.

    A caption cell holds a text, or a list of texts, of which the first counts. A tags
    cell holds a text or a list. An image cell holds an encoded image, a path below
    `folder`, or a function that returns either. Raises DataError, naming the row, for
    anything else. A row without a split of its own belongs to `default_split`.

    >>> cells = {"image": "cat.png", "caption": " cat ", "tags": ["fur", "pet"]}
    >>> records = [Record("line 2", cells)]
    >>> for row in table_rows(records, "a.csv", "train", Path("pictures")):
    ...     print(row.caption, row.name, row.tags, row.split, sep=" | ")
    cat | pictures/cat.png | fur, pet | train
    """
    for record in records:
        where = f"{table} {record.place}"
        image = _image_source(record.cells["image"], folder)
        caption = _first_text(record.cells["caption"])
        if image is None or not isinstance(caption, str):
            raise DataError(
                f"{where}: expected a text and an encoded image or its path, got {type(caption)} "
                f"and {type(encoded_image(record.cells['image']))}; `caption_column` and "
                "`image_column` name other columns"
            )
        tags = record.cells.get("tags") or ""
        if isinstance(tags, list):
            tags = ", ".join(tags)
        yield Row(
            caption=caption.strip(),
            name=str(image) if isinstance(image, Path) else where,
            tags=tags,
            source=image,
            split=_split_of_row(record.cells, default_split, where),
        )


def _image_source(cell: Any, folder: Path) -> Any:
    """The source of the image in a cell: b"" for an empty cell, None for no image."""
    image = encoded_image(cell) or b""
    if isinstance(image, str):
        return folder / image
    return image if isinstance(image, bytes) or callable(image) else None


def _first_text(cell: Any) -> Any:
    """What a cell holds; of a list of texts the first; "" for an empty cell."""
    if isinstance(cell, list):
        cell = cell[0] if cell else ""
    return cell or ""


def _split_of_row(cells: Mapping[str, Any], default: str, where: str) -> str:
    split = SPLITS.get(str(cells.get("split", default)).lower())
    if split is None:
        raise DataError(f"{where}: split {cells['split']!r} is none of {', '.join(SPLITS)}")
    return split

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
from warnings import warn

from clip_np.data.compact import Located
from clip_np.data.errors import DataError, DataWarning, a_few
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
        *("comment", "sentence", "sentences", "description", "title"),
    ),
    "tags": ("tags",),
    "split": ("split",),
}
OPTIONAL = {"tags", "split"}
ADDRESS_COLUMNS = {"url", "image_url", "image url", "img_url", "coco_url", "flickr_url"}
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
DOWNLOAD = "download the images first, for instance with img2dataset, and open its folder"


class Reading(NamedTuple):
    """What is done with odd rows and with the labels of classes."""

    skipped: list[str] | None = None  # gets what is wrong with rows; None: an error
    template: str = "{}"  # the caption of a class, with {} for its name


STRICT = Reading()


class Label(NamedTuple):
    """In place of a caption: the name of a class."""

    name: str


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
    reading: Reading = STRICT,
) -> Iterator[Row]:
    """The rows of a table, checked.

    A caption cell holds a text, or a list of texts: each of them becomes a row, with
    the same image. A tags cell holds a text or a list. An image cell holds an encoded
    image, a path below the folder of `places`, or a function that returns either. A row
    that names no split belongs to `default_split`.

    Raises DataError, naming the row, for anything else. If `reading.skipped` is a list,
    the message is added to it instead, and the row is left out.

    >>> cells = {"image": "cat.png", "caption": [" cat ", "pet"], "tags": ["fur"]}
    >>> entries = [Entry("line 2", cells)]
    >>> for row in table_rows(entries, "a.csv", "train", Places("pictures")):
    ...     print(row.caption, row.name, row.tags, row.split, sep=" | ")
    cat | pictures/cat.png | fur | train
    pet | pictures/cat.png | fur | train
    """
    for entry in entries:
        try:
            if isinstance(label := entry.cells.get("caption"), Label):
                entry.cells["caption"] = caption_of(label.name, reading.template)
            rows = _rows_of(entry, f"{table} {entry.location}", default_split, places)
        except DataError as error:
            if reading.skipped is None:
                raise
            reading.skipped.append(str(error))
            continue
        yield from rows


def caption_of(class_name: str, template: str) -> str:
    """The caption of a class.

    >>> caption_of("polar_bear", "a photo of a {}")
    'a photo of a polar bear'
    """
    return template.replace("{}", class_name.replace("_", " "))


def with_labels(
    columns: Columns, headers: Sequence[str], classes: Mapping[str, Sequence[str]], table: str
) -> Columns:
    """The columns. If none holds captions, and one holds classes, those are captions.

    classes: the headers of columns of classes, and the names of their classes. A
    warning says that classes become captions.
    """
    known = {header.strip().lower() for header in headers}
    captions = [name for name in columns.get("caption", ()) if name.lower() in known]
    if not captions and "caption" in columns and len(classes) == 1:
        columns = {**columns, "caption": tuple(classes)}
        captions = list(classes)
    by_lower = {header.lower(): header for header in classes}
    if captions and (header := by_lower.get(captions[0].lower())):
        warn(
            f"{table}: the {len(classes[header])} classes of column {header!r} become captions "
            f"({a_few(classes[header])}), in the sentence of `template` if there is one",
            DataWarning,
            stacklevel=2,
        )
    return columns


def labelled(entry: Entry, class_names: Sequence[str] | None) -> Entry:
    """The entry with the class in place of its number; as it is without class_names.

    >>> labelled(Entry("row 0", {"caption": 1}), ["cat", "dog"]).cells
    {'caption': Label(name='dog')}
    >>> labelled(Entry("row 0", {"caption": 7}), ["cat", "dog"]).problem
    'label 7 is none of the 2 classes'
    """
    number = entry.cells.get("caption")
    if class_names is None or number is None:
        return entry
    if type(number) is not int or not 0 <= number < len(class_names):
        return entry._replace(problem=f"label {number!r} is none of the {len(class_names)} classes")
    return entry._replace(cells={**entry.cells, "caption": Label(class_names[number])})


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

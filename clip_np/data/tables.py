"""How are pairs read from a text table?

A file captions.csv or metadata.csv has one pair on each line:

    file_name,caption,split,tags
    cats/tom.png,a cat on a sofa,train,"animal, fur"
    jerry.png,a mouse,test,

The cells are separated by commas, or by tabs if the first line holds one. The paths are
relative to the folder of the table. The columns `split` and `tags` may be left out."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from clip_np.data.columns import Columns, Record, find_columns
from clip_np.data.errors import DataError

TABLE_NAMES = ("captions.csv", "metadata.csv")


def is_table(path: Path, asked_for: bool) -> bool:
    """Whether a file is a table of captions. One with another name must be asked for.

    >>> is_table(Path("photos/captions.csv"), asked_for=False)
    True
    >>> is_table(Path("photos/flowers.csv"), asked_for=False)
    False
    >>> is_table(Path("photos/flowers.csv"), asked_for=True)
    True
    """
    if asked_for:
        return path.suffix.lower() == ".csv"
    return path.name.lower() in TABLE_NAMES


def read_table(path: Path, columns: Columns) -> Iterator[Record]:
    """One record for each line. DataError for a damaged file or a missing column."""
    text = read_utf8(path)
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    headers = find_columns(path, reader.fieldnames or [], columns)
    try:
        for cells in reader:
            place = f"line {reader.line_num}"
            # DictReader's signs for more and for fewer cells than the header has
            if None in cells or None in cells.values():
                raise DataError(f"{path} {place}: more or fewer cells than the header has")
            yield Record(place, {role: cells[header].strip() for role, header in headers.items()})
    except csv.Error as error:
        raise DataError(f"{path} after line {reader.line_num}: {error}") from error


def read_utf8(path: Path) -> str:
    """The text of a file, without the mark (BOM) that some editors put first."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error

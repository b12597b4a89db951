"""How are pairs read from a text table?

A file captions.csv or metadata.csv has one pair on each line:

    file_name,caption,split,tags
    cats/tom.png,a cat on a sofa,train,"animal, fur"
    jerry.png,a mouse,test,

The cells are separated by commas, or by tabs if the first line holds one. The paths are
relative to the folder of the table. The columns `split` and `tags` may be left out.

The file is read line by line, so that it may be large.
"""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from clip_np.data.bounds import MAX_CELL, refuse_rows
from clip_np.data.columns import Columns, Entry, find_columns
from clip_np.data.errors import DataError

TABLE_NAMES = ("captions.csv", "metadata.csv")
MAX_LINE = 2**20
"""Letters of a line: 8 cells of MAX_CELL letters."""
CHUNK = 2**20  # bytes that are read at a time to count lines


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


def read_table(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each line.

    Raises DataError for a damaged file, a missing column, or more lines than a file of
    its size may have (see bounds.py).
    """
    refuse_rows(path, _count_lines(path), path.stat().st_size)
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = _bounded_lines(path, file)
        first = next(lines, "")
        separator = "\t" if "\t" in first else ","
        lines = itertools.chain([first], lines)
        reader = csv.DictReader(lines, delimiter=separator, strict=True)
        try:
            headers = find_columns(path, reader.fieldnames or [], columns)
            for cells in reader:
                location = f"line {reader.line_num}"
                # DictReader's signs for more and for fewer cells than the header has
                if None in cells or None in cells.values():
                    raise DataError(f"{path} {location}: more or fewer cells than the header has")
                cell_of = {role: cells[header].strip() for role, header in headers.items()}
                yield Entry(location, cell_of)
        except csv.Error as error:
            raise DataError(f"{path} after line {reader.line_num}: {error}") from error


def _count_lines(path: Path) -> int:
    """About how many lines a file has, whichever sign ends them."""
    counts = {b"\n": 0, b"\r": 0}
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            for sign in counts:
                counts[sign] += chunk.count(sign)
    return max(counts.values())


def _bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file. DataError for one that is too long, or is no UTF-8."""
    for number in itertools.count(1):
        try:
            line = file.readline(MAX_LINE + 1)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not UTF-8 text ({error}, in line {number} or after it): save it as "
                "UTF-8"
            ) from error
        if len(line) > MAX_LINE:
            raise DataError(f"{path} line {number}: more than {MAX_LINE:,} letters (MAX_LINE)")
        if not line:
            return
        yield line


def read_utf8(path: Path) -> str:
    """The text of a small file, without the mark (BOM) that some editors put first."""
    most_bytes = 4 * MAX_CELL
    with open(path, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise DataError(f"{path} has more than {most_bytes:,} bytes: shorten this caption")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error

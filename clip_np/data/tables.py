"""How are pairs read from a text table?

A table has one pair on each line:

    file_name,caption,split,tags
    cats/tom.png,a cat on a sofa,train,"animal, fur"
    jerry.png,a mouse,test,

The cells are separated by commas, tabs, semicolons or bars, whichever the first line
shows. The columns `split` and `tags` may be left out. Data sets of the first years have
no line of headers, and number the captions of an image:

    tom.jpg#0<tab>a cat on a sofa
    tom.jpg#1<tab>a cat sleeps

The file is read line by line, so that it may be large. It is UTF-8, or UTF-16, which
spreadsheets write.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from clip_np.data.bounds import MAX_CELL, refuse_rows
from clip_np.data.columns import Columns, Entry, find_columns
from clip_np.data.errors import DataError
from clip_np.data.formats import image_suffixes, is_image_name

TABLE_NAMES = ("captions", "metadata")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
SEPARATORS = "\t,;|"
STATED_SEPARATOR = re.compile(r"sep=(.)\s*")  # a first line that spreadsheets write
NUMBERED = re.compile(r"(.+)#\d+")  # the image and the number of its caption
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
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return False
    if asked_for:
        return True
    # Beside a picture of the same name, captions.txt is the caption of that picture.
    belongs_to_image = any(path.with_suffix(suffix).exists() for suffix in image_suffixes())
    return path.stem.lower() in TABLE_NAMES and not belongs_to_image


def read_table(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each line.

    Raises DataError for a damaged file, a missing column, or more lines than a file of
    its size may have (see bounds.py).
    """
    refuse_rows(path, _count_lines(path), path.stat().st_size)
    with open(path, encoding=encoding_of(path), newline="") as file:
        lines = bounded_lines(path, file)
        first = next(lines, "")
        separator = ""
        if stated := STATED_SEPARATOR.fullmatch(first):
            separator = stated[1]
            first = next(lines, "")
        separator = separator or _separator(path, first, columns)
        lines = itertools.chain([first], lines)
        if _has_no_headers(first, separator):
            yield from _numbered_captions(lines, separator)
        else:
            yield from _rows_below_headers(path, lines, separator, columns)


def missing_in_table(path: Path, columns: Columns) -> str:
    """What a table lacks to be read, or "" if it can be read."""
    try:
        next(read_table(path, columns), None)
    except DataError as error:
        return str(error)
    return ""


def _rows_below_headers(
    path: Path, lines: Iterator[str], separator: str, columns: Columns
) -> Iterator[Entry]:
    reader = csv.DictReader(lines, delimiter=separator, strict=True)
    try:
        headers = find_columns(path, reader.fieldnames or [], columns)
        for cells in reader:
            location = f"line {reader.line_num}"
            # DictReader's signs for more and for fewer cells than the header has
            if None in cells or None in cells.values():
                yield Entry(location, {}, "more or fewer cells than the header has")
                continue
            cell_of = {role: cells[header].strip() for role, header in headers.items()}
            cell_of["image"] = without_number(cell_of["image"])
            yield Entry(location, cell_of)
    except csv.Error as error:
        raise DataError(f"{path} after line {reader.line_num}: {error}") from error


def _numbered_captions(lines: Iterator[str], separator: str) -> Iterator[Entry]:
    """The entries of a table without headers: an image, a separator, a caption."""
    for number, line in enumerate(lines, 1):
        name, found, caption = line.strip("\r\n").partition(separator)
        if found:
            cells = {"image": without_number(name.strip()), "caption": caption}
            yield Entry(f"line {number}", cells)
        elif line.strip():
            yield Entry(f"line {number}", {}, f"no {separator!r} between an image and its caption")


def _has_no_headers(first: str, separator: str) -> bool:
    name, found, _ = first.partition(separator)
    return bool(found) and is_image_name(without_number(name.strip()))


def without_number(name: str) -> str:
    """The name of an image without the number of its caption.

    >>> without_number("tom.jpg#2"), without_number("tom.jpg"), without_number("no#1")
    ('tom.jpg', 'tom.jpg', 'no#1')
    """
    match = NUMBERED.fullmatch(name)
    return match[1] if match and is_image_name(match[1]) else name


def _separator(path: Path, first: str, columns: Columns) -> str:
    """The separator that makes known headers of the first line, or is in it most."""
    for separator in SEPARATORS:
        if separator in first:
            try:
                find_columns(path, _headers(first, separator), columns)
            except DataError:
                if not _has_no_headers(first, separator):
                    continue
            return separator
    return max(",\t;|", key=first.count)


def _headers(first: str, separator: str) -> Sequence[str]:
    try:
        return next(csv.reader([first], delimiter=separator), [])
    except csv.Error:
        return []


def encoding_of(path: Path) -> str:
    """The encoding of a text file, by its mark (BOM) or its first letters."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(start) == 4 and start[0] and start[2] and not start[1] and not start[3]:
        return "utf-16-le"
    if len(start) == 4 and start[1] and start[3] and not start[0] and not start[2]:
        return "utf-16-be"
    return "utf-8-sig"


def _count_lines(path: Path) -> int:
    """About how many lines a file has, whichever sign ends them."""
    counts = {b"\n": 0, b"\r": 0}
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            for sign in counts:
                counts[sign] += chunk.count(sign)
    return max(counts.values())


def bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file. DataError for one that is too long, or is no UTF-8."""
    for number in itertools.count(1):
        try:
            line = file.readline(MAX_LINE + 1)
        except UnicodeError as error:
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

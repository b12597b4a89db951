"""How much may a file of a data set hold?

A file of a thousand bytes can describe millions of rows, or one long text thousands of
times: that is how compression works, and how hostile files fill the memory. Honest
files are large if what they hold is large. So what a file holds is compared with its
size. Up to FREE_ROWS rows and FREE_LETTERS letters nothing is compared.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from clip_np.data.errors import DataError
from clip_np.data.pairs import Row

FREE_ROWS = 2**20
"""Rows that any file may have: a million, which take about 100 MB."""
BYTES_PER_ROW = 32
"""Above FREE_ROWS, one more row for so many bytes of the file: a short caption and the
name of an image."""

FREE_LETTERS = 2**26
"""Letters of captions and tags that any file may have: 64 million."""
LETTERS_PER_BYTE = 16
"""Above FREE_LETTERS, so many more for each byte of the file. Captions can be
compressed to a quarter or a tenth."""

MAX_CELL = 2**17
"""Letters of a caption, of tags or of a path: 131,072, as in Python's `csv` module."""


def refuse_rows(path: str | Path, rows: int, size: int) -> None:
    """Raise DataError if a file of `size` bytes has more rows than it may have."""
    limit = FREE_ROWS + size // BYTES_PER_ROW
    if rows > limit:
        raise DataError(
            f"{path} has {rows:,} rows, and a file of {size:,} bytes may have {limit:,}: "
            f"{FREE_ROWS:,} (FREE_ROWS), and one for each {BYTES_PER_ROW} bytes"
        )


def refuse_letters(path: str | Path, letters: int, size: int) -> None:
    """Raise DataError if a file of `size` bytes holds more text than it may hold."""
    limit = FREE_LETTERS + size * LETTERS_PER_BYTE
    if letters > limit:
        raise DataError(
            f"{path} holds more than {limit:,} letters of text, too many for a file of "
            f"{size:,} bytes: {FREE_LETTERS:,} (FREE_LETTERS), and {LETTERS_PER_BYTE} for "
            "each byte"
        )


def bounded(rows: Iterable[Row], path: str | Path, size: int) -> Iterator[Row]:
    """The rows, as long as a file of `size` bytes may hold them; then DataError."""
    letters = 0
    for number, row in enumerate(rows, 1):
        letters += len(row.caption) + len(row.tags)
        if number > FREE_ROWS:
            refuse_rows(path, number, size)
        if letters > FREE_LETTERS:
            refuse_letters(path, letters, size)
        longest = max(row.caption, row.tags, row.name, key=len)
        if len(longest) > MAX_CELL:
            raise DataError(
                f"{path} {row.name[:200]}: a text of {len(longest):,} letters, at most "
                f"{MAX_CELL:,} are read (MAX_CELL): shorten it"
            )
        yield row

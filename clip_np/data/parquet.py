"""How are pairs read from a parquet file?

Parquet is the file format of big tables: columns are stored one after another,
compressed, and with their types. A file holds its pictures itself, as encoded bytes. A
big set comes as several files ("shards") with names such as
train-00003-of-00017.parquet. Reading it takes pyarrow.

Captions are read when the file is opened. Pictures stay in the file until they are
needed (stored_images.py).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clip_np.data.arrow import (
    cells_of,
    column_type,
    dictionary_leaves,
    holds_bytes,
    parquet_errors,
    rows_that_fit,
)
from clip_np.data.bounds import refuse_rows
from clip_np.data.columns import Columns, Entry, find_columns, labelled, with_labels
from clip_np.data.compact import Located
from clip_np.data.pages import require_true_footer
from clip_np.data.stored_images import StoredImages, refuse_expansion

ROWS_AT_A_TIME = 1024
MAX_NOTES = 2**20  # bytes of what another library notes about the columns


def is_parquet(path: Path, asked_for: bool) -> bool:
    """Whether a file is a parquet file, by its name.

    >>> is_parquet(Path("train.parquet"), asked_for=False)
    True
    """
    return path.suffix.lower() == ".parquet"


def column_names(path: Path) -> list[str]:
    """The names of a file's columns; ImportError or DataError as `read_parquet`."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f'{path} needs pyarrow: pip install "minigrad-clip[data]"') from error
    require_true_footer(path)
    with parquet_errors(path), pyarrow.parquet.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
    return names


def read_parquet(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each row, counted from 0.

    Raises ImportError if pyarrow is not installed, DataError if the file is damaged,
    lacks a column, or holds more than a file of its size may hold.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f'{path} needs pyarrow: pip install "minigrad-clip[data]"') from error
    with parquet_errors(path):
        require_true_footer(path)
        with pyarrow.parquet.ParquetFile(path) as file:
            refuse_rows(path, file.metadata.num_rows, path.stat().st_size)
            classes = _classes_of(file)
            names = file.schema_arrow.names
            headers = find_columns(path, names, with_labels(columns, names, classes, str(path)))
            refuse_expansion(path, file.metadata, headers.values())
            texts = dictionary_leaves(file.metadata, headers.values())
        # Equal texts of a column are then stored once in memory, as in the file.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            class_names = classes.get(headers.get("caption", ""))
            for entry in _entries(path, file, headers):
                yield labelled(entry, class_names)


def _classes_of(file: Any) -> dict[str, list[str]]:
    """Columns of classes and their names, as the `datasets` library notes them."""
    notes = (file.schema_arrow.metadata or {}).get(b"huggingface", b"")
    if len(notes) > MAX_NOTES:
        return {}
    try:
        features = json.loads(notes)["info"]["features"]
        classes = {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in classes.items()
        if isinstance(names, list) and all(isinstance(name, str) for name in names)
    }


def _entries(path: Path, file: Any, headers: Mapping[str, str]) -> Iterator[Entry]:
    images = None
    if "image" in headers and holds_bytes(column_type(file, headers["image"])):
        images = StoredImages.of(path, file, headers["image"])
    read_now = [name for role, name in headers.items() if role != "image" or images is None]
    number = 0
    for batch in _batches(file, list(dict.fromkeys(read_now))):
        cells = {
            name: cells_of(path, batch.column(name), name, number) for name in batch.schema.names
        }
        for row in range(batch.num_rows):
            entry = {role: cells[name][row] for role, name in headers.items() if name in cells}
            if images is not None:
                path_cell = images.path_instead(number)
                entry["image"] = Located(images, number) if path_cell is None else path_cell
            yield Entry(f"row {number}", entry)
            number += 1


def _batches(file: Any, columns: list[str]) -> Iterator[Any]:
    """Some rows of some columns at a time, never from two groups of rows.

    The groups have dictionaries of their own, and Arrow cannot join those within lists.
    """
    rows_at_a_time = rows_that_fit(file.metadata, columns, ROWS_AT_A_TIME)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows_at_a_time, row_groups=[group], columns=columns)

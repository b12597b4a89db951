"""How are pairs read from a parquet file?

Parquet is the file format of big tables: columns are stored one after another,
compressed, and with their types. A file holds its pictures itself, as encoded bytes. A
big set comes as several files ("shards") with names such as
train-00003-of-00017.parquet. Reading it takes pyarrow.
"""

from collections.abc import Iterator
from pathlib import Path

from clip_np.data.columns import Columns, Entry, find_columns
from clip_np.data.errors import DataError

ROWS_AT_A_TIME = 1024
"""Arrow cannot hold more than 2 GiB in one column of plain binary. With 1,024 rows,
that leaves 2 MiB for each encoded image."""


def is_parquet(path: Path, asked_for: bool) -> bool:
    """Whether a file is a parquet file, by its name.

    >>> is_parquet(Path("train.parquet"), asked_for=False)
    True
    """
    return path.suffix.lower() == ".parquet"


def read_parquet(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each row, counted from 0.

    Raises ImportError if pyarrow is not installed, DataError if the file is damaged or
    lacks a column.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f'{path} needs pyarrow: pip install "minigrad-clip[data]"') from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            headers = find_columns(path, file.schema_arrow.names, columns)
            batches = file.iter_batches(ROWS_AT_A_TIME, columns=list(headers.values()))
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows):
                yield Entry(f"row {number}", {role: row[name] for role, name in headers.items()})
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error

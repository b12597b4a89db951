"""How is one image read from a parquet file when it is needed?

The rows of a parquet file are stored in groups, and a group is the least that can be
read. So a group stays in memory for the images that are asked for next. A set that is
smaller than CACHE_BYTES is then read only once, whatever the order. Of larger sets the
groups that were used last stay. A large set should have small groups: the `datasets`
library writes groups of 100 images.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_np.data.arrow import (
    chunks_of,
    chunks_of_group,
    column_type,
    dictionary_leaves,
    parquet_errors,
    rows_that_fit,
)
from clip_np.data.errors import DataError
from clip_np.data.images import image_cell
from clip_np.data.places import Places

CACHE_BYTES = 2**27
"""Encoded images of parquet files that stay in memory: 128 MiB, for all files together.
At least the last group stays."""

FREE_EXPANSION = 2**26
"""Bytes that a column of a group of rows may take in memory: 64 MiB."""
EXPANSION = 32
"""Above FREE_EXPANSION, so many bytes for each byte in the file. Encoded images can
hardly be compressed again, texts to a quarter or a tenth."""
ROWS_AT_A_TIME = 2**14
"""Arrow cannot hold more than 2 GiB in one column of plain binary. With 16,384 rows,
that leaves 128 KiB for each encoded image."""
MAX_VALUES = 2**24  # values of a column in a group, each of them 4 bytes or more


class GroupCache:
    """The groups of rows that were read last, for all threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._groups: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, path: str, column: str, group: int) -> Any:
        """A column of a group of rows. One thread reads at a time, to save memory."""
        key = (path, column, group)
        with self._lock:
            if key not in self._groups:
                self._groups[key] = _read_group(path, column, group)
                self._bytes += self._groups[key].nbytes
            self._groups.move_to_end(key)
            while self._bytes > self.limit and len(self._groups) > 1:
                _, oldest = self._groups.popitem(last=False)
                self._bytes -= oldest.nbytes
            return self._groups[key]


_cache = GroupCache(CACHE_BYTES)


@dataclass(frozen=True)
class StoredImages:
    """The images of a parquet file; called with a row number, it reads one.

    It can be pickled and used by several threads.
    """

    path: str
    column: str
    starts: tuple[int, ...]  # the first row of each group
    has_gaps: tuple[bool, ...]  # whether a group has cells that hold no bytes

    @classmethod
    def of(cls, path: Path, file: Any, column: str) -> "StoredImages":
        """The images in a column of an open parquet file."""
        starts = []
        has_gaps = []
        total = 0
        is_struct = hasattr(column_type(file, column), "get_field_index")
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            starts.append(total)
            total += group.num_rows
            has_gaps.append(is_struct and _has_gaps(group, column))
        return cls(str(path), column, tuple(starts), tuple(has_gaps))

    def __call__(self, row: int) -> Any:
        """The encoded image of a row, b"" if there is none, or the path of its file."""
        cell = image_cell(self._cell(row)) or b""
        if isinstance(cell, str):
            places = Places(str(Path(self.path).parent))
            return places(places.path_of(cell, self.path))
        return cell

    def path_instead(self, row: int) -> str | None:
        """The path of the image's file, if the row names one and holds no bytes."""
        if not self.has_gaps[bisect_right(self.starts, row) - 1]:
            return None
        cell = image_cell(self._cell(row))
        return cell if isinstance(cell, str) else None

    def _cell(self, row: int) -> Any:
        group = bisect_right(self.starts, row) - 1
        cells = _cache.read(self.path, self.column, group)
        return cells[row - self.starts[group]].as_py()


def _has_gaps(group: Any, column: str) -> bool:
    """Whether some cells of a group hold no bytes, or the file does not say."""
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema == f"{column}.bytes":
            statistics = chunk.statistics
            has_count = statistics is not None and statistics.has_null_count
            return not has_count or statistics.null_count > 0
    return True


def _read_group(path: str, column: str, group: int) -> Any:
    import pyarrow.parquet

    with parquet_errors(Path(path)):
        with pyarrow.parquet.ParquetFile(path) as file:
            leaves = dictionary_leaves(file.metadata, [column])
            rows = rows_that_fit(file.metadata, [column], ROWS_AT_A_TIME)
            stored = chunks_of_group(file.metadata.row_group(group), [column])
            limit = sum(map(_memory_limit, stored))
        chunks = []
        size = 0
        with pyarrow.parquet.ParquetFile(path, read_dictionary=leaves) as file:
            for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
                chunks.append(batch.column(0))
                size += chunks[-1].nbytes
                if size > limit:
                    raise DataError(
                        f"{path}: group {group} of column {column} takes more than {limit:,} bytes "
                        "of memory (FREE_EXPANSION, EXPANSION)"
                    )
        return pyarrow.chunked_array(chunks)


def _memory_limit(chunk: Any) -> int:
    """The bytes that a column of a group may take in memory."""
    limit: int = FREE_EXPANSION + EXPANSION * max(0, chunk.total_compressed_size)
    return limit


def refuse_expansion(path: Path, metadata: Any, names: Iterable[str]) -> None:
    """Raise DataError if columns would take much more memory than space in the file."""
    size = path.stat().st_size
    for chunk in chunks_of(metadata, names):
        in_memory = chunk.total_uncompressed_size
        limit = min(_memory_limit(chunk), FREE_EXPANSION + EXPANSION * size)
        if in_memory > limit or chunk.num_values > MAX_VALUES:
            raise DataError(
                f"{path}: a group of rows of column {chunk.path_in_schema} takes {in_memory:,} "
                f"bytes of memory for {chunk.num_values:,} values. Its size allows {limit:,} "
                f"bytes (FREE_EXPANSION, EXPANSION) and {MAX_VALUES:,} values (MAX_VALUES)"
            )

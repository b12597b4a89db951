"""How are the cells of an Arrow column read without filling the memory?

A parquet file stores equal texts once, in a dictionary, and for each row only the
number of its text. One text of a megabyte in three thousand rows is a file of a
kilobyte. So columns are kept as dictionaries in memory too, and the length of the texts
is looked at before a row becomes a Python text.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clip_np.data.bounds import FREE_LETTERS, MAX_CELL
from clip_np.data.errors import DataError

BATCH_BYTES = 2**24  # that texts of rows read together may take: 16 MiB
DICTIONARY_ENCODINGS = frozenset(
    {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
)
"""How a column is stored if Arrow can read it as a dictionary. Other encodings say that
a value begins with the whole value before it: they repeat texts too."""


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises for damage into a DataError that names the file."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def chunks_of(metadata: Any, names: Iterable[str]) -> Iterator[Any]:
    """What the file says of some columns, for each group of rows."""
    names = list(names)
    for number in range(metadata.num_row_groups):
        yield from chunks_of_group(metadata.row_group(number), names)


def chunks_of_group(group: Any, names: Iterable[str]) -> Iterator[Any]:
    """What the file says of some columns in a group of rows."""
    for index in range(group.num_columns):
        chunk = group.column(index)
        if belongs_to(chunk.path_in_schema, names):
            yield chunk


def dictionary_leaves(metadata: Any, names: Iterable[str]) -> list[str]:
    """The parts of some columns that can be kept as dictionaries: "img.bytes", ...

    They are the texts and bytes, without those in an encoding that has no such form.
    """
    chunks = [chunk for chunk in chunks_of(metadata, names) if chunk.physical_type == "BYTE_ARRAY"]
    leaves = dict.fromkeys(chunk.path_in_schema for chunk in chunks)
    others = {chunk.path_in_schema for chunk in chunks if not _may_be_dictionary(chunk)}
    return [leaf for leaf in leaves if leaf not in others]


def _may_be_dictionary(chunk: Any) -> bool:
    return DICTIONARY_ENCODINGS.issuperset(chunk.encodings)


def rows_that_fit(metadata: Any, names: Iterable[str], most: int) -> int:
    """How many rows of some columns surely fit BATCH_BYTES; at most `most`.

    A text takes at most the bytes of its chunk. Where it is kept as a dictionary, all
    texts of the chunk do.
    """
    longest = [
        max(1, chunk.total_uncompressed_size)
        for chunk in chunks_of(metadata, names)
        if chunk.physical_type == "BYTE_ARRAY" and not _may_be_dictionary(chunk)
    ]
    return max(1, min([most, *(BATCH_BYTES // length for length in longest)]))


def belongs_to(leaf: str, names: Iterable[str]) -> bool:
    """Whether a leaf such as "img.bytes" is part of one of some columns.

    >>> belongs_to("img.bytes", ["img"]), belongs_to("img2", ["img"])
    (True, False)
    """
    return any(leaf == name or leaf.startswith(f"{name}.") for name in names)


def column_type(file: Any, name: str) -> Any:
    """The Arrow type of a column of an open parquet file."""
    return file.schema_arrow.field(name).type


def holds_bytes(kind: Any) -> bool:
    """Whether cells of this Arrow type are bytes, or structures with "bytes"."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and holds_bytes(kind.field(index).type)
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def cells_of(path: Path, column: Any, name: str, first_row: int) -> list[Any]:
    """The cells of an Arrow array, as Python objects.

    Raises DataError, naming the row, for a text that is too long or not UTF-8.
    """
    _refuse_long_texts(path, column, name, first_row)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_cell(path, cell, name, row) for row, cell in enumerate(column, first_row)]


def _cell(path: Path, cell: Any, name: str, row: int) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} row {row}: column {name!r} is not UTF-8 text ({error})") from error


def _refuse_long_texts(path: Path, column: Any, name: str, first_row: int) -> None:
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    row_of = None
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        row_of = compute.list_parent_indices(column)
        column = compute.list_flatten(column)
    elif pyarrow.types.is_struct(kind):
        for field in range(kind.num_fields):
            _refuse_long_texts(path, column.field(field), name, first_row)
        return
    lengths = _lengths(column)
    if lengths is None or len(lengths) == 0:
        return
    longest = compute.max(lengths).as_py() or 0
    if longest > MAX_CELL:
        position = compute.index(lengths, longest).as_py()
        row = first_row + (position if row_of is None else row_of[position].as_py())
        raise DataError(
            f"{path} row {row}: column {name!r} holds a text of {longest:,} bytes, at most "
            f"{MAX_CELL:,} are read (MAX_CELL): shorten it"
        )
    if (compute.sum(lengths).as_py() or 0) > FREE_LETTERS:
        raise DataError(
            f"{path} row {first_row} and those after it: column {name!r} holds more than "
            f"{FREE_LETTERS:,} bytes of text in {len(lengths):,} cells (FREE_LETTERS)"
        )


def _lengths(column: Any) -> Any:
    """How many bytes each text of a column has; None if it holds no texts."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        lengths = _lengths(column.dictionary)
        return None if lengths is None else compute.take(lengths, column.indices)
    checks = ("is_binary", "is_string", "is_large_binary", "is_large_string")
    if not any(getattr(pyarrow.types, check)(kind) for check in checks):
        return None
    return compute.cast(compute.binary_length(column), pyarrow.int64())

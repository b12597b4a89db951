"""How does a search engine get the vectors of an index?

Beyond some ten million images a search over all rows takes seconds, and a program that
serves many people wants an engine of its own. Such engines load two layouts:

    parquet   a table, one row for each image: `path`, and `embedding`, E numbers. For
              DuckDB, LanceDB, pandas, Spark, and the loaders of vector databases
    faiss     FAISS' own file: a flat index of inner products, which is exact, with the
              number of a row as its id; and beside it, in `FILE.paths.jsonl`, a JSON
              string on each line: the path of the image of that row

The rows are unit rows, so that the inner product is the cosine. A query is a unit row
as well: `embed_query` makes one. docs/search_engines.md asks each of them the same.

Douze et al. 2024, "The Faiss library", arXiv:2401.08281; https://parquet.apache.org
"""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from clip_np.evaluation.index import Index
from clip_np.evaluation.index_files import LENGTH_TOLERANCE
from clip_np.files import File, FileError, refuse_to_replace, replace_file

LAYOUTS = ("parquet", "faiss")
ROWS = 1 << 15
"""Rows of a group in a parquet file, and rows that are copied at a time."""

INSTALL = 'pip install "minigrad-clip[export]"'


def export_index(index: Index, output: File, to: str) -> None:
    """Write the images of an index for another search engine: `to` is in LAYOUTS.

    Files are whole or not there. For "faiss", all rows are in memory; for "parquet",
    a few thousand. ValueError for an unknown layout, an index without images, or an
    output in the place of the index; FileError for a damaged index, ImportError if a
    library is missing.
    """
    if to not in LAYOUTS:
        raise ValueError(f"export_index: `to` must be one of {LAYOUTS}, got {to!r}")
    if not len(index):
        raise ValueError(f"{index.file}: holds no images that could be exported")
    for file in (output, paths_file(output)):
        refuse_to_replace(file, inputs=index.own_files)
    if to == "parquet":
        _export_parquet(index, output)
    else:
        _export_faiss(index, output)


def paths_file(output: File) -> str:
    """The file with the paths of a FAISS index.

    >>> paths_file("photos.faiss")
    'photos.faiss.paths.jsonl'
    """
    return f"{output}.paths.jsonl"


def _export_parquet(index: Index, output: File) -> None:
    pyarrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    schema = pyarrow.schema(
        [("path", pyarrow.string()), ("embedding", pyarrow.list_(pyarrow.float32(), index.width))],
        metadata={"model": _as_text(index.model), "checksum": index.checksum},
    )
    with replace_file(output) as file, parquet.ParquetWriter(file, schema) as writer:
        for paths, rows in _blocks(index):
            numbers = pyarrow.array(rows.reshape(-1))  # (rows * E,)
            embeddings = pyarrow.FixedSizeListArray.from_arrays(numbers, index.width)
            writer.write_table(pyarrow.table([pyarrow.array(paths), embeddings], schema=schema))


def _export_faiss(index: Index, output: File) -> None:
    faiss = _library("faiss")
    flat = faiss.IndexFlatIP(index.width)
    # Both are written before either is replaced. Paths of one index beside the rows of
    # another would be believed.
    with replace_file(paths_file(output)) as names, replace_file(output) as file:
        for paths, rows in _blocks(index):
            flat.add(rows)
            names.write("".join(f"{json.dumps(path)}\n" for path in paths).encode("ascii"))
        names.flush()
        faiss.write_index(flat, faiss.PyCallbackIOWriter(file.write))


def _blocks(index: Index) -> Iterator[tuple[list[str], np.ndarray]]:
    """The paths and the rows of some images after the other.

    FileError for rows that are no unit rows: an engine would believe them.
    """
    for first in range(0, len(index), ROWS):
        last = min(first + ROWS, len(index))
        rows = np.ascontiguousarray(index.rows(first, last))
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.einsum("ne,ne->n", rows, rows)
        if not np.allclose(lengths, 1, atol=LENGTH_TOLERANCE):  # also for NaN
            raise FileError(f"{index.file}: damaged: its rows are no unit rows", index.file)
        yield [_as_text(index.path(row)) for row in range(first, last)], rows


def _as_text(path: str) -> str:
    r"""A path as Unicode; bytes of a name that are none are written as "\udcff"."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _library(name: str) -> Any:
    """A library that the extra `export` installs; ImportError says how."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this layout needs {name}: {INSTALL}") from error

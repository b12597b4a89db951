"""Indexes written for other search engines: the same rows, and the same answers."""

import errno
import json
import os
import pathlib
import sys

import numpy as np
import pytest

from clip_np.evaluation import (
    build_index,
    export_index,
    exports,
    index_writer,
    read_index,
    search_index,
    write_index,
)
from clip_np.evaluation.queries import embed_query
from clip_np.files import FileError


@pytest.fixture
def index(model, photos, monkeypatch):
    """Nine photos in three parts, exported in blocks of four."""
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)
    monkeypatch.setattr(exports, "ROWS", 4)
    build_index("index.npz", [photos], *model[:2], "run")
    return read_index("index.npz")


@pytest.fixture
def query(model):
    return embed_query(["red circle"], [], *model)


def test_a_parquet_file_holds_paths_and_rows(index):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_index(index, "photos.parquet", to="parquet")
    table = parquet.read_table("photos.parquet")
    assert table.column("path").to_pylist() == index.paths
    rows = np.array(table.column("embedding").to_pylist(), np.float32)
    np.testing.assert_array_equal(rows, index.features)
    assert table.schema.metadata[b"checksum"] == index.checksum.encode()
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[16]"
    assert parquet.ParquetFile("photos.parquet").num_row_groups == 3


def test_duckdb_finds_what_a_search_finds(model, index, query):
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    export_index(index, "photos.parquet", to="parquet")
    found = duckdb.execute(
        "SELECT path, list_dot_product(embedding, ?::FLOAT[]) AS cosine "
        "FROM 'photos.parquet' ORDER BY cosine DESC LIMIT 4",
        [query.tolist()],
    ).fetchall()
    expected = search_index(index, "red circle", *model, k=4)
    assert [path for path, _ in found] == [match.path for match in expected]
    np.testing.assert_allclose([c for _, c in found], [m.cosine for m in expected], atol=1e-5)


def test_faiss_finds_what_a_search_finds(model, index, query):
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    export_index(index, "photos.faiss", to="faiss")
    lines = pathlib.Path("photos.faiss.paths.jsonl").read_text(encoding="ascii").splitlines()
    paths = [json.loads(line) for line in lines]
    assert paths == index.paths
    cosines, rows = faiss.read_index("photos.faiss").search(query[None], 4)
    expected = search_index(index, "red circle", *model, k=4)
    assert [paths[row] for row in rows[0]] == [match.path for match in expected]
    np.testing.assert_allclose(cosines[0], [match.cosine for match in expected], atol=1e-5)


@pytest.mark.parametrize("to", ["parquet", "faiss"])
def test_damaged_rows_are_exported_nowhere(index, to):
    pytest.importorskip({"parquet": "pyarrow", "faiss": "faiss"}[to])
    part = index.parts[1]
    features = np.array(part.features)
    features[2] *= 3
    index.parts[1] = part._replace(features=features)
    pathlib.Path("out").write_text("before", encoding="utf-8")
    with pytest.raises(FileError, match=r"index\.npz: damaged: its rows are no unit rows"):
        export_index(index, "out", to=to)
    assert pathlib.Path("out").read_text(encoding="utf-8") == "before"


def test_what_cannot_be_exported(index, photos, model, monkeypatch):
    with pytest.raises(ValueError, match=r"`to` must be one of \('parquet', 'faiss'\), got 'csv'"):
        export_index(index, "photos.csv", to="csv")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"needs faiss: pip install .minigrad-clip\[export\]"):
        export_index(index, "photos.faiss", to="faiss")
    nothing = build_index("nothing.npz", [photos / "notes.txt"], *model[:2])
    with pytest.raises(ValueError, match=r"nothing\.npz: holds no images"):
        export_index(nothing, "photos.parquet", to="parquet")


@pytest.mark.parametrize("to", ["parquet", "faiss"])
def test_an_index_is_not_replaced_by_its_export(index, to):
    outputs = ["./index.npz", *index.own_files]
    assert len(outputs) > 3  # there are parts
    for output in outputs:
        with pytest.raises(ValueError, match="is read for this, and would be replaced"):
            export_index(index, output, to=to)
    os.symlink("index.npz", "link.faiss.paths.jsonl")
    with pytest.raises(ValueError, match="is read for this, and would be replaced"):
        export_index(index, "link.faiss", to=to)
    assert read_index("index.npz").paths == index.paths


class _Flat:
    def __init__(self, width):
        self.width = width

    def add(self, rows):
        assert rows.shape[1] == self.width


def test_paths_and_rows_of_a_faiss_index_are_replaced_together(index, monkeypatch):
    class Faiss:
        """What is used of FAISS, on a disk that is full."""

        IndexFlatIP = _Flat
        PyCallbackIOWriter = staticmethod(lambda write: write)

        @staticmethod
        def write_index(flat, writer):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(sys.modules, "faiss", Faiss)
    names = pathlib.Path("photos.faiss.paths.jsonl")
    names.write_text("before", encoding="utf-8")
    with pytest.raises(OSError, match=r"No space left.*photos\.faiss"):
        export_index(index, "photos.faiss", to="faiss")
    assert names.read_text(encoding="utf-8") == "before"
    assert not pathlib.Path("photos.faiss").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_names_that_are_no_unicode_are_exported_readable(index):
    parquet = pytest.importorskip("pyarrow.parquet")
    last = index.parts[-1]
    files = {
        (path if number else path.replace(".png", "\udcff.png")): file
        for number, (path, file) in enumerate(last.table.to_dict().items())
    }
    index.parts[-1] = last._replace(table=last.table.of(files, last.table.folder))
    write_index("odd.npz", index)
    export_index(read_index("odd.npz"), "photos.parquet", to="parquet")
    (odd,) = [
        path
        for path in parquet.read_table("photos.parquet").column("path").to_pylist()
        if "udcff" in path
    ]
    assert odd.endswith("\\udcff.png")

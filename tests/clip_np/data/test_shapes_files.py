"""The test split of the shapes task, read from parquet files."""

import io
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from clip_np.data import DataError, shapes

KINDS = ("all", "heldout", "zeroshot_seen", "zeroshot_heldout")


@pytest.fixture(scope="module")
def split():
    return shapes.test_split(0)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def columns(split):
    """The columns of a small split, two rows of each kind, the kinds mixed."""
    rows = [(kind, row) for row in (0, 1) for kind in KINDS]
    return {
        "img": [{"bytes": png(split[kind].images[row]), "path": None} for kind, row in rows],
        "text_EN": [split[kind].captions[row] for kind, row in rows],
        "kind": [kind for kind, _ in rows],
        "label": [int(split[kind].labels[row]) for kind, row in rows],
    }


def write(file, columns):
    pytest.importorskip("pyarrow")

    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def test_parquet_round_trip_from_file_and_folder(split, columns, tmp_path):
    file = write(tmp_path / "test-00000-of-00001.parquet", columns)
    for path in (file, tmp_path, str(tmp_path)):
        read = shapes.read_test_split(path)
        assert tuple(read) == KINDS
        for kind, part in read.items():
            assert (part.images == split[kind].images[:2]).all()
            assert part.images.dtype == np.uint8
            assert part.captions == split[kind].captions[:2]
            assert part.labels.tolist() == split[kind].labels[:2].tolist()


def test_no_file_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no rows of kind all in 0 parquet test files"):
        shapes.read_test_split(tmp_path)
    with pytest.raises(DataError, match=r"nothing\.parquet cannot be read .*No such file"):
        shapes.read_test_split(tmp_path / "nothing.parquet")


def test_a_split_may_come_in_several_files(split, columns, tmp_path):
    for start, name in ((0, "test-00000-of-00002.parquet"), (4, "test-00001-of-00002.parquet")):
        write(tmp_path / name, {key: values[start:][:4] for key, values in columns.items()})
    read = shapes.read_test_split(tmp_path)
    assert read["heldout"].captions == split["heldout"].captions[:2]


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    file = tmp_path / "test-00000-of-00001.parquet"
    file.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "minigrad-clip\[data\]"'):
        shapes.read_test_split(file)


def test_a_damaged_file_is_refused_by_name(tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "test.parquet"
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"test\.parquet cannot be read as a parquet file"):
        shapes.read_test_split(file)


def test_missing_columns_are_named(columns, tmp_path):
    del columns["kind"], columns["label"]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match="has no kind column: expected kind, found img, text_EN"):
        shapes.read_test_split(file)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("kind", "train", r"\(32, 32, 3\), 'a red square', 'train' and 1$"),
        ("kind", None, "None and 1$"),
        ("text_EN", None, r"\(32, 32, 3\), None, 'zeroshot_heldout' and 1$"),
        ("label", 48, "'zeroshot_heldout' and 48$"),
        ("label", None, "'zeroshot_heldout' and None$"),
        ("img", {"bytes": None, "path": "a.png"}, "the image is empty"),
        ("img", {"bytes": b"GIF?", "path": None}, "cannot identify image"),
        (
            "img",
            {"bytes": png(np.zeros((16, 20, 3), np.uint8)), "path": None},
            r"\(16, 20, 3\), 'a red square', ",
        ),
    ],
)
def test_bad_values_are_refused_with_their_row(column, value, message, columns, tmp_path):
    columns[column][3] = value
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match=f"row 3: .*{message}") as caught:
        shapes.read_test_split(file)
    assert str(file) in str(caught.value)


def test_a_truncated_image_is_refused_with_its_row(columns, tmp_path):
    columns["img"][3]["bytes"] = columns["img"][3]["bytes"][:-400]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match=r"row 3: .*truncated"):
        shapes.read_test_split(file)


def test_a_missing_kind_is_named(columns, tmp_path):
    columns["kind"] = ["all" if kind == "heldout" else kind for kind in columns["kind"]]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(ValueError, match="no rows of kind heldout in 1 parquet test files"):
        shapes.read_test_split(file)

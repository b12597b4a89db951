"""Parquet files: shards, columns, cells, damage."""

import builtins

import pyarrow
import pyarrow.parquet
import pytest
from small_data import COLOURS, colour_of, encoded, save, shard, write

from clip_np.data import DataError, open_dataset


def test_parquet_shards_among_other_files(tmp_path):
    write(tmp_path / "LICENSE.txt", "free")
    save(tmp_path / "preview.png")
    images = [{"bytes": encoded(colour), "path": "x.png"} for colour in COLOURS]
    data = tmp_path / "data"
    shard(data / "train-00000-of-00002.parquet", images[:2], ["a", "b"], tags=["p, q", None])
    shard(data / "train-00001-of-00002.parquet", images[2:4], ["c", "d"])
    shard(data / "validation-0.parquet", images[4:5], ["e"])
    shard(tmp_path / "test" / "0000.parquet", images[5:], ["f"])
    splits = open_dataset(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    train = splits["train"]
    assert train.captions == ["a", "b", "c", "d"]
    assert train.tags == ["p, q", "", "", ""]
    assert train.names[3] == "data/train-00001-of-00002.parquet row 1"
    assert [colour_of(train, row) for row in range(4)] == COLOURS[:4]
    assert colour_of(splits["validation"], 0) == COLOURS[4]
    assert colour_of(splits["test"], 0) == COLOURS[5]


def test_one_parquet_file_with_other_kinds_of_cells(tmp_path):
    save(tmp_path / "images" / "a.png", COLOURS[1])
    path_only = {"bytes": None, "path": "images/a.png"}
    in_bytes = {"bytes": encoded(COLOURS[2]), "path": None}
    file = shard(tmp_path / "a.parquet", [path_only, in_bytes], ["a", "b"])
    train = open_dataset(file, validation_fraction=0)["train"]
    assert train.names == [str(tmp_path / "images" / "a.png"), "a.parquet row 1"]
    assert [colour_of(train, row) for row in range(2)] == COLOURS[1:3]
    file = shard(tmp_path / "b.parquet", ["images/a.png"], ["a"])
    assert colour_of(open_dataset(file)["train"], 0) == COLOURS[1]
    file = shard(tmp_path / "c.parquet", [encoded(COLOURS[3])], ["a"])
    assert colour_of(open_dataset(file)["train"], 0) == COLOURS[3]


def test_parquet_columns(tmp_path):
    data = {
        "jpg": [encoded(COLOURS[0])],
        "IMG": [encoded(COLOURS[1])],
        "captions": [["first", "second"]],
        "text_en": ["english"],
        "tags": [["p", "q"]],
    }
    pyarrow.parquet.write_table(pyarrow.table(data), tmp_path / "a.parquet")
    train = open_dataset(tmp_path)["train"]
    assert (train.captions, train.tags, colour_of(train, 0)) == (["english"], ["p, q"], COLOURS[1])
    train = open_dataset(tmp_path, image_column="jpg", caption_column="captions")["train"]
    assert (train.captions, colour_of(train, 0)) == (["first", "second"], COLOURS[0])


def test_parquet_rows_beyond_one_batch_of_reading(tmp_path):
    captions = [f"picture {row}" for row in range(2100)]
    cells = [encoded(COLOURS[row % 6], (2, 2)) for row in range(2100)]
    train = open_dataset(shard(tmp_path / "a.parquet", cells, captions), validation_fraction=0)
    pairs = train["train"]
    assert pairs.captions == captions
    assert pairs.names[2050] == "a.parquet row 2050"
    assert [colour_of(pairs, row) for row in (1023, 1024, 2050)] == [
        COLOURS[row % 6] for row in (1023, 1024, 2050)
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"caption": ["a"]}, "has no image column: expected img or image or .*, found caption "),
        ({"image": [b"x"], "label": [3]}, "has no caption column: .* found image, label "),
        ({"image": [b"x"], "caption": [3]}, "a.parquet row 0: expected a text and an encoded image "
         "or its path, got <class 'int'> and <class 'bytes'>; `caption_column` and"),
        ({"image": [3], "caption": ["a"]}, "row 0: .* got <class 'str'> and <class 'int'>"),
        ({"image": [{"url": "x"}], "caption": ["a"]}, "got <class 'str'> and <class 'dict'>"),
        ({"image": [b"x"], "caption": [None]}, "a.parquet row 0: the caption is empty"),
        ({"image": [b"x", b"y"], "captions": [["a"], []]}, "a.parquet row 1: the caption is empty"),
        ({"image": [b"x"], "caption": ["a"], "split": ["q"]}, "a.parquet row 0: split 'q' is none"),
    ],
)  # fmt: skip
def test_parquet_errors(tmp_path, columns, message):
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_parquet_cells_without_an_image(tmp_path):
    cells = [{"bytes": None, "path": None}, {"bytes": None, "path": "no.png"}]
    file = shard(tmp_path / "a.parquet", cells, ["a", "b"])
    with pytest.raises(DataError, match=r"^a\.parquet row 0: the image is empty"):
        open_dataset(file)
    pairs = open_dataset(file, validation_fraction=0, skipped=[])["train"]
    with pytest.raises(DataError, match=r"no\.png: cannot be read \(FileNotFoundError"):
        pairs.open_image(0)


def test_damaged_and_empty_parquet(tmp_path):
    write(tmp_path / "a.parquet", "version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a parquet file"):
        open_dataset(tmp_path)
    pyarrow.parquet.write_table(
        pyarrow.table({"image": pyarrow.array([], "binary"), "caption": pyarrow.array([], "str")}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(DataError, match="holds no image-caption pairs"):
        open_dataset(tmp_path)


def test_parquet_rows_may_name_their_split(tmp_path):
    file = tmp_path / "train.parquet"
    shard(file, [b"x", b"y", b"z"], ["a", "b", "c"], split=["Train", "val", "test"])
    splits = open_dataset(file)
    assert {split: pairs.captions for split, pairs in splits.items()} == {
        "train": ["a"],
        "validation": ["b"],
        "test": ["c"],
    }


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    shard(tmp_path / "a.parquet", [b"x"], ["a"])
    real_import = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install "minigrad-clip\[data\]"'):
        open_dataset(tmp_path)

"""Folders of splits, folders that hold nothing useful, and two descriptions."""

import pytest
from small_data import save, shard, table_folder, write

from clip_np.data import DataError, open_dataset, sources
from clip_np.data.columns import Entry


def test_split_folders_of_either_layout(tmp_path):
    table_folder(tmp_path / "train" / "part", 2)
    save(tmp_path / "test" / "cats" / "tom.png")
    write(tmp_path / "test" / "cats" / "tom.txt", "a cat")
    save(tmp_path / "val2017" / "jerry.png")
    write(tmp_path / "val2017" / "jerry.txt", "a mouse")
    splits = open_dataset(tmp_path)
    assert {split: pairs.captions for split, pairs in splits.items()} == {
        "train": ["picture 0", "picture 1"],
        "validation": ["a mouse"],
        "test": ["a cat"],
    }


def test_a_folder_with_only_test_files_gives_only_test(tmp_path):
    table_folder(tmp_path / "test")
    assert list(open_dataset(tmp_path)) == ["test"]


def test_a_folder_of_a_class_is_not_a_split(tmp_path):
    save(tmp_path / "test tubes" / "a.png")
    write(tmp_path / "test tubes" / "a.txt", "a test tube")
    assert list(open_dataset(tmp_path)) == ["train"]


def test_unrecognised_places(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no image-caption pairs.*name\.jpg next to name\.txt"):
        open_dataset(tmp_path)
    write(tmp_path / "a.docx", "a")
    with pytest.raises(DataError, match="no image-caption pairs"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"a\.docx holds no image-caption pairs"):
        open_dataset(tmp_path / "a.docx")


def test_two_descriptions_of_the_data(tmp_path):
    table_folder(tmp_path)
    shard(tmp_path / "old" / "train.parquet", [b"x"], ["a"])
    described = r"described more than once, give the path of one: .*captions\.csv, .*"
    with pytest.raises(DataError, match=rf"{described}train\.parquet"):
        open_dataset(tmp_path)
    (tmp_path / "old" / "train.parquet").unlink()
    table_folder(tmp_path / "train")
    with pytest.raises(DataError, match=rf"{described}train.captions\.csv"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path / "captions.csv", validation_fraction=0)["train"]) == 3


def test_a_new_kind_of_file_is_a_reader_and_a_line_in_the_table(tmp_path, monkeypatch):
    def is_listing(path, asked_for):
        return path.suffix == ".listing"

    def read_listing(path, columns):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, caption = line.split("|")
            yield Entry(location=f"pair {name}", cells={"image": name, "caption": caption})

    kind = sources.Kind(recognises=is_listing, read=read_listing, images_inside=False)
    monkeypatch.setattr(sources, "KINDS", (*sources.KINDS, kind))
    save(tmp_path / "a.png")
    write(tmp_path / "pairs.listing", "a.png|a cat\nb.png|\n")
    with pytest.raises(DataError, match=r"pair b\.png: the caption is empty"):
        open_dataset(tmp_path)
    write(tmp_path / "pairs.listing", "a.png|a cat\nb.png|a dog\n")
    splits = open_dataset(tmp_path, validation_fraction=0)
    assert splits["train"].captions == ["a cat", "a dog"]
    assert splits["train"].open_image(0).size == (6, 4)
    table_folder(tmp_path)
    with pytest.raises(DataError, match=r"described more than once, .*captions\.csv, .*listing"):
        open_dataset(tmp_path)

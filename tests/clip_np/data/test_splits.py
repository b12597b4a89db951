"""Which split a name says, and which pairs are held out."""

import pytest
from small_data import table_folder, write

from clip_np.data import open_dataset, split_of


def test_split_names_are_whole_words():
    names = ["evaluation", "latest", "devices", "val-0", "Valid_1", "dev", "test2017", "retrain"]
    assert [split_of([name]) for name in names] == [
        *["train"] * 3, *["validation"] * 3, "test", "train",
    ]  # fmt: skip


def test_five_percent_of_training_rows_are_held_out(tmp_path):
    lines = [f"{row}.png,picture {row},{'test' if row >= 60 else 'train'}" for row in range(80)]
    write(tmp_path / "captions.csv", "image,caption,split\n" + "\n".join(lines))
    first, again, other = (open_dataset(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert {split: len(pairs) for split, pairs in first.items()} == {
        "train": 57,
        "test": 20,
        "validation": 3,
    }
    assert set(first["train"].captions) | set(first["validation"].captions) == {
        f"picture {row}" for row in range(60)
    }
    assert first["test"].captions == [f"picture {row}" for row in range(60, 80)]
    assert first["validation"].captions == again["validation"].captions
    assert first["validation"].captions != other["validation"].captions


def test_captions_of_one_image_stay_on_one_side(tmp_path):
    lines = [f"{row // 5}.png,caption {row}" for row in range(100)]
    write(tmp_path / "captions.csv", "image,caption\n" + "\n".join(lines))
    splits = open_dataset(tmp_path, validation_fraction=0.25)
    assert len(splits["validation"]) == 25
    assert not set(splits["train"].names) & set(splits["validation"].names)


def test_validation_is_at_least_one_row_and_never_all(tmp_path):
    splits = open_dataset(table_folder(tmp_path / "two", 2))
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 1, "validation": 1}
    splits = open_dataset(tmp_path / "two", validation_fraction=0.99)
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 1, "validation": 1}
    assert list(open_dataset(table_folder(tmp_path / "one", 1))) == ["train"]
    with pytest.raises(ValueError, match=r"validation_fraction is 1, expected 0 <= it < 1"):
        open_dataset(tmp_path / "two", validation_fraction=1)

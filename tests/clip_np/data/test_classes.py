"""Classes in place of captions: their names, and a sentence around them."""

import datasets
import pytest
from small_data import encoded, save, shard, write

from clip_np.data import DataError, DataWarning, open_dataset

NAMES = ["cat", "polar_bear"]
LABELS = [1, 0, 1, 0]
CAPTIONS = ["polar bear", "cat", "polar bear", "cat"]


def labelled_set(folder, kind: str, labels=LABELS, **columns):
    """Images with class labels, as a saved set or as a parquet file of the library."""
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    features |= dict.fromkeys(columns, datasets.Value("string"))
    cells = {
        "image": [{"bytes": encoded(), "path": None}] * len(labels),
        "label": labels,
        **columns,
    }
    rows = datasets.Dataset.from_dict(cells, features=datasets.Features(features))
    if kind == "parquet":
        rows.to_parquet(str(folder / "train.parquet"))
        return folder / "train.parquet"
    rows.save_to_disk(str(folder / "set"))
    return folder / "set"


def captions(path, **options) -> list[str]:
    splits = open_dataset(path, validation_fraction=0, **options)
    return [caption for pairs in splits.values() for caption in pairs.captions]


@pytest.mark.parametrize("kind", ["set", "parquet"])
@pytest.mark.parametrize("column", [None, "label", "LABEL"])
def test_labels_become_the_names_of_their_classes(tmp_path, kind, column):
    path = labelled_set(tmp_path, kind)
    with pytest.warns(DataWarning, match=r"the 2 classes of column 'label' become captions \(cat"):
        assert captions(path, caption_column=column) == CAPTIONS
    with pytest.warns(DataWarning):
        found = captions(path, caption_column=column, template="a photo of a {}")
    assert found == [f"a photo of a {name}" for name in CAPTIONS]


@pytest.mark.parametrize("kind", ["set", "parquet"])
def test_captions_come_before_labels(tmp_path, kind, recwarn):
    path = labelled_set(tmp_path, kind, text=["a", "b", "c", "d"])
    assert captions(path, template="a photo of a {}") == ["a", "b", "c", "d"]
    assert not [warning for warning in recwarn if warning.category is DataWarning]


@pytest.mark.filterwarnings("ignore::clip_np.data.DataWarning")
@pytest.mark.parametrize("kind", ["set", "parquet"])
def test_labels_that_are_missing_are_named_or_counted(tmp_path, kind):
    path = labelled_set(tmp_path, kind, labels=[1, -1, None, 0])
    with pytest.raises(DataError, match=r"row 1: (label -1 is none of the 2|the caption is empty)"):
        captions(path)
    skipped: list[str] = []
    assert captions(path, skipped=skipped) == ["polar bear", "cat"]
    assert len(skipped) == 2


@pytest.mark.parametrize("label", [0, 1])
def test_numbers_without_names_are_refused(tmp_path, label):
    shard(tmp_path / "a.parquet", [encoded()], ["x"], label=[label])
    with pytest.raises(DataError, match=r"row 0: expected a text .*got <class 'int'>"):
        open_dataset(tmp_path, caption_column="label")


def test_folders_of_classes(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "polar_bear"):
            save(tmp_path / split / name / "0.png")
    with pytest.warns(DataWarning, match=r"names of 2 folders become captions \(cat, polar_bear\)"):
        splits = open_dataset(tmp_path, validation_fraction=0, template="a {}!")
    assert {split: list(pairs.captions) for split, pairs in splits.items()} == {
        "train": ["a cat!", "a polar bear!"],
        "test": ["a cat!", "a polar bear!"],
    }


@pytest.mark.parametrize(
    "paths", [["a.png", "b.png"], ["x/a.png", "x/b.png"], ["x/a.png", "b.png"]]
)
def test_pictures_without_classes_are_an_error(tmp_path, paths):
    for path in paths:
        save(tmp_path / path)
    with pytest.raises(DataError, match=r"2 images have no \.txt file"):
        open_dataset(tmp_path)


def test_one_caption_makes_the_others_missing(tmp_path):
    save(tmp_path / "cat" / "a.png")
    save(tmp_path / "dog" / "a.png")
    write(tmp_path / "cat" / "a.txt", "a cat")
    with pytest.raises(DataError, match=r"1 images have no \.txt file"):
        open_dataset(tmp_path)


def test_a_template_has_a_place_for_the_class(tmp_path):
    with pytest.raises(ValueError, match=r"template 'a photo' has no \{\} for the class"):
        open_dataset(tmp_path, template="a photo")


def test_notes_of_another_library_that_are_odd(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"image": [encoded()], "caption": ["a cat"]})
    number = '{"info": {"features": {"caption": {"_type": "ClassLabel", "names": 7}}}}'
    odd = ["", "[", "[]", "null", "[" * 100_000, '{"info": {"features": 3}}', number]
    for notes in odd:
        noted = table.replace_schema_metadata({"huggingface": notes})
        pyarrow.parquet.write_table(noted, tmp_path / "a.parquet")
        assert captions(tmp_path) == ["a cat"]

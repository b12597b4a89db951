"""Tables of captions: separators, columns, and what each mistake is told."""

import shutil

import pytest
from small_data import COLOURS, colour_of, save, table_folder, write

from clip_np.data import DataError, open_dataset


@pytest.mark.parametrize("column", ["file_name", "filename", "image", "img", "path", "FilePath"])
def test_table_recognises_the_file_column(tmp_path, column):
    splits = open_dataset(table_folder(tmp_path, header=f"{column},caption"), validation_fraction=0)
    assert list(splits) == ["train"]
    assert splits["train"].captions == ["picture 0", "picture 1", "picture 2"]
    assert splits["train"].names[1] == str(tmp_path / "1.png")
    assert splits["train"].tags is None
    assert [colour_of(splits["train"], row) for row in range(3)] == COLOURS[:3]


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_table_separator_encoding_and_newlines(tmp_path, separator, encoding, newline):
    save(tmp_path / "a b.png")
    rows = [["FILE_NAME", "Text"], ["a b.png", '"größer, ""so"" und\tso; ja"'], []]
    write(tmp_path / "metadata.csv", newline.join(map(separator.join, rows)) + newline, encoding)
    train = open_dataset(tmp_path)["train"]
    assert train.captions == ['größer, "so" und\tso; ja']
    assert colour_of(train, 0) == (250, 10, 20)


def test_table_with_splits_tags_and_given_columns(tmp_path):
    for name in "abcd":
        save(tmp_path / "images" / f"{name}.png")
    write(
        tmp_path / "captions.csv",
        "where,words,caption,split,Tags\n"
        "images/a.png,one,wrong,train,\nimages/b.png,two,wrong,TEST,x\n"
        'images/c.png,three,wrong,dev,\nimages/d.png,four,wrong,train,"p, q"\n',
    )
    splits = open_dataset(tmp_path, image_column="Where", caption_column="WORDS")
    assert {split: pairs.captions for split, pairs in splits.items()} == {
        "train": ["one", "four"],
        "validation": ["three"],
        "test": ["two"],
    }
    assert splits["train"].tags == ["", "p, q"]
    assert splits["test"].open_image(0).size == (6, 4)


def test_table_given_by_its_own_path(tmp_path):
    table_folder(tmp_path)
    for name in ("flowers_test.csv", "my test 2.csv", "evaluation.csv"):
        shutil.copy(tmp_path / "captions.csv", tmp_path / name)
    assert list(open_dataset(tmp_path / "flowers_test.csv")) == ["test"]
    assert list(open_dataset(tmp_path / "my test 2.csv")) == ["test"]
    assert list(open_dataset(tmp_path / "evaluation.csv")) == ["train", "validation"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,caption\n", "has no image column: expected img or image or .* found name, caption "
         r"\(`image_column` and `caption_column` name other columns\)"),
        ("image,heading\n", "has no caption column: expected text_EN or caption or text or captions"
         " or .*, found image, heading"),
        ("", "has no image column"),
        ("image,caption\n", "holds no image-caption pairs. Files that can be read: "),
        ("image,caption\na.png,one, two\n", "captions.csv line 2: more or fewer cells than"),
        ("image,caption\na.png\n", "line 2: more or fewer cells"),
        ("image,caption\na.png,one\nb.png, \n", "captions.csv line 3: the caption is empty"),
        ('image,caption\na.png,"one\n', "captions.csv after line 1: unexpected end of data"),
        ("image,caption,split\na.png,one,restval\n",
         "captions.csv line 2: split 'restval' is none of train, "),
    ],
)  # fmt: skip
def test_table_errors(tmp_path, text, message):
    write(tmp_path / "captions.csv", text)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_table_that_is_not_utf8(tmp_path):
    write(tmp_path / "captions.csv", "image,caption\na.png,Grün\n", "latin-1")
    with pytest.raises(DataError, match=r"captions.csv is not UTF-8 text .*save it as UTF-8"):
        open_dataset(tmp_path)


def test_a_table_row_without_an_image_is_named(tmp_path):
    write(tmp_path / "captions.csv", "image,caption\n,one\n")
    with pytest.raises(DataError, match=r"^captions\.csv line 2: the image is empty"):
        open_dataset(tmp_path)


def test_a_given_column_that_is_missing(tmp_path):
    table_folder(tmp_path)
    expected = "has no caption column: expected title, found file_name, caption"
    with pytest.raises(DataError, match=expected):
        open_dataset(tmp_path, caption_column="title")

"""Where pairs come from: every layout, every image mode, and what each mistake is told."""

import builtins
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import clip_np.data
from clip_np.data import DataError, Pairs, open_dataset, split_of, to_rgb

COLOURS = [(250, 10, 20), (10, 240, 30), (20, 30, 230), (200, 200, 0), (0, 100, 100), (9, 9, 9)]


def save(path: Path, colour=(250, 10, 20), size=(6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def encoded(colour=(250, 10, 20), size=(6, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, text: str, encoding="utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding, newline="")
    return path


def shard(path: Path, images, captions, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"image": images, "caption": captions} | columns
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


def colour_of(pairs: Pairs, row: int) -> tuple[int, int, int]:
    image = pairs.open_image(row)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


def table_folder(root: Path, count: int = 3, header="file_name,caption", separator=",") -> Path:
    lines = [header]
    for row in range(count):
        save(root / f"{row}.png", COLOURS[row % 6])
        lines.append(f"{row}.png{separator}picture {row}")
    write(root / "captions.csv", "\n".join(lines) + "\n")
    return root


# --- (a) tables ----------------------------------------------------------------------------


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
         r"\(--image-column and --caption-column name other columns\)"),
        ("image,title\n", "has no caption column: expected text_EN or caption or text or captions"
         ", found image, title"),
        ("", "has no image column"),
        ("image,caption\n", "holds no image-caption pairs. Understood are"),
        ("image,caption\na.png,one, two\n", "captions.csv line 2: more or fewer cells than"),
        ("image,caption\na.png\n", "line 2: more or fewer cells"),
        ("image,caption\na.png,one\nb.png, \n", r"1 captions are empty: those of .*b\.png"),
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


def test_a_table_row_without_an_image_is_named_when_it_is_opened(tmp_path):
    write(tmp_path / "captions.csv", "image,caption\n,one\n")
    pairs = open_dataset(tmp_path)["train"]
    with pytest.raises(DataError, match=r"^captions\.csv line 2: cannot be read"):
        pairs.open_image(0)


def test_a_given_column_that_is_missing(tmp_path):
    table_folder(tmp_path)
    expected = "has no caption column: expected title, found file_name, caption"
    with pytest.raises(DataError, match=expected):
        open_dataset(tmp_path, caption_column="title")


# --- (b) files beside each other, (d) folders of splits ------------------------------------


def test_image_files_beside_text_files(tmp_path):
    suffixes = [".jpg", ".JPEG", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"]
    for row, suffix in enumerate(suffixes):
        save(tmp_path / "deep" / "er" / f"{row}.x{suffix}")
        write(tmp_path / "deep" / "er" / f"{row}.x.txt", f"\ufeffpicture {row}\n")
    save(tmp_path / ".hidden" / "lonely.png")
    save(tmp_path / "deep" / "._0.x.png")
    train = open_dataset(tmp_path, validation_fraction=0)["train"]
    assert train.captions == [f"picture {row}" for row in range(8)]
    assert [train.open_image(row).size for row in range(8)] == [(6, 4)] * 8


def test_images_without_text_are_named(tmp_path):
    for row in range(5):
        save(tmp_path / f"{row}.png")
    write(tmp_path / "0.txt", "zero")
    with pytest.raises(DataError, match=r"4 images have no \.txt .*/1, .*/2, .*/3 and 1 more"):
        open_dataset(tmp_path)


def test_texts_without_image_are_named(tmp_path):
    save(tmp_path / "a.png")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "b")
    with pytest.raises(DataError, match=r"or \.txt files no image: .*b\. Add what is"):
        open_dataset(tmp_path)


def test_empty_and_undecodable_text_files(tmp_path):
    save(tmp_path / "a.png")
    write(tmp_path / "a.txt", " \n")
    with pytest.raises(DataError, match=r"1 captions are empty: those of .*a\.png"):
        open_dataset(tmp_path)
    write(tmp_path / "a.txt", "Grün", "latin-1")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text"):
        open_dataset(tmp_path)


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


# --- (c) parquet ---------------------------------------------------------------------------


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
    assert (train.captions, colour_of(train, 0)) == (["first"], COLOURS[0])


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
         "or its path, got <class 'int'> and <class 'bytes'>; --caption-column and"),
        ({"image": [3], "caption": ["a"]}, "row 0: .* got <class 'str'> and <class 'int'>"),
        ({"image": [{"url": "x"}], "caption": ["a"]}, "got <class 'str'> and <class 'dict'>"),
        ({"image": [b"x"], "caption": [None]}, "1 captions are empty: those of a.parquet row 0"),
        ({"image": [b"x", b"y"], "captions": [["a"], []]}, "captions are empty.* a.parquet row 1"),
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
    pairs = open_dataset(file, validation_fraction=0)["train"]
    with pytest.raises(DataError, match=r"^a\.parquet row 0: cannot be read"):
        pairs.open_image(0)
    with pytest.raises(DataError, match=r"no\.png: cannot be read \(FileNotFoundError"):
        pairs.open_image(1)


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


def test_split_names_are_whole_words():
    names = ["evaluation", "latest", "devices", "val-0", "Valid_1", "dev", "test2017", "retrain"]
    assert [split_of([name]) for name in names] == [
        *["train"] * 3, *["validation"] * 3, "test", "train",
    ]  # fmt: skip


# --- Folders that hold nothing useful ------------------------------------------------------


def test_unrecognised_places(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no image-caption pairs.*name\.jpg beside name\.txt"):
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


# --- Validation ----------------------------------------------------------------------------


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


# --- Pairs ---------------------------------------------------------------------------------


def test_pairs_from_arrays_and_select():
    images = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)  # (4, 2, 3, 3)
    pairs = Pairs.from_arrays(images, ["a", "b", "c", "d"])
    some = pairs.select(np.array([3, 1, 1]))
    assert (len(pairs), len(some), some.captions) == (4, 3, ["d", "b", "b"])
    assert some.names == ["image 3", "image 1", "image 1"]
    assert (np.asarray(some.open_image(0)) == images[3]).all()
    tagged = Pairs(["a", "b"], ["x", "y"], ["p", "q"], [images[0], images[1]]).select([1])
    assert tagged.tags == ["q"]


@pytest.mark.parametrize(
    ("shape", "dtype", "captions", "message"),
    [
        ((2, 4, 4), np.uint8, ["a", "b"], r"expected uint8 .* got uint8 \(2, 4, 4\) and 2 capt"),
        ((2, 4, 4, 3), np.float32, ["a", "b"], r"expected uint8 .* got float32 \(2, 4, 4, 3\)"),
        ((2, 4, 4, 4), np.uint8, ["a", "b"], r"got uint8 \(2, 4, 4, 4\)"),
        ((2, 4, 4, 3), np.uint8, ["a"], "and 1 captions"),
        ((2, 4, 4, 3), np.uint8, ["a", ""], "1 captions are empty: those of image 1"),
    ],
)
def test_pairs_from_wrong_arrays(shape, dtype, captions, message):
    with pytest.raises(DataError, match=message):
        Pairs.from_arrays(np.zeros(shape, dtype), captions)


def test_preprocess_is_public_here():
    assert clip_np.data.preprocess is clip_np.data.batches.preprocess


# --- Images --------------------------------------------------------------------------------


def opened(path: Path) -> np.ndarray:
    return np.asarray(Pairs(["a"], [str(path)], None, [path]).open_image(0)).astype(int)


GREY = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)  # (4, 4)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "png"), ("L", "bmp"), ("P", "png"), ("P", "gif"), ("CMYK", "tif"),
     ("YCbCr", "tif"), ("I", "tif"), ("F", "tif"), ("RGB", "webp")],
)  # fmt: skip
def test_modes_without_transparency(tmp_path, mode, suffix):
    values = (GREY > 100).astype(np.uint8) * 255 if mode == "1" else GREY
    image = Image.fromarray(values).convert(mode)
    assert image.mode == mode
    image.save(tmp_path / f"a.{suffix}", lossless=True)
    assert np.abs(opened(tmp_path / f"a.{suffix}") - values[..., np.newaxis]).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    assert (opened(tmp_path / f"a.{suffix}") == GREY[..., np.newaxis]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[-5, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.float32), [0, 100, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[-5, 25700, 65535]], np.int32), [0, 100, 255]),
    ],
)
def test_ranges_of_deep_modes(values, expected):
    assert np.asarray(to_rgb(Image.fromarray(values)))[0].T.tolist() == [expected] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_deep_modes_without_a_range(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: .*mode F pixels reach .* more than 65535"):
        opened(tmp_path / "a.tif")


def with_alpha(mode: str) -> Image.Image:
    """Left: grey 40, opaque. Right: grey 40 or black, fully transparent."""
    image = Image.new("RGBA", (2, 1), (40, 40, 40, 255))
    image.putpixel((1, 0), (40, 40, 40, 0))
    if mode in ("RGBa", "La"):
        return image.convert({"RGBa": "RGBa", "La": "LA"}[mode]).convert(mode)
    if mode == "RGBA palette":
        image = Image.new("P", (2, 1))
        image.putpalette([40, 40, 40, 255, 40, 40, 40, 0], "RGBA")
        image.putpixel((1, 0), 1)
        return image
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA", "RGBA palette"])
def test_transparency_becomes_white(mode):
    assert np.asarray(to_rgb(with_alpha(mode)))[0].tolist() == [[40] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("mode", "clear", "transparency"),
    [("P", 1, 1), ("P", 1, b"\xff\x00"), ("L", 1, 1), ("RGB", (1, 1, 1), (1, 1, 1)), ("1", 1, 1)],
)
def test_transparency_beside_the_pixels(tmp_path, mode, clear, transparency):
    image = Image.new(mode, (2, 1), 0)
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1])
    image.putpixel((1, 0), clear)
    image.save(tmp_path / "a.png", transparency=transparency)
    assert opened(tmp_path / "a.png")[0].tolist() == [[0] * 3, [255] * 3]


def test_half_transparent_is_mixed_with_white():
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 51))
    assert to_rgb(image).getpixel((0, 0)) == (204, 204, 204)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_exif_orientation_is_applied(tmp_path, mode):
    image = Image.new(mode, (8, 16), 0)
    image.paste(255 if mode == "L" else (255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    image.save(tmp_path / "a.png", exif=exif)
    pixels = opened(tmp_path / "a.png")
    assert pixels.shape == (8, 16, 3)
    assert (pixels[:, :8] == 0).all() and (pixels[:, 8:] == 255).all()


def test_unreadable_files_are_named_with_the_cause(tmp_path):
    with pytest.raises(DataError, match=r"no\.png: cannot be read \(FileNotFoundError: "):
        opened(tmp_path / "no.png")
    write(tmp_path / "text.png", "I am no image")
    with pytest.raises(DataError, match=r"text\.png: .*cannot identify image file"):
        opened(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "webp"):
        whole = tmp_path / f"whole.{suffix}"
        Image.fromarray(noise).save(whole)
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"cut\.{suffix}: cannot be read \("):
            opened(cut)
    damaged = bytearray((tmp_path / "whole.png").read_bytes())
    damaged[200:400] = bytes(200)
    (tmp_path / "damaged.png").write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged\.png: cannot be read \("):
        opened(tmp_path / "damaged.png")


@pytest.mark.parametrize("size", [(1, 1001), (1001, 1)])
def test_strips_that_would_be_bombs_when_resized_are_errors(tmp_path, size):
    save(tmp_path / "strip.png", size=size)
    with pytest.raises(DataError, match=f"{size[0]}x{size[1]} pixels are too many or too elon"):
        opened(tmp_path / "strip.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [400, 210])  # Pillow only warns up to twice its limit
def test_decompression_bombs_are_errors(tmp_path, monkeypatch, limit):
    save(tmp_path / "bomb.png", size=(20, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(
        DataError, match=r"bomb\.png: .*(20x30 pixels are too many|decompression bomb)"
    ):
        opened(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert opened(tmp_path / "bomb.png").shape == (30, 20, 3)

"""The files and folders in which people keep captions, as they come."""

import io
import json
import shutil
import tarfile

import pytest
from small_data import COLOURS, colour_of, encoded, save, shard, write

from clip_np.data import DataError, open_dataset

TEXTS = ["a cat", "two dogs", "a hat; red, with a bow"]
BARE = TEXTS[:2]


def pictures(folder, suffix="jpg") -> None:
    for row in range(3):
        save(folder / f"{row}.{suffix}", COLOURS[row], size=(24, 16))


def read(path, **options) -> dict[str, tuple[int, int, int]]:
    """The captions of a set, each with the colour of its image."""
    train = open_dataset(path, validation_fraction=0, **options)["train"]
    return {train.captions[row]: colour_of(train, row) for row in range(len(train))}


def assert_right(found, texts=TEXTS) -> None:
    assert list(found) == texts
    for colour, expected in zip(found.values(), COLOURS):
        assert max(abs(a - b) for a, b in zip(colour, expected)) < 20  # JPEG


def quoted(text: str) -> str:
    return f'"{text}"'


# --- text tables ----------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["captions.csv", "captions.tsv", "captions.txt", "metadata.csv"])
def test_separators_and_encodings(tmp_path, separator, encoding, name):
    pictures(tmp_path)
    lines = [f"{row}.jpg{separator}{quoted(text)}" for row, text in enumerate(TEXTS)]
    write(tmp_path / name, "\r\n".join([f"image{separator}caption", *lines, ""]), encoding)
    assert_right(read(tmp_path))


def test_a_stated_separator(tmp_path):
    pictures(tmp_path)
    lines = [f"{row}.jpg;{quoted(text)}" for row, text in enumerate(TEXTS)]
    write(tmp_path / "captions.csv", "\n".join(["sep=;", "image;caption", *lines]))
    assert_right(read(tmp_path))


@pytest.mark.parametrize("name", ["flowers.csv", "flowers.tsv", "flowers.txt"])
def test_any_table_by_its_path(tmp_path, name):
    pictures(tmp_path)
    lines = [f"{row}.jpg\t{quoted(text)}" for row, text in enumerate(TEXTS)]
    write(tmp_path / name, "\n".join(["image\tcaption", *lines]))
    assert_right(read(tmp_path / name))


@pytest.mark.parametrize("folder", ["", "Images", "images", "Flicker8k_Dataset"])
@pytest.mark.parametrize("by_path", [False, True])
def test_flickr8k_of_kaggle(tmp_path, folder, by_path):
    pictures(tmp_path / folder)
    lines = [f"{row}.jpg,{quoted(text)}" for row, text in enumerate(TEXTS)]
    write(tmp_path / "captions.txt", "\n".join(["image,caption", *lines]))
    assert_right(read(tmp_path / "captions.txt" if by_path else tmp_path))


@pytest.mark.parametrize("separator", ["\t", ","])
def test_flickr8k_without_headers(tmp_path, separator):
    pictures(tmp_path / "Images")
    lines = [
        f'{row}.jpg#{number}{separator}"{text}" {number}'
        for row, text in enumerate(TEXTS)
        for number in range(5)
    ]
    write(tmp_path / "Flickr8k.token.txt", "\n".join([*lines, "", "odd line"]))
    with pytest.raises(DataError, match=r"Flickr8k\.token\.txt line 17: no .* between an image"):
        open_dataset(tmp_path / "Flickr8k.token.txt")
    skipped: list[str] = []
    splits = open_dataset(tmp_path / "Flickr8k.token.txt", skipped=skipped)
    assert len(skipped) == 1
    assert sum(map(len, splits.values())) == 15
    assert len(splits["validation"]) == 5  # all captions of one image
    assert splits["train"].captions[0] == '"a cat" 0'


def test_flickr30k_of_kaggle(tmp_path):
    pictures(tmp_path / "flickr30k_images")
    lines = [f"{row}.jpg| {row}| {text}" for row, text in enumerate(TEXTS)]
    write(tmp_path / "results.csv", "\n".join(["image_name| comment_number| comment", *lines]))
    assert_right(read(tmp_path / "results.csv"))


def test_the_columns_that_open_clip_trains_on(tmp_path):
    pictures(tmp_path)
    lines = [f"{row}.jpg\t{quoted(text)}" for row, text in enumerate(TEXTS)]
    write(tmp_path / "train.tsv", "\n".join(["filepath\ttitle", *lines]))
    assert_right(read(tmp_path / "train.tsv"))


def test_images_in_several_folders(tmp_path):
    for row in range(3):
        save(tmp_path / f"part{row}" / f"{row}.png", COLOURS[row])
    save(tmp_path / ".hidden" / "0.png")
    lines = [f"{row}.png,{text}" for row, text in enumerate(BARE)]
    write(tmp_path / "captions.csv", "\n".join(["image,caption", *lines, "9.png,none"]))
    pairs = open_dataset(tmp_path, validation_fraction=0)["train"]
    assert [colour_of(pairs, row) for row in range(2)] == COLOURS[:2]
    with pytest.raises(DataError, match=r"9\.png: cannot be read \(FileNotFoundError"):
        pairs.open_image(2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("flowers.csv", "image,heading\na.png,a", "flowers.csv has no caption column"),
        ("flowers.tsv", "x\ty\na.png\ta", "flowers.tsv has no image column"),
        ("flowers.csv", "image,caption\na.png,a", r"flowers.csv \(pass its own path, or call it"),
        ("flowers.jsonl", "{}", r"flowers.jsonl \(pass its own path"),
        ("coco.json", "{}", r"coco.json \(pass its own path"),
        ("flowers.xlsx", "?", r"flowers.xlsx \(save it as captions.csv"),
        ("00000.tar.gz", "?", r"00000.tar.gz \("),
    ],
)
@pytest.mark.parametrize("has_images", [False, True])
def test_tables_that_are_not_understood_are_named(tmp_path, name, text, message, has_images):
    if has_images:
        save(tmp_path / "a.png")
    write(tmp_path / name, text)
    with pytest.raises(DataError, match=rf"Tables that were seen and not read: .*{message}"):
        open_dataset(tmp_path)


def test_other_files_beside_tables_do_not_matter(tmp_path):
    for split in ("train", "test"):
        pictures(tmp_path / split)
        lines = [f"{row}.jpg,{quoted(text)}" for row, text in enumerate(TEXTS)]
        write(tmp_path / split / "captions.csv", "\n".join(["image,caption", *lines]))
    write(tmp_path / "dataset_infos.json", "{}")
    write(tmp_path / "sizes.csv", "a,b")
    assert_right(read(tmp_path))


def test_a_picture_may_be_called_captions(tmp_path):
    for name in ("captions", "metadata"):
        save(tmp_path / f"{name}.png")
        write(tmp_path / f"{name}.txt", name)
    assert sorted(read(tmp_path)) == ["captions", "metadata"]


# --- JSON -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.jsonl", "x.jsonl", "x.ndjson"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines(tmp_path, name, encoding):
    pictures(tmp_path)
    lines = [json.dumps({"file_name": f"{row}.jpg", "text": t}) for row, t in enumerate(TEXTS)]
    write(tmp_path / name, "\n".join([*lines[:2], "", *lines[2:], ""]), encoding)
    assert_right(read(tmp_path / name if name.startswith("x") else tmp_path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"file_name": "1.jpg"}', "the caption is empty"),
        ('{"file_name": "1.jpg", "text": null}', "the caption is empty"),
        ('{"file_name": null, "text": "a"}', "the image is empty"),
        ('{"file_name": "1.jpg", "text": 7}', "expected a text and"),
        ('{"file_name": "1.jpg", ', "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("1" * 5000, "not a JSON object"),
    ],
)
def test_bad_json_lines_are_named_or_counted(tmp_path, line, problem):
    pictures(tmp_path)
    good = '{"file_name": "0.jpg", "text": "a cat"}'
    write(tmp_path / "metadata.jsonl", "\n".join([good, line, good]))
    with pytest.raises(DataError, match=rf"metadata\.jsonl line 2: {problem}"):
        open_dataset(tmp_path)
    skipped: list[str] = []
    assert len(open_dataset(tmp_path, validation_fraction=0, skipped=skipped)["train"]) == 2
    assert len(skipped) == 1


def test_json_lines_without_a_column(tmp_path):
    write(tmp_path / "metadata.jsonl", '{"file_name": "0.jpg", "objects": []}')
    with pytest.raises(DataError, match=r"metadata\.jsonl has no caption column"):
        open_dataset(tmp_path)


def coco(texts=TEXTS, first=0) -> str:
    images = [{"id": 100 + row, "file_name": f"{row}.jpg"} for row in range(3)]
    captions = [
        {"id": row, "image_id": 100 + first + row, "caption": text}
        for row, text in enumerate(texts)
    ]
    return json.dumps(
        {"info": {"a": [[]]}, "annotations": captions, "licenses": [], "images": images}
    )


@pytest.mark.parametrize("by_path", [False, True])
def test_coco(tmp_path, by_path):
    pictures(tmp_path / "train2017")
    path = write(tmp_path / "annotations" / "captions_train2017.json", coco())
    write(tmp_path / "annotations" / "instances_train2017.json", "{}")
    assert_right(read(path if by_path else tmp_path))


def test_coco_with_its_splits(tmp_path):
    pictures(tmp_path / "train2017")
    pictures(tmp_path / "val2017", "png")
    write(tmp_path / "annotations" / "captions_train2017.json", coco())
    other = coco(["a mouse"]).replace(".jpg", ".png")
    write(tmp_path / "annotations" / "captions_val2017.json", other)
    splits = open_dataset(tmp_path)
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 3, "validation": 1}
    assert splits["validation"].names == [str(tmp_path / "val2017" / "0.png")]


def test_two_captions_of_an_image_stay_together(tmp_path):
    pictures(tmp_path)
    captions = [{"image_id": row % 3, "caption": f"{row % 3} {row}"} for row in range(9)]
    images = [{"id": row, "file_name": f"{row}.jpg"} for row in range(3)]
    write(tmp_path / "x.json", json.dumps({"images": images, "annotations": captions}))
    splits = open_dataset(tmp_path / "x.json")
    assert len({caption[0] for caption in splits["validation"].captions}) == 1
    assert len(splits["validation"]) == 3


def test_karpathy_s_splits(tmp_path):
    pictures(tmp_path / "val2014")
    images = [
        {"filename": f"{row}.jpg", "filepath": "val2014", "split": split,
         "sentences": [{"raw": text}, {"raw": f"{text} again"}]}
        for row, (text, split) in enumerate(zip(TEXTS, ["train", "restval", "test"]))
    ]  # fmt: skip
    write(tmp_path / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    splits = open_dataset(tmp_path / "dataset_coco.json", validation_fraction=0)
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 4, "test": 2}
    assert splits["test"].open_image(0).size == (24, 16)


def test_a_list_of_objects(tmp_path):
    pictures(tmp_path)
    items = [{"image": f"{row}.jpg", "caption": [text]} for row, text in enumerate(TEXTS)]
    write(tmp_path / "x.json", json.dumps(items))
    assert_right(read(tmp_path / "x.json"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[", "[1", '{"images": [', '{"images": {}, "annotations": []}', "null", '{"a": 1}',
     '{"images": [{"id": [], "file_name": "a"}], "annotations": []}', "[" * 100_000,
     '{"images": [], "annotations": [{"image_id": {}}]}', '{"images": [], "annotations": [1 2]}'],
)  # fmt: skip
def test_damaged_json_is_named(tmp_path, text):
    write(tmp_path / "captions.json", text)
    with pytest.raises(DataError, match=r"captions\.json"):
        open_dataset(tmp_path / "captions.json")


# --- shards ---------------------------------------------------------------------------


def tar(path, members, form=tarfile.USTAR_FORMAT):
    """A tar file of (name, bytes), or (name, letter of a type)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content.encode(), "/etc/passwd"
                file.addfile(info)
    return path


def sample(row: int, key: str) -> list[tuple[str, bytes]]:
    return [(f"{key}.png", encoded(COLOURS[row])), (f"{key}.txt", TEXTS[row].encode())]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("key", ["{row:09}", "a/b/{row}", "{row}" + 90 * "long", "ü/{row}" * 30])
def test_shards_of_webdataset(tmp_path, form, key):
    if form == tarfile.USTAR_FORMAT and len(key) > 99:
        pytest.skip("this format has no long names")
    members = [("a", "5")]
    for row in range(3):
        members += [*sample(row, key.format(row=row)), (f"{key.format(row=row)}.json", b"{}")]
    tar(tmp_path / "00000.tar", members, form)
    assert_right(read(tmp_path))
    assert_right(read(tmp_path / "00000.tar"))


def test_shards_of_several_splits(tmp_path):
    tar(tmp_path / "train-000.tar", sample(0, "a"))
    tar(tmp_path / "train-001.tar", sample(1, "a"))
    tar(tmp_path / "val-000.tar", sample(2, "a"))
    splits = open_dataset(tmp_path)
    assert {split: list(pairs.captions) for split, pairs in splits.items()} == {
        "train": TEXTS[:2],
        "validation": TEXTS[2:],
    }
    assert splits["train"].names == ["train-000.tar a", "train-001.tar a"]


def test_the_caption_may_be_in_json(tmp_path):
    notes = json.dumps({"caption": TEXTS[0], "url": "http://x", "tags": ["fur"]}).encode()
    tar(tmp_path / "0.tar", [("a.json", notes), ("a.seg.png", encoded()), ("a.jpg", encoded())])
    train = open_dataset(tmp_path)["train"]
    assert (train.captions, train.tags) == ([TEXTS[0]], ["fur"])


def test_samples_that_lack_something_are_named_or_counted(tmp_path):
    members = [*sample(0, "a"), ("b.txt", b"alone"), ("c.png", encoded()), ("d.cls", b"7")]
    tar(tmp_path / "0.tar", members)
    with pytest.raises(DataError, match=r"0\.tar b: no image under this name"):
        open_dataset(tmp_path)
    skipped: list[str] = []
    assert len(open_dataset(tmp_path, skipped=skipped)["train"]) == 1
    assert "c: no caption" in skipped[1] and len(skipped) == 3


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:/a.png", "..\\a.png"])
def test_no_path_leads_out_of_a_shard(tmp_path, name):
    tar(tmp_path / "0.tar", [(name, encoded()), ("a.txt", b"a")], tarfile.GNU_FORMAT)
    with pytest.raises(DataError, match=r"0\.tar .*: its path leads out of the shard"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
     tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE],
)  # fmt: skip
def test_no_links_and_no_devices_in_a_shard(tmp_path, kind):
    tar(tmp_path / "0.tar", [*sample(0, "a"), ("b.png", kind.decode())])
    with pytest.raises(DataError, match=r"0\.tar b\.png: a link, a device"):
        open_dataset(tmp_path)


def test_sizes_in_a_shard_are_bounded(tmp_path):
    tar(tmp_path / "0.tar", [("a.png", encoded()), ("a.txt", b"a" * 2**20)])
    with pytest.raises(DataError, match=r"0\.tar a\.txt: 1,048,576 bytes, at most 524,288"):
        open_dataset(tmp_path)
    content = tar(tmp_path / "0.tar", sample(0, "a")).read_bytes()
    (tmp_path / "0.tar").write_bytes(content[:700])
    with pytest.raises(DataError, match=r"0\.tar.*(is cut off|damaged header)"):
        read(tmp_path)


@pytest.mark.parametrize("note", [b"0 path=a\n", b"x path=a\n", b"999 path=a\n", b"5 a\n\n"])
def test_damaged_notes_of_pax(tmp_path, note):
    members = [("long" * 40 + ".png", encoded()), ("long" * 40 + ".txt", b"a cat")]
    content = tar(tmp_path / "0.tar", members, tarfile.PAX_FORMAT).read_bytes()
    start = content.index(b" path=long") - 3
    whole = content[:start] + note.ljust(512, b"\0") + content[start + 512 :]
    (tmp_path / "0.tar").write_bytes(whole)
    with pytest.raises(DataError, match=r"0\.tar cannot be read as a tar file: a damaged note"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("inside", ["folders", "shards"])
def test_img2dataset(tmp_path, inside):
    """Its own output: shards, what it noted of them, and figures."""
    for number in range(2):
        name = f"{number:05}"
        for row in range(3):
            key = f"{number:05}{row:04}"
            if inside == "folders":
                save(tmp_path / name / f"{key}.jpg")
                write(tmp_path / name / f"{key}.txt", f"a caption {number} {row}")
                write(tmp_path / name / f"{key}.json", "{}")
        if inside == "shards":
            tar(tmp_path / f"{name}.tar", [m for row in range(3) for m in sample(row, str(row))])
        notes = {"url": ["http://x"] * 3, "key": ["0"] * 3, "status": ["success"] * 3}
        shard(tmp_path / f"{name}.parquet", ["http://x"] * 3, ["a"] * 3, **notes)
        write(tmp_path / f"{name}_stats.json", "{}")
    splits = open_dataset(tmp_path)
    assert sum(map(len, splits.values())) == 6
    shutil.rmtree(tmp_path / "00000", ignore_errors=True)
    (tmp_path / "00000.tar").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"address|more than once"):
        open_dataset(tmp_path)

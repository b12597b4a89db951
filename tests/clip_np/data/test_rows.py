"""What a row may hold: several captions, nothing, an address, a name from Windows."""

import json

import datasets
import pytest
from small_data import encoded, save, shard, table_folder, write

from clip_np.data import DataError, open_dataset

SPLITS = ("train", "validation", "test")


def captions(path, **options) -> list[str]:
    splits = open_dataset(path, validation_fraction=0, **options)
    return [caption for split in SPLITS if split in splits for caption in splits[split].captions]


LISTS = [["a1", "a2", "a3"], ["b1", "b2"], ["c1"]]
ALL = ["a1", "a2", "a3", "b1", "b2", "c1"]


def set_of_lists(folder, kind: str, lists):
    if kind == "parquet":
        return shard(folder / "train.parquet", [encoded()] * len(lists), lists)
    if kind == "csv":
        rows = [f'{row}.png,"{json.dumps(texts)}"' for row, texts in enumerate(lists)]
        rows = [row.replace('"["', '"[""').replace('", "', '"", ""') for row in rows]
        rows = [row.replace('"]"', '""]"') for row in rows]
        for row in range(len(lists)):
            save(folder / f"{row}.png")
        write(folder / "captions.csv", "\n".join(["image,caption", *rows]))
        return folder
    cells = {"image": [{"bytes": encoded(), "path": None}] * len(lists), "caption": lists}
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Sequence(datasets.Value("string"))}
    )
    datasets.Dataset.from_dict(cells, features=features).save_to_disk(str(folder / "set"))
    return folder / "set"


@pytest.mark.parametrize("kind", ["parquet", "csv", "set"])
def test_each_caption_of_a_list_is_a_row(tmp_path, kind):
    path = set_of_lists(tmp_path, kind, LISTS)
    splits = open_dataset(path, validation_fraction=0)
    assert sorted(caption for pairs in splits.values() for caption in pairs.captions) == ALL


@pytest.mark.parametrize("kind", ["parquet", "csv", "set"])
def test_no_image_is_in_two_splits(tmp_path, kind):
    """A saved set is cut into three splits, other data into two."""
    path = set_of_lists(tmp_path, kind, [[f"{row}a", f"{row}b"] for row in range(20)])
    splits = open_dataset(path, validation_fraction=0.2)
    assert len(splits) == (3 if kind == "set" else 2)
    assert sum(map(len, splits.values())) == 40
    images = {split: {caption[:-1] for caption in splits[split].captions} for split in splits}
    assert sum(map(len, images.values())) == 20
    assert all(len(splits[split]) == 2 * len(images[split]) for split in splits)


@pytest.mark.parametrize("kind", ["parquet", "set"])
@pytest.mark.parametrize("empty", [[], None, [""], [" "], [None], ["a", None]])
def test_an_empty_list_is_named_or_counted(tmp_path, kind, empty):
    path = set_of_lists(tmp_path, kind, [["a1"], empty, ["c1"]])
    with pytest.raises(DataError, match=r"row 1: the caption is empty \(`skip_bad`"):
        open_dataset(path)
    skipped: list[str] = []
    assert captions(path, skipped=skipped) == ["a1", "c1"]
    assert len(skipped) == 1


def test_a_text_that_only_looks_like_a_list_stays(tmp_path):
    texts = ['["sic"] he said', '["a", 1]', '["a"', '["' + "[" * 9000 + '"]']
    path = shard(tmp_path / "a.parquet", [encoded()] * 4, texts)
    assert captions(path)[:3] == texts[:3]


TABLE = "file_name,text\n0.png,a\n1.png,{text}\n{image},b\n2.png,c{rest}\n"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": ""}, "line 3: the caption is empty"),
        ({"text": '"  "'}, "line 3: the caption is empty"),
        ({"image": ""}, "line 4: the image is empty"),
        ({"rest": ",d"}, "line 5: more or fewer cells"),
        ({"image": "https://x.org/a.png"}, "line 4: https://x.org/a.png is an address"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, row, problem):
    table_folder(tmp_path)
    write(
        tmp_path / "captions.csv", TABLE.format(**{"text": "x", "image": "0.png", "rest": ""} | row)
    )
    with pytest.raises(DataError, match=rf"^captions\.csv {problem}|captions\.csv {problem}"):
        open_dataset(tmp_path)
    skipped: list[str] = []
    assert len(captions(tmp_path, skipped=skipped)) == 3
    assert len(skipped) == 1 and problem in skipped[0]


def test_null_images_of_parquet_are_named_or_counted(tmp_path):
    import pyarrow
    import pyarrow.parquet

    paths = pyarrow.array(["0.png", None, "2.png"])
    table = pyarrow.table({"image": paths, "caption": ["a", "b", "c"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 1: the image is empty"):
        open_dataset(tmp_path)
    assert captions(tmp_path, skipped=[]) == ["a", "c"]
    cells = pyarrow.array([encoded(), None, encoded()])
    table = pyarrow.table({"image": cells, "caption": ["a", "b", "c"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    train = open_dataset(tmp_path, validation_fraction=0)["train"]
    with pytest.raises(DataError, match=r"a\.parquet row 1: .*the image is empty"):
        train.open_image(1)


def test_bad_paired_files_are_named_or_counted(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.png")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", " ")
    write(tmp_path / "d.txt", "no image")
    skipped: list[str] = []
    assert captions(tmp_path, skipped=skipped) == ["a"]
    assert [text.removeprefix(f"{tmp_path}/")[:5] for text in skipped] == [
        "c: ha",
        "d: ha",
        "b.txt",
    ]


def test_rows_that_are_all_bad_are_an_error(tmp_path):
    write(tmp_path / "captions.csv", "image,caption\nhttp://x/a.png,a\n")
    with pytest.raises(DataError, match=r"no image-caption pairs\. 1 rows are left out: .*address"):
        open_dataset(tmp_path, skipped=[])


@pytest.mark.parametrize("column", ["url", "URL", "image_url", "coco_url"])
def test_a_table_of_addresses_names_a_downloader(tmp_path, column):
    write(tmp_path / "captions.csv", f"{column},caption\nhttp://x/a.png,a\n")
    with pytest.raises(DataError, match=r"captions\.csv holds addresses .*img2dataset"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "address", ["http://x/a.png", "HTTPS://x/a.png", "s3://b/a.png", "gs://b/a"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_cell_with_an_address_names_a_downloader(tmp_path, address, kind):
    if kind == "csv":
        write(tmp_path / "captions.csv", f"image,caption\n{address},a\n")
    else:
        shard(tmp_path / "a.parquet", [address], ["a"])
    with pytest.raises(DataError, match=r"(line 2|row 0): .* is an address: .*img2dataset"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", [r"images\0.png", r".\images\0.png", r"images\\0.png"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_from_windows(tmp_path, name, kind):
    save(tmp_path / "images" / "0.png")
    if kind == "csv":
        write(tmp_path / "captions.csv", f"image,caption\n{name},a\n")
    else:
        shard(tmp_path / "a.parquet", [name], ["a"])
    assert open_dataset(tmp_path)["train"].open_image(0).size == (6, 4)


@pytest.mark.parametrize("name", [r"..\secret.png", r"images\..\..\secret.png", r"\\host\a.png"])
def test_names_from_windows_stay_inside(tmp_path, name):
    save(tmp_path / "secret.png")
    write(tmp_path / "set" / "captions.csv", f"image,caption\n{name},a\n")
    with pytest.raises(DataError, match="lies outside of"):
        open_dataset(tmp_path / "set")

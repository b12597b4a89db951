"""Data sets that are made to take memory, to read other files, or to run programs."""

import configparser
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from bounds import run_bounded
from paths import ROOT
from small_data import COLOURS, colour_of, encoded, save, shard, write

from clip_np.data import DataError, Row, hub, open_dataset, stored_images
from clip_np.data.compact import pack_rows

# --- programs
# ---------------------------------------------------------------------------------


def test_an_old_datasets_library_is_told_to_run_no_program(monkeypatch):
    datasets = pytest.importorskip("datasets")
    arguments = []

    def old(path, name=None, split=None, streaming=False, trust_remote_code=None, **more):
        arguments.append(trust_remote_code)
        raise ValueError("contains custom code")

    monkeypatch.setattr(datasets, "load_dataset", old)
    monkeypatch.setattr(hub, "ask_hub", lambda *question: None)  # the hub has the set
    with pytest.raises(DataError, match=r"a/b is neither a path here nor .* custom code"):
        hub.load_sets("a/b", split=None, streaming=False)
    assert arguments == [False]


def test_a_new_datasets_library_is_not_asked_about_programs(monkeypatch):
    datasets = pytest.importorskip("datasets")
    arguments = []

    def new(path, split=None, streaming=False, **more):
        arguments.append(more)
        return {"train": "a set"}

    monkeypatch.setattr(datasets, "load_dataset", new)
    monkeypatch.setattr(hub, "ask_hub", lambda *question: None)
    assert hub.load_sets("a/b", split=None, streaming=False) == {"train": "a set"}
    assert arguments == [{}]


def test_the_required_datasets_library_runs_no_program():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    for extra in ("data", "test"):
        assert "datasets>=4.0" in extras[extra].split()


# --- what takes memory
# ---------------------------------------------------------------------------

OPEN = """
import sys
from clip_np.data import DataError, open_dataset
try:
    pairs = open_dataset(sys.argv[1], validation_fraction=0.05)["train"]
    print("pairs", len(pairs))
    for row in range(0, len(pairs), max(1, len(pairs) // 50)):
        pairs.open_image(row)
except DataError as error:
    print(error)
"""


def survives(path) -> str:
    """What opening a bomb prints: it takes neither 300 MB nor 5 seconds."""
    outcome = run_bounded(OPEN, str(path))
    assert outcome.status == 0, outcome.errors
    assert outcome.peak_mb < 300
    assert outcome.seconds < 5
    return outcome.output


def written(path, **options):
    """A parquet file; `columns` are its columns, other options are those of pyarrow."""
    columns = options.pop("columns")
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd", **options)
    return path


def repeated(value, count: int, kind: str):
    """A column of equal cells, that takes no memory to make."""
    indices = pyarrow.array(np.zeros(count, np.int32))
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array([value], kind))


@pytest.mark.parametrize("column", ["image", "caption", "tags"])
def test_a_cell_of_a_megabyte_in_3000_rows(tmp_path, column):
    columns = {
        "image": repeated(encoded(), 3000, "binary"),
        "caption": repeated("a cat", 3000, "string"),
        "tags": repeated("fur", 3000, "string"),
    }
    large = encoded() + bytes(2**20) if column == "image" else "a" * 2**20
    columns[column] = repeated(large, 3000, "binary" if column == "image" else "string")
    path = written(tmp_path / "a.parquet", columns=columns)
    assert path.stat().st_size < 10_000
    output = survives(path)
    if column == "image":
        assert output == "pairs 2850\n"
    else:
        assert f"a.parquet row 0: column '{column}' holds a text of 1,048,576 bytes" in output
        assert "131,072 are read (MAX_CELL)" in output


def test_a_structure_of_a_megabyte_in_3000_rows(tmp_path):
    large = repeated(encoded() + bytes(2**20), 3000, "binary")
    paths = pyarrow.array(["a.png"] * 3000)
    image = pyarrow.StructArray.from_arrays([large, paths], ["bytes", "path"])
    path = written(tmp_path / "a.parquet", columns={"image": image, "caption": ["a cat"] * 3000})
    assert survives(path) == "pairs 2850\n"


def test_texts_that_are_long_in_sum(tmp_path):
    columns = {
        "image": repeated(encoded(), 3000, "binary"),
        "caption": repeated("a" * 100_000, 3000, "string"),
    }
    output = survives(written(tmp_path / "a.parquet", columns=columns))
    assert "(FREE_LETTERS)" in output


def test_five_million_equal_rows(tmp_path):
    columns = {
        "image": repeated(encoded(), 5_000_000, "binary"),
        "caption": repeated("a cat", 5_000_000, "string"),
    }
    output = survives(written(tmp_path / "a.parquet", columns=columns))
    assert "a.parquet has 5,000,000 rows, and a file of" in output
    assert "1,048,576 (FREE_ROWS), and one for each 32 bytes" in output


def test_lists_of_millions_of_texts(tmp_path):
    texts = repeated("a" * 1000, 5_000_000, "string")
    lists = pyarrow.ListArray.from_arrays(pyarrow.array([0, 5_000_000], "int32"), texts)
    columns = {"image": [encoded()], "caption": ["a cat"], "tags": lists}
    output = survives(written(tmp_path / "a.parquet", columns=columns))
    assert "column 'tags' holds more than 67,108,864 bytes of text in 5,000,000 cells" in output


@pytest.mark.parametrize("column", ["image", "caption"])
def test_cells_that_repeat_the_cell_before(tmp_path, column):
    large = encoded() + bytes(2**20) if column == "image" else "a" * 2**20
    columns = {"image": [encoded()] * 300, "caption": ["a cat"] * 300, column: [large] * 300}
    path = written(
        tmp_path / "a.parquet",
        columns=columns,
        use_dictionary=False,
        column_encoding={column: "DELTA_BYTE_ARRAY"},
    )
    assert path.stat().st_size < 100_000
    output = survives(path)
    limit = "FREE_EXPANSION" if column == "image" else "MAX_CELL"
    assert limit in output


def test_a_cell_of_128_megabytes(tmp_path):
    columns = {"image": [encoded() + bytes(2**27)], "caption": ["a cat"]}
    output = survives(written(tmp_path / "a.parquet", columns=columns))
    assert "(FREE_EXPANSION, EXPANSION)" in output


def test_a_table_of_five_million_lines(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\n" + "a.png,cat\n" * 5_000_000, encoding="utf-8")
    output = survives(path)
    assert "captions.csv has 5,000,001 rows, and a file of 50,000,014 bytes may have" in output


@pytest.mark.parametrize("text", ["a" * 2**26, '"' + "a\n" * 2**20, "a,b\r" * 2**21])
def test_tables_of_one_cell_or_line(tmp_path, text):
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\na.png," + text, encoding="utf-8", newline="")
    assert "captions.csv" in survives(path)


def test_a_text_file_of_a_gigabyte(tmp_path):
    save(tmp_path / "a.png")
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(2**30)
    assert "a.txt has more than 524,288 bytes" in survives(tmp_path)


def test_many_honest_rows_open_in_little_memory(tmp_path):
    count = 200_000
    with open(tmp_path / "captions.csv", "w", encoding="utf-8") as file:
        file.write("image,caption\n")
        file.writelines(f"images/{row:07}.jpg,caption number {row}\n" for row in range(count))
    outcome = run_bounded(
        "import sys; from clip_np.data import open_dataset;"
        "splits = open_dataset(sys.argv[1]);"
        "print({split: len(pairs) for split, pairs in splits.items()});"
        "print(splits['train'].captions[9])",
        str(tmp_path),
    )
    assert outcome.output.startswith("{'train': 190000, 'validation': 10000}\ncaption number")
    assert outcome.peak_mb < 150


# --- which files are read
# -------------------------------------------------------------------------


def table_of(folder, name: str):
    return write(folder / "captions.csv", f"image,caption\n{name},a cat\n")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_files_in_its_folder_only(tmp_path, kind):
    secret = save(tmp_path / "secret.png")
    for name in ("../secret.png", "sub/../../secret.png", str(secret)):
        folder = tmp_path / "set"
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        if kind == "csv":
            table_of(folder, name)
        else:
            shard(folder / "a.parquet", [name], ["a cat"])
        with pytest.raises(DataError, match=r"row 0|line 2: .* lies outside of .*`allow_outside`"):
            open_dataset(folder)
        pairs = open_dataset(folder, allow_outside=True)["train"]
        assert pairs.open_image(0).size == (6, 4)


def test_names_that_stay_inside_may_take_any_way(tmp_path):
    inside = save(tmp_path / "set" / "a" / "cat.png")
    for name in ("a/cat.png", "a/../a/./cat.png", "./a//cat.png", str(inside)):
        table_of(tmp_path / "set", name)
        pairs = open_dataset(tmp_path / "set")["train"]
        assert pairs.open_image(0).size == (6, 4)
        assert pairs.names == [str(tmp_path / "set" / name)]


def test_a_link_to_a_file_outside_is_not_followed(tmp_path):
    save(tmp_path / "secret.png")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "cat.png").symlink_to("../secret.png")
    (folder / "up").symlink_to("..")
    for name in ("cat.png", "up/secret.png"):
        table_of(folder, name)
        with pytest.raises(DataError, match=r"leads outside of .*`allow_outside`"):
            open_dataset(folder)["train"].open_image(0)
        assert open_dataset(folder, allow_outside=True)["train"].open_image(0).size == (6, 4)


@pytest.mark.parametrize("linked", ["a.png", "a.txt"])
def test_links_of_paired_files_stay_inside(tmp_path, linked):
    save(tmp_path / "other.png")
    write(tmp_path / "other.txt", "a secret")
    folder = tmp_path / "set"
    save(folder / "a.png")
    write(folder / "a.txt", "a cat")
    (folder / linked).unlink()
    (folder / linked).symlink_to(tmp_path / f"other{linked[1:]}")
    with pytest.raises(DataError, match=r"leads outside of .*`allow_outside`"):
        open_dataset(folder)
    assert open_dataset(folder, allow_outside=True)["train"].open_image(0).size == (6, 4)


def test_a_table_that_is_a_link_stays_inside(tmp_path):
    folder = tmp_path / "set"
    save(folder / "a.png")
    write(tmp_path / "elsewhere.csv", "image,caption\na.png,a cat\n")
    (folder / "captions.csv").symlink_to("../elsewhere.csv")
    with pytest.raises(DataError, match=r"leads outside of .*`allow_outside`"):
        open_dataset(folder)
    assert open_dataset(folder, allow_outside=True)["train"].captions == ["a cat"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.csv")
    table_of(tmp_path, "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png is not a regular file"):
        open_dataset(tmp_path, allow_outside=True)["train"].open_image(0)
    with pytest.raises(DataError, match=r"pipe.csv is neither a folder nor a regular file"):
        open_dataset(tmp_path / "pipe.csv")
    table_of(tmp_path, "/dev/zero")
    with pytest.raises(DataError, match=r"/dev/zero is not a regular file"):
        open_dataset(tmp_path, allow_outside=True)["train"].open_image(0)


# --- texts that are none
# --------------------------------------------------------------------------


def test_a_header_that_is_no_csv_names_the_file(tmp_path):
    write(tmp_path / "captions.csv", '"a"b,c\n')
    with pytest.raises(DataError, match=r"captions.csv after line 0: "):
        open_dataset(tmp_path)
    write(tmp_path / "captions.csv", "image," + "c" * 200_000 + "\n")
    with pytest.raises(DataError, match=r"captions.csv after line 0: field larger than"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("column", ["caption", "tags"])
@pytest.mark.parametrize("listed", [False, True])
def test_texts_of_parquet_that_are_not_utf8(tmp_path, column, listed):
    texts = pyarrow.array([b"fine", b"caf\xe9"])
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 2, texts.buffers())
    if listed:
        texts = pyarrow.ListArray.from_arrays(pyarrow.array([0, 1, 2], "int32"), texts)
    columns = {"image": [encoded()] * 2, "caption": ["a", "b"], column: texts}
    path = written(tmp_path / "a.parquet", columns=columns)
    with pytest.raises(DataError, match=rf"a.parquet row 1: column '{column}' is not UTF-8"):
        open_dataset(path)


def test_half_a_character_in_a_caption_names_the_row(tmp_path):
    rows = [Row("a \ud83d face", "a.png", "", b"", "train")]
    with pytest.raises(DataError, match=r"a.png: its caption or tags are no Unicode text"):
        pack_rows(rows)


# --- what packed rows must keep
# -------------------------------------------------------------------


def test_sources_can_be_pickled_and_read_by_many_threads(tmp_path, monkeypatch):
    cells = [encoded(COLOURS[row % 6]) for row in range(300)]
    columns = {"image": cells, "caption": [f"picture {row}" for row in range(300)]}
    path = written(tmp_path / "a.parquet", columns=columns, row_group_size=7)
    monkeypatch.setattr(stored_images, "_cache", stored_images.GroupCache(limit=1))
    pairs = pickle.loads(pickle.dumps(open_dataset(path, validation_fraction=0)["train"]))
    rows = np.random.default_rng(0).integers(0, 300, 1000).tolist()
    with ThreadPoolExecutor(8) as pool:
        colours = list(pool.map(lambda row: colour_of(pairs, row), rows))
    assert colours == [COLOURS[row % 6] for row in rows]


def test_a_file_that_changes_after_it_was_opened_is_an_error_of_its_row(tmp_path):
    path = shard(tmp_path / "a.parquet", [encoded()], ["a cat"])
    pairs = open_dataset(path)["train"]
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"^a.parquet row 0: cannot be read .*a.parquet cannot be"):
        pairs.open_image(0)

"""A run notices that its data has changed, and trains on no held-out image."""

import shutil
import sys
from pathlib import Path

import pytest
from small_data import table_folder

from clip_np.cli import main
from clip_np.data import open_dataset
from clip_np.training import FilesTask, changes, read_run, tasks
from clip_np.training.data_record import keep_held_out, record_of


def names(pairs) -> set[str]:
    return {Path(name).name for name in pairs.names}


def test_a_change_is_named(tmp_path):
    before = FilesTask(table_folder(tmp_path, 40)).record
    assert changes(before, FilesTask(tmp_path).record) == ""
    table = tmp_path / "captions.csv"
    table.write_text(table.read_text().replace("picture 7", "picture seven"))
    assert changes(before, FilesTask(tmp_path).record).startswith("as many pairs, but other")
    now = FilesTask(table_folder(tmp_path, 44)).record
    assert changes(before, now) == "train had 38 pairs and has 42"


def test_moved_data_have_not_changed(tmp_path):
    before = FilesTask(table_folder(tmp_path / "a", 40)).record
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert changes(before, FilesTask(tmp_path / "b").record) == ""


def test_the_way_to_the_data_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table_folder(tmp_path / "data", 40)
    records = [FilesTask(path).record for path in ("data", "./data/", tmp_path / "data")]
    assert records[0] == records[1] == records[2]
    monkeypatch.chdir(tmp_path / "data")
    assert FilesTask(".").record == records[0]
    assert FilesTask("captions.csv").record == records[0]


@pytest.mark.parametrize("count", [30, 41, 44, 60, 200])
def test_held_out_images_stay_held_out(tmp_path, count):
    task = FilesTask(table_folder(tmp_path, 40))
    held_out, trained = names(task.validation), names(task.train)
    later = FilesTask(table_folder(tmp_path, count))
    later.keep_held_out(task.record)
    remaining = {f"{row}.png" for row in range(count)}
    assert names(later.validation) == held_out & remaining
    assert not names(later.train) & held_out
    assert not names(later.validation) & trained
    assert names(later.test) == names(later.validation)


def test_a_row_that_moved_from_test_to_train_is_not_trained_on(tmp_path):
    table_folder(tmp_path, 9)
    rows = [f"{row}.png,picture {row},{'test' if row < 3 else 'train'}" for row in range(9)]
    table = tmp_path / "captions.csv"
    table.write_text("\n".join(["image,caption,split", *rows]))
    before = record_of(open_dataset(tmp_path), str(tmp_path))
    table.write_text(table.read_text().replace("picture 1,test", "picture 1,train"))
    splits = keep_held_out(open_dataset(tmp_path), before, str(tmp_path))
    assert names(splits["test"]) == {"0.png", "1.png", "2.png"}
    assert "1.png" not in names(splits["train"])


def test_a_split_may_be_empty(tmp_path):
    splits = open_dataset(table_folder(tmp_path, 40))
    before = record_of(splits, str(tmp_path))
    with_an_empty_one = {**splits, "test": splits["train"].select([])}
    kept = keep_held_out(with_an_empty_one, before, str(tmp_path))
    assert {split: names(pairs) for split, pairs in kept.items()} == {
        split: names(pairs) for split, pairs in splits.items()
    }


def test_resume_asks_before_it_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    table_folder(tmp_path / "data", 40)
    options = ["--preset", "tiny", "--vocab-size", "520"]
    main(["train", "--data", "data", "--steps", "2", "--out", "run", *options])
    table_folder(tmp_path / "data", 44)
    assert main(["train", "--resume", "run", "--steps", "3"]) != 0
    error = capsys.readouterr().err
    assert "the data has changed since the run began: train had 38 pairs and has 42" in error
    assert "--changed-data goes on with it" in error
    assert main(["train", "--resume", "run", "--steps", "3", "--changed-data"]) == 0
    output = capsys.readouterr().out
    assert "the same images are held out" in output
    assert "chance 0.5" in output
    # From then on it is the run's data, and the same images stay held out.
    held_out = read_run("run").training["data"]["held_out"]
    assert main(["train", "--resume", "run", "--steps", "4"]) == 0
    assert read_run("run").training["data"]["held_out"] == held_out


def test_a_run_without_a_record_goes_on(tmp_path, capsys, monkeypatch):
    """As those of version 0.1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(tasks, "record_of", lambda splits, folder: None)
    table_folder(tmp_path / "data", 40)
    options = ["--preset", "tiny", "--vocab-size", "520"]
    assert main(["train", "--data", "data", "--steps", "1", "--out", "run", *options]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    table_folder(tmp_path / "data", 44)
    assert main(["train", "--resume", "run", "--steps", "2"]) == 0


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (3, "1 pair measured: says nothing"),
        (40, "guessing has a recall at 1 of 0.5 on 2 pairs"),
        (240, None),
    ],
)
def test_figures_on_few_pairs_say_what_chance_is(tmp_path, capsys, monkeypatch, count, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    table_folder(tmp_path / "data", count)
    options = ["--preset", "tiny", "--vocab-size", "520", "--steps", "1", "--out", "run"]
    main(["train", "--data", "data", *options])
    last = capsys.readouterr().out.splitlines()[-1]
    main(["evaluate", "run"])
    for line in (last, capsys.readouterr().out.splitlines()[-1]):
        if said is None:
            assert "too few" not in line
        else:
            assert said in line


def test_bad_rows_are_counted_by_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    table_folder(tmp_path / "data", 5)
    table = tmp_path / "data" / "captions.csv"
    table.write_text(table.read_text().replace("picture 1", ""))
    options = ["--preset", "tiny", "--vocab-size", "520", "--steps", "1", "--out", "run", "--json"]
    main(["train", "--data", "data", "--skip-bad", *options])
    captured = capsys.readouterr()
    assert '"skipped_rows": 1' in captured.out
    assert "skipped captions.csv line 3: the caption is empty" in captured.err

"""Classes, chance and intervals from a shell; what is measured; runs compared."""

import csv
import json
import pathlib

import numpy as np
import pytest
from command_line import SHORT, fail, figures_of, report_of, run, untrained
from PIL import Image

from clip_np.training import METRICS

COLOURS = {"red": (250, 20, 20), "deep_blue": (20, 20, 250), "green": (20, 200, 20)}


def write_squares(folder: pathlib.Path, counts: dict[str, int]) -> pathlib.Path:
    """Folders split/colour/ with squares of a colour and noise."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for colour, rgb in COLOURS.items():
            place = folder / split / colour
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(rgb) + rng.normal(0, 30, (32, 32, 3))
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(place / f"{number}.png")
    return folder


@pytest.fixture
def squares(tmp_path) -> pathlib.Path:
    untrained("run")
    return write_squares(tmp_path / "squares", {"train": 8, "test": 4})


@pytest.fixture
def table(tmp_path) -> pathlib.Path:
    """A table with a column of labels beside the captions."""
    untrained("run")
    folder = write_squares(tmp_path / "table", {"all": 4})
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "caption", "colour"])
        for path in sorted(folder.rglob("*.png")):
            name = path.relative_to(folder).as_posix()
            rows.writerow([name, f"picture {name}", path.parent.name])
    return folder


# --- classes --------------------------------------------------------------------------


def test_classes_are_folders(capsys, squares):
    output, errors = run(
        capsys, "evaluate", "run", "--data", squares, "--classes", "--probe", "--json"
    )
    report = report_of(output)
    assert (report["images"], report["classes"]) == (12, 3)
    assert report["linear_probe_top_1"] == report["nearest_neighbours_top_1"] == 1.0
    assert report["chance"]["zero_shot_top_1"] == pytest.approx(1 / 3)
    assert report["chance"]["linear_probe_top_1"] == pytest.approx(1 / 3)
    low, high = report["intervals"]["linear_probe_top_1"]
    assert 0.7 < low < high == 1
    wrong = 12 - round(12 * report["zero_shot_top_1"])
    assert sum(pair["mistakes"] for pair in report["confused"]) >= wrong
    assert "on the test split, 12 pairs, with 7 templates:" in errors
    assert "learned from 24 images" in errors
    assert "   chance 0.333   95 %: " in errors
    assert "deep blue" in errors


def test_classes_and_templates_come_from_files(capsys, squares):
    classes = {"0": ["red", "a ruby"], "1": ["deep_blue", "the sea"], "2": ["green", "a leaf"]}
    classes["3"] = ["grey", "a stone"]  # no image has it
    pathlib.Path("classes.json").write_text(json.dumps(classes), "utf-8")
    pathlib.Path("templates.txt").write_text("this is {}\nit shows {}\n", "utf-8")
    lists = ["--classes", "classes.json", "--templates", "templates.txt"]
    output, errors = run(capsys, "evaluate", "run", "--data", squares, *lists, "--json")
    assert report_of(output)["classes"] == 4
    assert report_of(output)["chance"]["zero_shot_top_1"] == 0.25
    assert "with 2 templates" in errors
    names = {word for pair in report_of(output)["confused"] for word in (pair["actual"],)}
    assert names <= {"a ruby", "the sea", "a leaf"}
    one = run(capsys, "evaluate", "run", "--data", squares, "--classes", "--template", "a {}")
    assert "with 1 template:" in one[0]


def test_labels_are_a_column(capsys, table):
    where = ["--data", table, "--label-column", "colour"]
    output, errors = run(capsys, "evaluate", "run", *where, "--json")
    assert figures_of(output)["images"] == 12  # nothing was trained on: all are measured
    assert f"on all of {table}, 12 pairs" in errors
    output, errors = run(capsys, "evaluate", "run", *where, "--probe", "--neighbours", 1, "--json")
    assert figures_of(output)["images"] == 6
    assert "learned from 6 images" in errors and "1 nearest neighbours" in errors
    pathlib.Path("classes.txt").write_text("red\nblue\n", "utf-8")
    message = fail(capsys, "evaluate", "run", *where, "--classes", "classes.txt")
    assert message.startswith("8 images have labels that are none of the 2 classes (red, blue): ")
    assert "'deep_blue' of" in message and "--label-column names the column" in message


def test_without_a_word_about_classes_pairs_are_measured(capsys, table):
    output, errors = run(capsys, "evaluate", "run", "--data", table, "--choices", 5, "--json")
    report = report_of(output)
    assert report["pairs"] == 12
    assert report["chance"]["multiple_choice_5"] == 0.2
    low, high = report["intervals"]["recall_at_1"]
    assert low <= report["recall_at_1"] <= high
    assert "recall at 1" in errors and "as good as guessing" in errors


def test_rows_that_are_left_out_are_counted(capsys, table):
    path = table / "captions.csv"
    path.write_text(path.read_text("utf-8") + "nothing.png,,red\n", "utf-8")
    output, errors = run(capsys, "evaluate", "run", "--data", table, "--skip-bad", "--json")
    assert figures_of(output)["pairs"] == 12
    assert "rows that are left out: 1: captions.csv line 14" in errors


@pytest.mark.parametrize(
    "options, message",
    [
        ("--probe", "--probe: only with --classes or --label-column; leave it out"),
        ("--picture a.png --templates t", "--templates, --picture: only with --classes"),
        ("--choices 1", "multiple choice: --choices is 1, expected 2 or more"),
        ("--choices 13", "--choices is 13, and there are 12 distinct captions to choose from"),
        ("--label-column kind", "has no label column: expected kind, found"),
        ("--label-column kind", "(--image-column and --label-column name other columns)"),
        ("--label-column colour --choices 4", "--choices: not for classes"),
        ("--label-column colour --classes nowhere.txt", "nowhere.txt"),
        ("--label-column colour --probe --neighbours 0", "--neighbours is 0, expected 1 or more"),
        ("--label-column colour --neighbours 3", "--neighbours: only with --probe"),
    ],
)
def test_mistakes_are_named(capsys, table, options, message):
    assert message in fail(capsys, "evaluate", "run", "--data", table, *options.split())


def test_two_labels_of_one_image_and_one_label_for_all(capsys, table):
    path = table / "captions.csv"
    text = path.read_text("utf-8")
    first = text.splitlines()[1]
    path.write_text(text + first.rpartition(",")[0] + ",red\n", "utf-8")
    assert "has two labels, 'deep blue' and 'red'" in fail(
        capsys, "evaluate", "run", "--data", table, "--label-column", "colour"
    )
    path.write_text(text.replace("green\n", "red\n").replace("deep_blue\n", "red\n"), "utf-8")
    assert "all images have one label, 'red'" in fail(
        capsys, "evaluate", "run", "--data", table, "--label-column", "colour"
    )


def test_one_image_says_nothing(capsys, table):
    path = table / "captions.csv"
    lines = path.read_text("utf-8").splitlines()[:2]
    path.write_text("\n".join(lines), "utf-8")
    pathlib.Path("classes.txt").write_text("red\ndeep blue\ngreen\n", "utf-8")
    where = ["--data", table, "--label-column", "colour", "--classes", "classes.txt"]
    assert "1 image measured: says nothing" in run(capsys, "evaluate", "run", *where)[0]
    assert "1 pair measured: says nothing" in run(capsys, "evaluate", "run", "--data", table)[0]


def test_a_run_on_classes_is_measured_on_its_held_out_classes(capsys, squares, no_pictures):
    template = ["--template", "a {} square"]
    run(capsys, "train", "--data", squares, *SHORT, "--out", "named", *template)
    output, errors = run(capsys, "evaluate", "named", "--classes", "--probe", "--json")
    assert report_of(output)["images"] == 12
    assert "with 1 template" in errors  # that of the training
    assert "learned from 23 images" in errors  # one of 24 is held out for validation
    assert "leave it out" in fail(capsys, "evaluate", "named", "--caption-column", "x")


def test_the_confusion_is_drawn(capsys, squares):
    pytest.importorskip("matplotlib")
    options = ["--classes", "--picture", "mistakes.png"]
    output, _ = run(capsys, "evaluate", "run", "--data", squares, *options)
    assert "pictures: mistakes.png" in output
    with Image.open("mistakes.png") as picture:
        assert min(picture.size) > 300


# --- runs compared --------------------------------------------------------------------


@pytest.fixture
def two_runs(capsys, photos, no_pictures):
    for name, seed in (("one", 0), ("two", 5)):
        options = ["--seed", seed, "--augment", "none" if seed else "light"]
        run(capsys, "train", "--data", photos, *SHORT, "--out", name, *options)
        entries = pathlib.Path(name, METRICS).read_text("utf-8").splitlines()
        entry = {"step": 10, "seconds": 1.0, "loss": 1.0, "validation_loss": 2.0 + seed}
        entry |= {"validation_recall_at_1": 0.5, "validation_chance": 1.0, "validation_pairs": 1}
        pathlib.Path(name, METRICS).write_text("\n".join([*entries[:-1], json.dumps(entry)]))


def test_runs_are_compared_by_what_differs(capsys, two_runs, monkeypatch):
    output, errors = run(capsys, "plot", "one", "two", "--json", status=1)
    assert errors.splitlines()[-1].startswith("clip-np: error: pictures need matplotlib")
    one, two = report_of(output)["runs"]
    assert one["differs"] == "augment light, seed 0"
    assert two["differs"] == "augment none, seed 5"
    assert (one["recall_at_1"], one["pairs"], one["chance"]) == (0.5, 1, 1.0)
    assert "best recall at 1 0.5 at step 10   chance 1: says nothing, 1 pair" in errors
    same = report_of(run(capsys, "plot", "one", "one", "--json", status=1)[0])["runs"]
    assert same[0]["differs"] == ""


def test_mistakes_in_comparing(capsys, two_runs):
    assert "`picture`" not in fail(capsys, "plot", "one", "--picture", "a.png")
    assert "nowhere: no such file" in fail(capsys, "plot", "one", "nowhere")

"""Training, measuring and plotting, as somebody does it for the first time."""

import dataclasses
import pathlib

import numpy as np
import pytest
from command_line import SHORT, fail, figures_of, report_of, run
from image_folders import untrained_run
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.cli import run_pictures
from clip_np.cli.runs import options_of_new_run
from clip_np.data import shapes, to_model_input
from clip_np.encoders import PRESETS
from clip_np.training import METRICS, directory, read_metrics, tasks
from clip_np.weights import BEST, CHECKPOINT, PREVIOUS, read_checkpoint

PICTURES = ["attention.png", "captions.png", "loss.png", "similarity.png"]


def test_train_on_shapes_then_evaluate(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    output, errors = run(capsys, "train", *SHORT)
    errors_of_training = errors
    assert len(output.splitlines()) == 1  # all else went to stderr
    report = report_of(output)
    for key in (
        *("recall_at_1_of_100", "recall_at_1_of_1000", "zero_shot_seen", "zero_shot_heldout"),
        *("recall_at_1_of_100_heldout", "recall_at_1_of_1000_heldout"),
    ):
        assert 0 <= report[key] <= 1
    assert report["steps"] == 10
    assert report["train_seconds"] > 0
    assert report["skipped_images"] == 0
    folder = tmp_path / "runs" / "shapes"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [BEST, CHECKPOINT, PREVIOUS, METRICS, "report.html", "run.json", *PICTURES]
    )
    assert "weights, 128 pairs" in errors
    assert f"results go to {pathlib.Path('runs/shapes')}" in errors
    assert "recall at 1 of 1000" in errors
    assert "on the test split:" in errors
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
        assert name in errors
    assert sorted(directory.PICTURES) == PICTURES
    assert clip_np.load(folder)[0].config.embed_dim == 16
    # Measured once more, the figures are the same.
    output, errors = run(capsys, "evaluate", "runs/shapes", "--json")
    again = figures_of(output)
    assert again == {key: report[key] for key in again}
    assert len(again) == 6
    beside = {key: report_of(output)[key] for key in ("chance", "intervals")}
    assert beside == {key: report[key] for key in beside}
    table = errors_of_training[errors_of_training.index("on the test split:") :]
    figures, errors = run(capsys, "evaluate", folder / CHECKPOINT)
    assert errors == ""
    assert table.startswith(figures)  # line by line, with the intervals
    assert f" {round(report['recall_at_1_of_1000'], 3):g}   chance 0.001   95 %: " in figures


def test_train_on_files_then_evaluate(capsys, photos, tmp_path):
    pytest.importorskip("matplotlib")
    output, errors = run(capsys, "train", "--data", photos, *SHORT, "--seed", 4)
    report = report_of(output)
    for key in ("recall_at_1", "recall_at_5", "recall_at_10", "multiple_choice_3"):
        assert 0 <= report[key] <= 1
    assert report["pairs"] == 12
    assert report["recall_at_1"] <= report["recall_at_5"] <= report["recall_at_10"]
    assert report["steps"] == 10
    assert "on the test split, 12 pairs:" in errors
    assert "multiple choice 3" in errors
    folder = tmp_path / "runs" / "photos"
    assert set(PICTURES) < {path.name for path in folder.iterdir()}
    again = figures_of(run(capsys, "evaluate", folder, "--json")[0])
    assert again == {key: report[key] for key in again}
    low, high = report["intervals"]["recall_at_1"]
    assert low <= report["recall_at_1"] <= high
    same = run(capsys, "evaluate", folder, "--json", "--data", photos / "captions.csv")[0]
    assert figures_of(same) == again
    found = read_checkpoint(folder).training
    assert found["options"]["augment"] == tasks.FILES_SETTINGS["augment"]
    assert found["options"]["seed"] == found["source"]["seed"] == 4


def test_without_json_the_figures_are_for_people(capsys, photos, no_pictures):
    options = [option for option in SHORT if option != "--json"]
    output, errors = run(capsys, "train", "--data", photos, "--name", "mine", *options)
    assert "10 steps in" in output
    assert "recall at 1  " in output
    assert "{" not in output
    assert "skipped" not in output
    assert (pathlib.Path("runs") / "mine" / CHECKPOINT).exists()
    assert "10/10" in errors  # the progress bar


def test_without_matplotlib_it_trains_and_says_what_to_install(
    capsys, few_test_shapes, no_pictures
):
    output, errors = run(capsys, "train", "--out", "here", *SHORT)
    assert report_of(output)["steps"] == 10
    assert 'pictures need matplotlib: pip install "minigrad-clip[examples]"' in errors
    assert sorted(path.name for path in pathlib.Path("here").iterdir()) == [
        *(BEST, CHECKPOINT, PREVIOUS, METRICS, "report.html", "run.json")
    ]


def test_an_earlier_run_is_kept(capsys, few_test_shapes, no_pictures):
    run(capsys, "train", "--out", "here", *SHORT)
    first = pathlib.Path("here", CHECKPOINT).read_bytes()
    _, errors = run(capsys, "train", "--out", "here", *SHORT, "--seed", 1)
    earlier = pathlib.Path("here", "earlier.1")
    previous = earlier / CHECKPOINT
    assert f"an earlier run was here; its files are now in {earlier}" in errors
    assert previous.read_bytes() == first
    assert pathlib.Path("here", CHECKPOINT).read_bytes() != first
    assert read_checkpoint(previous).training["options"]["seed"] == 0
    report_of(run(capsys, "evaluate", previous, "--json")[0])
    # A run that cannot even start leaves all as it is.
    fail(capsys, "train", "--out", "here", "--batch-size", 0)
    fail(capsys, "train", "--out", "here", "--vocab-size", 3)
    assert previous.read_bytes() == first


def test_resumed_runs_go_on(capsys, few_test_shapes, no_pictures):
    whole = report_of(run(capsys, "train", "--out", "whole", *SHORT, "--workers", 2)[0])
    run(capsys, "train", "--out", "half", *SHORT, "--workers", 2)
    report = report_of(run(capsys, "train", "--resume", "half", "--json")[0])
    timed = ("train_seconds", "waited")
    assert {k: v for k, v in report.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }
    report = report_of(run(capsys, "train", "--resume", "half", "--steps", 20, "--json")[0])
    assert report["steps"] == 20
    options = read_checkpoint("half").training["options"]
    assert (options["batch_size"], options["workers"], options["warmup"]) == (16, 2, 2)
    assert [record["step"] for record in read_metrics(pathlib.Path("half", METRICS))] == [10, 20]


def test_a_resumed_run_may_exchange_its_bound(capsys, few_test_shapes, no_pictures):
    before = report_of(run(capsys, "train", "--out", "here", *SHORT, "--json")[0])
    seconds = before["train_seconds"] + 2.0
    report = report_of(run(capsys, "train", "--resume", "here", "--seconds", seconds, "--json")[0])
    assert report["steps"] > before["steps"]
    assert report["train_seconds"] > seconds - 0.1  # it is rounded
    steps = report["steps"] + 10
    report = report_of(run(capsys, "train", "--resume", "here", "--steps", steps, "--json")[0])
    assert report["steps"] == steps


def test_bad_images_are_skipped_and_counted(capsys, photos, no_pictures):
    (photos / "20.png").write_bytes(b"no picture")
    assert "20.png" in fail(capsys, "train", "--data", photos, *SHORT)
    output, errors = run(capsys, "train", "--data", photos, *SHORT, "--skip-bad")
    assert report_of(output)["skipped_images"] == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("skipped ")]
    assert line.count("20.png") >= 1


def test_bad_test_images(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    (photos / "3.png").write_bytes(b"no picture")
    assert "3.png" in fail(capsys, "evaluate", "here")
    with pytest.warns(UserWarning, match=r"unreadable.*3\.png"):
        output, _ = run(capsys, "evaluate", "here", "--data", photos, "--skip-bad", "--json")
    assert report_of(output)["pairs"] == 11


def test_evaluation_of_other_data_looks_at_what_the_training_held_out(capsys, photos, no_pictures):
    table = photos / "captions.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    unmarked = [row.rpartition(",")[0] for row in rows]
    table.write_text("\n".join(unmarked), encoding="utf-8")
    seen = []
    open_split = tasks.FilesTask._choose_test

    def spy(task, splits):
        open_split(task, splits)
        seen.append(task.test.names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.FilesTask, "_choose_test", spy)
        run(capsys, "train", "--data", photos, *SHORT, "--seed", 7, "--out", "here")
        run(capsys, "evaluate", "here", "--data", photos)
    assert seen[0] == seen[1]


def test_evaluate_on_another_test_split_of_shapes(
    capsys, few_test_shapes, no_pictures, monkeypatch
):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = []
    for kind, split in shapes.test_split(5).items():
        for number, image in enumerate(split.images):
            path = pathlib.Path("pixels.png")
            Image.fromarray(image).save(path)
            cell = {"bytes": path.read_bytes(), "path": None}
            label = int(split.labels[number])
            rows.append(
                {"img": cell, "text_EN": split.captions[number], "kind": kind, "label": label}
            )
    parquet.write_table(pyarrow.Table.from_pylist(rows), "test-00000.parquet")
    output, _ = run(capsys, "train", "--out", "here", *SHORT, "--test", "test-00000.parquet")
    report = report_of(output)
    drawn = report_of(run(capsys, "train", "--out", "other", *SHORT)[0])
    assert report["recall_at_1_of_100"] != drawn["recall_at_1_of_100"]
    again = run(capsys, "evaluate", "other", "--data", "test-00000.parquet", "--json")[0]
    assert report_of(again)["recall_at_1_of_100"] == report["recall_at_1_of_100"]
    # The file is found again from anywhere.
    here = pathlib.Path("here").absolute()
    monkeypatch.chdir("other")
    again = run(capsys, "evaluate", here, "--json")[0]
    assert figures_of(again) == {key: report[key] for key in figures_of(again)}


def test_every_model_that_load_opens_is_evaluated_and_plotted(
    capsys, few_test_shapes, photos, no_pictures
):
    # A model that was trained on shapes, on a folder; then as published weights.
    run(capsys, "train", "--out", "here", *SHORT)
    report = figures_of(run(capsys, "evaluate", "here", "--data", photos, "--json")[0])
    assert report["pairs"] == 12
    run(capsys, "convert", "here", "hf")
    output, errors = run(capsys, "evaluate", "hf", "--data", photos, "--json")
    assert figures_of(output) == pytest.approx(report, abs=0.1)
    assert "on the test split, 12 pairs" in errors
    best = report_of(run(capsys, "evaluate", f"here/{BEST}", "--data", photos, "--json")[0])
    assert best["pairs"] == 12
    message = fail(capsys, "evaluate", "hf")
    assert message == "hf: names no data to measure on; pass --data PATH"
    output, errors = run(capsys, "plot", f"here/{BEST}", "--json", status=1)
    assert report_of(output)["records"] > 0
    assert errors.startswith("clip-np: error: pictures need matplotlib")
    assert "weights alone hold no losses" in fail(capsys, "plot", "hf")
    assert "nowhere: no such file or directory" in fail(capsys, "plot", "nowhere")
    (photos / "3.png").write_bytes(b"no image")
    assert "3.png: cannot be read" in fail(capsys, "evaluate", "hf", "--data", photos)
    with pytest.warns(UserWarning, match=r"1 unreadable images are left out: .*3\.png"):
        output, _ = run(capsys, "evaluate", "hf", "--data", photos, "--skip-bad", "--json")
    assert report_of(output)["pairs"] == 11


def test_published_weights_are_evaluated_with_their_own_preprocessing(photos, tmp_path):
    model, _, tokenizer = untrained_run(tmp_path / "run")
    task = tasks.FilesTask(photos)
    shown = []

    def preprocess(image):
        shown.append(image.size)
        return to_model_input(np.asarray(image.convert("RGB"))[None], std=(9.0, 9.0, 9.0))[0]

    figures = task.report(model, tokenizer, preprocess)
    assert (len(shown), figures["pairs"]) == (12, 12)


def test_training_of_the_tutorial_preset_takes_its_own_settings(
    capsys, photos, no_pictures, monkeypatch
):
    micro = PRESETS["micro"]
    text = dataclasses.replace(micro.text, context_length=16)
    monkeypatch.setitem(PRESETS, "tutorial", dataclasses.replace(micro, text=text))
    tutorial = ["train", "--data", photos, "--preset", "tutorial", "--vocab-size", 560]
    run(capsys, *tutorial, "--steps", 4, "--out", "here", "--json")
    options = read_checkpoint("here").training["options"]
    expected = {"batch_size": 32, "learning_rate": 1e-4, "weight_decay": 0.1, "warmup": 0.1}
    assert expected | {"steps": 4, "seconds": None} == {
        key: options[key] for key in (*expected, "steps", "seconds")
    }
    run(capsys, *tutorial, "--steps", 4, "--learning-rate", 0.5, "--out", "there", "--json")
    assert read_checkpoint("there").training["options"]["learning_rate"] == 0.5


def test_plot_draws_the_loss_again(capsys, photos):
    pytest.importorskip("matplotlib")
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    pathlib.Path("here", "loss.png").unlink()
    output, _ = run(capsys, "plot", "here")
    assert output.splitlines() == [
        f"pictures: {pathlib.Path('here', 'loss.png')}",
        f"report: {pathlib.Path('here', 'report.html')}",
    ]
    assert pathlib.Path("here", "loss.png").stat().st_size > 10_000


def test_a_data_set_of_test_pairs_only(capsys, photos):
    table = photos / "captions.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",train", ",test"), "utf-8")
    assert "holds a test split only" in fail(capsys, "train", "--data", photos)


def test_a_place_that_is_no_folder(capsys, photos):
    pathlib.Path("taken").write_text("a file", encoding="utf-8")
    assert "taken" in run(capsys, "train", "--data", photos, "--out", "taken", status=1)[1]
    assert pathlib.Path("taken").read_text(encoding="utf-8") == "a file"


def test_a_run_goes_on_with_data_that_were_moved(capsys, photos, no_pictures, tmp_path):
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    photos.rename("there")
    assert str(photos) in fail(capsys, "train", "--resume", "here", "--steps", 12)
    output, _ = run(capsys, "train", "--resume", "here", "--data", "there", "--steps", 12, "--json")
    assert report_of(output)["steps"] == 12
    output, _ = run(capsys, "train", "--resume", "here", "--steps", 14, "--json")
    assert report_of(output)["steps"] == 14  # the new place is remembered
    table = tmp_path / "there" / "captions.csv"
    start, _, end = table.read_text(encoding="utf-8").rpartition(",a ")  # of a training row
    table.write_text(f"{start},one {end}", encoding="utf-8")
    message = fail(capsys, "train", "--resume", "here", "--data", "there", "--steps", 16)
    assert "the data has changed since the run began" in message
    assert "--changed-data goes on" in message
    run(capsys, "train", "--resume", "here", "--steps", 16, "--changed-data")
    run(capsys, "train", *SHORT, "--out", "shapes")
    message = fail(capsys, "train", "--resume", "shapes", "--data", "there")
    assert message == "--data: this run was trained on the built-in shapes; leave it out"


def test_a_run_is_kept_before_options_change_it(capsys, few_test_shapes, no_pictures):
    run(capsys, "train", *SHORT, "--out", "here")
    good = pathlib.Path("here", CHECKPOINT).read_bytes()
    output, _ = run(capsys, "train", "--resume", "here", "--steps", 12)
    assert "is kept" not in output
    good = pathlib.Path("here", CHECKPOINT).read_bytes()
    output, _ = run(
        *(capsys, "train", "--resume", "here", "--steps", 30, "--learning-rate", 30.0),
        *("--batch-size", 16),  # as it was
        *("--label-smoothing", 0.1, "--word-dropout", 0.1),
    )
    flags = "--learning-rate, --label-smoothing, --word-dropout"
    assert f"before {flags} changes the run, it is kept in here/earlier.1" in output
    assert pathlib.Path("here", CHECKPOINT).read_bytes() != good
    assert pathlib.Path("here", "earlier.1", CHECKPOINT).read_bytes() == good
    output, _ = run(capsys, "train", "--resume", "here/earlier.1", "--steps", 14, "--json")
    assert report_of(output)["steps"] == 14


def test_moved_data_are_named(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    photos.rename("moved")
    assert "photos does not exist" in fail(capsys, "evaluate", "here")
    assert "photos does not exist" in fail(capsys, "train", "--resume", "here")
    report_of(run(capsys, "evaluate", "here", "--data", "moved", "--json")[0])


def test_pictured_captions_are_the_likeliest_of_all(capsys, few_test_shapes, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(
        run_pictures,
        "caption_grid",
        lambda *page, caption_count: drawn.append((*page, caption_count)),
    )
    run(capsys, "train", "--out", "run", *SHORT)
    ((images, captions, choices, scores, _, caption_count),) = drawn
    assert caption_count == 100
    model, _, tokenizer = clip_np.load("run")
    truth = shapes.test_split(tasks.TEST_SEED)["all"]
    logits, _ = model(to_model_input(images), tokenizer(truth.captions, truncate=True))
    probabilities = mg.softmax(logits).numpy()
    assert captions == truth.captions[:20]
    for row, (three, chances) in enumerate(zip(choices, scores)):
        likeliest = np.argsort(-probabilities[row])[:3]
        assert three == [truth.captions[column] for column in likeliest]
        np.testing.assert_allclose(chances, probabilities[row, likeliest], rtol=1e-3)


def test_pairs_from_files_have_a_resnet_however_many_processes_train():
    settings = dict(tasks.FILES_SETTINGS)
    short = options_of_new_run(settings, {"steps": 5})
    assert (short.processes, short.vision) == (1, "resnet")
    several = options_of_new_run(settings, {"steps": 5, "processes": 2})
    assert (several.processes, several.vision) == (2, "resnet")
    in_shards = options_of_new_run(settings, {"steps": 5, "shards": 2})
    assert (in_shards.vision, in_shards.preset) == (None, "small")

"""The command line, as somebody uses it who sees it for the first time."""

import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.cli import main
from clip_np.cli import parser as cli
from clip_np.data import shapes, to_model_input
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.training import METRICS, read_metrics, tasks
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint, save_checkpoint

PICTURES = ["attention.png", "captions.png", "loss.png", "similarity.png"]
COMMON = ["--backend", "--json", "--help"]
EVALUATE_FLAGS = [
    *("--data", "--image-column", "--caption-column", "--split", "--streaming", "--skip-bad"),
    *COMMON,
]
TRAIN_FLAGS = [
    *EVALUATE_FLAGS,
    *("--test", "--steps", "--seconds", "--preset", "--batch-size", "--learning-rate"),
    *("--weight-decay", "--warmup", "--vocab-size", "--shift", "--zoom"),
    *("--seed", "--workers", "--shards", "--name", "--out", "--resume"),
]
CLASSIFY_FLAGS = ["--model", "--labels", "--template", "--picture", *COMMON]
EMBED_FLAGS = ["--model", "-o", *COMMON]
SEARCH_FLAGS = ["--model", "-k", "--html", "--png", *COMMON]
SHORT = ["--batch-size=16", "--vocab-size=560", "--warmup=2", "--steps=10", "--json"]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A smaller model and fewer shapes than a real run has; results go to a temporary folder."""
    micro = CLIPConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
        text=TextConfig(514, 77, width=16, layers=1, heads=2),
    )
    monkeypatch.setitem(PRESETS, "micro", micro)
    monkeypatch.setitem(PRESETS, "tiny", micro)
    monkeypatch.setitem(PRESETS, "small", micro)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 128)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 32)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def few_test_shapes(monkeypatch):
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)
    monkeypatch.setattr(shapes, "IMAGES_PER_CLASS", 1)


@pytest.fixture
def no_pictures(monkeypatch):
    """As where matplotlib is not installed; drawing takes longer than the rest of a test."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def photos(tmp_path) -> pathlib.Path:
    """40 small pictures of shapes with captions.csv."""
    folder = tmp_path / "photos"
    folder.mkdir()
    images, captions = shapes.training_pairs(40, np.random.default_rng(0))
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "split"])
        for row, (image, caption) in enumerate(zip(images, captions)):
            Image.fromarray(image).save(folder / f"{row}.png")
            table.writerow([f"{row}.png", caption, "test" if row < 12 else "train"])
    return folder


def run(capsys, *arguments, status: int = 0) -> tuple[str, str]:
    """What the command prints: (stdout, stderr)."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == status
    return tuple(capsys.readouterr())


def fail(capsys, *arguments) -> str:
    """The one line that a mistake is answered with."""
    output, errors = run(capsys, *arguments, status=1)
    assert output == ""
    lines = [line for line in errors.splitlines() if line.startswith("clip-np: error: ")]
    assert len(lines) == 1
    assert errors.rstrip().endswith(lines[0])
    assert "Traceback" not in errors
    return lines[0].removeprefix("clip-np: error: ")


def report_of(output: str) -> dict:
    """The last line; numbers that JSON does not know are an error."""
    return json.loads(output.splitlines()[-1], parse_constant=pytest.fail)


# --- help --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command, flags",
    [
        ([], ["train", "evaluate", "plot", "info", "classify", "embed", "search", "convert"]),
        (["train"], TRAIN_FLAGS),
        (["evaluate"], ["RUN", *EVALUATE_FLAGS]),
        (["info"], ["MODEL", "--json", "--help"]),
        (["classify"], ["MODEL", "[IMAGE", *CLASSIFY_FLAGS]),
        (["embed"], ["MODEL", "[IMAGE", *EMBED_FLAGS]),
        (["search"], ["INDEX", "QUERY", *SEARCH_FLAGS]),
        (["convert"], ["MODEL", "TARGET", "--layout", "--json", "--help"]),
        (["plot"], ["RUN", "--json", "--help"]),
    ],
)
def test_help_names_every_flag(capsys, command, flags):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for flag in flags:
        assert flag in text.replace(",", " ").split()


def test_every_flag_is_explained():
    commands = {"train": TRAIN_FLAGS, "evaluate": EVALUATE_FLAGS, "classify": CLASSIFY_FLAGS}
    commands |= {"embed": EMBED_FLAGS, "search": SEARCH_FLAGS}
    for command, flags in commands.items():
        parser = cli._parser()._subparsers._group_actions[0].choices[command]
        found = {flag for action in parser._actions for flag in action.option_strings}
        assert found - {"-h"} == set(flags)
        assert all(action.help for action in parser._actions)


def test_the_program_can_be_started_as_a_module():
    command = [sys.executable, "-m", "clip_np", "evaluate", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("clip-np: error: nowhere: no such checkpoint")


# --- train and evaluate ------------------------------------------------------------------------


def test_train_on_shapes_then_evaluate(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    output, errors = run(capsys, "train", *SHORT)
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
    directory = tmp_path / "runs" / "shapes"
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        [BEST, CHECKPOINT, METRICS, *PICTURES]
    )
    assert "weights, 128 pairs" in errors
    assert f"results go to {pathlib.Path('runs/shapes')}" in errors
    assert "recall at 1 of 1000" in errors
    assert "on the test split:" in errors
    for name in PICTURES:
        with Image.open(directory / name) as picture:
            assert min(picture.size) > 200
        assert name in errors
    assert clip_np.load(directory)[0].config.embed_dim == 16
    # Measured once more, the figures are the same.
    output, errors = run(capsys, "evaluate", "runs/shapes", "--json")
    again = report_of(output)
    assert again == {key: report[key] for key in again}
    assert len(again) == 6
    figures, errors = run(capsys, "evaluate", directory / CHECKPOINT)
    assert errors == ""
    assert f" {round(report['recall_at_1_of_1000'], 3):g}\n" in figures


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
    directory = tmp_path / "runs" / "photos"
    assert set(PICTURES) < {path.name for path in directory.iterdir()}
    again = report_of(run(capsys, "evaluate", directory, "--json")[0])
    assert again == {key: report[key] for key in again}
    same = run(capsys, "evaluate", directory, "--json", "--data", photos / "captions.csv")[0]
    assert report_of(same) == again
    found = read_checkpoint(directory).training
    assert found["options"]["shift"] == 3
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
        *(BEST, CHECKPOINT, METRICS)
    ]


def test_an_earlier_run_is_kept(capsys, few_test_shapes, no_pictures):
    run(capsys, "train", "--out", "here", *SHORT)
    first = pathlib.Path("here", CHECKPOINT).read_bytes()
    _, errors = run(capsys, "train", "--out", "here", *SHORT, "--seed", 1)
    previous = pathlib.Path("here", "checkpoint.previous.npz")
    assert f"an earlier run was here; its checkpoint is now {previous}" in errors
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
    timed = ("train_seconds",)
    assert {k: v for k, v in report.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }
    report = report_of(run(capsys, "train", "--resume", "half", "--steps", 20, "--json")[0])
    assert report["steps"] == 20
    options = read_checkpoint("half").training["options"]
    assert (options["batch_size"], options["workers"], options["warmup"]) == (16, 2, 2)
    assert [record["step"] for record in read_metrics(pathlib.Path("half", METRICS))] == [10, 20]


def test_a_resumed_run_may_exchange_its_bound(capsys, few_test_shapes, no_pictures):
    run(capsys, "train", "--out", "here", *SHORT)
    report = report_of(run(capsys, "train", "--resume", "here", "--seconds", 3, "--json")[0])
    assert report["steps"] > 10
    assert 3 <= report["train_seconds"] < 9
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
    report = tasks.FilesTask.report

    def spy(task, *given):
        seen.append(task.test.names)
        return report(task, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.FilesTask, "report", spy)
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
    assert report_of(again) == {key: report[key] for key in report_of(again)}


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


# --- classify and plot -------------------------------------------------------------------------


def untrained(directory: str) -> None:
    tokenizer = clip_np.Tokenizer.train(["a large red circle"], 530)
    model = clip_np.CLIP(PRESETS["micro"].for_tokenizer(tokenizer), np.random.default_rng(0))
    pathlib.Path(directory).mkdir()
    save_checkpoint(pathlib.Path(directory, CHECKPOINT), model, tokenizer)


def expected_chances(photo: pathlib.Path, captions: list[str]) -> np.ndarray:
    model, preprocess, tokenizer = clip_np.load("run")
    logits, _ = model(preprocess(Image.open(photo))[None], tokenizer(captions))
    return mg.softmax(logits).numpy()[0]


def test_classify_an_image(capsys, photos, tmp_path):
    pytest.importorskip("matplotlib")
    untrained("run")
    captions = ["red", "a blue", "circle"]
    output, errors = run(capsys, "classify", "run", photos / "3.png", *captions, "--json")
    chances = report_of(output)
    assert sum(chances.values()) == pytest.approx(1)
    for caption, chance in zip(captions, expected_chances(photos / "3.png", captions)):
        assert chances[caption] == pytest.approx(float(chance), rel=1e-4)
    assert list(chances.values()) == sorted(chances.values(), reverse=True)
    assert "pictures: classify.png" in errors
    with Image.open("classify.png") as picture:
        assert min(picture.size) > 200
    table, _ = run(capsys, "classify", "run", photos / "3.png", *captions, "--picture", "a.png")
    lines = table.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines[:3]] == list(chances)
    assert lines[0].split()[0] == f"{max(chances.values()):.1%}"
    assert pathlib.Path("a.png").exists()
    # The model may be named by --model as well.
    same = run(capsys, "classify", photos / "3.png", *captions, "--model", "run", "--json")[0]
    assert report_of(same) == chances


def test_classify_images_by_labels(capsys, photos):
    untrained("run")
    labels = ["red", "a blue", "circle"]
    arguments = ["run", "photos/3.png", "photos/14.png", "--labels", "red,a blue, circle,,red"]
    output, errors = run(capsys, "classify", *arguments, "--json")
    answer = report_of(output)
    assert list(answer) == ["photos/3.png", "photos/14.png"]
    for photo, chances in answer.items():
        assert list(chances.values()) == sorted(chances.values(), reverse=True)
        expected = expected_chances(pathlib.Path(photo), labels)
        np.testing.assert_allclose([chances[label] for label in labels], expected, rtol=1e-4)
    assert not pathlib.Path("classify.png").exists()
    assert "pictures" not in errors
    table, _ = run(capsys, "classify", *arguments)
    lines = []
    for photo, chances in answer.items():
        lines += [photo, *(f"{chance:>8.1%}  {label}" for label, chance in chances.items())]
    assert table.splitlines() == lines
    # A whole folder, and each image once; one image alone needs no heading.
    answer = report_of(run(capsys, "classify", "run", photos, *arguments[3:], "--json")[0])
    assert list(answer) == sorted(str(photos / f"{row}.png") for row in range(40))
    table, _ = run(capsys, "classify", "run", "photos/3.png", "--labels", "red,circle")
    assert len(table.splitlines()) == 2


def test_labels_of_a_file(capsys, photos):
    untrained("run")
    text = "\ufeffred, or so\r\n\n  ünï 🎈 \nred, or so\n"
    pathlib.Path("labels.txt").write_text(text, encoding="utf-8", newline="")
    arguments = ["classify", "run", "photos/3.png", "--labels", "@labels.txt", "--json"]
    (chances,) = report_of(run(capsys, *arguments)[0]).values()
    assert sorted(chances) == ["red, or so", "ünï 🎈"]


def test_templates_are_averaged(capsys, photos):
    untrained("run")
    templates = ["a {} thing", "some {}."]
    options = [part for template in templates for part in ("--template", template)]
    arguments = ["classify", "run", "photos/3.png", "--labels", "red,blue", "--json"]
    (chances,) = report_of(run(capsys, *arguments, *options)[0]).values()
    model, preprocess, tokenizer = clip_np.load("run")
    classes = clip_np.zero_shot_classifier(model, tokenizer, ["red", "blue"], templates)
    image = model.encode_image(preprocess(Image.open("photos/3.png"))[None])
    cosines = mg.normalize(image).numpy() @ classes
    expected = mg.softmax(mg.tensor(np.exp(model.logit_scale.item()) * cosines)).numpy()[0]
    np.testing.assert_allclose([chances["red"], chances["blue"]], expected, rtol=1e-4)
    (plain,) = report_of(run(capsys, *arguments)[0]).values()
    assert abs(plain["red"] - chances["red"]) > 1e-4


def test_many_labels_of_many_images_are_cut_in_the_table_only(capsys, photos):
    pytest.importorskip("matplotlib")
    untrained("run")
    names = [f"thing {number}" for number in range(30)]
    arguments = ["classify", "run", "photos/3.png", "photos/4.png", "--labels", ",".join(names)]
    output, errors = run(capsys, *arguments, "--json", "--picture", "all.png")
    assert all(sorted(chances) == sorted(names) for chances in report_of(output).values())
    table, _ = run(capsys, *arguments)
    assert len(table.splitlines()) == 2 * (1 + 5)
    assert "pictures: all.png" in errors


def test_unreadable_images_are_named_and_left_out(capsys, photos):
    untrained("run")
    (photos / "4.png").write_bytes(b"no picture")
    images = ["photos/3.png", "photos/4.png", "nowhere.png"]
    output, errors = run(capsys, "classify", "run", *images, "--labels", "a,b", "--json")
    assert list(report_of(output)) == ["photos/3.png"]
    left_out = [line for line in errors.splitlines() if line.startswith("left out: ")]
    assert [line.split()[2] for line in left_out] == ["photos/4.png:", "nowhere.png:"]
    message = fail(capsys, "classify", "run", *images[1:], "--labels", "a,b")
    assert message.startswith("none of 2 images is readable: photos/4.png: cannot be read")


def test_classify_a_folder(capsys, photos, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(
        cli.pictures, "labelled_images", lambda *page: drawn.append(page) or page[2]
    )
    untrained("run")
    (photos / "0.png").write_bytes(b"no picture")
    output, errors = run(capsys, "classify", "run", photos, "a red circle", "--json")
    assert f"left out: {photos / '0.png'}: cannot be read" in errors
    cosines = report_of(output)
    model, preprocess, tokenizer = clip_np.load("run")
    files = [photos / f"{row}.png" for row in range(1, 40)]
    features = model.encode_image(np.stack([preprocess(Image.open(file)) for file in files]))
    text = mg.normalize(model.encode_text(tokenizer(["a red circle"])))
    expected = (mg.normalize(features) @ text.T).numpy()[:, 0]
    best = np.argsort(-expected)
    assert list(cosines) == [str(files[row]) for row in best]
    np.testing.assert_allclose(list(cosines.values()), expected[best], rtol=1e-4)
    ((images, labels, path, title, _),) = drawn
    assert (title, str(path), len(images), len(labels)) == ("a red circle", "classify.png", 20, 20)
    for image, row in zip(images, best):  # the best 20
        assert (image == np.asarray(Image.open(files[row]).resize((224, 224), 3))).all()
    # The same question with --labels.
    same = run(capsys, "classify", "run", photos, "--labels", "a red circle", "--json")[0]
    assert report_of(same) == cosines


def test_nothing_heavy_is_imported_where_nothing_is_drawn(photos):
    untrained("run")
    program = (
        "import sys; from clip_np.cli import main; status = main(sys.argv[1:])\n"
        "heavy = {'matplotlib', 'datasets', 'pyarrow', 'pandas', 'torch', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    command = [sys.executable, "-c", program, "classify", "run", "photos/3.png", "--labels", "a,b"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (ended.stdout.splitlines()[-1], ended.stderr) == ("[]", "")


def test_info_of_a_run(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    found = report_of(run(capsys, "info", "here", "--json")[0])
    file = pathlib.Path("here", CHECKPOINT)
    model = clip_np.load("here")[0]
    assert found["file"] == str(file)
    assert found["bytes"] == file.stat().st_size
    assert found["parameters"] == sum(p.numpy().size for p in model.parameters())
    assert {key: found[key] for key in ("embed_dim", "vision", "text")} == model.config.to_dict()
    assert found["temperature"] == pytest.approx(np.exp(model.logit_scale.item()))
    size = model.config.text.vocab_size
    assert (found["layout"], found["steps"]) == ("clip_np", 10)
    assert found["tokenizer"] == f"{size:,} pieces"
    lines = run(capsys, "info", file)[0].splitlines()
    assert f"parameters    {found['parameters']:,}" in lines
    assert f"temperature   {round(found['temperature'], 4)}" in lines
    assert any(line.startswith("vision        image_size 32, patch_size 16") for line in lines)


def test_convert_and_info_of_what_it_wrote(capsys):
    untrained("run")
    assert "steps" not in report_of(run(capsys, "info", "run", "--json")[0])
    run(capsys, "convert", "run", "hf")
    found = report_of(run(capsys, "info", "hf", "--json")[0])
    assert found["file"] == str(pathlib.Path("hf", "model.safetensors"))
    assert (found["layout"], found["stored as"]) == ("hf", "float32")
    assert found["tokenizer"].endswith(" pieces")
    output, _ = run(capsys, "convert", "run", "a.safetensors", "--layout", "openai")
    assert output.strip() == "written: a.safetensors"
    found = report_of(run(capsys, "info", "a.safetensors", "--json")[0])
    assert found["layout"] == "openai"
    assert "vocab.json and merges.txt" in found["tokenizer"]
    assert "must end in .safetensors" in fail(
        capsys, "convert", "run", "b.bin", "--layout", "openai"
    )


def test_without_matplotlib_classify_says_what_to_install(capsys, photos, no_pictures):
    untrained("run")
    output, _ = run(capsys, "classify", "run", photos / "3.png", "a", "b")
    assert output.splitlines()[-1].startswith("pictures need matplotlib: pip install")
    assert "% " in output.splitlines()[0]


def test_plot_draws_the_loss_again(capsys, photos):
    pytest.importorskip("matplotlib")
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    pathlib.Path("here", "loss.png").unlink()
    output, _ = run(capsys, "plot", "here")
    assert output.strip() == f"pictures: {pathlib.Path('here', 'loss.png')}"
    assert pathlib.Path("here", "loss.png").stat().st_size > 10_000


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("train --data nowhere", "nowhere does not exist"),
        ("train --data photos --caption-column text", "text"),
        ("train --data photos --image-column picture", "picture"),
        ("train --data photos --test x", "--test: only for the built-in shapes; leave it out"),
        ("train --test nowhere.parquet", "nowhere.parquet"),
        ("train --skip-bad", "--skip-bad: only for --data; leave it out"),
        ("train --image-column a --caption-column b", "--image-column, --caption-column: only"),
        ("train --preset tutorial", "--preset tutorial sees images of 224 pixels, the built-in"),
        ("train --preset ViT-L/14@336px", "336 pixels"),
        ("train --steps 0", "steps must be positive, got 0"),
        ("train --steps -5 --seconds 3", "steps must be positive, got -5"),
        ("train --data photos --seconds nan", "seconds must be positive, got nan"),
        ("train --data photos --batch-size 0", "batch_size must be positive, got 0"),
        ("train --data photos --shift -3", "shift must not be negative, got -3"),
        ("train --data photos --vocab-size 10", "514"),
        ("train --seed -1", "seed must not be negative, got -1"),
        ("train --preset huge", "preset 'huge' is none of tiny, small, tutorial"),
        ("train --resume nowhere", "nowhere: no such checkpoint; a run directory holds"),
        ("train --resume photos", "no such checkpoint; a run directory holds checkpoint.npz"),
        ("train --resume run --data photos --seed 0", "--data, --seed: a resumed run keeps its"),
        ("train --resume run --out elsewhere", "--out: a resumed run keeps its own; leave it out"),
        ("train --resume run", "run: this checkpoint holds no training to go on with"),
        ("train --resume run/checkpoint.npz", "expected a run directory, not a file in it"),
        ("evaluate nowhere", "nowhere: no such checkpoint; a run directory holds checkpoint.npz"),
        ("evaluate photos", "no such checkpoint; a run directory holds checkpoint.npz"),
        ("evaluate photos/3.png", "damaged, or no .npz file"),
        ("evaluate run", "run: names no data to measure on; pass --data PATH"),
        ("evaluate run --data nowhere", "nowhere does not exist"),
        ("evaluate cut", "damaged, or no .npz file"),
        ("train --data photos --split train", "a split or a stream can be had of `datasets` sets"),
        ("classify nowhere a.png a b", "nowhere: no such file or directory"),
        ("classify run a.png a b", "a.png: cannot be read (FileNotFoundError"),
        ("classify run run a", "run: holds no images (.bmp"),
        ("classify run", "no images given: run is taken for the model, images come after it"),
        ("classify run photos", "no labels: write captions after the image, or --labels A,B,C"),
        ("classify run photos --labels ,", "no labels: write captions after the image, or"),
        ("classify run photos --labels @nowhere.txt", "No such file or directory: 'nowhere.txt'"),
        ("classify run photos a b --template thing", "template 'thing' needs one {}"),
        ("info nowhere", "nowhere: no such file or directory"),
        ("info cut", "damaged, or no .npz file"),
        ("plot run", "run: expected the directory of a run, with its metrics.jsonl"),
        ("plot nowhere", "nowhere: no such checkpoint"),
    ],
)
def test_mistakes_are_answered_with_one_line(capsys, photos, arguments, message):
    tokenizer = clip_np.Tokenizer.train(["a circle"], 514)
    model = clip_np.CLIP(PRESETS["micro"].for_tokenizer(tokenizer), np.random.default_rng(0))
    for name in ("run", "cut"):
        pathlib.Path(name).mkdir()
        save_checkpoint(pathlib.Path(name, CHECKPOINT), model, tokenizer)
    whole = pathlib.Path("cut", CHECKPOINT).read_bytes()
    pathlib.Path("cut", CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")}
    assert message in fail(capsys, *arguments.split())
    after = {path: path.stat().st_mtime_ns for path in pathlib.Path().rglob("*")}
    assert after == before  # nothing was made, changed or taken away


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("", "the following arguments are required: COMMAND"),
        ("draw", "invalid choice: 'draw'"),
        ("evaluate", "the following arguments are required: RUN"),
        ("train --steps many", "--steps: invalid int value: 'many'"),
        ("train --epochs 3", "unrecognized arguments: --epochs 3"),
    ],
)
def test_wrong_usage_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_data_set_of_test_pairs_only(capsys, photos):
    table = photos / "captions.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",train", ",test"), "utf-8")
    assert "holds a test split only" in fail(capsys, "train", "--data", photos)


def test_a_place_that_is_no_folder(capsys, photos):
    pathlib.Path("taken").write_text("a file", encoding="utf-8")
    assert "taken" in run(capsys, "train", "--data", photos, "--out", "taken", status=1)[1]
    assert pathlib.Path("taken").read_text(encoding="utf-8") == "a file"


def test_moved_data_are_named(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, *SHORT, "--out", "here")
    photos.rename("moved")
    assert "photos does not exist" in fail(capsys, "evaluate", "here")
    assert "photos does not exist" in fail(capsys, "train", "--resume", "here")
    report_of(run(capsys, "evaluate", "here", "--data", "moved", "--json")[0])


def test_ctrl_c_outside_training(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_checkpoint", interrupted)
    output, errors = run(capsys, "evaluate", "here", status=130)
    assert (output, errors) == ("", "clip-np: interrupted\n")


def test_a_terminal_without_emoji_does_not_end_a_run(photos, tmp_path):
    table = photos / "captions.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",a ", ",an 🎈 a "), "utf-8")
    (photos / "20.png").rename(photos / "🎈.png")
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from clip_np.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--steps", "3", "--preset", "tiny", "--skip-bad", "--out", "🎈"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run(
        [sys.executable, "-c", program, "train", "--data", str(photos), *options],
        capture_output=True,
        env=environment,
        cwd=tmp_path,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "🎈" / CHECKPOINT).exists()


# --- what pictures show ------------------------------------------------------------------------


def test_pictured_captions_are_the_likeliest_of_all(capsys, few_test_shapes, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(cli.pictures, "caption_grid", lambda *all_of_it: drawn.append(all_of_it))
    run(capsys, "train", "--out", "run", *SHORT)
    ((images, captions, choices, scores, _),) = drawn
    model, _, tokenizer = clip_np.load("run")
    truth = shapes.test_split(tasks.TEST_SEED)["all"]
    logits, _ = model(to_model_input(images), tokenizer(truth.captions, truncate=True))
    probabilities = mg.softmax(logits).numpy()
    assert captions == truth.captions[:20]
    for row, (three, chances) in enumerate(zip(choices, scores)):
        likeliest = np.argsort(-probabilities[row])[:3]
        assert three == [truth.captions[column] for column in likeliest]
        np.testing.assert_allclose(chances, probabilities[row, likeliest], rtol=1e-3)

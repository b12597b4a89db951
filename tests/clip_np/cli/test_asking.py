"""What a model is, and what it says about images."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from command_line import SHORT, fail, report_of, run, untrained
from paths import ROOT
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.cli import output as cli_output
from clip_np.evaluation import CutTextWarning
from clip_np.weights import CHECKPOINT


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
    words = [line.split(maxsplit=1)[1] for line in lines[:3]]
    assert [text.rpartition(" (")[0] for text in words] == list(chances)
    model, preprocess, tokenizer = clip_np.load("run")
    image = mg.normalize(model.encode_image(preprocess(Image.open(photos / "3.png"))[None]))
    text = mg.normalize(model.encode_text(tokenizer(list(chances))))
    cosines = (image @ text.T).numpy()[0]
    assert [text.rpartition(" (")[2] for text in words] == [f"{value:.3f})" for value in cosines]
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
    assert [line.rpartition(" (")[0] or line for line in table.splitlines()] == lines
    # A whole folder, and each image once; one image alone needs no heading.
    answer = report_of(run(capsys, "classify", "run", photos, *arguments[3:], "--json")[0])
    assert list(answer) == sorted(str(photos / f"{row}.png") for row in range(40))
    table, _ = run(capsys, "classify", "run", "photos/3.png", "--labels", "red,circle")
    assert len(table.splitlines()) == 2


def test_images_among_the_captions_are_images(capsys, photos, no_pictures):
    untrained("run")
    pathlib.Path("red").mkdir()  # a folder, and a caption all the same
    images = ["photos/3.png", "photos/4.png"]
    output, _ = run(capsys, "classify", "run", *images, "red", "blue", "--json")
    chances = report_of(output)
    assert list(chances) == images
    assert sorted(chances["photos/3.png"]) == ["blue", "red"]
    alone = report_of(run(capsys, "classify", "run", *images, "red", "--json")[0])
    assert sorted(alone) == images
    swapped = run(capsys, "classify", "run", images[0], "red", images[1], "blue", "--json")[0]
    assert report_of(swapped) == chances
    _, errors = run(capsys, "classify", "run", images[0], "b.png", "red", "not b.png")
    assert "left out: b.png: cannot be read (FileNotFoundError" in errors
    assert "not b.png: " not in errors
    message = fail(capsys, "classify", "run", *images)
    assert message == "no labels: write captions after the image, or --labels A,B,C"


def test_every_command_names_texts_that_are_cut(capsys, photos, no_pictures):
    untrained("run")
    long = "a red circle " * 50
    table = photos / "captions.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*rows, f"0.png,{long},test"]), encoding="utf-8")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    commands = [
        ["classify", "run", "photos/3.png", f"{long} one", f"{long} two"],
        ["classify", "run", photos, "--labels", f"{long} one,blue"],
        ["search", "index.npz", f"{long} one"],
        ["search", "index.npz", "red", "--minus", long],
        ["evaluate", "run", "--data", photos],
    ]
    for command in commands:
        with pytest.warns(CutTextWarning, match=r"cut off: '.* tokens\)"):
            run(capsys, *command)


def test_labels_that_are_given_twice_add_up(capsys, photos):
    untrained("run")
    pathlib.Path("labels.txt").write_text("circle\nred\n", encoding="utf-8")
    options = ["--labels", "red,blue", "--labels", "@labels.txt", "--json"]
    (chances,) = report_of(run(capsys, "classify", "run", "photos/3.png", *options)[0]).values()
    assert sorted(chances) == ["blue", "circle", "red"]


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
    monkeypatch.setattr(cli_output, "labelled_images", lambda *page: drawn.append(page) or page[2])
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
    run(capsys, "train", "--data", photos, *SHORT, "--vision", "vit", "--out", "here")
    found = report_of(run(capsys, "info", "here", "--json")[0])
    file = pathlib.Path("here", CHECKPOINT)
    model = clip_np.load("here")[0]
    assert found["file"] == str(file)
    assert found["bytes"] == file.stat().st_size
    assert found["parameters"] == sum(p.numpy().size for p in model.parameters())
    for key in ("embed_dim", "vision", "text"):
        assert found[key] == model.config.to_dict()[key]
    assert "bias" not in found and "logit_bias" not in found
    assert found["temperature"] == pytest.approx(np.exp(model.logit_scale.item()))
    size = model.config.text.vocab_size
    assert (found["layout"], found["steps"]) == ("clip_np", 10)
    assert found["tokenizer"] == f"{size:,} pieces"
    lines = run(capsys, "info", file)[0].splitlines()
    assert f"parameters    {found['parameters']:,}" in lines
    assert f"temperature   {round(found['temperature'], 4)}" in lines
    assert any(line.startswith("vision        image_size 32, patch_size 16") for line in lines)


def test_without_matplotlib_classify_says_what_to_install(capsys, photos, no_pictures):
    untrained("run")
    output, _ = run(capsys, "classify", "run", photos / "3.png", "a", "b")
    assert output.splitlines()[-1].startswith("pictures need matplotlib: pip install")
    assert "% " in output.splitlines()[0]

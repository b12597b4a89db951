"""How the program starts and ends: mistakes, Ctrl-C, any terminal."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from command_line import fail, run
from image_folders import untrained_run
from paths import ROOT

import clip_np
from clip_np.cli import evaluating
from clip_np.encoders import PRESETS
from clip_np.weights import CHECKPOINT, save_checkpoint


def test_the_program_can_be_started_as_a_module():
    command = [sys.executable, "-m", "clip_np", "evaluate", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("clip-np: error: nowhere: no such file or directory")


@pytest.mark.parametrize(
    ("words", "message"), [(["Unable to allocate 9 GiB"], "allocate 9 GiB"), ([], "out of memory")]
)
def test_too_little_memory_is_one_line(capsys, monkeypatch, words, message):
    def open_model(arguments):
        raise MemoryError(*words)

    monkeypatch.setattr(evaluating, "open_model", open_model)
    assert message in fail(capsys, "evaluate", "run")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("train --data nowhere", "nowhere does not exist"),
        ("train --data photos --caption-column text", "--image-column and --caption-column name"),
        ("train --data photos --image-column picture", "expected picture"),
        ("train --data photos --test x", "--test: only for the built-in shapes; leave it out"),
        ("train --test nowhere.parquet", "nowhere.parquet"),
        ("train --skip-bad", "--skip-bad: only for --data; leave it out"),
        ("train --image-column a --caption-column b", "--image-column, --caption-column: only"),
        ("train --preset tutorial", "--preset tutorial sees images of 224 pixels, the built-in"),
        ("train --preset ViT-L/14@336px", "336 pixels"),
        ("train --steps 0", "--steps must be positive, got 0"),
        ("train --steps -5 --seconds 3", "--steps must be positive, got -5"),
        ("train --data photos --seconds nan", "--seconds must be a finite number, got nan"),
        ("train --data photos --batch-size 0", "--batch-size must be positive, got 0"),
        ("train --data photos --shift -3", "--shift must not be negative, got -3"),
        ("train --data photos --shift 32", "--shift is 32 pixels, and the images have 32: nothing"),
        ("train --data photos --vocab-size 10", "514"),
        ("train --changed-data", "--changed-data: only with --resume; leave it out"),
        ("train --name a --out b", "--name: --out says where results go; leave it out"),
        ("train --seed -1", "--seed must not be negative, got -1"),
        ("train --preset huge", "--preset 'huge' is none of tiny, small, tutorial"),
        ("train --resume nowhere", "nowhere: no such checkpoint; a run directory holds"),
        ("train --resume photos", "no such checkpoint; a run directory holds checkpoint.npz"),
        ("train --resume run --test a --seed 0", "--test, --seed: a resumed run keeps its"),
        ("train --resume run --out elsewhere", "--out: a resumed run keeps its own; leave it out"),
        ("train --resume run", "run: this checkpoint holds no training to go on with"),
        ("train --resume run/checkpoint.npz", "expected a run directory, not a file in it"),
        ("evaluate nowhere", "nowhere: no such file or directory"),
        ("evaluate photos", "photos: holds no model; looked for checkpoint.npz, "),
        ("evaluate photos/3.png", "weights are read from .safetensors, "),
        ("evaluate run", "run: names no data to measure on; pass --data PATH"),
        ("evaluate run --data nowhere", "nowhere does not exist"),
        ("evaluate cut", "damaged, or not an .npz file"),
        ("train --data photos --split train", "--split is only for sets"),
        ("classify nowhere a.png a b", "nowhere: no such file or directory"),
        ("classify run a.png a b", "a.png: cannot be read (FileNotFoundError"),
        ("classify run run a", "run: holds no images (.apng"),
        ("classify run", "no images given: run is taken for the model, images come after it"),
        ("classify run photos", "no labels: write captions after the image, or --labels A,B,C"),
        ("classify run photos --labels ,", "no labels: write captions after the image, or"),
        ("classify run photos --labels @nowhere.txt", "No such file or directory: 'nowhere.txt'"),
        ("classify run photos a b --template thing", "template 'thing' needs one {}"),
        ("info nowhere", "nowhere: no such file or directory"),
        ("info cut", "damaged, or not an .npz file"),
        ("plot run", "run: expected the directory of a run, with its metrics.jsonl"),
        ("plot nowhere", "nowhere: no such file or directory"),
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
    before = times_of_files()
    assert message in fail(capsys, *arguments.split())
    assert times_of_files() == before  # nothing was made, changed or taken away


def times_of_files() -> dict[pathlib.Path, int | None]:
    """When each file was changed. A folder changes when a lock file comes and goes."""
    return {
        path: path.stat().st_mtime_ns if path.is_file() else None
        for path in pathlib.Path().rglob("*")
    }


def test_ctrl_c_outside_training(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluating, "read_run", interrupted)
    output, errors = run(capsys, "evaluate", "here.npz", status=130)
    assert (output, errors) == ("", "clip-np: interrupted\n")


def test_a_reader_that_goes_away_ends_the_program_quietly(photos, tmp_path):
    """As `| head` does; a pipe whose other end is closed stands for it."""
    untrained_run(tmp_path / "run")
    for arguments in (["classify", "run", "photos", "--labels", "a,b"], ["info", "run"]):
        reader, writer = os.pipe()
        os.close(reader)
        ended = subprocess.run(
            [sys.executable, "-m", "clip_np", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            timeout=100,
        )
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_picture_that_was_asked_for_and_not_made_is_a_failure(
    capsys, photos, tmp_path, no_pictures
):
    untrained_run(tmp_path / "run")
    picture = photos / "0.png"
    output, errors = run(
        *(capsys, "classify", "run", picture, "a", "b", "--picture", "a.png", "--json"), status=1
    )
    assert json.loads(output).keys() == {"a", "b"}  # the answer is there
    assert errors.splitlines()[-1].startswith("clip-np: error: pictures need matplotlib: pip")
    output, _ = run(capsys, "classify", "run", picture, "a", "b")  # a picture nobody asked for
    assert "pictures need matplotlib" in output
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    run(capsys, "search", "index.npz", "red", "--png", "a.png", status=1)
    assert "no/page.html" in fail_after_output(capsys, "search", "index.npz", "red")


def fail_after_output(capsys, *arguments) -> str:
    """The error of a page that cannot be written."""
    return run(capsys, *arguments, "--html", "no/page.html", status=1)[1]


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

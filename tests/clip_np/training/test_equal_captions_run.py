"""Runs on data whose captions repeat: learned down to 0, said once, resumed exactly."""

import csv

import numpy as np
import pytest
from PIL import Image
from small_runs import at_step, numbers_of, press_ctrl_c, trainer_of

from clip_np.training import METRICS, FilesTask, read_metrics

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def two_captions(tmp_path):
    """Red dogs and blue cats, some of them held out."""
    folder = tmp_path / "data"
    folder.mkdir()
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "split"])
        for row in range(28):
            colour = (200, 0, 0) if row % 2 else (0, 0, 200)
            Image.new("RGB", (24, 16), colour).save(folder / f"{row}.png")
            split = "train" if row < 20 else "validation" if row < 24 else "test"
            table.writerow([f"{row}.png", "dog" if row % 2 else "cat", split])
    return FilesTask(folder)


@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
def test_two_captions_are_learned(two_captions, tmp_path, capsys, loss):
    options = {"batch_size": 8, "steps": 120, "learning_rate": 1e-2, "warmup": 10, "loss": loss}
    trainer_of(two_captions, tmp_path / "run", **options).run()
    entries = read_metrics(tmp_path / "run" / METRICS)
    assert entries[0]["guessing"] > 1.0
    assert entries[-1]["loss"] < 0.1
    assert entries[-1]["validation_loss"] < 0.1 < entries[-1]["validation_guessing"]
    errors = capsys.readouterr().err
    assert errors.count("batches hold equal captions (here 8 of 8)") == 1


def test_such_a_run_goes_on_as_if_nothing_had_happened(two_captions, tmp_path):
    options = {"batch_size": 8, "steps": 24}
    trainer_of(two_captions, tmp_path / "whole", **options).run()
    half = trainer_of(two_captions, tmp_path / "half", **options)
    at_step(half, 10, press_ctrl_c)
    half.run()
    trainer_of(two_captions, tmp_path / "half", resume=True, **options).run()
    assert numbers_of(tmp_path / "half") == numbers_of(tmp_path / "whole")


def test_where_no_captions_are_equal_nothing_is_said_or_left_out(task, tmp_path, capsys):
    trainer = trainer_of(task, tmp_path, batch_size=2, steps=10)
    step, seen = trainer.take_step, []

    def spy(images, tokens, positives):
        rows = len({row.tobytes() for row in tokens})
        seen.append((positives is None) == (rows == len(tokens)))
        return step(images, tokens, positives)

    trainer.take_step = spy
    trainer.run()
    assert np.all(seen)
    assert "equal captions" not in capsys.readouterr().err

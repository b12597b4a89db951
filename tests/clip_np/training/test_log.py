"""Metrics: what happened in a run, for programs and for people."""

import io
import json
import math
import re
import sys

import pytest
from small_runs import trainer_of, write_pairs

from clip_np.training import METRICS, FilesTask, read_metrics

pytestmark = pytest.mark.usefixtures("small")


def test_metrics_tell_what_happened(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=23, validate_every=10)
    trainer.run()
    lines = (tmp_path / METRICS).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert records == read_metrics(tmp_path / METRICS)
    assert [record["step"] for record in records] == [10, 20, 23]
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds)
    for record in records:
        assert set(record) == {
            *("step", "seconds", "loss", "guessing", "temperature", "grad_norm", "learning_rate"),
            *("samples_per_second", "waited", "validation_loss", "validation_guessing"),
            *("validation_recall_at_1", "validation_chance", "validation_pairs"),
        }
        assert all(math.isfinite(value) for value in record.values())
        assert record["samples_per_second"] > 0
        assert 1 <= record["temperature"] <= 100
        assert 0 <= record["validation_recall_at_1"] <= 1
    assert records[2]["learning_rate"] < records[1]["learning_rate"]


def test_a_new_run_begins_new_metrics(task, tmp_path):
    trainer_of(task, tmp_path).run()
    trainer_of(task, tmp_path, steps=10).run()
    assert [record["step"] for record in read_metrics(tmp_path / METRICS)] == [10]


def test_half_written_metrics_are_read_as_far_as_they_go(tmp_path):
    path = tmp_path / METRICS
    path.write_text('{"step": 10}\n{"step": 20}\n{"ste', encoding="utf-8")
    assert read_metrics(path) == [{"step": 10}, {"step": 20}]


def test_the_progress_bar_shows_the_loss(task, tmp_path, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer_of(task, tmp_path / "steps", steps=10).run()
    assert "10/10" in stream.getvalue()
    assert "loss=2." in stream.getvalue()
    trainer_of(task, tmp_path / "time", steps=None, seconds=0.3, log_every=1).run()
    assert "/1 [" in stream.getvalue()
    assert "step " in stream.getvalue()


def test_validations_stand_in_the_bar_or_on_plain_lines(task, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    written = {}
    for kind in (io.StringIO, Terminal):
        written[kind] = kind()
        monkeypatch.setattr(sys, "stderr", written[kind])
        trainer_of(task, tmp_path / kind.__name__, steps=30, validate_every=10).run()
    plain, terminal = (stream.getvalue() for stream in written.values())
    lines = [line for line in plain.splitlines() if line.startswith("step ")]
    assert [line.partition(":")[0] for line in lines] == ["step 10", "step 20", "step 30"]
    for line in lines:
        assert re.search(
            r"recall at 1 0\.\d+ \(chance 0\.0\d+, 64 pairs\), loss \d\.\d+ \(gue", line
        )
    assert "validation recall 0." in terminal
    assert "chance" not in terminal


def test_one_pair_says_nothing(tmp_path, capsys):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] * 8 + ["validation", "test"]))
    trainer_of(task, tmp_path / "run", steps=10, batch_size=4).run()
    assert "step 10: validation, 1 pair measured: says nothing" in capsys.readouterr().err

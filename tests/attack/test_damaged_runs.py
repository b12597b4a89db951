"""Attacks on what a run has saved: damage, and entries that cannot be."""

import json
import os
import random
import re
import shutil
import signal

import numpy as np
import pytest
from image_folders import untrained_run
from small_runs import at_step, everything_in, numbers_of, trainer_of

from clip_np import cli
from clip_np.cli.parser import build_parser
from clip_np.data import shapes
from clip_np.evaluation import Measurement
from clip_np.files import FileError
from clip_np.training import METRICS, TrainingWarning, loop, read_metrics, read_run, schedule, tasks
from clip_np.weights import CHECKPOINT, PREVIOUS, load, read_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("small_runs")

MUTANTS = int(os.environ.get("RUN_MUTANTS", "120"))


# --- damage ---------------------------------------------------------------------------


def test_a_damaged_checkpoint_gives_way_to_the_one_before(task, tmp_path, capsys):
    directory = tmp_path / "run"
    trainer_of(task, tmp_path / "whole").run()
    first = trainer_of(task, directory)
    at_step(first, 20, lambda: signal.raise_signal(signal.SIGINT))
    first.run()
    assert read_checkpoint(directory / PREVIOUS).training["step"] == 1
    content = (directory / CHECKPOINT).read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\0" * len(content)):
        (directory / CHECKPOINT).write_bytes(damaged)
        with pytest.warns(TrainingWarning) as caught:
            assert read_run(directory).training["step"] == 1
        texts = [str(warning.message) for warning in caught if warning.category is TrainingWarning]
        assert str(directory / CHECKPOINT) in texts[0]
        assert str(directory / PREVIOUS) in texts[0]
    (directory / CHECKPOINT).unlink()
    with pytest.warns(TrainingWarning, match="instead"):
        assert cli.main(["train", "--resume", str(directory)]) == 0
    assert numbers_of(directory) == numbers_of(tmp_path / "whole")
    for name in (CHECKPOINT, PREVIOUS):
        (directory / name).write_bytes(b"damaged")
    with pytest.raises(FileError, match=rf"{CHECKPOINT}"):
        read_run(directory)


def test_who_asks_for_a_damaged_checkpoint_is_told_of_the_one_before(tmp_path, capsys):
    """Other weights than those that were asked for would look right in an index."""
    untrained_run(tmp_path)
    shutil.copy(tmp_path / CHECKPOINT, tmp_path / PREVIOUS)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    there = re.escape(f"The checkpoint before it is {tmp_path / PREVIOUS}: give its path")
    with pytest.raises(FileError, match=rf"{CHECKPOINT}: .*{there}"):
        load(tmp_path)
    for arguments in (["info"], ["classify", "a.png", "red"], ["convert", "out"]):
        assert cli.main([arguments[0], str(tmp_path), *arguments[1:]]) == 1
        assert re.search(there, capsys.readouterr().err)
    assert load(tmp_path / PREVIOUS).model.config.embed_dim == 16
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / PREVIOUS))):
        load(tmp_path)
    (tmp_path / PREVIOUS).unlink()
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(FileError) as caught:
        load(tmp_path)
    assert "before" not in str(caught.value)


ODD_LINES = (
    b"", b"no JSON", b"[1, 2]", b"7", b"null", b'"text"', b"{}", b'{"loss": 1.0}', b'{"step": "x"}',
    b'{"step": null}', b'{"step": NaN, "loss": 1}', b'{"step": 3, "loss": "high"}', b"\xff\xfe\x00",
    b'{"step": 3, "validation_loss": []}', b'{"step": 1e999}', b'{"step": true}', b"[" * 100_000,
    b'{"step": -1}', b'{"step": ' + b"9" * 5000 + b"}",
    b'{"step": 3, "validation_loss": -Infinity}',
)  # fmt: skip


def test_odd_lines_of_the_metrics_stop_no_run(task, tmp_path):
    trainer_of(task, tmp_path, steps=10).run()
    lines = (tmp_path / METRICS).read_bytes()
    (tmp_path / METRICS).write_bytes(b"\n".join(ODD_LINES) + b"\n" + lines + b'{"st')
    with pytest.warns(TrainingWarning, match=f"{len(ODD_LINES)} lines are no entries.* line 1"):
        trainer_of(task, tmp_path, resume=True, steps=20).run()
    assert [entry["step"] for entry in read_metrics(tmp_path / METRICS)] == [10, 20]


# --- what a checkpoint says of its training -------------------------------------------


VALUES = (
    None, True, False, 0, -1, 7, 1.5, float("nan"), float("inf"), 1e308, 5e-324, 10**18, 10**30,
    10**400, "", "x", "shapes", "files", "\0", "\ud800", "a" * 10_000, "/dev/null", "..", [], [1],
    {}, {"a": 1}, json.loads("[" * 200 + "]" * 200),
)  # fmt: skip
REMOVED = "removed"


def mutants(training: dict):
    """The entry with one place in it replaced, or removed."""
    paths = [(), *((key,) for key in training)]
    paths += [(key, name) for key in ("source", "options") for name in training[key]]
    for path in paths:
        for value in (*VALUES, REMOVED):
            copy = json.loads(json.dumps({"training": training}))
            place, last = copy, "training"
            for key in path:
                place, last = place[last], key
            if value is REMOVED:
                del place[last]
            else:
                place[last] = value
            yield path, copy.get("training")


FILES_SOURCE = {
    "task": "files",
    "path": "nowhere",
    "skip_bad": False,
    "seed": 0,
    "image_column": None,
    "streaming": False,
}


class SavedState:
    """Stands for an optimizer when a checkpoint is written."""

    def __init__(self, state) -> None:
        self.state = state

    def state_dict(self):
        return self.state


@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
def test_mutated_entries_give_errors_of_the_project_only(task, tmp_path, monkeypatch, capsys):
    directory = tmp_path / "run"
    trainer_of(task, directory, steps=3).run()
    (directory / PREVIOUS).unlink()
    good = read_checkpoint(directory)
    files_of_run = everything_in(directory)
    calls = []

    def is_finished(options, step, elapsed):  # two steps at most
        calls.append(step)
        return len(calls) > 2 or schedule.is_finished(options, step, elapsed)

    # What every command makes anew is made once: the drawings and the parser.
    split, parser = shapes.test_split(tasks.TEST_SEED), build_parser()
    count = tasks.TRAINING_IMAGES + tasks.VALIDATION_IMAGES
    pairs = shapes.training_pairs(count, np.random.default_rng(0))
    monkeypatch.setattr(shapes, "test_split", lambda seed: split)
    monkeypatch.setattr(shapes, "training_pairs", lambda count, rng: pairs)
    monkeypatch.setattr("clip_np.cli.program.build_parser", lambda: parser)
    monkeypatch.setattr(loop, "is_finished", is_finished)
    nothing = Measurement(figures={"recall": 0.0}, chance={}, intervals={})
    monkeypatch.setattr(tasks.ShapesTask, "measure", lambda *arguments: nothing)
    monkeypatch.setattr("clip_np.cli.runs.draw_run", lambda trainer: [])
    made = list(mutants(good.training))
    made += [
        mutant
        for mutant in mutants({**good.training, "source": FILES_SOURCE})
        if mutant[0][:1] == ("source",)
    ]
    made = random.Random(0).sample(made, MUTANTS)
    problems = []
    for number, (path, training) in enumerate(made):
        state = SavedState(good.optimizer_state)
        save_checkpoint(directory / CHECKPOINT, good.model, good.tokenizer, state, training)
        mutated = (directory / CHECKPOINT).read_bytes()
        commands = ["info", "plot", "evaluate", "train --resume"]
        # Each mutant meets the two quick commands, and by turns one of the others.
        for command in (*commands[:2], commands[2 + number % 2]):
            calls.clear()
            try:
                status = cli.main([*command.split(), str(directory)])
            except Exception as error:
                problems.append((command, path, str(training)[:100], repr(error)[:200]))
                continue
            errors = capsys.readouterr().err
            if status == 1 and not calls and "training: " in errors:
                assert str(directory) in errors
            if status == 1 and command != "train --resume":
                assert (directory / CHECKPOINT).read_bytes() == mutated
        for name, content in files_of_run.items():
            if not (directory / name).exists() or name == METRICS:
                (directory / name).write_bytes(content)
    assert problems == []

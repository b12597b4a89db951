"""Training: it learns, it repeats itself to the last bit, and nothing is lost when it ends."""

import csv
import dataclasses
import io
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import clip_np
from clip_np.data import DataError, shapes
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.files import read_npz
from clip_np.training import (
    METRICS,
    FilesTask,
    ShapesTask,
    Trainer,
    TrainingError,
    TrainingOptions,
    TrainingWarning,
    open_task,
    read_metrics,
    tasks,
    watch,
)
from clip_np.training import loop as train
from clip_np.weights import CHECKPOINT, read_checkpoint

MICRO = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
    text=TextConfig(514, 77, width=16, layers=1, heads=2),
)
SHORT = {"preset": "micro", "steps": 24, "batch_size": 16, "vocab_size": 560, "workers": 2}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A smaller model and fewer shapes than a real run has."""
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 256)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TRAINING_IMAGES", 256)
        patch.setattr(tasks, "VALIDATION_IMAGES", 64)
        return ShapesTask(0)


def trainer_of(task, directory, resume: bool = False, **changes) -> Trainer:
    options = TrainingOptions(**{**SHORT, **changes})
    return Trainer(task, options, directory, read_checkpoint(directory) if resume else None)


def at_step(trainer: Trainer, step: int, action) -> None:
    """Do something when `step` is logged (every tenth step is, and the last)."""
    log = trainer._log

    def log_and_act(record, bar) -> None:
        log(record, bar)
        if record["step"] == step:
            action()

    trainer._log = log_and_act


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def numbers_of(directory: pathlib.Path) -> dict[str, bytes]:
    """All arrays of a checkpoint but its header, which holds times."""
    arrays = read_npz(directory / CHECKPOINT)
    return {name: array.tobytes() for name, array in arrays.items() if name != "header"}


def write_pairs(folder: pathlib.Path, splits: list[str], bad=()) -> pathlib.Path:
    """A folder of small pictures, one for each entry of `splits`, with captions.csv."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "split"])
        for row, split in enumerate(splits):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{row}.png")
            table.writerow([f"{row}.png", f"picture number {row} of them", split])
    for row in bad:
        (folder / f"{row}.png").write_bytes(b"no picture")
    return folder


# --- it learns ---------------------------------------------------------------------------------


def test_training_reduces_the_loss(task, tmp_path):
    trainer = trainer_of(
        task, tmp_path, preset="tiny", steps=60, batch_size=32, learning_rate=1e-3, warmup=10
    )
    outcome = trainer.run()
    records = read_metrics(tmp_path / METRICS)
    assert records[0]["loss"] == pytest.approx(math.log(32), abs=0.1)  # it knows nothing yet
    assert records[-1]["loss"] < math.log(32) - 0.3
    assert records[-1]["validation_loss"] < math.log(32) - 0.2
    assert outcome["steps"] == trainer.step == 60
    assert 0 < outcome["train_seconds"] < 60
    # What is saved is what was trained.
    model, _, tokenizer = clip_np.load(tmp_path)
    assert tokenizer.merges == trainer.tokenizer.merges
    for name, array in trainer.model.state_dict().items():
        assert (model.state_dict()[name] == array).all()


def test_every_weight_moves(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=2)
    before = trainer.model.state_dict()
    trainer.run()
    used = trainer.tokenizer(task.train.captions).max(axis=0) > 0
    for name, array in trainer.model.state_dict().items():
        moved = array != before[name]
        if name == "text.positional_embedding":
            moved = moved[: used.sum()]
        assert moved.mean() > 0.5 or name == "text.token_embedding.weight", name


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
            *("step", "seconds", "loss", "temperature", "grad_norm", "learning_rate"),
            *("samples_per_second", "validation_loss", "validation_recall_at_1"),
        }
        assert all(math.isfinite(value) for value in record.values())
        assert record["samples_per_second"] > 0
        assert 1 <= record["temperature"] <= 100
        assert 0 <= record["validation_recall_at_1"] <= 1
    assert records[2]["learning_rate"] < records[1]["learning_rate"]


def test_options_reach_the_training(task, tmp_path, monkeypatch):
    seen = []
    step = train.training_step

    def spy(model, optimizer, images, tokens, **options):
        seen.append((images.shape, tokens.shape, optimizer.lr, options))
        return step(model, optimizer, images, tokens, **options)

    monkeypatch.setattr(train, "training_step", spy)
    changes = {"shards": 3, "workers": 1, "max_norm": 0.5, "learning_rate": 0.25, "warmup": 2}
    trainer = trainer_of(task, tmp_path, steps=20, batch_size=9, weight_decay=0.3, **changes)
    assert trainer.optimizer.groups[0]["weight_decay"] == 0.3
    trainer.run()
    context = trainer.tokenizer.context_length
    for images, tokens, _, options in seen:
        assert (images, tokens) == ((9, 3, 32, 32), (9, context))
        assert options == {"shards": 3, "workers": 1, "max_norm": 0.5}
    rates = [rate for _, _, rate, _ in seen]
    assert rates[:3] == pytest.approx([0.125, 0.25, 0.25])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0.02 * 0.25 <= rates[-1] < 0.05 * 0.25


# --- it repeats itself -------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(task, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        trainer_of(task, tmp_path / name, seed=seed, shift=2, zoom=0.1).run()
    assert numbers_of(tmp_path / "one") == numbers_of(tmp_path / "two")
    assert numbers_of(tmp_path / "one") != numbers_of(tmp_path / "three")
    records = [read_metrics(tmp_path / name / METRICS) for name in ("one", "two", "three")]
    losses = [[record["loss"] for record in each] for each in records]
    assert losses[0] == losses[1] != losses[2]
    fresh = [trainer_of(task, tmp_path, seed=seed).model.vision.proj.data for seed in (5, 5, 6)]
    assert (fresh[0] == fresh[1]).all()
    assert (fresh[0] != fresh[2]).any()


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(task, tmp_path):
    augmented = {"shift": 2, "zoom": 0.1, "steps": 34}
    trainer_of(task, tmp_path / "whole", **augmented).run()
    half = trainer_of(task, tmp_path / "half", **augmented)
    at_step(half, 10, press_ctrl_c)
    before = signal.getsignal(signal.SIGINT)
    assert half.run()["steps"] == 10
    assert half.interrupted
    assert signal.getsignal(signal.SIGINT) is before
    resumed = trainer_of(task, tmp_path / "half", resume=True, **augmented)
    assert resumed.step == 10
    assert resumed.elapsed == half.elapsed > 0
    resumed.run()
    assert not resumed.interrupted
    assert numbers_of(tmp_path / "half") == numbers_of(tmp_path / "whole")
    records = [read_metrics(tmp_path / name / METRICS) for name in ("half", "whole")]
    keys = ("step", "loss", "learning_rate", "grad_norm", "temperature")
    picked = [[[record[key] for key in keys] for record in each] for each in records]
    assert picked[0] == picked[1]
    assert records[0][-1]["validation_loss"] == records[1][-1]["validation_loss"]


def test_a_crashed_run_goes_on_from_its_last_checkpoint(task, tmp_path, monkeypatch):
    trainer_of(task, tmp_path / "whole").run()
    monkeypatch.setattr(train, "SAVE_SECONDS", 0.0)  # a checkpoint after every step
    crashed = trainer_of(task, tmp_path / "crashed")

    def crash() -> None:
        raise OSError("No space left on device")

    at_step(crashed, 20, crash)
    with pytest.raises(OSError, match="No space left"):
        crashed.run()
    with open(tmp_path / "crashed" / METRICS, "a", encoding="utf-8") as file:
        file.write('{"step": 21, "lo')  # cut short when the power went
    resumed = trainer_of(task, tmp_path / "crashed", resume=True)
    assert resumed.step == 19
    resumed.run()
    assert numbers_of(tmp_path / "crashed") == numbers_of(tmp_path / "whole")
    steps = [record["step"] for record in read_metrics(tmp_path / "crashed" / METRICS)]
    assert steps == [10, 20, 24]


def test_a_finished_run_can_be_prolonged(task, tmp_path):
    trainer_of(task, tmp_path).run()
    same = trainer_of(task, tmp_path, resume=True)
    before = numbers_of(tmp_path)
    assert same.run()["steps"] == 24
    assert numbers_of(tmp_path) == before
    longer = trainer_of(task, tmp_path, resume=True, steps=30, learning_rate=0.5)
    longer.elapsed = 100.0
    outcome = longer.run()
    assert outcome["steps"] == 30
    assert 100 < outcome["train_seconds"] < 160
    assert longer.optimizer.step_count == 30
    assert read_metrics(tmp_path / METRICS)[-1]["learning_rate"] > 0.001
    assert numbers_of(tmp_path) != before


def test_the_number_of_threads_is_kept(task, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "available_cores", lambda: 3)
    trainer_of(task, tmp_path, steps=1, workers=None).run()
    found = read_checkpoint(tmp_path).training
    assert found["options"]["workers"] == 3
    assert found["options"]["steps"] == 1
    assert found["step"] == 1
    assert found["source"] == {"task": "shapes", "seed": 0, "test": None}


def test_a_new_run_begins_new_metrics(task, tmp_path):
    trainer_of(task, tmp_path).run()
    trainer_of(task, tmp_path, steps=10).run()
    assert [record["step"] for record in read_metrics(tmp_path / METRICS)] == [10]


# --- it ends as it should ----------------------------------------------------------------------


def test_a_time_limit_ends_the_run(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=None, seconds=1.5, batch_size=8)
    started = time.perf_counter()
    outcome = trainer.run()
    assert 1.5 <= outcome["train_seconds"] < 3
    assert time.perf_counter() - started < 4
    rates = [record["learning_rate"] for record in read_metrics(tmp_path / METRICS)]
    assert outcome["steps"] > 20
    assert max(rates) > 0.3 * 2e-3  # how far it rises depends on how evenly the clock runs
    assert rates[-1] < 0.3 * max(rates)


@pytest.mark.parametrize(
    "bounds", [{"steps": 5, "seconds": 100.0}, {"steps": 10**9, "seconds": 0.3}]
)
def test_the_first_bound_to_be_reached_ends_the_run(task, tmp_path, bounds):
    outcome = trainer_of(task, tmp_path, **bounds).run()
    if bounds["steps"] == 5:
        assert outcome["steps"] == 5
    else:
        assert 0.3 <= outcome["train_seconds"] < 2


def test_the_schedule_under_a_time_limit_follows_the_clock(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=None, seconds=100.0, warmup=10)
    assert 0 < trainer.learning_rate() < 2e-3
    rates = []
    for step, elapsed in ((10, 1.0), (500, 50.0), (900, 90.0), (999, 99.9)):
        trainer.step, trainer.elapsed = step, elapsed
        rates.append(trainer.learning_rate() / 2e-3)
    assert rates == pytest.approx([1.0, 0.51, 0.045, 0.02], abs=0.01)
    trainer.step, trainer.elapsed = 10, 99.9  # slower than it looked at first
    assert trainer.learning_rate() < 2e-3


def test_a_second_ctrl_c_interrupts_at_once(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    at_step(trainer, 10, twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert not any(thread.name.startswith("clip-") for thread in threading.enumerate())


def test_training_outside_the_main_thread(task, tmp_path):
    results = []
    trainer = trainer_of(task, tmp_path, steps=3)
    thread = threading.Thread(target=lambda: results.append(trainer.run()))
    thread.start()
    thread.join(timeout=60)
    assert results[0]["steps"] == 3


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(task, tmp_path):
    trainer_of(task, tmp_path, steps=5).run()
    before = (tmp_path / CHECKPOINT).read_bytes()
    trainer = trainer_of(task, tmp_path)

    def spoil() -> None:
        trainer.model.vision.proj.data[0, 0] = np.nan

    at_step(trainer, 10, spoil)
    with pytest.raises(TrainingError, match="the loss is nan at step 20; the last checkpoint is"):
        trainer.run()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [record["step"] for record in read_metrics(tmp_path / METRICS)] == [10]
    assert not any(thread.name.startswith("clip-") for thread in threading.enumerate())


def test_weights_that_are_no_numbers_are_not_saved_on_ctrl_c(task, tmp_path):
    trainer = trainer_of(task, tmp_path)
    trainer.save()
    before = (tmp_path / CHECKPOINT).read_bytes()

    def spoil() -> None:
        trainer.model.vision.proj.data[0, 0] = np.nan
        press_ctrl_c()

    at_step(trainer, 10, spoil)
    with pytest.raises(ValueError, match=r"vision\.proj holds a NaN or an infinity: not saved"):
        trainer.run()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


PROGRAM = """
import sys
from clip_np import cli, shapes, tasks
tasks.TRAINING_IMAGES, tasks.VALIDATION_IMAGES, shapes.RETRIEVAL_IMAGES = 256, 64, 100
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be sent Ctrl-C there")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    root = ROOT
    directory = tmp_path / "a run"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    program = [sys.executable, "-c", PROGRAM, "train"]
    options = ["--batch-size", "8", "--steps", "100000", "--out", str(directory)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    metrics = directory / METRICS
    with subprocess.Popen(program + options, env=environment, cwd=tmp_path, **pipes) as process:
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    step = read_checkpoint(directory).training["step"]
    assert f"stopped at step {step}, all is saved; go on with:" in output
    assert f"clip-np train --resume '{directory}'" in output
    more = ["--resume", str(directory), "--steps", str(step + 3), "--json"]
    run = subprocess.run(program + more, env=environment, cwd=tmp_path, timeout=100, **pipes)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1])["steps"] == step + 3


# --- the best and the last ---------------------------------------------------------------------


def test_the_best_model_and_the_last_are_kept(task, tmp_path, monkeypatch):
    trainer = trainer_of(task, tmp_path, steps=40, validate_every=10)
    losses = iter([3.0, 2.0, 2.5, 4.0])
    monkeypatch.setattr(trainer, "_validate", lambda *_: {"validation_loss": next(losses)})
    trainer.run()
    best, last = (read_checkpoint(tmp_path / name) for name in (train.BEST, CHECKPOINT))
    assert (best.training["step"], last.training["step"]) == (20, 40)
    assert best.optimizer_state == {}
    assert clip_np.load(tmp_path)[0].logit_scale.item() == last.model.logit_scale.item()
    opened, _, _ = clip_np.load(tmp_path / "best.npz")
    assert (
        opened.logit_scale.item() == best.model.logit_scale.item() != last.model.logit_scale.item()
    )


def test_a_resumed_run_remembers_the_best(task, tmp_path, monkeypatch):
    seen = []
    for steps, losses in ((20, [3.0, 2.0]), (40, [2.5, 1.5])):
        trainer = trainer_of(task, tmp_path, resume=steps > 20, steps=steps, validate_every=10)
        found = iter(losses)
        monkeypatch.setattr(
            trainer, "_validate", lambda *_, found=found: {"validation_loss": next(found)}
        )
        before = (tmp_path / train.BEST).read_bytes() if steps > 20 else b""
        at_step(trainer, 30, lambda: seen.append((tmp_path / train.BEST).read_bytes()))
        trainer.run()
    assert seen == [before]
    assert read_checkpoint(tmp_path / train.BEST).training["step"] == 40


def test_what_goes_wrong_is_said(task, tmp_path, monkeypatch):
    result = {"loss": math.log(16), "logit_scale": math.log(100), "grad_norm": 1.0}
    result = {name: np.asarray(value, np.float32) for name, value in result.items()}
    monkeypatch.setattr(train, "training_step", lambda *_, **__: result)
    monkeypatch.setattr(watch, "PATIENCE", 30)
    stuck = trainer_of(task, tmp_path, steps=40, log_every=1)
    with pytest.warns(TrainingWarning) as caught:
        stuck.run()
    found = sorted(str(each.message).split(" Usual")[0] for each in caught)
    assert found == [
        "the loss stays at ln N = 2.77, that of guessing.",
        "the temperature is at its bound.",
    ]


def test_captions_are_cut_at_the_context_of_the_preset(tmp_path, monkeypatch):
    text = dataclasses.replace(MICRO.text, context_length=6)
    monkeypatch.setitem(PRESETS, "micro", dataclasses.replace(MICRO, text=text))
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] * 20))
    with pytest.warns(TrainingWarning, match="100% of the captions are longer than 6 tokens"):
        trainer = trainer_of(task, tmp_path, vocab_size=514)
    assert trainer.tokenizer.context_length == trainer.model.config.text.context_length == 6


# --- what it is trained on ---------------------------------------------------------------------


class Untouchable(dict):
    """Stands for the test split: whoever looks at it during training is caught."""

    def __getitem__(self, kind):
        raise AssertionError("the test split was used")


def test_shapes_are_trained_on_without_validation_and_test(tmp_path, monkeypatch):
    task = ShapesTask(0)
    trained = {task.train.open_image(row).tobytes() for row in range(len(task.train))}
    held = {task.validation.open_image(row).tobytes() for row in range(len(task.validation))}
    assert len(trained) == 256
    assert len(held) == 64
    assert not trained & held
    assert not any(
        f"{colour} {shape}" in caption
        for caption in task.train.captions + task.validation.captions
        for colour, shape in shapes.HELD_OUT
    )
    task.splits = Untouchable()
    trainer = trainer_of(task, tmp_path, validate_every=10)
    seen = set()
    square = trainer.loader._square
    monkeypatch.setattr(
        trainer.loader,
        "_square",
        lambda *given: (seen.add(given[0].names[given[1]]), square(*given))[1],
    )
    trainer.run()
    assert trainer.loader.pairs is task.train
    assert seen <= set(task.train.names)
    assert len(seen) > 200
    with pytest.raises(AssertionError, match="the test split was used"):
        task.report(trainer.model, trainer.tokenizer)


def test_another_seed_draws_other_shapes_but_the_same_test():
    one, two = ShapesTask(0), ShapesTask(1)
    assert one.train.captions != two.train.captions
    assert (one.splits["all"].images == two.splits["all"].images).all()
    only_test = ShapesTask(0, training=False)
    assert only_test.train is only_test.validation is None
    assert (only_test.splits["all"].images == one.splits["all"].images).all()


def test_files_are_trained_on_without_validation_and_test(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 24 + ["validation"] * 6 + ["test"] * 7)
    task = FilesTask(folder)
    for row in range(30, 37):
        (folder / f"{row}.png").unlink()  # reading a test image would be an error now
    trainer = trainer_of(task, tmp_path / "run", batch_size=8, validate_every=10)
    trainer.run()
    assert [len(pairs) for pairs in (task.train, task.validation, task.test)] == [24, 6, 7]
    assert task.measured_on == "the test split, 7 pairs"
    with pytest.raises(DataError, match=r"3\d\.png"):
        task.report(trainer.model, trainer.tokenizer)


def test_some_pairs_are_held_out_where_none_are_marked(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 40)
    task = FilesTask(folder, seed=3)
    assert (len(task.train), len(task.validation)) == (38, 2)
    assert not set(task.train.names) & set(task.validation.names)
    assert task.test is task.validation
    assert task.measured_on == "the validation split, 2 pairs"
    again = open_task(task.source)
    assert again.validation.names == task.validation.names
    assert again.train.captions == task.train.captions


def test_too_few_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="too few pairs to hold any out"):
        FilesTask(write_pairs(tmp_path / "data", ["train"]))


def test_training_without_validation_pairs(tmp_path):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] + ["test"] * 3))
    assert task.validation is None
    trainer_of(task, tmp_path / "run", steps=10, validate_every=5).run()
    (record,) = read_metrics(tmp_path / "run" / METRICS)
    assert "validation_loss" not in record


def test_unreadable_images_are_counted_when_they_may_be_skipped(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 20 + ["validation"] * 5, bad=(3, 11))
    trainer = trainer_of(FilesTask(folder), tmp_path / "run", steps=10)
    with pytest.raises(DataError, match=r"(3|11)\.png"):
        trainer.run()
    trainer = trainer_of(FilesTask(folder, skip_bad=True), tmp_path / "run", steps=10)
    assert trainer.run()["steps"] == 10
    assert sorted(pathlib.Path(name).name for name in trainer.loader.skipped) == ["11.png", "3.png"]
    resumed = read_checkpoint(tmp_path / "run").training["source"]
    assert resumed["skip_bad"] is True


def test_tags_leave_room_for_themselves(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 20)
    plain = train.train_tokenizer(FilesTask(folder), 600, 77)
    table = (folder / "captions.csv").read_text(encoding="utf-8").splitlines()
    tagged = [table[0] + ",tags", *(line + ',"zebra, quagga"' for line in table[1:])]
    (folder / "captions.csv").write_text("\n".join(tagged), encoding="utf-8")
    task = FilesTask(folder)
    tokenizer = train.train_tokenizer(task, 600, 77)
    assert tokenizer.context_length == plain.context_length + 8
    assert len(tokenizer.encode("zebra")) == 1
    assert task.settings["tag_probability"] > 0
    plain = FilesTask(write_pairs(tmp_path / "plain", ["train"] * 9))
    assert "tag_probability" not in plain.settings


def test_settings_of_task_preset_and_user(monkeypatch):
    settings = {"preset": "small", "steps": None, "seconds": 240.0, "shift": 3, "batch_size": 64}
    assert TrainingOptions.of(settings) == TrainingOptions(**settings)
    found = TrainingOptions.of(settings, preset="tutorial", learning_rate=0.5)
    assert (found.steps, found.seconds, found.batch_size) == (5000, None, 32)
    assert (found.warmup, found.weight_decay, found.learning_rate, found.shift) == (
        0.1,
        0.1,
        0.5,
        3,
    )
    found = TrainingOptions.of(settings, steps=7)
    assert (found.steps, found.seconds, found.preset) == (7, None, "small")


def test_warmup_may_be_a_share(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=1000, warmup=0.05, learning_rate=1.0)
    rates = []
    for trainer.step in range(60):
        rates.append(trainer.learning_rate())
    assert rates[:2] == pytest.approx([1 / 50, 2 / 50])
    assert max(rates) == pytest.approx(1.0, abs=1e-3) and np.argmax(rates) in (49, 50)


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"preset": "giant"}, "preset 'giant' is none of tiny, small"),
        ({"steps": None}, "training needs an end: steps, seconds or both"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"seconds": -1.0}, r"seconds must be positive, got -1\.0"),
        ({"seconds": math.nan}, "seconds must be positive, got nan"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        ({"workers": 0}, "workers must be positive, got 0"),
        ({"shards": -2}, "shards must be positive, got -2"),
        ({"warmup": -1}, "warmup must not be negative, got -1"),
        ({"weight_decay": math.nan}, "weight_decay must not be negative, got nan"),
        ({"shift": -3}, "shift must not be negative, got -3"),
        ({"zoom": math.nan}, "zoom must not be negative, got nan"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"log_every": 0}, "log_every must be positive, got 0"),
        ({"validate_every": 0}, "validate_every must be positive, got 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


def test_more_shards_than_samples_are_refused(task, tmp_path):
    with pytest.raises(ValueError, match=r"shards must lie in 1\.\.16"):
        trainer_of(task, tmp_path, shards=17).run()


def test_a_checkpoint_of_another_model_is_refused(task, tmp_path):
    trainer_of(task, tmp_path, steps=1).run()
    found = read_checkpoint(tmp_path)
    other = clip_np.CLIP(PRESETS["tiny"].for_tokenizer(found.tokenizer), np.random.default_rng(0))
    found.model = other
    with pytest.raises(ValueError, match="the saved state belongs to another model"):
        Trainer(task, TrainingOptions(**SHORT), tmp_path, found)


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

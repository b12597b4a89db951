"""Training: it learns, it repeats itself to the last bit, and it ends as it should."""

import math
import signal
import threading

import numpy as np
import pytest
from small_runs import SHORT, at_step, numbers_of, press_ctrl_c, texts_of, trainer_of

import clip_np
from clip_np.encoders import PRESETS
from clip_np.training import (
    METRICS,
    ShapesTask,
    Trainer,
    TrainingError,
    TrainingOptions,
    TrainingWarning,
    log,
    read_metrics,
    saving,
    watch,
)
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint

pytestmark = pytest.mark.usefixtures("small")


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
    assert outcome["train_seconds"] > 0
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


def test_steps_have_label_smoothing_and_the_validation_has_none(task, tmp_path):
    trainer = trainer_of(task, tmp_path, label_smoothing=0.1)
    steps = trainer.take_step.loss
    assert (steps.label_smoothing, trainer.loss.label_smoothing) == (0.1, 0.0)
    assert steps.logit_scale is trainer.loss.logit_scale is trainer.model.logit_scale


def test_options_reach_the_training(task, tmp_path):
    seen = []
    changes = {"shards": 3, "workers": 1, "max_norm": 0.5, "learning_rate": 0.25, "warmup": 2}
    trainer = trainer_of(task, tmp_path, steps=20, batch_size=9, weight_decay=0.3, **changes)
    assert trainer.optimizer.groups[0]["weight_decay"] == 0.3
    step = trainer.take_step
    assert (step.shards, step.workers, step.max_norm) == (3, 1, 0.5)

    def spy(images, tokens, positives):
        seen.append((images.shape, tokens.shape, trainer.optimizer.lr))
        return step(images, tokens, positives)

    trainer.take_step = spy
    trainer.run()
    context = trainer.tokenizer.context_length
    for images, tokens, _ in seen:
        assert (images, tokens) == ((9, 3, 32, 32), (9, context))
    rates = [rate for _, _, rate in seen]
    assert rates[:3] == pytest.approx([0.125, 0.25, 0.25])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0.02 * 0.25 <= rates[-1] < 0.05 * 0.25


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
    augmented = {"augment": "strong", "shift": 2, "steps": 34}
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
    monkeypatch.setattr(saving, "SAVE_SECONDS", 0.0)  # a checkpoint after every step
    crashed = trainer_of(task, tmp_path / "crashed")

    def crash() -> None:
        raise OSError("No space left on device")

    at_step(crashed, 20, crash)
    with pytest.raises(OSError, match="No space left"):
        crashed.run()
    with open(tmp_path / "crashed" / METRICS, "a", encoding="utf-8") as file:
        file.write('{"step": 21, "lo')  # cut short when the power went
    resumed = trainer_of(task, tmp_path / "crashed", resume=True)
    assert resumed.step == 20  # an error saves what it can
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
    monkeypatch.setattr("minigrad.threads.available_cores", lambda: 3)
    trainer_of(task, tmp_path, steps=1, workers=None).run()
    found = read_checkpoint(tmp_path).training
    assert found["options"]["workers"] == 3
    assert found["options"]["steps"] == 1
    assert found["step"] == 1
    assert found["source"] == {"task": "shapes", "seed": 0, "test": None}


def test_a_time_limit_ends_the_run(task, tmp_path):
    trainer = trainer_of(task, tmp_path, steps=None, seconds=1.5, batch_size=8)
    outcome = trainer.run()
    assert 1.5 <= outcome["train_seconds"] < 30  # without the limit it would never end
    rates = [record["learning_rate"] for record in read_metrics(tmp_path / METRICS)]
    assert outcome["steps"] > 5
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
        assert 0.3 <= outcome["train_seconds"] < 30


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
    with pytest.raises(TrainingError, match=r"the loss is nan at step (11|20); the last"):
        trainer.run()
    assert (tmp_path / "earlier.1" / CHECKPOINT).read_bytes() == before
    assert read_checkpoint(tmp_path).training["step"] == 1
    assert [record["step"] for record in read_metrics(tmp_path / METRICS)] == [10]
    assert not any(thread.name.startswith("clip-") for thread in threading.enumerate())


def test_what_goes_wrong_is_said(task, tmp_path, monkeypatch):
    result = {"loss": math.log(16), "logit_scale": math.log(100), "grad_norm": 1.0}
    result = {name: np.asarray(value, np.float32) for name, value in result.items()}
    monkeypatch.setattr(watch, "PATIENCE", 30)
    stuck = trainer_of(task, tmp_path, steps=40, log_every=1)
    stuck.take_step = lambda images, tokens, positives: result
    with pytest.warns(TrainingWarning) as caught:
        stuck.run()
    found = sorted(text.split(" Usual")[0] for text in texts_of(caught))
    assert found == [
        "the loss stays at ln N = 2.77, the loss of guessing.",
        "the temperature is at its bound.",
    ]


def test_more_shards_than_samples_are_refused(task, tmp_path):
    with pytest.raises(ValueError, match=r"`shards` must lie in 1\.\.16"):
        trainer_of(task, tmp_path, shards=17).run()


def test_a_checkpoint_of_another_model_is_refused(task, tmp_path):
    trainer_of(task, tmp_path, steps=1).run()
    found = read_checkpoint(tmp_path)
    other = clip_np.CLIP(PRESETS["tiny"].for_tokenizer(found.tokenizer), np.random.default_rng(0))
    found.model = other
    with pytest.raises(ValueError, match="the saved state belongs to another model"):
        Trainer(task, TrainingOptions(**SHORT), tmp_path, checkpoint=found)


def test_a_time_limit_makes_the_learning_rate_follow_the_clock(task, tmp_path, monkeypatch):
    """Why such a run is never the same twice: the clock decides how far it has come."""
    rates = {}
    for pace in (1.0, 2.0):
        clock = iter(np.arange(1000) * pace)
        monkeypatch.setattr(log.Stopwatch, "seconds", lambda self, clock=clock: next(clock))
        trainer = trainer_of(task, tmp_path / str(pace), steps=None, seconds=60.0)
        step, rates[pace] = trainer.take_step, []

        def spy(images, tokens, positives, trainer=trainer, step=step, pace=pace):
            rates[pace].append(trainer.optimizer.lr)
            return step(images, tokens, positives)

        trainer.take_step = spy
        trainer.run()
    assert rates[1.0][5] != rates[2.0][5]


def test_a_run_needs_pairs_to_train_on_and_a_training_to_go_on_with(small, tmp_path):
    with pytest.raises(ValueError, match="nothing to train on"):
        Trainer(ShapesTask(0, training=False), TrainingOptions(**SHORT), tmp_path)


def test_a_checkpoint_for_use_only_is_not_resumed(task, tmp_path):
    trainer_of(task, tmp_path, steps=1).save(BEST)
    checkpoint = read_checkpoint(tmp_path / BEST)
    checkpoint.training = None
    with pytest.raises(ValueError, match="holds no training to go on with"):
        Trainer(task, TrainingOptions(**SHORT), tmp_path, checkpoint=checkpoint)

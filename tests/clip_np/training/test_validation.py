"""Held-out pairs: their loss is measured, and the best model is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import at_step, press_ctrl_c, trainer_of, write_pairs

import clip_np
from clip_np.data import Pairs
from clip_np.encoders import PRESETS
from clip_np.losses import loss_for
from clip_np.training import METRICS, FilesTask, Validation, read_metrics, validation
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint


def figures(recall_and_loss):
    recall, loss = recall_and_loss
    return {"validation_recall_at_1": recall, "validation_loss": loss}


pytestmark = pytest.mark.usefixtures("small")


def test_the_best_model_and_the_last_are_kept(task, tmp_path, monkeypatch):
    trainer = trainer_of(task, tmp_path, steps=40, validate_every=10)
    losses = iter([3.0, 2.0, 2.5, 4.0])
    monkeypatch.setattr(Validation, "measure", lambda *_: {"validation_loss": next(losses)})
    trainer.run()
    best, last = (read_checkpoint(tmp_path / name) for name in (BEST, CHECKPOINT))
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
            Validation, "measure", lambda *_, found=found: {"validation_loss": next(found)}
        )
        before = (tmp_path / BEST).read_bytes() if steps > 20 else b""
        at_step(trainer, 30, lambda: seen.append((tmp_path / BEST).read_bytes()))
        trainer.run()
    assert seen == [before]
    assert read_checkpoint(tmp_path / BEST).training["step"] == 40


def test_recall_decides_and_then_the_loss(task, tmp_path, monkeypatch):
    trainer = trainer_of(task, tmp_path, steps=50, validate_every=10)
    measured = iter([(0.2, 2.0), (0.4, 9.0), (0.3, 1.0), (0.4, 8.0), (0.4, 8.5)])
    monkeypatch.setattr(Validation, "measure", lambda *_: figures(next(measured)))
    trainer.run()
    assert read_checkpoint(tmp_path / BEST).training["step"] == 40


def test_the_best_state_of_an_early_run_was_chosen_by_its_loss(task, tmp_path, monkeypatch):
    """Its metrics know a higher recall than that of the file, which is what counts."""
    trainer = trainer_of(task, tmp_path, steps=20, validate_every=10)
    monkeypatch.setattr(Validation, "measure", lambda *_: figures((0.1, 2.0)))
    trainer.run()
    assert read_checkpoint(tmp_path / BEST).training["step"] == 10
    entries = read_metrics(tmp_path / METRICS)
    entries[1] |= figures((0.9, 5.0))
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / METRICS).write_text(lines, encoding="utf-8")
    trainer = trainer_of(task, tmp_path, resume=True, steps=40, validate_every=10)
    measured = iter([(0.3, 3.0), (0.2, 1.0)])
    monkeypatch.setattr(Validation, "measure", lambda *_: figures(next(measured)))
    trainer.run()
    assert read_checkpoint(tmp_path / BEST).training["step"] == 30


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no file")])
def test_a_best_state_that_is_lost_is_replaced(task, tmp_path, monkeypatch, spoil):
    monkeypatch.setattr(Validation, "measure", lambda *_: figures((0.5, 2.0)))
    trainer_of(task, tmp_path, steps=10, validate_every=10).run()
    spoil(tmp_path / BEST)
    trainer = trainer_of(task, tmp_path, resume=True, steps=20, validate_every=10)
    monkeypatch.setattr(Validation, "measure", lambda *_: figures((0.1, 3.0)))
    trainer.run()
    assert read_checkpoint(tmp_path / BEST).training["step"] == 20


def test_captions_of_one_image_are_all_right_and_not_each_others_wrong_answers(monkeypatch):
    """A model that knows all about 4 images with 3 captions each is a perfect one."""
    captions = [f"caption {row}" for row in range(12)]
    names = [f"{row // 3}.png" for row in range(12)]
    drawn = Pairs.from_arrays(np.zeros((12, 8, 8, 3), np.uint8), captions)
    pairs = Pairs(captions, names, None, drawn.sources)
    held_out = Validation(pairs, image_size=8, batch_size=8, skip_bad=False)
    known = np.repeat(np.eye(4, 16, dtype=np.float32), 3, axis=0)
    monkeypatch.setattr(validation, "embed_images", lambda *_: known)
    monkeypatch.setattr(validation, "embed_texts", lambda *_: known)
    tokenizer = clip_np.Tokenizer.train(captions, 530)
    config = PRESETS["tiny"].for_tokenizer(tokenizer)
    model = clip_np.CLIP(config, np.random.default_rng(0))
    measured = held_out.measure(model, tokenizer, loss_for(model, "clip"))
    assert measured["validation_recall_at_1"] == 1.0
    assert measured["validation_chance"] == pytest.approx(1 / 4)
    assert measured["validation_pairs"] == 12
    assert measured["validation_guessing"] == pytest.approx(np.log(4))
    assert measured["validation_loss"] < 0.1


# --- patience -------------------------------------------------------------------------


@pytest.fixture
def recalls(monkeypatch):
    """A recall for each step: it rises, and falls after step 30."""

    def measure(validation, model, tokenizer, loss):
        return figures((next(steps), 2.0))

    steps = iter([])

    def start_after(step: int) -> None:
        nonlocal steps
        steps = iter([0.1 * min(n, 6 - n) for n in range(step // 10 + 1, 20)])

    monkeypatch.setattr(Validation, "measure", measure)
    return start_after


def test_a_run_ends_when_its_patience_is_over(task, tmp_path, recalls, capsys):
    recalls(0)
    trainer = trainer_of(task, tmp_path, steps=90, validate_every=10, patience=3)
    assert trainer.run()["steps"] == 60
    assert trainer.finished()
    assert read_checkpoint(tmp_path / BEST).training["step"] == 30
    assert read_checkpoint(tmp_path).training["step"] == 60
    assert read_checkpoint(tmp_path).training["options"]["patience"] == 3
    assert "ended early: no better recall in 3 validations" in capsys.readouterr().err
    # It stays ended, until it may wait longer.
    recalls(60)
    again = trainer_of(task, tmp_path, resume=True, steps=90, validate_every=10, patience=3)
    assert again.run()["steps"] == 60
    longer = trainer_of(task, tmp_path, resume=True, steps=90, validate_every=10, patience=5)
    assert longer.run()["steps"] == 80


def test_a_resumed_run_has_the_patience_that_is_left(task, tmp_path, recalls):
    recalls(0)
    options = {"steps": 90, "validate_every": 10, "patience": 3}
    first = trainer_of(task, tmp_path, **options)
    at_step(first, 50, press_ctrl_c)
    assert first.run()["steps"] == 50
    recalls(50)
    assert trainer_of(task, tmp_path, resume=True, **options).run()["steps"] == 60


def test_patience_needs_pairs_that_are_held_out(tmp_path):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] + ["test"] * 3))
    with pytest.raises(ValueError, match="`patience` counts validations, and no pairs"):
        trainer_of(task, tmp_path / "run", patience=3)


def test_training_without_validation_pairs(tmp_path):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] + ["test"] * 3))
    assert task.validation is None
    trainer_of(task, tmp_path / "run", steps=10, validate_every=5).run()
    (record,) = read_metrics(tmp_path / "run" / METRICS)
    assert "validation_loss" not in record

"""Held-out pairs: their loss is measured, and the best model is kept."""

import pytest
from small_runs import at_step, trainer_of, write_pairs

import clip_np
from clip_np.training import METRICS, FilesTask, Validation, read_metrics
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint

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


def test_training_without_validation_pairs(tmp_path):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] + ["test"] * 3))
    assert task.validation is None
    trainer_of(task, tmp_path / "run", steps=10, validate_every=5).run()
    (record,) = read_metrics(tmp_path / "run" / METRICS)
    assert "validation_loss" not in record

"""Weights and moments that are NaN, infinite or huge end a run, and are not saved."""

import numpy as np
import pytest
from small_runs import at_step, trainer_of

from clip_np.training import TrainingError, saving
from clip_np.weights import CHECKPOINT, read_checkpoint

pytestmark = pytest.mark.usefixtures("small_runs")


SPOILED = {"nan": np.nan, "inf": np.inf, "huge": 1e30, "very large": 2e6}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning")
@pytest.mark.parametrize("value", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("seen", ["at a report", "by the clock"])
def test_spoiled_weights_end_the_run_with_their_names(task, tmp_path, monkeypatch, value, seen):
    trainer = trainer_of(task, tmp_path, steps=60)
    if seen == "by the clock":
        monkeypatch.setattr(saving, "SAVE_SECONDS", 0.0)

    def spoil() -> None:
        trainer.model.vision.proj.data[0, 0] = value

    at_step(trainer, 10, spoil)
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    message = str(caught.value)
    # A NaN shows in the next loss; a number that is only large, in the next report.
    step = 10 if seen == "by the clock" else 20 if np.isfinite(value) else 11
    # On a GPU, a NaN too is seen in the next report, when all weights are NaN.
    assert f"at step {step};" in message or (step == 11 and "at step 20;" in message)
    assert "vision.proj holds " in message or "at step 20;" in message
    assert "The steps since the last checkpoint, taken again, do not give it" in message
    assert "The learning rate was 0.00" in message
    kept = read_checkpoint(tmp_path)
    assert f"{tmp_path / CHECKPOINT}, of step {kept.training['step']}." in message
    assert kept.training["step"] < step


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_spoiled_moments_are_never_saved(task, tmp_path, value):
    trainer = trainer_of(task, tmp_path)
    trainer.run()
    trainer.optimizer.moments[0][1][-1] = value
    with pytest.raises(TrainingError, match=r"moment of [a-z.0-9_]+ holds .* at step 24; the last"):
        trainer.save()
    assert np.isfinite(read_checkpoint(tmp_path).optimizer_state["group0.moment1"]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_a_checkpoint_none_is_promised(task, tmp_path):
    trainer = trainer_of(task, tmp_path / "run")
    trainer.model.vision.proj.data[0, 0] = np.nan
    with pytest.raises(TrainingError, match="at step 1; no checkpoint of this run was written"):
        trainer.run()
    assert not (tmp_path / "run").exists()
    trainer = trainer_of(task, tmp_path / "run", learning_rate=1e18)
    with pytest.raises(TrainingError, match="at step 1; no checkpoint of this run was written"):
        trainer.run()
    assert not (tmp_path / "run").exists()

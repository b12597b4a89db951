"""Runs with the sigmoid loss: saved, resumed, validated and drawn with it."""

import pytest
from small_runs import trainer_of

from clip_np.losses import SigmoidLoss
from clip_np.weights import read_checkpoint


@pytest.mark.usefixtures("small")
def test_a_run_with_the_sigmoid_loss_is_saved_and_resumed(task, tmp_path):
    options = {"loss": "sigmoid", "validate_every": 10}
    trainer = trainer_of(task, tmp_path, steps=10, **options)
    trainer.run()
    assert read_checkpoint(tmp_path).model.config.logit_bias == -10.0
    trainer = trainer_of(task, tmp_path, resume=True, steps=20, **options)
    trainer.run()
    whole = trainer_of(task, tmp_path / "whole", steps=20, **options)
    whole.run()
    assert whole.model.logit_bias.item() != -10.0
    assert isinstance(whole.loss, SigmoidLoss)
    best = read_checkpoint(tmp_path / "whole" / "best.npz").model
    assert best.logit_bias.item() != -10.0

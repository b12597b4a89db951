"""Steps that processes take together are those of one process."""

import numpy as np
import pytest
from gradient_recorder import GradientRecorder
from rank_checks import assert_equal_gradients, expected_gradients, model_for, some_positives
from small_models import batch, small_model
from small_runs import numbers_of, trainer_of

from clip_np.losses import ContrastiveLoss
from clip_np.training import TrainingStep
from clip_np.training.process_team import ProcessTeam
from minigrad.optim import AdamW


@pytest.fixture(autouse=True)
def on_the_host(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("processes share the memory of the host")


@pytest.mark.parametrize("loss, ranks, shards", [("clip", 2, 1), ("sigmoid", 2, 1), ("clip", 4, 6)])
def test_processes_have_the_gradient_of_one(loss, ranks, shards):
    positives = some_positives(11)
    expected = expected_gradients(loss, 11, positives)
    model, (images, tokens) = model_for(loss), batch(11)
    recorder = GradientRecorder(model.parameters())
    step = TrainingStep(model, recorder, loss=loss, shards=shards, workers=1, max_norm=None)
    with ProcessTeam(step, ranks) as team:
        value = team(images, tokens, positives)["loss"].item()
        again = team(images, tokens, positives)["loss"].item()  # no parameter was moved
    assert value == again
    assert_equal_gradients((value, recorder.gradients(model.parameters())), expected)


@pytest.mark.parametrize("max_norm, label_smoothing", [(None, 0.0), (1e-2, 0.1)])
def test_steps_of_two_processes_are_those_of_one(max_norm, label_smoothing):
    def run(processes):
        model, (images, tokens) = small_model(), batch(11)
        optimizer = AdamW(model.parameters(), lr=1e-3)
        loss = ContrastiveLoss(model.logit_scale, label_smoothing)
        step = TrainingStep(model, optimizer, loss, workers=1, max_norm=max_norm)
        results = []
        with ProcessTeam(step, processes) as team:
            for number in range(3):
                optimizer.lr = 1e-3 / (1 + number)  # as a schedule does
                results.append(team(images, tokens))
        norms = [result["grad_norm"].item() for result in results]
        return norms, [p.data.copy() for p in model.parameters()], optimizer.state_dict()

    norms, weights, state = run(1)
    found_norms, found, found_state = run(2)
    np.testing.assert_allclose(found_norms, norms, rtol=1e-12)
    for got, want in zip(found, weights):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    assert found_state["step_count"] == state["step_count"] == 3
    again = run(2)
    assert all((got == want).all() for got, want in zip(again[1], found))  # the same bits


@pytest.mark.usefixtures("small")
def test_a_run_over_processes_stops_and_goes_on_bit_by_bit(task, tmp_path):
    trainer_of(task, tmp_path / "whole", processes=2, workers=1).run()
    trainer_of(task, tmp_path / "parts", processes=2, workers=1, steps=24).run()
    assert numbers_of(tmp_path / "whole") == numbers_of(tmp_path / "parts")


@pytest.mark.usefixtures("small")
def test_more_processes_than_pairs_in_a_batch_are_refused_before_they_start(task, tmp_path):
    trainer = trainer_of(task, tmp_path / "run", processes=17, workers=1)
    with pytest.raises(ValueError, match=r"17 `processes` are too many for batches of 16 pairs"):
        trainer.run()


def test_a_model_that_was_converted_after_its_optimizer_was_made_stays_so():
    model = small_model(np.float32)
    optimizer = AdamW(model.parameters())
    model.astype(np.float64)
    with ProcessTeam(TrainingStep(model, optimizer, workers=1), 2) as team:
        team(*batch(4, np.float64))
    assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(np.float64)}


def test_an_encoder_that_mixes_samples_sees_those_of_all_processes():
    arrays = batch(6, np.float64)
    alone, together = model_for("resnet"), model_for("resnet")
    step = TrainingStep(alone, AdamW(alone.parameters(), lr=1e-2), workers=1)
    with ProcessTeam(TrainingStep(together, AdamW(together.parameters(), lr=1e-2)), 2) as team:
        for _ in range(2):
            np.testing.assert_allclose(team(*arrays)["loss"], step(*arrays)["loss"], rtol=1e-11)
    for name, array in alone.state_dict().items():
        np.testing.assert_allclose(together.state_dict()[name], array, rtol=1e-6, atol=1e-9)

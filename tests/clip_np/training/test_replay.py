"""Spoiled numbers end a run with the samples, the step and the operation."""

import re
from contextlib import closing

import numpy as np
import pytest
from small_runs import at_step, press_ctrl_c, trainer_of

from clip_np.data import to_model_input
from clip_np.evaluation import features
from clip_np.training import TrainingError, replay
from clip_np.weights import CHECKPOINT, read_checkpoint

pytestmark = [
    pytest.mark.usefixtures("small"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::clip_np.training.TrainingWarning"),
]


@pytest.fixture(autouse=True)
def on_the_cpu(request):
    """On a GPU a step is looked at in the reports only: see AT_THE_REPORT."""
    if request.config.getoption("--stand-in"):
        pytest.skip("these are the steps at which a fault is seen on the CPU")


STEP = 7
AT_ONCE, AT_THE_REPORT = True, False
OUTSIDE = "do not give it: the numbers were changed outside of them"


def message_of(trainer) -> str:
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    return str(caught.value)


def spoil_image(trainer, row: int = 3) -> list[str]:
    """Let an image of step STEP be infinite. The list receives its name."""
    whole_batches, names = trainer.loader.batches, []

    def batches(start_step, stop_step):
        with closing(whole_batches(start_step, stop_step)) as whole:
            for step, batch in enumerate(whole, start_step):
                if step == STEP - 1:
                    batch.images[row, 0, 0, 0] = np.inf
                    names[:] = [batch.names[row]]
                yield batch

    trainer.loader.batches = batches
    return names


def spoil_moment(trainer) -> None:
    trainer.optimizer.moments[0][1][-1] = np.nan


@pytest.mark.parametrize("is_seen", [AT_ONCE, AT_THE_REPORT])
def test_an_image_that_is_infinite_is_named_with_its_step_and_operation(task, tmp_path, is_seen):
    trainer = trainer_of(task, tmp_path)
    if is_seen is AT_THE_REPORT:  # as on a GPU, where looking at each step would cost time
        trainer.take_step.check = None
    names = spoil_image(trainer)
    message = message_of(trainer)
    assert f"the loss is nan at step {STEP if is_seen else 10}; the last checkpoint is" in message
    assert ("It began in step 7: the loss is nan" in message) is (is_seen is AT_THE_REPORT)
    assert f"the image of {names[0]} holds a NaN or an infinity" in message
    assert "The learning rate was 0.001" in message
    assert "The first operation: reshape of shapes (16, 3, 32, 32) gave" in message
    assert "vit.py:" in message
    assert "Usual cause" not in message  # it is the image, not the learning rate
    assert read_checkpoint(tmp_path).training["step"] == 1


def test_a_step_that_would_spoil_the_weights_is_not_made(task, tmp_path):
    trainer = trainer_of(task, tmp_path)
    spoil_image(trainer)
    message_of(trainer)
    assert trainer.step == trainer.optimizer.step_count == STEP - 1
    assert all(np.isfinite(array).all() for array in trainer.model.state_dict().values())


def test_a_learning_rate_that_is_too_high_is_named_with_the_first_bad_update(task, tmp_path):
    message = message_of(trainer_of(task, tmp_path, learning_rate=1e18, warmup=1))
    assert "It began in the update of step 1, whose loss and gradients are finite" in message
    assert "at a learning rate of 1e+18: " in message
    assert "too large for a weight" in message
    assert "no checkpoint of this run was written" in message
    assert "Usual cause: a `learning_rate` that is too high" in message
    message = message_of(trainer_of(task, tmp_path, learning_rate=1e3))  # one that goes on
    assert re.search(r"It began in the update of step [2-9], whose loss and gradients", message)
    assert "the samples are image " in message


@pytest.mark.parametrize("step", [10, 24], ids=["seen in the loss", "seen at the save"])
def test_a_moment_that_something_else_wrote_is_said_to_be_so(task, tmp_path, step):
    trainer = trainer_of(task, tmp_path)
    at_step(trainer, step, lambda: spoil_moment(trainer))
    message = message_of(trainer)
    assert OUTSIDE in message
    assert "holds a NaN or an infinity" in message
    assert "Of the batch, the samples are image " in message
    if step == 24:
        assert "the optimizer's moment of " in message
        assert "no operation gives a NaN" in message


def test_a_gradient_that_is_infinite_is_named_by_its_operation(task, tmp_path, monkeypatch):
    """A logit scale that overflows: finite weights, and an operation that is not."""
    trainer = trainer_of(task, tmp_path)
    at_step(trainer, 10, lambda: trainer.model.logit_scale.data.fill(89.0))
    message = message_of(trainer)
    assert "at step 11; " in message
    assert "The first operation: exp of shapes () gave a NaN or an infinity, called at" in message


@pytest.mark.parametrize("row", [5, 63], ids=["in a batch", "after the last whole batch"])
def test_a_validation_that_is_no_number_names_its_sample_and_operation(
    task, tmp_path, monkeypatch, row
):
    trainer = trainer_of(task, tmp_path, batch_size=15)
    odd = task.validation.names[row]

    def spoiled_input(images):
        inputs = to_model_input(images)
        if len(inputs) == len(task.validation):
            inputs[row, 0, 0, 0] = np.inf
        return inputs

    monkeypatch.setattr(features, "to_model_input", spoiled_input)
    message = message_of(trainer)
    figure = "loss" if row == 5 else "recall at 1"
    assert f"the validation {figure} is nan at step 24; the last checkpoint is" in message
    assert f"Encoded one by one, the held-out samples {odd} give it. The first op" in message
    assert "gave a NaN or an infinity" in message
    assert "vit.py:" in message


def test_the_search_has_a_limit(task, tmp_path, monkeypatch):
    trainer = trainer_of(task, tmp_path)
    trainer.take_step.check = None
    spoil_image(trainer)
    monkeypatch.setattr(replay, "REPLAY_SECONDS", -1.0)
    assert "Up to step 1 all was finite; the search was ended there" in message_of(trainer)


def test_ctrl_c_ends_the_run_without_a_search(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def spoil_and_stop() -> None:
        spoil_moment(trainer)
        press_ctrl_c()

    at_step(trainer, 10, spoil_and_stop)
    message = message_of(trainer)
    assert "moment of" in message
    assert "taken again" not in message


def test_a_checkpoint_that_is_damaged_does_not_hide_what_happened(task, tmp_path):
    trainer = trainer_of(task, tmp_path)

    def spoil_all() -> None:
        spoil_moment(trainer)
        (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")

    at_step(trainer, 10, spoil_all)
    message = message_of(trainer)
    assert "the loss is nan at step 12; " in message
    assert f"The cause could not be looked for: {tmp_path / CHECKPOINT}" in message


def test_the_list_of_samples_has_a_limit(task, tmp_path):
    trainer = trainer_of(task, tmp_path, batch_size=64)
    spoil_image(trainer)
    message = message_of(trainer)
    assert " and 48 more; the image of " in message
    assert len(message) < 1500


def test_a_healthy_run_is_the_same_with_and_without_the_look(task, tmp_path):
    for name, check in (("with", True), ("without", False)):
        trainer = trainer_of(task, tmp_path / name)
        if not check:
            trainer.take_step.check = None
        trainer.run()
    states = [read_checkpoint(tmp_path / name).model.state_dict() for name in ("with", "without")]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])

"""What goes wrong without stopping a run is said once, with its usual cause."""

import math
import warnings

import numpy as np
import pytest
from small_runs import texts_of, trainer_of, write_pairs

from clip_np.training import (
    PATIENCE,
    WINDOW,
    FilesTask,
    TrainingWarning,
    Watch,
    warn_of_small_data,
    warn_of_truncation,
)
from clip_np.training.watch import RECENT

LN_32 = math.log(32)


def entries(
    loss=1.0, temperature=20.0, waiting=0.0, count=WINDOW, first_step=PATIENCE, guessing=LN_32
):
    """One a second; `waiting` is the share of time without a batch."""
    for second in range(count):
        entry = {"step": first_step + 10 * second, "seconds": float(second), "loss": loss}
        yield entry | {"temperature": temperature, "guessing": guessing}, waiting * second


def messages(*runs) -> list[str]:
    watch = Watch(formula="ln N")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for run in runs:
            for entry, waited in run:
                watch.look(entry, waited)
    texts = texts_of(caught)
    assert all("Usual cause: " in text for text in texts)
    return texts


def test_a_good_run_is_left_in_peace():
    assert messages(entries(), entries(3.3), entries(waiting=0.2)) == []


def test_a_loss_that_stays_at_that_of_guessing():
    stuck = math.log(32) + 0.03
    (message,) = messages(entries(stuck), entries(stuck))
    assert message.startswith(
        "the loss stays at ln N = 3.47, the loss of guessing. Usual cause: a `lear"
    )
    assert messages(entries(stuck, count=WINDOW - 1)) == []
    assert messages(entries(stuck, count=WINDOW - 1), entries(3.2, count=1)) == []
    assert messages(entries(stuck, first_step=0)) == []
    assert messages(entries(stuck, guessing=stuck - 0.2)) == []  # equal captions in the batch
    assert len(messages(entries(1.05, guessing=1.06))) == 1


@pytest.mark.parametrize("bound", [1.0, 100.0])
def test_a_temperature_at_its_bound(bound):
    (message,) = messages(entries(temperature=bound))
    assert message.startswith("the temperature is at its bound. Usual cause: few pairs")
    assert messages(entries(temperature=1.5), entries(temperature=99.0)) == []


def test_a_loader_that_starves():
    (message,) = messages(entries(waiting=0.6))
    assert message.startswith("the model waits for images 60% of the time. Usual cause: large")
    assert messages(entries(waiting=0.9, count=5)) == []  # a few seconds say nothing yet


def test_different_signs_are_told_each():
    assert len(messages(entries(math.log(32), 100.0, 0.5))) == 3


def test_captions_that_are_cut_off():
    lengths = np.array([9] * 19 + [17])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_truncation(lengths, 16)  # 5 % and no more
    with pytest.warns(
        TrainingWarning, match="10% of the captions are longer than 16 tokens .*Usual"
    ):
        warn_of_truncation(np.array([9] * 18 + [17] * 2), 16)


@pytest.mark.parametrize(
    "captions, batch_size, sign, cause",
    [
        (list("abcdef"), 1, "a batch of one pair has no wrong answers", "a `batch_size` of 1"),
        (["a"], 64, "a batch of one pair has no wrong answers", "a data set of one pair"),
        (["a"] * 1000, 64, "all 1,000 images have one caption", "a wrong `caption_column`"),
        (["a"] * 3, 2, "all 3 images have one caption", "a wrong `caption_column`"),
        (list("abcdefg"), 4, "7 pairs make less than two batches of 4", "a `batch_size` that"),
        (list("ab"), 64, "2 pairs make less than two batches of 64", "a `batch_size` that"),
    ],
)
def test_too_little_to_learn_from(captions, batch_size, sign, cause):
    with pytest.warns(TrainingWarning) as caught:
        warn_of_small_data(captions, batch_size)
    (message,) = texts_of(caught)
    assert message.startswith(sign)
    assert f"Usual cause: {cause}" in message


@pytest.mark.parametrize("captions, batch_size", [("abcd", 2), ("aaaaaaab", 4)])
def test_enough_to_learn_from(captions, batch_size):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_small_data(list(captions), batch_size)
    assert texts_of(caught) == []


def test_a_run_says_so_at_its_start(small, tmp_path):
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] * 6 + ["test"] * 3))
    trainer = trainer_of(task, tmp_path / "run", steps=3, batch_size=1)
    with pytest.warns(TrainingWarning, match="a batch of one pair has no wrong answers"):
        trainer.run()


# --- learning by heart ----------------------------------------------------------------


def of_validations(*measured, guessing=4.16) -> list[str]:
    """The warnings of pairs of a training and a validation loss, 100 steps apart."""
    watch = Watch(formula="ln N")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, (training, validation) in enumerate(measured):
            for entry, waited in entries(training, count=10, first_step=100 * number):
                watch.look(entry, waited)
            figures = {"validation_loss": validation, "validation_guessing": guessing}
            watch.look_at_validation(entry | figures)
    return texts_of(caught)


def test_pairs_that_are_learned_by_heart():
    (message,) = of_validations((2.0, 3.0), (0.4, 12.5), (0.1, 14.0))
    assert message.startswith(
        "the training pairs are learned by heart: the validation loss is 12.50, more than that "
        "of guessing, 4.16, and the training loss is 0.40. Usual cause: few pairs"
    )
    assert "best.npz" in message


def test_a_validation_loss_that_rises_far():
    (message,) = of_validations((2.0, 2.5), (1.0, 2.0), (0.5, 2.4), (0.2, 3.2), (0.1, 3.9))
    assert "has risen from 2.00 to 3.20, and the training loss has fallen from 1.00 to 0.20" in (
        message
    )


@pytest.mark.parametrize(
    "measured",
    [
        [(2.0, 2.5), (1.0, 2.0), (0.5, 2.4)],  # a little
        [(4.2, 4.5), (4.1, 4.6)],  # it has not begun to learn
        [(2.0, 2.0), (2.5, 3.5)],  # both rise: too large steps
        [(1.0, 1.1), (0.5, 0.6), (0.2, 0.3)],
    ],
)
def test_what_is_no_learning_by_heart(measured):
    assert of_validations(*measured) == []


def test_a_resumed_run_knows_its_lowest_validation_loss():
    watch = Watch(formula="ln N")
    watch.remember({"step": 100, "loss": 1.0, "validation_loss": 2.0})
    watch.remember({"step": 110, "loss": 0.9})
    entry = {"step": 200, "seconds": 1.0, "loss": 0.2, "temperature": 9.0, "guessing": 4.16}
    for _ in range(RECENT):
        watch.look(entry, waited=0.0)
    with pytest.warns(TrainingWarning, match="risen from 2.00 to 3.50"):
        watch.look_at_validation(entry | {"validation_loss": 3.5, "validation_guessing": 4.16})


def test_a_few_steps_learn_nothing_by_heart():
    """A model that is fine-tuned may know its training pairs from before."""
    watch = Watch(formula="ln N")
    entry = {"step": 10, "seconds": 1.0, "loss": 0.2, "temperature": 9.0, "guessing": 4.16}
    validated = entry | {"validation_loss": 6.0, "validation_guessing": 4.16}
    for _ in range(RECENT - 1):
        watch.look(entry, waited=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.look_at_validation(validated)
    watch.look(entry, waited=0.0)
    with pytest.warns(TrainingWarning, match="learned by heart"):
        watch.look_at_validation(validated)

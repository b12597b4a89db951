"""The learning rate, by steps and by the clock."""

import numpy as np
import pytest

from clip_np.training import TrainingOptions, expected_steps, is_finished, learning_rate


def test_the_schedule_under_a_time_limit_follows_the_clock():
    options = TrainingOptions(steps=None, seconds=100.0, warmup=10)
    assert 0 < learning_rate(options, step=0, elapsed=0.0) < 2e-3
    times = ((10, 1.0), (500, 50.0), (900, 90.0), (999, 99.9))
    rates = [learning_rate(options, step, elapsed) / 2e-3 for step, elapsed in times]
    assert rates == pytest.approx([1.0, 0.51, 0.045, 0.02], abs=0.01)
    assert learning_rate(options, step=10, elapsed=99.9) < 2e-3  # slower than it looked at first


def test_warmup_may_be_a_share():
    options = TrainingOptions(steps=1000, warmup=0.05, learning_rate=1.0)
    rates = [learning_rate(options, step, elapsed=0.0) for step in range(60)]
    assert rates[:2] == pytest.approx([1 / 50, 2 / 50])
    assert max(rates) == pytest.approx(1.0, abs=1e-3) and np.argmax(rates) in (49, 50)


def test_warmup_is_a_tenth_of_a_short_run_at_most():
    options = TrainingOptions(steps=50, warmup=100, learning_rate=1.0)
    rates = [learning_rate(options, step, elapsed=0.0) for step in range(50)]
    assert np.argmax(rates) in (4, 5)
    assert rates[-1] < 0.03


def test_a_run_without_warmup_begins_at_the_highest_rate():
    options = TrainingOptions(steps=50, warmup=0, learning_rate=1.0)
    assert learning_rate(options, step=0, elapsed=0.0) == 1.0


def test_the_expected_length_is_the_nearer_of_both_limits():
    options = TrainingOptions(steps=100, seconds=10.0)
    assert expected_steps(options, step=0, elapsed=0.0) == 100
    assert expected_steps(options, step=10, elapsed=2.0) == 50
    assert expected_steps(options, step=10, elapsed=0.5) == 100
    assert expected_steps(options, step=10, elapsed=99.0) == 11


@pytest.mark.parametrize(
    "limits, step, elapsed, finished",
    [
        ({"steps": 5}, 4, 1e9, False),
        ({"steps": 5}, 5, 0.0, True),
        ({"steps": None, "seconds": 2.0}, 10**9, 1.9, False),
        ({"steps": None, "seconds": 2.0}, 1, 2.0, True),
        ({"steps": 5, "seconds": 2.0}, 1, 2.0, True),
        ({"steps": 5, "seconds": 2.0}, 5, 1.0, True),
        ({"steps": 5, "seconds": 2.0}, 4, 1.9, False),
    ],
)
def test_the_first_limit_to_be_reached_ends_a_run(limits, step, elapsed, finished):
    assert is_finished(TrainingOptions(**limits), step, elapsed) is finished

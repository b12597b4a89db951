"""Intervals hold what they should as often as they should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_np.evaluation import bootstrap_interval
from clip_np.evaluation.bootstrap import resampled_means


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_intervals_hold_the_true_share_about_95_times_in_100(share):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        interval = bootstrap_interval(rng.random(150) < share, resamples=300)
        held += interval.low <= share <= interval.high
    # 300 draws of 0.95 waver by 0.0126; the percentile bootstrap is known to hold a
    # little less for few images.
    assert 0.90 <= held / 300 <= 0.985


def test_intervals_agree_with_the_normal_approximation():
    values = np.random.default_rng(1).random(400)
    interval = bootstrap_interval(values, resamples=4000)
    wanted = values.mean() + np.array([-1.96, 1.96]) * values.std() / np.sqrt(400)
    assert interval == pytest.approx(wanted, abs=2e-3)


@given(
    tenths=st.lists(st.integers(0, 10), min_size=1, max_size=40),
    level=st.floats(0.5, 0.99),
    seed=st.integers(0, 99),
)
def test_an_interval_lies_between_the_values(tenths, level, seed):
    values = np.array(tenths) / 10
    interval = bootstrap_interval(values, level, resamples=50, seed=seed)
    assert interval == bootstrap_interval(values, level, resamples=50, seed=seed)
    assert 0 <= interval.low <= interval.high <= 1
    if values.min() < values.max():
        assert values.min() - 1e-9 <= interval.low
        assert interval.high <= values.max() + 1e-9


@pytest.mark.parametrize("count", [1, 20, 500])
def test_nothing_right_is_no_certainty(count):
    nothing, everything = (bootstrap_interval(np.full(count, hit)) for hit in (0.0, 1.0))
    assert nothing.low == 0 and everything.high == 1
    assert (1 - nothing.high) ** count == pytest.approx(0.025)
    assert everything.low == pytest.approx(1 - nothing.high)
    # Nor is the same score for all images, between the two.
    same = bootstrap_interval(np.full(count, 0.3))
    assert same.low == pytest.approx(0.3 * everything.low)
    assert 1 - same.high == pytest.approx(0.7 * everything.low)


def test_draws_are_weighted_means_of_the_same_units():
    rng = np.random.default_rng(2)
    weights = rng.random((7, 2))
    values = rng.random((7, 2))
    means = resampled_means(values * weights, weights, resamples=5, seed=3)
    drawn = np.random.default_rng(3).integers(7, size=(5, 7))
    for row, units in enumerate(drawn):
        expected = np.average(values[units], axis=0, weights=weights[units])
        assert means[row] == pytest.approx(expected)


def test_many_units_are_drawn_in_parts(monkeypatch):
    values = np.random.default_rng(4).random(50) < 0.3
    whole = bootstrap_interval(values)
    monkeypatch.setattr("clip_np.evaluation.bootstrap.DRAWN_TOGETHER", 120)
    assert bootstrap_interval(values) == whole


@pytest.mark.parametrize("values", [[], [0.5, 1.5], [0.2, float("nan")], [[0.5]]])
def test_what_has_no_interval_is_refused(values):
    with pytest.raises(ValueError, match=r"bootstrap_interval: expected `values`"):
        bootstrap_interval(np.array(values))

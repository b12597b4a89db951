"""Softmax shifts its scores when it must, and only then."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops import probabilities
from minigrad.ops.probabilities import SAFE_SCORE, exponentiate, safe_without_shift


@pytest.mark.parametrize(
    ("scores", "safe"),
    [
        ([[0.0, 1.0], [-29.9, 29.9]], True),
        ([[0.0, SAFE_SCORE]], False),
        ([[-SAFE_SCORE, 0.0]], False),
        ([[-np.inf, 0.0]], False),
        (np.zeros((0, 3)), False),  # nothing to ask, and nothing to shift
    ],
)
def test_when_no_shift_is_needed(scores, safe):
    assert safe_without_shift(np.array(scores)) == safe


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_with_and_without_a_shift_softmax_is_the_same(dtype, monkeypatch):
    x = np.random.default_rng(0).uniform(-29.0, 29.0, (50, 17)).astype(dtype)
    plain = mg.softmax(x).data
    monkeypatch.setattr(probabilities, "SAFE_SCORE", 0.0)
    shifted = mg.softmax(x).data
    assert np.allclose(plain, shifted, rtol=20 * np.finfo(dtype).eps, atol=0)


def test_sums_of_safe_scores_stay_in_the_range_of_float32():
    scores = np.full((1, 1_000_000), SAFE_SCORE, np.float32)
    exponentials, sums = exponentiate(scores, shift=False)
    assert np.isfinite(sums).all()
    assert (exponentials / sums > 0.0).all()


def test_the_exponentials_are_written_over_the_scores():
    scores = np.array([[0.0, np.log(3.0)], [-np.inf, -np.inf]])
    exponentials, sums = exponentiate(scores, shift=True)
    assert exponentials is scores
    assert np.allclose(exponentials, [[1 / 3, 1.0], [0.0, 0.0]])
    assert np.allclose(sums, [[4 / 3], [1.0]])  # 1 for a row of -inf alone

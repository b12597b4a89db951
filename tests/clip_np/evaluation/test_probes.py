"""The linear probe against least squares, and against leaving one out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_np.evaluation import linear_probe


def labelled(count: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, E) around a centre for each class, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    centres = rng.standard_normal((classes, width))
    return centres[labels] + rng.standard_normal((count, width)), labels


def ridge(features, targets, penalty) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by least squares: the penalty is E rows of zeros more."""
    mean, bias = features.mean(axis=0), targets.mean(axis=0)
    more = np.sqrt(penalty) * np.eye(features.shape[1])
    rows = np.concatenate([features - mean, more])
    wanted = np.concatenate([targets - bias, np.zeros((len(more), targets.shape[1]))])
    weights = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return weights, bias - mean @ weights


@given(
    count=st.integers(2, 40),
    width=st.integers(1, 12),
    classes=st.integers(2, 5),
    penalty=st.sampled_from([1e-4, 0.03, 2.0]),
    seed=st.integers(0, 1000),
)
def test_the_probe_is_least_squares_with_a_penalty(count, width, classes, penalty, seed):
    features, labels = labelled(count, width, classes, seed)
    probe = linear_probe(features, labels, classes, penalties=[penalty])
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    weights, bias = ridge(standardised, np.eye(classes)[labels], penalty * count)
    others = np.random.default_rng(seed).standard_normal((5, width))
    expected = (others - features.mean(axis=0)) / features.std(axis=0) @ weights + bias
    assert probe.scores(others) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count, width", [(25, 4), (12, 20)])
def test_the_error_is_that_of_leaving_one_out(count, width):
    features, labels = labelled(count, width, classes=3, seed=0)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    targets = np.eye(3)[labels]
    for penalty in (0.01, 0.5):
        total = 0.0
        for row in range(count):
            rest = np.arange(count) != row
            weights, bias = ridge(standardised[rest], targets[rest], penalty * count)
            total += ((standardised[row] @ weights + bias - targets[row]) ** 2).sum()
        probe = linear_probe(features, labels, 3, penalties=[penalty])
        assert probe.squared_error == pytest.approx(total / count)


def test_the_penalty_has_the_least_error_of_all():
    features, labels = labelled(30, 25, classes=3, seed=1)
    penalties = [1e-4, 1e-2, 0.3, 10.0]
    best = linear_probe(features, labels, 3, penalties)
    errors = {
        penalty: linear_probe(features, labels, 3, [penalty]).squared_error for penalty in penalties
    }
    assert best.penalty == min(errors, key=errors.get)
    assert best.penalty > 1e-4  # 25 numbers for 30 images: without a penalty it is worse


def test_it_learns_what_can_be_learned_and_nothing_from_noise():
    features, labels = labelled(400, 16, classes=4, seed=2)
    probe = linear_probe(features[:200], labels[:200], 4)
    assert (probe.scores(features[200:]).argmax(axis=1) == labels[200:]).mean() > 0.8
    noise = np.random.default_rng(3).standard_normal((400, 16))
    probe = linear_probe(noise[:200], labels[:200], 4)
    assert (probe.scores(noise[200:]).argmax(axis=1) == labels[200:]).mean() < 0.4


def test_odd_columns_and_absent_classes_do_no_harm():
    features, labels = labelled(20, 3, classes=2, seed=4)
    features[:, 1] = 7.0  # says nothing
    probe = linear_probe(features, labels, class_count=5)
    scores = probe.scores(features)
    assert np.isfinite(scores).all()
    assert scores.argmax(axis=1).max() < 2
    assert linear_probe(np.ones((2, 3)), np.array([0, 1]), 2).penalty > 0


@pytest.mark.parametrize(
    "features, labels, classes",
    [
        (np.ones((3, 2)), np.array([0, 1]), 2),
        (np.ones((2, 2)), np.array([0, 2]), 2),
        (np.ones((2, 2)), np.array([0.0, 1.0]), 2),
        (np.full((2, 2), np.nan), np.array([0, 1]), 2),
        (np.ones((1, 2)), np.array([0]), 2),
    ],
)
def test_what_cannot_be_learned_from_is_refused(features, labels, classes):
    with pytest.raises(ValueError, match="linear_probe: "):
        linear_probe(features, labels, classes)
    with pytest.raises(ValueError, match="`penalties`"):
        linear_probe(np.ones((2, 2)), np.array([0, 1]), 2, penalties=[0.0])

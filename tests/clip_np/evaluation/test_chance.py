"""The recall of chance, held against random orders."""

import numpy as np
import pytest

from clip_np.evaluation import chance_of_recall, measure_pairs, retrieval_metrics

CAPTIONS = ["a dog", "a cat", "a dog", "a cow", "a pig", "a cow", "a hen", "a fox"]
NAMES = ["0", "0", "1", "2", "3", "4", "4", "5"]


@pytest.mark.parametrize("names", [None, NAMES])
@pytest.mark.parametrize("captions", [None, CAPTIONS])
def test_random_features_score_what_chance_does(captions, names):
    expected = chance_of_recall(8, captions, names)
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {key: [] for key in expected}
    for _ in range(3000):
        images, texts = rng.standard_normal((2, 8, 16))
        metrics = retrieval_metrics(images, texts, captions, names)
        for key in drawn:
            drawn[key].append(metrics[key])
    for key, values in drawn.items():
        assert np.mean(values) == pytest.approx(expected[key], abs=0.02), key


def test_where_nothing_can_be_mistaken_chance_is_1():
    assert set(chance_of_recall(1).values()) == {1.0}
    assert set(chance_of_recall(9, captions=["a dog"] * 9).values()) == {1.0}
    assert chance_of_recall(4)["recall_at_5"] == 1.0


def test_many_pairs_overflow_nothing():
    assert chance_of_recall(5000)["recall_at_10"] == pytest.approx(10 / 5000)


def test_every_figure_of_a_report_has_its_chance():
    features = np.eye(8)
    measured = measure_pairs(features, features, CAPTIONS, NAMES, choices=3)
    counts = {"pairs", "distinct_captions"}
    assert measured.figures.keys() - counts == measured.chance.keys()
    assert "multiple_choice_3" in measured.chance

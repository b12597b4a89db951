"""Neighbours, confusion and ranks of classes against brute force; lists of classes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_np.data import DataError
from clip_np.evaluation import (
    classes_of,
    confusion_matrix,
    measure_classes,
    measure_pairs,
    most_confused,
    nearest_neighbours,
    read_classes,
    read_templates,
    retrieval_metrics,
)
from clip_np.evaluation import neighbours as module
from clip_np.files import FileError

# --- neighbours -----------------------------------------------------------------------


@given(
    count=st.integers(1, 25),
    asking=st.integers(1, 8),
    classes=st.integers(1, 4),
    k=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_neighbours_agree_with_brute_force(count, asking, classes, k, seed):
    rng = np.random.default_rng(seed)
    train, test = rng.standard_normal((count, 3)), rng.standard_normal((asking, 3))
    labels = rng.integers(classes, size=count)
    scores = nearest_neighbours(test, train, labels, classes, k)
    for row, image in enumerate(test):
        cosines = [
            float(image @ other / np.linalg.norm(image) / np.linalg.norm(other)) for other in train
        ]
        nearest = sorted(range(count), key=lambda column: -cosines[column])[:k]
        expected = np.zeros(classes)
        for column in nearest:
            expected[labels[column]] += 1 + cosines[column] / (4 * min(k, count))
        assert scores[row] == pytest.approx(expected)
        votes = np.bincount(labels[nearest], minlength=classes)
        assert votes[scores[row].argmax()] == votes.max()  # nearness never outweighs a vote


def test_many_images_are_compared_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((20, 4)), rng.standard_normal((33, 4))
    labels = rng.integers(3, size=20)
    whole = nearest_neighbours(test, train, labels, 3)
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 20 * 5)
    assert np.array_equal(nearest_neighbours(test, train, labels, 3), whole)


def test_there_must_be_a_neighbour():
    with pytest.raises(ValueError, match="`k` must be 1 or more, not 0"):
        nearest_neighbours(np.eye(2), np.eye(2), np.array([0, 1]), 2, k=0)


# --- confusion and figures ------------------------------------------------------------


@given(classes=st.integers(1, 5), count=st.integers(0, 30), seed=st.integers(0, 1000))
def test_confusion_agrees_with_counting(classes, count, seed):
    rng = np.random.default_rng(seed)
    labels, answers = rng.integers(classes, size=(2, count))
    expected = np.zeros((classes, classes), int)
    for label, answer in zip(labels, answers):
        expected[label, answer] += 1
    matrix = confusion_matrix(labels, answers, classes)
    assert np.array_equal(matrix, expected)
    confused = most_confused(matrix, [f"class {number}" for number in range(classes)], 100)
    assert sum(pair.mistakes for pair in confused) == (labels != answers).sum()
    counts = [pair.mistakes for pair in confused]
    assert counts == sorted(counts, reverse=True)


def test_answers_outside_of_the_classes_are_refused():
    with pytest.raises(ValueError, match="expected classes from 0 to 1, got 0 to 2"):
        confusion_matrix(np.array([0, 1]), np.array([0, 2]), 2)


def test_chance_knows_what_was_learned_from():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    scores = np.eye(8)[labels]
    blind = measure_classes("blind", scores, labels)
    assert blind.figures == {"blind_top_1": 1.0, "blind_top_5": 1.0}
    assert blind.chance == {"blind_top_1": 1 / 8, "blind_top_5": 5 / 8}
    # Having seen mostly class 1, then 0, chance names 1: right for 3 of 10.
    learned = measure_classes("learned", scores, labels, train_labels=np.array([1, 1, 0]))
    assert learned.chance["learned_top_1"] == 0.3
    few = measure_classes("few", np.eye(5)[labels], labels)
    assert list(few.figures) == ["few_top_1"]  # one of 5 classes is always among 5


def test_a_model_that_tells_nothing_apart_gets_nothing():
    measured = measure_classes("blind", np.ones((4, 3)), np.array([0, 1, 2, 0]))
    assert measured.figures["blind_top_1"] == 0
    assert measured.intervals["blind_top_1"].low == 0


def test_intervals_of_retrieval_hold_its_figures():
    rng = np.random.default_rng(5)
    images = np.repeat(rng.standard_normal((30, 8)), 2, axis=0)
    texts = images + 1.5 * rng.standard_normal(images.shape)
    names = [f"{row // 2}.jpg" for row in range(60)]
    captions = [f"caption {row % 50}" for row in range(60)]  # some are shared
    measured = measure_pairs(images, texts, captions, names, choices=4)
    expected = retrieval_metrics(images, texts, captions, names)
    assert {key: measured.figures[key] for key in expected} == expected
    for name, (low, high) in measured.intervals.items():
        assert low <= measured.figures[name] <= high
        assert high - low < 0.6
    assert {"recall_at_1", "text_to_image_recall_at_10"} <= measured.intervals.keys()
    assert measured.chance["multiple_choice_4"] == 0.25
    assert measured.chance["image_to_text_median_rank"] == pytest.approx(51 / 3)


# --- lists of classes -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text, label",
    [
        ("polar bear\n\n  cat  \n", "polar_bear"),
        ('["polar_bear", "cat"]', "polar bear"),
        ('{"n1": "polar bear", "n2": "cat"}', "n1"),
        ('{"n1": "polar bear", "n2": "cat"}', "polar bear"),
        ('{"0": ["n1", "polar_bear"], "1": ["n2", "cat"]}', "n1"),
        ('{"0": ["n1", "polar_bear"], "1": ["n2", "cat"]}', "0"),
    ],
)
def test_lists_of_classes(tmp_path, text, label):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    classes = read_classes(path)
    assert classes.names == ["polar bear", "cat"]
    assert classes.numbers([label, "cat"], ["a.png", "b.png"]).tolist() == [0, 1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("cat\ndog\ncat", "classes that come twice: cat"),
        ("cat", "expected two classes or more, got 1"),
        ("", "expected two classes or more, got 0"),
        ('["cat", 3]', "expected texts only in a JSON list"),
        ('{"0": 3, "1": "cat"}', "expected a name, or a list of a label and a name, for '0'"),
        ('{"0": "cat", "0": "dog"}', "'0' appears twice"),
        ('["cat"', "no list of classes"),
    ],
)
def test_bad_lists_of_classes_are_named(tmp_path, text, message):
    path = tmp_path / "classes.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"classes.json: .*") as error:
        read_classes(path)
    assert message in str(error.value)


def test_labels_must_be_in_the_list_and_mean_one_class(tmp_path):
    classes = classes_of(["cat", "dog"])
    with pytest.raises(DataError, match=r"1 images .* none of the 2 classes .*'Dog' of b.png"):
        classes.numbers(["cat", "Dog"], ["a.png", "b.png"])
    path = tmp_path / "classes.json"
    content = {"0": ["n1", "crane"], "1": ["n2", "crane"], "2": ["n3", "tench"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    classes = read_classes(path)  # as in ImageNet: the bird, and the machine
    assert classes.numbers(["n2", "n1"], ["a", "b"]).tolist() == [1, 0]
    with pytest.raises(DataError, match="more than one class of the list: crane"):
        classes.numbers(["crane", "n1"], ["a", "b"])


def test_templates_come_from_a_file(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("{}\na photo of a {}.\n", encoding="utf-8")
    assert read_templates(path) == ["{}", "a photo of a {}."]
    path.write_text('["a {}", "my {}"]', encoding="utf-8")
    assert read_templates(path) == ["a {}", "my {}"]
    for wrong in ("a photo", "", "{} and {}"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(FileError, match=r"templates.txt: .*with one \{\}"):
            read_templates(path)

"""Metrics against brute force; ties, equal captions and equal images."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from clip_np.evaluation import multiple_choice_accuracy, ranks, retrieval_metrics


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# --- retrieval ------------------------------------------------------------------------


def slow_ranks(queries, answers, right) -> list[int]:
    """The rank of the best right answer to each query; ties count against it."""
    ranks = []
    for row, query in enumerate(queries):
        scores = [
            float(query @ answer / max(np.linalg.norm(query) * np.linalg.norm(answer), 1e-12))
            for answer in answers
        ]
        best = max(score for column, score in enumerate(scores) if right(row, column))
        above = [
            column
            for column, score in enumerate(scores)
            if score >= best - 1e-12 and not right(row, column)
        ]
        ranks.append(1 + len(above))
    return ranks


def slow_metrics(images, texts, captions, names) -> dict[str, float]:
    image_rows = [names.index(name) for name in dict.fromkeys(names)]
    text_rows = [captions.index(caption) for caption in dict.fromkeys(captions)]
    pairs = set(zip(names, captions))

    def belongs(image: int, text: int) -> bool:
        return (names[image_rows[image]], captions[text_rows[text]]) in pairs

    ways = {
        "image_to_text": slow_ranks(images[image_rows], texts[text_rows], belongs),
        "text_to_image": slow_ranks(
            texts[text_rows], images[image_rows], lambda text, image: belongs(image, text)
        ),
    }
    result = {"pairs": len(names), "distinct_captions": len(text_rows)}
    for k in (1, 5, 10):
        for way, way_ranks in ways.items():
            result[f"{way}_recall_at_{k}"] = sum(rank <= k for rank in way_ranks) / len(way_ranks)
        both = [result[f"{way}_recall_at_{k}"] for way in ways]
        result[f"recall_at_{k}"] = sum(both) / 2
    for way, way_ranks in ways.items():
        result[f"{way}_median_rank"] = float(np.median(way_ranks))
    return result


@given(
    count=st.integers(1, 30),
    width=st.integers(1, 6),
    texts=st.integers(1, 30),
    names=st.integers(1, 30),
    coarse=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_retrieval_metrics_agree_with_brute_force(count, width, texts, names, coarse, seed):
    rng = np.random.default_rng(seed)
    images, captions = rng.standard_normal((2, count, width)) + 1e-3
    if coarse:  # small integers, so that many scores are equal
        images, captions = np.round(images) + 3, np.round(captions) + 3
    text_of = [f"caption {number}" for number in rng.integers(texts, size=count)]
    name_of = [f"{number}.jpg" for number in rng.integers(names, size=count)]
    expected = slow_metrics(images, captions, text_of, name_of)
    assert retrieval_metrics(images, captions, text_of, name_of) == pytest.approx(expected)


def test_without_captions_every_pair_is_its_own_answer():
    images, texts = normal(2, 20, 4)
    names = [str(row) for row in range(20)]
    assert retrieval_metrics(images, texts) == retrieval_metrics(images, texts, names, names)


def test_ranks_of_a_small_example():
    images = np.eye(3)
    # Cosines with images 0, 1, 2: the first caption fits image 1 best, then its own.
    texts = np.array([[2.0, 3.0, 1.0], [0.0, 5.0, 0.0], [0.0, 1.0, 2.0]])
    result = retrieval_metrics(images, texts)
    assert result["text_to_image_recall_at_1"] == pytest.approx(2 / 3)
    assert result["text_to_image_median_rank"] == 1.0
    assert result["image_to_text_recall_at_1"] == 1.0
    assert result["recall_at_1"] == pytest.approx(5 / 6)
    assert result["recall_at_5"] == 1.0
    both = [1, 0]
    assert retrieval_metrics(images[:2], texts[both])["image_to_text_median_rank"] == 2.0
    assert retrieval_metrics(images, texts[[0, 0, 2]])["image_to_text_median_rank"] == 2.0


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_ranks_count_wrong_answers_that_are_not_below(questions, answers, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (questions, answers)).astype(float)
    is_right = rng.random((questions, answers)) < 0.5
    is_right[:, 0] = True
    expected = []
    for row, right in zip(scores, is_right):
        best = max(row[right])
        expected.append(1 + sum(score >= best for score in row[~right]))
    assert ranks(scores, is_right).tolist() == expected


def test_lengths_of_features_do_not_matter():
    images, texts = normal(2, 40, 8)
    scaled = images * np.random.default_rng(1).uniform(0.1, 10, (40, 1))
    assert retrieval_metrics(scaled, 3 * texts) == retrieval_metrics(images, texts)


def test_any_copy_of_a_caption_is_right():
    texts = np.eye(4)[[0, 1, 1, 2]]
    captions = ["a", "b", "b", "c"]
    assert retrieval_metrics(texts, texts, captions)["recall_at_1"] == 1.0
    assert retrieval_metrics(texts, texts)["image_to_text_recall_at_1"] == 0.5  # a tie loses
    # The image of one copy fits nothing, but the caption finds the other.
    images = texts.copy()
    images[1] = -1
    found = retrieval_metrics(images, texts, captions)
    assert found["text_to_image_recall_at_1"] == 1.0
    assert found["image_to_text_recall_at_1"] == 0.75
    assert found["distinct_captions"] == 3


def test_any_caption_of_an_image_is_right():
    # Two images with five captions each, as in Flickr8k; features of equal images are
    # equal.
    images = np.repeat(np.eye(2), 5, axis=0)  # (10, 2)
    names = ["one.jpg"] * 5 + ["two.jpg"] * 5
    captions = [f"caption {row}" for row in range(10)]
    found = retrieval_metrics(images, images, captions, names)
    assert found["text_to_image_recall_at_1"] == 1.0
    assert found["pairs"] == 10
    texts = normal(10, 2)
    texts[[3, 7]] = np.eye(2) * 9
    texts[[0, 1, 2, 4, 5, 6, 8, 9]] = [-1.0, -1.0]
    assert retrieval_metrics(images, texts, captions, names)["image_to_text_recall_at_1"] == 1.0


@pytest.mark.parametrize("count, width", [(3, 5), (513, 64), (513, 512), (1000, 64)])
def test_a_model_that_gives_all_pairs_one_score_finds_nothing(count, width):
    # The last rows of a matrix product may be rounded otherwise than the first.
    one, other = normal(2, width)
    result = retrieval_metrics(np.tile(one, (count, 1)), np.tile(other, (count, 1)))
    assert [result[key] for key in result if key.endswith("recall_at_1")] == [0, 0, 0]
    assert result["image_to_text_median_rank"] == count
    spread = retrieval_metrics(normal(count, width), np.tile(other, (count, 1)))
    assert spread["image_to_text_recall_at_1"] == 0


def test_tensors_are_features_too():
    images, texts = normal(2, 6, 4)
    result = retrieval_metrics(mg.tensor(images), mg.tensor(texts))
    assert result == retrieval_metrics(images, texts)


@pytest.mark.parametrize(
    "images, texts, captions, message",
    [
        (normal(3, 2), normal(4, 2), None, "3 images but 4 captions"),
        (np.zeros((0, 2)), np.zeros((0, 2)), None, "0 images but 0 captions"),
        (normal(3), normal(3, 2), None, r"image_features must have shape \(N, E\), got \(3,\)"),
        (normal(3, 2), normal(3, 2, 1), None, r"text_features must have shape"),
        (normal(3, 2), normal(3, 2) * np.nan, None, "text_features hold a NaN"),
        (normal(3, 2) * np.inf, normal(3, 2), None, "image_features hold a NaN or an infinity"),
        (normal(3, 2), normal(3, 2), ["a", "b"], "3 pairs of features, but 2 names or captions"),
    ],
)
def test_retrieval_errors(images, texts, captions, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(images, texts, captions)


# --- multiple choice ------------------------------------------------------------------


def test_multiple_choice_counts_right_answers():
    images = np.eye(8)
    assert multiple_choice_accuracy(images, images) == 1.0
    assert multiple_choice_accuracy(images, -images) == 0.0
    half = images.copy()
    half[:4] *= -1
    assert multiple_choice_accuracy(images, half) == 0.5


def test_multiple_choice_ties_are_wrong():
    ones = np.ones((6, 3))
    assert multiple_choice_accuracy(ones, ones) == 0.0
    assert multiple_choice_accuracy(normal(600, 64), np.tile(normal(64), (600, 1))) == 0.0


@given(st.integers(3, 9), st.integers(2, 4), st.integers(0, 100))
def test_multiple_choice_is_the_mean_over_all_draws(count, choices, seed):
    rng = np.random.default_rng(seed)
    captions = [f"caption {number}" for number in rng.integers(count, size=count + 2)]
    distinct = list(dict.fromkeys(captions))
    images, texts = rng.standard_normal((2, len(captions), 4))
    if len(distinct) < choices:
        with pytest.raises(ValueError, match=f"found {len(distinct)}"):
            multiple_choice_accuracy(images, texts, choices, captions)
        return
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    embedded = {name: unit[captions.index(name)] for name in distinct}
    rounds = [
        all(images[row] @ embedded[truth] > images[row] @ embedded[name] for name in drawn)
        for row, truth in enumerate(captions)
        for drawn in itertools.combinations([n for n in distinct if n != truth], choices - 1)
    ]
    found = multiple_choice_accuracy(images, texts, choices, captions)
    assert found == pytest.approx(np.mean(rounds))


@pytest.mark.parametrize(
    "images, texts, choices, captions, message",
    [
        (normal(3, 2), normal(3, 2), 1, None, "`choices` is 1, expected 2 or more"),
        (normal(3, 2), normal(3, 2), 4, None, "as many distinct captions; found 3"),
        (normal(3, 2), normal(3, 2), 3, ["a", "b", "b"], "found 2"),
        (normal(3, 2), normal(4, 2), 3, None, "3 images but 4 captions"),
        (normal(3, 2), normal(3, 2), 3, ["a"] * 4, "3 pairs of features, but 4 names"),
        (normal(3, 2) * np.inf, normal(3, 2), 3, None, "image_features hold a NaN or an inf"),
    ],
)
def test_multiple_choice_errors(images, texts, choices, captions, message):
    with pytest.raises(ValueError, match=message):
        multiple_choice_accuracy(images, texts, choices, captions=captions)

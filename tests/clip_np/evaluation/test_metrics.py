"""Metrics against brute force; ties, equal captions and equal images; the reports."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clip_np
import minigrad as mg
from clip_np.data import CLASSES, HELD_OUT_LABELS, SEEN_LABELS, ShapesSplit, to_model_input
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluation import (
    embed_images,
    embed_texts,
    multiple_choice_accuracy,
    pairs_report,
    retrieval_metrics,
    shapes_report,
    zero_shot_classifier,
)
from clip_np.evaluation import metrics as evaluate
from clip_np.tokens import Tokenizer


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# --- retrieval ---------------------------------------------------------------------------------


def slow_ranks(queries, answers, right) -> list[int]:
    """The rank of the best right answer, one query after the other; ties count against it."""
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
        for way, ranks in ways.items():
            result[f"{way}_recall_at_{k}"] = sum(rank <= k for rank in ranks) / len(ranks)
        both = [result[f"{way}_recall_at_{k}"] for way in ways]
        result[f"recall_at_{k}"] = sum(both) / 2
    for way, ranks in ways.items():
        result[f"{way}_median_rank"] = float(np.median(ranks))
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
    # Two images with five captions each, as in Flickr8k; features of equal images are equal.
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


# --- multiple choice ---------------------------------------------------------------------------


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
        (normal(3, 2), normal(3, 2), 1, None, "1 choices need 2 or more"),
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


# --- with a model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([f"a small {name} in the center" for name in CLASSES], 600)


@pytest.fixture(scope="module")
def model(tokenizer) -> clip_np.CLIP:
    config = CLIPConfig(
        embed_dim=8,
        vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
        text=TextConfig(514, 77, width=16, layers=1, heads=2),
    )
    return clip_np.CLIP(config.for_tokenizer(tokenizer), np.random.default_rng(0))


def test_classifier_columns_are_means_of_sentences(model, tokenizer):
    names, templates = ["red circle", "blue star", "cyan {ring}"], ["a {}.", "{} in the center"]
    classifier = zero_shot_classifier(model, tokenizer, names, templates)
    assert classifier.shape == (8, 3)
    assert classifier.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(classifier, axis=0), 1, rtol=1e-5)
    for column, name in enumerate(names):
        sentences = embed_texts(model, tokenizer, [f"a {name}.", f"{name} in the center"])
        mean = sentences.mean(axis=0)
        np.testing.assert_allclose(classifier[:, column], mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    "names, templates, message",
    [
        ([], ["a {}"], "at least one class and one template"),
        (["dog"], [], "at least one class and one template"),
        (["dog"], ["a {}", "a photo"], "template 'a photo' needs one {}"),
        (["dog"], ["{} and {}"], "needs one {}"),
        (["dog"], "a {}", "template 'a' needs one {}"),
    ],
)
def test_classifier_errors(model, tokenizer, names, templates, message):
    with pytest.raises(ValueError, match=message):
        zero_shot_classifier(model, tokenizer, names, templates)


def test_features_do_not_depend_on_the_number_of_cores(model, tokenizer, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    texts = [f"a {CLASSES[row % 48]} {'very ' * (row % 5)}small" for row in range(300)]
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("minigrad.threads.available_cores", lambda cores=cores: cores)
        found.append([embed_images(model, images), embed_texts(model, tokenizer, texts)])
    for features in found[1:]:
        np.testing.assert_allclose(features, found[0], atol=1e-6)


def test_features_are_unit_rows_of_the_encoders(model, tokenizer):
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    features = embed_images(model, images)
    with mg.no_grad():
        whole = model.encode_image(to_model_input(images)).numpy()
    np.testing.assert_allclose(
        features, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5
    )
    long = "a small red circle " * 100  # does not fit: cut, and no error
    assert embed_texts(model, tokenizer, [long, "a ring"]).shape == (2, 8)
    assert embed_texts(model, tokenizer, []).shape == (0, 8)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_error_in_a_worker_reaches_the_caller(model):
    with pytest.raises(ValueError, match="expected images of shape"):
        embed_images(model, np.zeros((300, 16, 16, 3), np.uint8))


# --- reports -----------------------------------------------------------------------------------


class KnowsAll:
    """Stands for a model and its tokenizer: both sides of a pair become the same direction.

    An image carries the number of its caption in its first pixels.
    """

    def __init__(self, captions) -> None:
        self.numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        self.directions = normal(len(self.numbers), 64)

    def images(self, captions) -> np.ndarray:
        pixels = np.zeros((len(captions), 32, 32, 3), np.uint8)
        for row, caption in enumerate(captions):
            pixels[row, 0, 0, :2] = divmod(self.numbers[caption], 256)
        return pixels

    def embed_images(self, model, images) -> np.ndarray:
        numbers = images[:, 0, 0, :2].astype(int) @ [256, 1]
        return self.directions[numbers]

    def embed_texts(self, model, tokenizer, texts) -> np.ndarray:
        return self.directions[[self.numbers[text] for text in texts]]


def shapes_of(captions_of: dict[str, list[str]], oracle: KnowsAll) -> dict[str, ShapesSplit]:
    none = np.full(1000, -1)
    splits = {
        kind: ShapesSplit(oracle.images(captions), captions, none)
        for kind, captions in captions_of.items()
    }
    for kind, labels in (("zeroshot_seen", SEEN_LABELS), ("zeroshot_heldout", HELD_OUT_LABELS)):
        shown = [f"a small {CLASSES[label]} at the top left" for label in labels]
        splits[kind] = ShapesSplit(oracle.images(shown), shown, np.array(labels))
    return splits


SHAPES_KEYS = [
    "recall_at_1_of_100",
    "recall_at_1_of_1000",
    "recall_at_1_of_100_heldout",
    "recall_at_1_of_1000_heldout",
    "zero_shot_seen",
    "zero_shot_heldout",
]


@pytest.fixture
def oracle(monkeypatch) -> KnowsAll:
    prompts = [template.format(name) for name in CLASSES for template in evaluate.PROMPTS]
    oracle = KnowsAll([*(f"caption {row}" for row in range(2000)), *prompts])
    monkeypatch.setattr(evaluate, "embed_images", oracle.embed_images)
    monkeypatch.setattr(evaluate, "embed_texts", oracle.embed_texts)
    return oracle


def test_shapes_report_of_a_perfect_model(oracle):
    captions = [f"caption {row}" for row in range(2000)]
    splits = shapes_of({"all": captions[:1000], "heldout": captions[1000:]}, oracle)
    assert shapes_report(None, None, splits) == dict.fromkeys(SHAPES_KEYS, 1.0)


def test_shapes_report_tells_the_splits_apart(oracle):
    captions = [f"caption {row}" for row in range(2000)]
    splits = shapes_of({"all": captions[:1000], "heldout": captions[1000:]}, oracle)
    # Captions exchanged between neighbours: wrong in "heldout" only.
    splits["heldout"].captions[:] = captions[1001:] + captions[1000:1001]
    labels = splits["zeroshot_seen"].labels
    labels[:10] = labels[10:20].copy()
    report = shapes_report(None, None, splits)
    assert report["recall_at_1_of_100"] == report["recall_at_1_of_1000"] == 1.0
    assert report["recall_at_1_of_100_heldout"] < 0.01
    assert report["recall_at_1_of_1000_heldout"] < 0.01
    assert report["zero_shot_seen"] == pytest.approx(30 / 40)
    assert report["zero_shot_heldout"] == 1.0


def test_shapes_report_of_a_split_of_another_size_has_no_nan(oracle):
    captions = [f"caption {row}" for row in range(70)]
    splits = shapes_of({"all": captions, "heldout": captions}, oracle)
    keys = [key.replace("1000", "70") for key in SHAPES_KEYS if "_100" not in key or "1000" in key]
    assert shapes_report(None, None, splits) == dict.fromkeys(keys, 1.0)


def test_shapes_report_of_a_model_that_tells_nothing_apart(model, tokenizer):
    blind = clip_np.CLIP(model.config, np.random.default_rng(0))
    for parameter in blind.parameters():
        parameter.data[...] = 0
    blind.vision.proj.data[...] = blind.text.text_projection.data[...] = 1
    blind.vision.ln_post.bias.data[...] = blind.text.ln_final.bias.data[...] = 1
    splits = {
        kind: ShapesSplit(split.images[:150], split.captions[:150], split.labels[:150])
        for kind, split in clip_np.shapes.test_split(0).items()
    }
    report = shapes_report(blind, tokenizer, splits)
    assert set(report.values()) == {0.0}


def test_shapes_report_of_an_untrained_model_is_near_chance(model, tokenizer):
    report = shapes_report(model, tokenizer, clip_np.shapes.test_split(0))
    assert list(report) == SHAPES_KEYS
    assert all(0 <= value < 0.15 for value in report.values())


def test_pairs_report(oracle):
    captions = [f"caption {row}" for row in range(20)]
    names = [f"{row}.jpg" for row in range(20)]
    report = pairs_report(None, None, oracle.images(captions), captions, names)
    assert [report[f"recall_at_{k}"] for k in (1, 5, 10)] == [1.0, 1.0, 1.0]
    assert report["multiple_choice_3"] == 1.0
    assert report["image_to_text_median_rank"] == report["text_to_image_median_rank"] == 1.0
    few = ["caption 1", "caption 2", "caption 2"]
    report = pairs_report(None, None, oracle.images(few), few, names[:3])
    assert report["recall_at_1"] == 1.0
    assert "multiple_choice_3" not in report


def test_no_choice_is_another_caption_of_the_same_image(oracle):
    # Four images with three captions each, all of them equally right.
    oracle.directions[:12] = np.repeat(np.eye(4, 64), 3, axis=0)
    captions = [f"caption {row}" for row in range(12)]
    names = [f"{row // 3}.jpg" for row in range(12)]
    report = pairs_report(None, None, oracle.images(captions), captions, names)
    assert report["multiple_choice_3"] == 1.0
    assert report["text_to_image_recall_at_1"] == report["image_to_text_recall_at_1"] == 1.0

"""The figures of the shapes task: what is right counts, and a tie does not."""

import numpy as np
import pytest

import clip_np
from clip_np.data import CLASSES, HELD_OUT_LABELS, PROMPTS, SEEN_LABELS, ShapesSplit
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.tokens import Tokenizer
from clip_np.training import shapes_figures, shapes_report


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


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


class KnowsAll:
    """Stands for a model and its tokenizer: a pair becomes one direction.

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
    prompts = [template.format(name) for name in CLASSES for template in PROMPTS]
    oracle = KnowsAll([*(f"caption {row}" for row in range(2000)), *prompts])
    monkeypatch.setattr(shapes_figures, "embed_images", oracle.embed_images)
    monkeypatch.setattr(shapes_figures, "embed_texts", oracle.embed_texts)
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

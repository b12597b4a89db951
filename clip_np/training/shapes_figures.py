"""How well does a model know the shapes task?

Two questions, each asked for all drawings and again for the *held-out* pairs of colour
and shape, which no training image shows. Held-out pairs tell whether the model has
learned "red" and "circle" as two words, or "red circle" as one.

- *Retrieval*: among the captions of 100 drawings, and of 1,000, is the right one the
  best match of its drawing? And the other way round.
- *Zero-shot*: which of 48 classes does a drawing with one object show? Each class is
  written into ten prompts, and the best of them counts.

A tie is a wrong answer in both: a model that tells nothing apart gets 0.

Radford et al. 2021, arXiv:2103.00020, section 3.1.
"""

import numpy as np

from clip_np.data import CLASSES, PROMPTS, ShapesSplit
from clip_np.evaluation import (
    AnyTokenizer,
    Measurement,
    bootstrap_interval,
    class_ranks,
    embed_images,
    embed_texts,
    retrieval_ranks,
)
from clip_np.model import CLIP

SMALL_GALLERY = 100
"""Drawings and captions of the easier retrieval question. The harder one uses all."""


def shapes_report(
    model: CLIP, tokenizer: AnyTokenizer, splits: dict[str, ShapesSplit]
) -> dict[str, float]:
    """The figures of the shapes task, each between 0 and 1.

    splits are those of `clip_np.data.shapes.test_split`. Keys are recall_at_1_of_100
    and recall_at_1_of_1000 (the number of drawings), both again with _heldout at the
    end, zero_shot_seen and zero_shot_heldout. A gallery larger than the split has no
    figure.
    """
    return measure_shapes(model, tokenizer, splits).figures


def measure_shapes(
    model: CLIP, tokenizer: AnyTokenizer, splits: dict[str, ShapesSplit]
) -> Measurement:
    """The figures of `shapes_report`, with chance and an interval for all of them."""
    hits: dict[str, np.ndarray] = {}
    for kind, suffix in (("all", ""), ("heldout", "_heldout")):
        image_features = embed_images(model, splits[kind].images)
        text_features = embed_texts(model, tokenizer, splits[kind].captions)
        for size in (SMALL_GALLERY, len(image_features)):
            if size <= len(image_features):
                right = hits_in_galleries(image_features, text_features, size)
                hits[f"recall_at_1_of_{size}{suffix}"] = right
    prompts = [template.format(name) for name in CLASSES for template in PROMPTS]
    prompt_features = embed_texts(model, tokenizer, prompts).astype(np.float64)
    for kind, key in (
        ("zeroshot_seen", "zero_shot_seen"),
        ("zeroshot_heldout", "zero_shot_heldout"),
    ):
        features = embed_images(model, splits[kind].images)
        scores = features @ prompt_features.T  # (N, classes * prompts)
        best = scores.reshape(-1, len(CLASSES), len(PROMPTS)).max(axis=2)  # (N, classes)
        hits[key] = is_right(best, np.asarray(splits[kind].labels))
    chances = shapes_chance(splits)
    return Measurement(
        figures={name: float(right.mean()) for name, right in hits.items()},
        chance={name: chances[name] for name in hits},
        intervals={name: bootstrap_interval(right) for name, right in hits.items()},
    )


def shapes_chance(splits: dict[str, ShapesSplit]) -> dict[str, float]:
    """What a model that knows nothing scores in the figures of `shapes_report`."""
    chances = {"zero_shot_seen": 1 / len(CLASSES), "zero_shot_heldout": 1 / len(CLASSES)}
    for kind, suffix in (("all", ""), ("heldout", "_heldout")):
        for size in (SMALL_GALLERY, len(splits[kind].images)):
            chances[f"recall_at_1_of_{size}{suffix}"] = 1 / size
    return chances


def hits_in_galleries(
    image_features: np.ndarray, text_features: np.ndarray, size: int
) -> np.ndarray:
    """The recall at 1 of each pair, both ways, in galleries of `size` rows each: (n,).

    It is 0, 0.5 (one of both ways) or 1. Rows that fill no gallery are left out.

    >>> hits_in_galleries(np.eye(4), np.eye(4)[[0, 1, 3, 2]], size=2)
    array([1., 1., 0., 0.])
    """
    hits = []
    for start in range(0, len(image_features) - size + 1, size):
        rows = slice(start, start + size)
        ranked = retrieval_ranks(image_features[rows], text_features[rows])
        both = (ranked.image_to_text == 1).astype(float) + (ranked.text_to_image == 1)
        hits.append(both / 2)
    return np.concatenate(hits)


def is_right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the class `labels` (N,) alone has the highest of scores (N, classes).

    >>> is_right(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([0, 1]))
    array([ True, False])
    """
    return class_ranks(scores, labels) == 1

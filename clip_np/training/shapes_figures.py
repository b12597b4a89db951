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
from clip_np.evaluation import TIE, AnyTokenizer, embed_images, embed_texts, retrieval_metrics
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
    report: dict[str, float] = {}
    for kind, suffix in (("all", ""), ("heldout", "_heldout")):
        image_features = embed_images(model, splits[kind].images)
        text_features = embed_texts(model, tokenizer, splits[kind].captions)
        for size in (SMALL_GALLERY, len(image_features)):
            if size <= len(image_features):
                recall = recall_in_galleries(image_features, text_features, size)
                report[f"recall_at_1_of_{size}{suffix}"] = recall
    prompts = [template.format(name) for name in CLASSES for template in PROMPTS]
    prompt_features = embed_texts(model, tokenizer, prompts).astype(np.float64)
    for kind, key in (
        ("zeroshot_seen", "zero_shot_seen"),
        ("zeroshot_heldout", "zero_shot_heldout"),
    ):
        features = embed_images(model, splits[kind].images)
        scores = features @ prompt_features.T  # (N, classes * prompts)
        best = scores.reshape(-1, len(CLASSES), len(PROMPTS)).max(axis=2)  # (N, classes)
        report[key] = accuracy(best, np.asarray(splits[kind].labels))
    return report


def shapes_chance(splits: dict[str, ShapesSplit]) -> dict[str, float]:
    """What a model that knows nothing scores in the figures of `shapes_report`."""
    chances = {"zero_shot_seen": 1 / len(CLASSES), "zero_shot_heldout": 1 / len(CLASSES)}
    for kind, suffix in (("all", ""), ("heldout", "_heldout")):
        for size in (SMALL_GALLERY, len(splits[kind].images)):
            chances[f"recall_at_1_of_{size}{suffix}"] = 1 / size
    return chances


def recall_in_galleries(image_features: np.ndarray, text_features: np.ndarray, size: int) -> float:
    """The mean recall at 1, both ways, over galleries of `size` rows each.

    >>> recall_in_galleries(np.eye(4), np.eye(4)[[0, 1, 3, 2]], size=2)
    0.5
    """
    recalls = []
    for start in range(0, len(image_features) - size + 1, size):
        rows = slice(start, start + size)
        metrics = retrieval_metrics(image_features[rows], text_features[rows])
        recalls.append(metrics["recall_at_1"])
    return float(np.mean(recalls))


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """How often the class `labels` (N,) alone has the highest of scores (N, classes).

    >>> accuracy(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([0, 1]))
    0.5
    """
    is_right = labels[:, None] == np.arange(scores.shape[1])  # (N, classes)
    right = scores[is_right]  # (N,)
    best_wrong = np.where(is_right, -np.inf, scores).max(axis=1)  # (N,)
    return float((best_wrong <= right - TIE).mean())

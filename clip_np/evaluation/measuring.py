"""What do the figures of a model say, and how much of it is luck?

A figure stands between two others. *Chance* is what a model scores that knows nothing
(chance.py). The *interval* says how far the figure may be off, since only so many
images were measured (bootstrap.py). A figure whose interval holds chance says nothing.

In retrieval, the images are drawn again, each with all its captions, because captions
of one image are right or wrong together. A draw changes who asks, and not what may be
answered: there are as many answers in all draws, so that recalls can be compared.
Captions that several images share are counted once, as in `retrieval_metrics`: each of
P pairs with the same caption has the weight 1/P.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clip_np.evaluation.bootstrap import Interval, bootstrap_interval, interval_of, resampled_means
from clip_np.evaluation.chance import chance_of_median_rank, chance_of_recall
from clip_np.evaluation.metrics import (
    RECALLS,
    Names,
    RetrievalRanks,
    multiple_choice_wins,
    number_names,
    ranks,
    retrieval_metrics,
    retrieval_ranks,
)

TOP_PLACES = (1, 5)  # a right answer among the first k counts
RANKED_TOGETHER = 2**22  # scores of images and classes that are compared at a time


class Measurement(NamedTuple):
    """Figures by name. For most of them, chance and an interval have the same names."""

    figures: dict[str, float]
    chance: dict[str, float]
    intervals: dict[str, Interval]

    def joined(self, other: "Measurement") -> "Measurement":
        """This measurement with the figures of another one after its own."""
        return Measurement(
            figures={**self.figures, **other.figures},
            chance={**self.chance, **other.chance},
            intervals={**self.intervals, **other.intervals},
        )


# --- pairs ----------------------------------------------------------------------------


def measure_pairs(
    image_features: np.ndarray,
    text_features: np.ndarray,
    captions: Sequence[str],
    image_names: Names,
    choices: int,
) -> Measurement:
    """Retrieval over N pairs, and multiple choice, with one caption of each image.

    The figures are those of `retrieval_metrics` and "multiple_choice_n", with `choices`
    for n; if there are fewer distinct captions, there is no multiple choice.

    >>> captions = ["a cat", "a dog", "a hat"]
    >>> measured = measure_pairs(np.eye(3), np.eye(3), captions, None, choices=3)
    >>> name = "multiple_choice_3"
    >>> measured.figures[name], round(measured.chance[name], 2)
    (1.0, 0.33)
    >>> round(measured.intervals["recall_at_1"].low, 2)  # 3 of 3 may be luck
    0.29
    """
    figures = retrieval_metrics(image_features, text_features, captions, image_names)
    chance = chance_of_recall(len(captions), captions, image_names)
    chance |= chance_of_median_rank(len(captions), captions, image_names)
    ranked = retrieval_ranks(image_features, text_features, captions, image_names)
    measured = Measurement(figures, chance, _retrieval_intervals(ranked))
    rows = number_names(image_names, len(captions)).first_rows  # one row for each image
    first_captions = [captions[row] for row in rows]
    if len(set(first_captions)) < choices:
        return measured
    name = f"multiple_choice_{choices}"
    wins = multiple_choice_wins(image_features[rows], text_features[rows], choices, first_captions)
    return measured.joined(
        Measurement(
            figures={name: float(wins.mean())},
            chance={name: 1 / choices},
            intervals={name: bootstrap_interval(wins)},
        )
    )


def _retrieval_intervals(ranked: RetrievalRanks) -> dict[str, Interval]:
    """The intervals of the recalls, both ways and as the mean of both ways."""
    image_of, caption_of = ranked.image.numbers, ranked.caption.numbers  # (N,), of the pairs
    units = len(ranked.image_to_text)  # M
    shared = 1 / np.bincount(caption_of)  # (K,): the weight of a pair with this caption
    weight = np.bincount(image_of, shared[caption_of], units)  # (M,), of an image's captions
    image_sums, text_sums = [], []
    for k in RECALLS:
        image_sums.append((ranked.image_to_text <= k).astype(np.float64))
        hits = (ranked.text_to_image <= k) * shared  # (K,)
        text_sums.append(np.bincount(image_of, hits[caption_of], units))
    means = resampled_means(
        np.stack([*image_sums, *text_sums], axis=1),  # (M, 6)
        np.stack([np.ones(units)] * len(RECALLS) + [weight] * len(RECALLS), axis=1),
    )
    image_means, text_means = np.split(means, 2, axis=1)  # (R, 3) each
    intervals = {}
    for column, k in enumerate(RECALLS):
        by_direction = (image_means[:, column], text_means[:, column])
        intervals[f"image_to_text_recall_at_{k}"] = interval_of(by_direction[0], units)
        intervals[f"text_to_image_recall_at_{k}"] = interval_of(by_direction[1], units)
        intervals[f"recall_at_{k}"] = interval_of(np.mean(by_direction, axis=0), units)
    return intervals


# --- classes --------------------------------------------------------------------------


def measure_classes(
    name: str, scores: np.ndarray, labels: np.ndarray, train_labels: np.ndarray | None = None
) -> Measurement:
    """How often the class of an image is the first, or among the first 5.

    scores (N, C) rate the classes for N images, labels (N,) are the right ones. The
    figures are called `name` + "_top_1" and "_top_5"; with 5 classes or fewer, the
    latter would always be 1 and is left out. A tie is a wrong answer.

    Chance: without `train_labels`, it names k of C classes blindly. With them, it has
    seen how common each class was in training, and always names the k most common ones.

    >>> scores = np.array([[0.9, 0.1], [0.3, 0.2], [0.1, 0.4]])
    >>> measured = measure_classes("zero_shot", scores, np.array([0, 1, 1]))
    >>> name = "zero_shot_top_1"
    >>> round(measured.figures[name], 2), measured.chance[name]
    (0.67, 0.5)
    """
    places = class_ranks(scores, labels)
    classes = scores.shape[1]
    measured = Measurement({}, {}, {})
    for k in TOP_PLACES:
        if k >= classes:
            continue
        key = f"{name}_top_{k}"
        hits = places <= k  # (N,)
        if train_labels is None:
            chance = k / classes
        else:
            common = np.argsort(-np.bincount(train_labels, minlength=classes), kind="stable")
            chance = float(np.isin(labels, common[:k]).mean())
        figure = float(hits.mean())
        measured = measured.joined(
            Measurement({key: figure}, {key: chance}, {key: bootstrap_interval(hits)})
        )
    return measured


def class_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the right class of each image: (N,).

    scores (N, C), labels (N,). A wrong class with an equal score comes first.

    >>> class_ranks(np.array([[0.9, 0.5, 0.5]]), np.array([1]))
    array([3])
    """
    together = max(1, RANKED_TOGETHER // scores.shape[1])
    numbers = np.arange(scores.shape[1])
    parts = [
        ranks(
            scores[start : start + together].astype(np.float64),
            labels[start : start + together, None] == numbers,
        )
        for start in range(0, len(scores), together)
    ]
    return np.concatenate(parts)

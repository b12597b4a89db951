"""What do the figures of a model say, and how much of it is luck?

A figure is printed beside two others. *Chance* is what a model scores that knows
nothing (chance.py). The *interval* says how far the figure may be off, because only so
many images were measured (bootstrap.py). A figure whose interval holds chance says
nothing.

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
    retrieval_figures,
    retrieval_ranks,
)

TOP_RANKS = (1, 5)  # a right answer among the first k counts
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
    ranked = retrieval_ranks(image_features, text_features, captions, image_names)
    chance = chance_of_recall(len(captions), captions, image_names)
    chance |= chance_of_median_rank(len(captions), captions, image_names)
    measured = Measurement(
        figures=retrieval_figures(ranked), chance=chance, intervals=_retrieval_intervals(ranked)
    )
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
    image_count = len(ranked.image_to_text)  # M: the images are drawn
    pair_weight = 1 / np.bincount(caption_of)  # (K,): 1/P for the pairs with this caption
    caption_weight = np.bincount(image_of, pair_weight[caption_of], image_count)  # (M,)
    image_weight = np.ones(image_count)  # (M,)
    image_sums, text_sums = [], []
    for k in RECALLS:
        image_sums.append((ranked.image_to_text <= k).astype(np.float64))  # (M,)
        hits = (ranked.text_to_image <= k) * pair_weight  # (K,)
        text_sums.append(np.bincount(image_of, hits[caption_of], image_count))  # (M,)
    weights = [image_weight] * len(RECALLS) + [caption_weight] * len(RECALLS)
    means = resampled_means(
        sums=np.stack([*image_sums, *text_sums], axis=1),  # (M, 6)
        weights=np.stack(weights, axis=1),  # (M, 6)
    )
    image_means, text_means = np.split(means, 2, axis=1)  # both (R, 3)
    means_of = {
        "image_to_text_recall": image_means,
        "text_to_image_recall": text_means,
        "recall": (image_means + text_means) / 2,
    }
    return {
        f"{name}_at_{k}": interval_of(figure_means[:, column], image_count)
        for column, k in enumerate(RECALLS)
        for name, figure_means in means_of.items()
    }


# --- classes --------------------------------------------------------------------------


def measure_classes(
    name: str, scores: np.ndarray, labels: np.ndarray, train_labels: np.ndarray | None = None
) -> Measurement:
    """How often the class of an image is the first, or among the first 5.

    scores (N, C) rate the classes for N images, labels (N,) are the right ones. The
    figures are called `name` + "_top_1" and "_top_5"; with 5 classes or fewer, the
    latter would always be 1 and is left out. A tie is a wrong answer.

    Chance is what somebody scores who does not look at the image. Without
    `train_labels` that is k of C classes, named blindly. With them it is the k classes
    that were the most common ones in training.

    >>> scores = np.array([[0.9, 0.1], [0.3, 0.2], [0.1, 0.4]])
    >>> measured = measure_classes("zero_shot", scores, np.array([0, 1, 1]))
    >>> name = "zero_shot_top_1"
    >>> round(measured.figures[name], 2), measured.chance[name]
    (0.67, 0.5)
    """
    right_ranks = class_ranks(scores, labels)  # (N,)
    classes = scores.shape[1]
    measured = Measurement(figures={}, chance={}, intervals={})
    for k in TOP_RANKS:
        if k >= classes:
            continue
        key = f"{name}_top_{k}"
        hits = right_ranks <= k  # (N,)
        if train_labels is None:
            chance = k / classes
        else:
            common_first = np.argsort(-np.bincount(train_labels, minlength=classes), kind="stable")
            chance = float(np.isin(labels, common_first[:k]).mean())
        measured = measured.joined(
            Measurement(
                figures={key: float(hits.mean())},
                chance={key: chance},
                intervals={key: bootstrap_interval(hits)},
            )
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

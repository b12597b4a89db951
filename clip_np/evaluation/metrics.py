"""How good is a model that has no classes?

A CLIP is judged by how well images find their captions, and captions their images. Both
are rows of unit features, so the score of an image and a caption is their cosine.

- Retrieval: given an image, rank all captions by their score; given a caption, rank all
  images. The *recall at k* is the share of questions with a right answer among the
  first k. The *median rank* says where the first right answer usually stands.
- Multiple choice: the right caption against a few wrong ones.

Equal captions are one answer: an image finds its caption in any copy. Every other tie
counts against the model, so a model that gives all pairs the same score gets 0 and not
1.

Radford et al. 2021, arXiv:2103.00020, section 3.1; Karpathy and Fei-Fei 2015,
arXiv:1412.2306, section 4.1 (recall at k and median rank).
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

import minigrad as mg

RECALLS = (1, 5, 10)
TIE = 1e-9  # scores this close are equal: equal features differ by rounding only
SHORTEST = 1e-12  # lengths below this count as this much, so that a zero row stays zero
Features = np.ndarray | mg.Tensor  # (N, E), of any length
Names = Sequence[Hashable] | None


class UnitPairs(NamedTuple):
    """The features of N pairs, scaled to length 1, in float64."""

    images: np.ndarray  # (N, E)
    texts: np.ndarray  # (N, E)


class DistinctNames(NamedTuple):
    """Which of N rows have the same name."""

    numbers: np.ndarray  # (N,) the number of each row's name; equal names, equal numbers
    first_rows: np.ndarray  # (M,) for each of M numbers, the first row that has it


def number_names(names: Names, count: int) -> DistinctNames:
    """Number the names of `count` rows. Without names, every row is different.

    >>> number_names(["cat", "dog", "cat"], 3)
    DistinctNames(numbers=array([0, 1, 0]), first_rows=array([0, 1]))
    """
    if names is None:
        return DistinctNames(np.arange(count), np.arange(count))
    if len(names) != count:
        raise ValueError(f"{count} pairs of features, but {len(names)} names or captions of them")
    number_of: dict[Hashable, int] = {}
    numbers = [number_of.setdefault(name, len(number_of)) for name in names]
    _, first_rows = np.unique(numbers, return_index=True)
    return DistinctNames(np.array(numbers), first_rows)


def ranks(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the best right answer to each of Q questions: (Q,).

    scores (Q, A) rate A answers to each question; is_right (Q, A), boolean, says which
    are right, at least one in each row. A wrong answer with an equal score comes first.

    >>> scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.1]])
    >>> is_right = np.array([[True, False, False], [True, False, False]])
    >>> ranks(scores, is_right)
    array([1, 2])
    """
    best_right = np.where(is_right, scores, -np.inf).max(axis=1)  # (Q,)
    is_not_below = scores > best_right[:, None] - TIE  # (Q, A)
    return 1 + (is_not_below & ~is_right).sum(axis=1)


def retrieval_metrics(
    image_features: Features,
    text_features: Features,
    captions: Names = None,
    image_names: Names = None,
) -> dict[str, float]:
    """Recall at 1, 5, 10 and the median rank of N pairs, in both directions.

    image_features, text_features: (N, E), of any length. Equal `captions` are one
    answer: images are ranked against the distinct ones, and a caption finds any of its
    images. Likewise rows with equal `image_names` are one image, and all its captions
    are right.

    Keys: pairs, distinct_captions, image_to_text_recall_at_1, ...,
    text_to_image_median_rank, and recall_at_1, recall_at_5, recall_at_10, the means of
    both directions. ValueError for features that are not pairs, or hold a NaN.

    Of three captions, the first lies nearer to image 1 than to its own image 0:

    >>> images = np.eye(3)
    >>> texts = np.array([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> metrics = retrieval_metrics(images, texts)
    >>> round(metrics["text_to_image_recall_at_1"], 3)
    0.667
    >>> metrics["image_to_text_recall_at_1"]
    1.0
    >>> round(metrics["recall_at_1"], 3)
    0.833
    """
    return retrieval_figures(retrieval_ranks(image_features, text_features, captions, image_names))


class RetrievalRanks(NamedTuple):
    """Where the first right answer to each question stands, and who asked."""

    image_to_text: np.ndarray  # (M,), of the distinct images
    text_to_image: np.ndarray  # (K,), of the distinct captions
    image: DistinctNames  # of the N pairs
    caption: DistinctNames


def retrieval_ranks(
    image_features: Features,
    text_features: Features,
    captions: Names = None,
    image_names: Names = None,
) -> RetrievalRanks:
    """The ranks that `retrieval_metrics` is made of; the arguments are the same.

    >>> retrieval_ranks(np.eye(2), np.eye(2)).image_to_text
    array([1, 1])
    """
    pairs = _unit_pairs(image_features, text_features)
    count = len(pairs.images)
    image = number_names(image_names, count)
    caption = number_names(captions, count)
    # One row for each distinct image, one column for each distinct caption.
    scores = pairs.images[image.first_rows] @ pairs.texts[caption.first_rows].T
    is_right = np.zeros(scores.shape, bool)
    is_right[image.numbers, caption.numbers] = True
    return RetrievalRanks(
        image_to_text=ranks(scores, is_right),
        text_to_image=ranks(scores.T, is_right.T),
        image=image,
        caption=caption,
    )


def retrieval_figures(ranked: RetrievalRanks) -> dict[str, float]:
    """The figures of `retrieval_metrics`, from the ranks of its pairs.

    >>> retrieval_figures(retrieval_ranks(np.eye(2), np.eye(2)))["recall_at_1"]
    1.0
    """
    ranks_by_direction = {
        "image_to_text": ranked.image_to_text,
        "text_to_image": ranked.text_to_image,
    }
    figures: dict[str, float] = {
        "pairs": len(ranked.image.numbers),
        "distinct_captions": len(ranked.caption.first_rows),
    }
    for direction, ranks_of_questions in ranks_by_direction.items():
        for k in RECALLS:
            figures[f"{direction}_recall_at_{k}"] = float((ranks_of_questions <= k).mean())
        figures[f"{direction}_median_rank"] = float(np.median(ranks_of_questions))
    for k in RECALLS:
        recalls = [figures[f"{direction}_recall_at_{k}"] for direction in ranks_by_direction]
        figures[f"recall_at_{k}"] = float(np.mean(recalls))
    return figures


def multiple_choice_accuracy(
    image_features: Features, text_features: Features, choices: int = 3, captions: Names = None
) -> float:
    """How often an image prefers its caption to `choices` - 1 wrong ones.

    image_features, text_features: (N, E), of any length. The wrong captions are those
    of other pairs, never equal `captions`. A tie is a wrong answer.

    Nothing is drawn at random: the result is the mean over all ways to draw the wrong
    captions. If the right caption beats b of the w wrong ones, and n of the w are
    drawn, there are C(w, n) draws, and the right caption wins in C(b, n) of them:

        P(win) = C(b, n) / C(w, n)

    For example, there are w = 4 wrong captions a, b, c and d. The right caption beats
    a, b and c, and n = 2 are drawn. The draws are ab, ac, ad, bc, bd and cd. The right
    caption wins in ab, ac and bc:

        C(3, 2) / C(4, 2) = 3 / 6

    Below are five pairs with equal images. Their captions lie at different angles to
    the images, and beat b = 3, 2, 1, 0 and 4 others. So the mean is

        (3 + 1 + 0 + 0 + 6) / 6 / 5 = 1 / 3

    >>> images = np.array([[1.0, 0.0]] * 5)
    >>> angles = np.radians([30, 40, 50, 60, 20])
    >>> texts = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (5, 2)
    >>> round(multiple_choice_accuracy(images, texts, choices=3), 3)
    0.333
    """
    return float(multiple_choice_wins(image_features, text_features, choices, captions).mean())


def multiple_choice_wins(
    image_features: Features, text_features: Features, choices: int = 3, captions: Names = None
) -> np.ndarray:
    """How likely each of N images prefers its caption: (N,), from 0 to 1.

    The arguments are those of `multiple_choice_accuracy`, which is the mean.

    >>> multiple_choice_wins(np.eye(3), np.eye(3))
    array([1., 1., 1.])
    """
    pairs = _unit_pairs(image_features, text_features)
    caption = number_names(captions, len(pairs.images))
    distinct = len(caption.first_rows)
    wrong = distinct - 1
    drawn = choices - 1
    if drawn < 1 or wrong < drawn:
        raise ValueError(
            f"multiple choice: `choices` is {choices}, expected 2 or more, and as many distinct "
            f"captions; found {distinct}"
        )
    scores = pairs.images @ pairs.texts[caption.first_rows].T  # (N, distinct)
    is_right = caption.numbers[:, None] == np.arange(distinct)  # (N, distinct)
    beaten = distinct - ranks(scores, is_right)  # (N,)
    draws = math.comb(wrong, drawn)
    return np.array([math.comb(int(b), drawn) / draws for b in beaten])


def _unit_pairs(image_features: Features, text_features: Features) -> UnitPairs:
    """Both kinds of features scaled to length 1; ValueError if they are not pairs."""
    images = unit_rows("image_features", image_features)
    texts = unit_rows("text_features", text_features)
    if len(images) != len(texts) or len(images) == 0:
        raise ValueError(
            f"expected pairs of features, got {len(images)} images but {len(texts)} captions"
        )
    return UnitPairs(images=images, texts=texts)


def unit_rows(name: str, features: Features) -> np.ndarray:
    """Features (N, E) as float64 rows of length 1; `name` is for the error."""
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"{name} must have shape (N, E), got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} hold a NaN or an infinity: nothing can be ranked by them")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)  # (N, 1)
    return rows / np.maximum(lengths, SHORTEST)

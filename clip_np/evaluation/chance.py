"""What would a model score that knows nothing?

A recall of 0.1 is much among 1,000 captions and nothing among 10. So a figure says
something only beside that of a model that ranks at random. Let a question have A
possible answers, R of them right. The first k places of a random order hold no right
answer with the probability

    C(A - R, k) / C(A, k)        C(n, k): the ways to choose k of n

and the recall at k of chance is 1 minus this, averaged over all questions. With one
right answer it is k / A. Where it is 1, no model can fail, and the figure says nothing.

The first of R right answers stands at the place (A + 1) / (R + 1) on average, which is
the middle of the list for one. For the R right answers leave R + 1 gaps before, between
and behind them, and the A - R wrong ones are spread over these gaps alike:

    1 + (A - R) / (R + 1) = (A + 1) / (R + 1)
"""

import math

import numpy as np

from clip_np.evaluation.metrics import RECALLS, Names, number_names


def chance_of_recall(
    count: int, captions: Names = None, image_names: Names = None
) -> dict[str, float]:
    """The recalls of `retrieval_metrics`, with the same keys, for a random order.

    >>> round(chance_of_recall(50)["recall_at_5"], 3)
    0.1
    >>> chance_of_recall(3, captions=["a dog", "a dog", "a cat"])["recall_at_1"]
    0.5
    """
    tables = _right_answers(count, captions, image_names)
    chances: dict[str, float] = {}
    for k in RECALLS:
        for direction, table in tables.items():
            chances[f"{direction}_recall_at_{k}"] = _chance(table, k)
        both = [chances[f"{direction}_recall_at_{k}"] for direction in tables]
        chances[f"recall_at_{k}"] = float(np.mean(both))
    return chances


def chance_of_median_rank(
    count: int, captions: Names = None, image_names: Names = None
) -> dict[str, float]:
    """About the median ranks of `retrieval_metrics` for a random order.

    It is the median, over the questions, of the mean place of the first right answer.

    >>> chance_of_median_rank(99)["image_to_text_median_rank"]
    50.0
    """
    return {
        f"{direction}_median_rank": float(np.median((table.shape[1] + 1) / (table.sum(axis=1) + 1)))
        for direction, table in _right_answers(count, captions, image_names).items()
    }


def _right_answers(count: int, captions: Names, image_names: Names) -> dict[str, np.ndarray]:
    """For both directions, which answers (columns) are right for a question (rows)."""
    image = number_names(image_names, count)
    caption = number_names(captions, count)
    is_right = np.zeros((len(image.first_rows), len(caption.first_rows)), bool)
    is_right[image.numbers, caption.numbers] = True
    return {"image_to_text": is_right, "text_to_image": is_right.T}


def _chance(is_right: np.ndarray, k: int) -> float:
    """The mean over questions, (Q, A), of finding a right answer in k random places."""
    answers = is_right.shape[1]
    if k >= answers:
        return 1.0
    counts = np.bincount(is_right.sum(axis=1))  # (R + 1,), questions with R right answers
    ways = math.comb(answers, k)
    missed = sum(
        int(questions) * (math.comb(answers - right, k) / ways)
        for right, questions in enumerate(counts)
        if questions
    )
    return 1.0 - missed / len(is_right)

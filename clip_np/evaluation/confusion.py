"""Which classes does a model take for which others?

The share of right answers does not tell. The *confusion matrix* does: the entry in row
i and column j counts the images of class i that the model called class j. Right answers
stand on the diagonal.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Confusion(NamedTuple):
    """A class that is taken for another one."""

    actual: str
    named: str
    mistakes: int  # images that this happened to
    images: int  # of the class


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, class_count: int) -> np.ndarray:
    """How many images of each class (row) got each answer (column): (C, C), int64.

    labels, answers: (N,), whole numbers below `class_count`.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), class_count=2)
    array([[1, 1],
           [0, 1]])
    """
    both = np.stack([labels, answers])  # ValueError if they differ in length
    if both.size and (both.min() < 0 or both.max() >= class_count):
        raise ValueError(
            f"confusion_matrix: expected classes from 0 to {class_count - 1}, got "
            f"{both.min()} to {both.max()}"
        )
    counts = np.bincount(labels * class_count + answers, minlength=class_count**2)
    return counts.reshape(class_count, class_count)


def most_confused(
    matrix: np.ndarray, class_names: Sequence[str], count: int = 10
) -> list[Confusion]:
    """The most frequent mistakes of a confusion matrix (C, C), at most `count`.

    >>> most_confused(np.array([[8, 2], [0, 5]]), ["cat", "dog"])
    [Confusion(actual='cat', named='dog', mistakes=2, images=10)]
    """
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    images = matrix.sum(axis=1)  # (C,)
    best = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    pairs = [divmod(int(number), len(matrix)) for number in best]
    return [
        Confusion(
            actual=class_names[row],
            named=class_names[column],
            mistakes=int(mistakes[row, column]),
            images=int(images[row]),
        )
        for row, column in pairs
        if mistakes[row, column] > 0
    ]

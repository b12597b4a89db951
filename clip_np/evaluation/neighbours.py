"""Which class do the most similar labelled images have?

The *k nearest neighbours* of an image are the k training images with the largest
cosines to it. They vote with their classes. Nothing is trained, so this measures the
features alone: are images of one class close to one another?

The score of a class is the number of its votes. Of classes with equally many votes, the
one whose voters are nearer should win. So a vote counts a little more if it is near:

    score_c = sum over neighbours j of class c: (1 + cos_j / 4k)

The k additions sum up to a number from -1/4 to 1/4. The sums of two classes differ by
less than one vote, so they decide between equal counts only.

Fix and Hodges 1951; Wu et al. 2018, arXiv:1805.01978, section 3.4 (of image features).
"""

import numpy as np

from clip_np.evaluation.metrics import unit_rows
from clip_np.evaluation.probes import check_labelled

NEIGHBOURS = 10  # that vote, if nobody chooses k
CHUNK_BYTES = 2**26  # cosines that are in memory at a time: 64 MiB
TIE_SHARE = 4  # all additions together are at most a fourth of a vote


def nearest_neighbours(
    features: np.ndarray,
    train_features: np.ndarray,
    train_labels: np.ndarray,
    class_count: int,
    k: int = NEIGHBOURS,
) -> np.ndarray:
    """The scores of C classes for M images, by their k nearest training images: (M, C).

    features (M, E), train_features (N, E): of any length. train_labels (N,): numbers of
    classes. If there are fewer than k training images, all of them vote. A class
    without votes has a score of 0.

    >>> train = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> labels = np.array([0, 0, 1])
    >>> votes = nearest_neighbours(np.array([[1.0, 0.2]]), train, labels, 2, k=3)
    >>> votes.round().tolist()
    [[2.0, 1.0]]
    """
    rows = unit_rows("features", features)  # (M, E)
    train_rows = unit_rows("train_features", train_features)  # (N, E)
    check_labelled("nearest_neighbours", train_rows, train_labels, class_count)
    if k < 1:
        raise ValueError(f"nearest_neighbours: `k` must be 1 or more, not {k}")
    k = min(k, len(train_rows))
    scores = np.zeros((len(rows), class_count))
    chunk = max(1, CHUNK_BYTES // (8 * len(train_rows)))
    for start in range(0, len(rows), chunk):
        cosines = rows[start : start + chunk] @ train_rows.T  # (m, N)
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]  # (m, k), in no order
        votes = 1 + np.take_along_axis(cosines, nearest, axis=1) / (TIE_SHARE * k)  # (m, k)
        image_rows = np.arange(start, start + len(cosines))[:, None]  # (m, 1)
        np.add.at(scores, (image_rows, train_labels[nearest]), votes)
    return scores

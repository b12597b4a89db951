"""Do the features of images hold what their classes are?

A *linear probe* answers this. It learns the classes from N labelled images, with
nothing but a matrix between features and classes. If it does well, the features are
good.

Here the matrix is that of ridge regression, which has a closed form. Let Z (N, E) be
the features, standardised: every column has mean 0 and spread 1. Let Y (N, C) be 1
where an image has a class and 0 elsewhere, less its column means b. The weights W
minimise

    |Z W - Y|^2 + penalty * N * |W|^2

At the minimum the derivative by W is 0:

    2 Z^T (Z W - Y) + 2 penalty * N * W = 0
    W = (Z^T Z + penalty * N * I)^-1 Z^T Y                     (E, C)

where I is the identity matrix. The class of an image with standardised features z is
the largest of z W + b.

The penalty is chosen by *leaving one out*: predict each training image with the weights
that all others give, and take the penalty with the least squared error. There is no
need to solve N systems for this. With Z^T Z = V diag(d) V^T and P = Z V, the
predictions are

    F = P diag(1 / (d + penalty * N)) P^T Y + b                (N, C)

and the share of its own label in the prediction of image i is

    h_i = 1 / N + sum_j P_ij^2 / (d_j + penalty * N)           (1 / N comes from b)

Let u_i be the prediction for image i by all others. An image whose label is u_i would
not move the weights of the others, so with this label in place of Y_i the prediction
would be u_i. A prediction is linear in the labels:

    F_i - u_i = h_i (Y_i - u_i)      so      Y_i - u_i = (Y_i - F_i) / (1 - h_i)

This is the error that image i has without its label. So one decomposition serves all
penalties.

Radford et al. 2021, arXiv:2103.00020, section 3.2 (with a logistic regression); Hoerl
and Kennard 1970, Technometrics 12; Golub, Heath and Wahba 1979, Technometrics 21.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PENALTIES = tuple(10.0**power for power in range(-5, 3))
"""Penalties to choose from. They are added to the eigenvalues of Z^T Z / N, whose mean
is 1, since the features are standardised."""
CHUNK_SIZE = 4096  # images whose C predictions are in memory together


class LinearProbe(NamedTuple):
    """A matrix that names classes, as `linear_probe` trains it."""

    mean: np.ndarray  # (E,) of the training features
    spread: np.ndarray  # (E,)
    weights: np.ndarray  # (E, C)
    bias: np.ndarray  # (C,): how common each class was
    penalty: float
    squared_error: float  # per training image, when it is left out

    def scores(self, features: np.ndarray) -> np.ndarray:
        """How much each class fits images with features (M, E): (M, C)."""
        standardised = (np.asarray(features, np.float64) - self.mean) / self.spread
        return standardised @ self.weights + self.bias


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    class_count: int,
    penalties: Sequence[float] = PENALTIES,
) -> LinearProbe:
    """Train a linear probe on N images.

    features: (N, E). labels: (N,), the numbers of their classes, below `class_count`.
    One of the penalties is chosen by leaving one out. ValueError for labels that do not
    fit, features that are not finite, and fewer than two images.

    Class 1 lies to the right of class 0:

    >>> features = np.array([[-1.0, 0.3], [-1.2, -0.2], [1.1, 0.1], [0.9, -0.3]])
    >>> probe = linear_probe(features, np.array([0, 0, 1, 1]), class_count=2)
    >>> probe.scores(np.array([[-0.8, 0.0], [0.7, 0.2]])).argmax(axis=1)
    array([0, 1])
    """
    features = np.asarray(features, np.float64)
    check_labelled("linear_probe", features, labels, class_count)
    if len(features) < 2 or len(penalties) == 0 or min(penalties) <= 0:
        raise ValueError(
            "linear_probe: needs two images or more, and `penalties` above 0; got "
            f"{len(features)} images and {list(penalties)}"
        )
    mean = features.mean(axis=0)  # (E,)
    spread = features.std(axis=0)  # (E,)
    spread[spread == 0] = 1.0  # a column of equal numbers becomes 0, and has no weight
    standardised = (features - mean) / spread  # Z (N, E)
    bias = np.bincount(labels, minlength=class_count) / len(labels)  # b (C,)

    eigenvalues, directions = np.linalg.eigh(standardised.T @ standardised)  # d (E,), V (E, E)
    eigenvalues = np.maximum(eigenvalues, 0.0)  # rounding may make them negative
    rotated = standardised @ directions  # P (N, E)
    moments = _class_sums(rotated, labels, class_count)
    # Y has b subtracted. The column means of P are 0, so this removes rounding only.
    moments -= rotated.sum(axis=0)[:, None] * bias  # P^T Y (E, C)
    errors = [
        _error_left_out(rotated, eigenvalues + penalty * len(labels), moments, labels, bias)
        for penalty in penalties
    ]
    best = int(np.argmin(errors))
    shrunk = moments / (eigenvalues + penalties[best] * len(labels))[:, None]  # (E, C)
    return LinearProbe(
        mean=mean,
        spread=spread,
        weights=directions @ shrunk,
        bias=bias,
        penalty=float(penalties[best]),
        squared_error=errors[best],
    )


def check_labelled(
    function: str, features: np.ndarray, labels: np.ndarray, class_count: int
) -> None:
    """ValueError unless there are finite features (N, E) with N labels.

    Labels are whole numbers from 0 to `class_count` - 1.
    """
    if features.ndim != 2 or labels.shape != (len(features),) or len(labels) == 0:
        raise ValueError(
            f"{function}: expected features (N, E) and N labels, got {features.shape} and "
            f"{labels.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{function}: the features hold a NaN or an infinity")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= class_count:
        raise ValueError(
            f"{function}: expected labels from 0 to {class_count - 1}, got {labels.dtype} from "
            f"{labels.min()} to {labels.max()}"
        )


def _class_sums(rows: np.ndarray, labels: np.ndarray, class_count: int) -> np.ndarray:
    """For each class the sum of its rows (N, E), in columns: (E, C)."""
    sums = np.zeros((class_count, rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums.T


def _error_left_out(
    rotated: np.ndarray,
    denominators: np.ndarray,
    moments: np.ndarray,
    labels: np.ndarray,
    bias: np.ndarray,
) -> float:
    """The mean squared error of training images whose own label is not used.

    rotated: P (N, E); denominators: d + penalty * N (E,); moments: P^T Y (E, C).
    """
    total = 0.0
    shrunk = moments / denominators[:, None]  # (E, C)
    for start in range(0, len(rotated), CHUNK_SIZE):
        rows = rotated[start : start + CHUNK_SIZE]  # (n, E)
        shares = 1 / len(rotated) + rows**2 @ (1 / denominators)  # h (n,)
        errors = -(rows @ shrunk + bias)  # (n, C): label - prediction, where the label is 0
        errors[np.arange(len(rows)), labels[start : start + CHUNK_SIZE]] += 1.0
        # With as many directions as images, h may be 1 up to rounding.
        left_out = errors / np.maximum(1 - shares, np.finfo(np.float64).eps)[:, None]
        total += float((left_out**2).sum())
    return total / len(rotated)

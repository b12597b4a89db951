"""How do vectors of many numbers become points on a page?

By *principal components*. The features of M things are rows x_i of E numbers. Shift
them so that their mean is 0. Of all planes through the origin, take the one on which
their shadows are longest:

    maximise   sum_i |P x_i|^2     over projections P onto two dimensions

The answer is in the singular value decomposition of the shifted rows, X = U S V^T: the
plane is spanned by the first two rows of V^T. The shadows' share of all squared lengths
is (s_1^2 + s_2^2) / sum_k s_k^2. It says how much the picture shows, which is often
less than half.

*The modality gap.* In CLIP, images lie in one region of the sphere and captions in
another: even when each image is nearest to its caption, their means are far apart, and
the loss does not close the gap. So the longest shadow would be the gap itself, two
heaps side by side that say nothing about content. `centre_both` shifts the images by
their mean and the captions by theirs; the gap is gone, and what is alike meets.

The signs of singular vectors are arbitrary. Here the largest coordinate along an axis
is positive, so that the same run gives the same picture.

Pearson 1901, "On lines and planes of closest fit to systems of points in space"; Liang
et al. 2022, "Mind the Gap", arXiv:2203.02053.
"""

from typing import NamedTuple

import numpy as np

AXES = 2


class Plane(NamedTuple):
    """Images and captions as points of a plane, and how much of them it shows."""

    images: np.ndarray  # (N, 2)
    captions: np.ndarray  # (K, 2)
    share: float  # of the squared lengths, 0 to 1


def principal_plane(images: np.ndarray, captions: np.ndarray, centre_both: bool) -> Plane:
    """The shadows of features (N, E) and (K, E) on their principal plane.

    centre_both: shift images and captions by the mean of their own kind, and not by the
    mean of all.

    The two kinds below differ by a gap along the first axis, and things differ along
    the second. Without the gap, images and captions of a thing meet:

    >>> images = np.array([[1.0, 0.5, 0.0], [1.0, -0.5, 0.0]])
    >>> captions = images - [2.0, 0.0, 0.0]
    >>> principal_plane(images, captions, centre_both=True).captions.round(2)[:, 0]
    array([ 0.5, -0.5])
    >>> principal_plane(images, captions, centre_both=False).captions.round(2)[:, 0]
    array([-1., -1.])
    """
    images, captions = images.astype(np.float64), captions.astype(np.float64)
    if centre_both:
        images = images - images.mean(axis=0)  # (N, E)
        captions = captions - captions.mean(axis=0)  # (K, E)
    rows = np.concatenate([images, captions])  # (N + K, E)
    rows -= rows.mean(axis=0)  # which is 0 already with centre_both
    _, lengths, directions = np.linalg.svd(rows, full_matrices=False)
    points = np.zeros((len(rows), AXES))
    points[:, : len(directions[:AXES])] = rows @ directions[:AXES].T
    farthest = np.abs(points).argmax(axis=0)  # (2,)
    points *= np.where(points[farthest, np.arange(AXES)] < 0, -1.0, 1.0)
    squares = lengths**2
    share = float(squares[:AXES].sum() / squares.sum()) if squares.any() else 1.0
    return Plane(images=points[: len(images)], captions=points[len(images) :], share=share)


def modality_gap(images: np.ndarray, captions: np.ndarray) -> float:
    """The distance between the mean image and the mean caption, of unit features.

    >>> modality_gap(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])).__round__(3)
    0.894
    """
    return float(np.linalg.norm(images.mean(axis=0) - captions.mean(axis=0)))

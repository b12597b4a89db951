"""Which part can be missing?

A model that knows a cat by its whiskers alone does not know the cat whose whiskers are
hidden. So a rectangle of the image is covered:

    cut-out    filled with the mean colour of the image

Lengths are shares of the side of the image, so that they mean the same at every size.

DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
Cutout", arXiv:1708.04552.
"""

import numpy as np


def draw_rectangles(
    rng: np.random.Generator, count: int, height: int, width: int, strength: float
) -> np.ndarray:
    """Which pixels of `count` images are covered: bool (B, 1, H, W).

    The sides of a rectangle are between 0 and `strength` of the image's, the same share
    for both. It lies anywhere inside.

    >>> rng = np.random.default_rng(1)
    >>> draw_rectangles(rng, 1, height=1, width=4, strength=1.0).ravel()
    array([ True,  True, False, False])
    """
    share = rng.uniform(0, strength, size=(count, 1))
    place = rng.uniform(size=(2, count, 1))
    rows = _inside(height, share, place[0])[:, np.newaxis, :, np.newaxis]  # (B, 1, H, 1)
    columns = _inside(width, share, place[1])[:, np.newaxis, np.newaxis, :]  # (B, 1, 1, W)
    return rows & columns


def covered(planes: np.ndarray, rectangles: np.ndarray) -> np.ndarray:
    """Images with their mean colour in rectangles: float32 (b, 3, H, W) -> the same.

    >>> planes = np.array([0, 0, 0, 80], np.float32).reshape(1, 1, 1, 4)
    >>> rectangles = np.array([True, True, False, False]).reshape(1, 1, 1, 4)
    >>> covered(planes, rectangles).ravel().tolist()
    [20.0, 20.0, 0.0, 80.0]
    """
    return np.where(rectangles, planes.mean(axis=(2, 3), keepdims=True), planes)


def _inside(length: int, share: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Which rows (or columns) lie in the rectangle: bool (B, length).

    share (B, 1) of the length; place (B, 1) from 0, at one end, to 1, at the other.
    """
    side = np.rint(share * length)
    start = np.rint(place * (length - side))
    rows = np.arange(length)
    return (rows >= start) & (rows < start + side)

"""Which details can be missing?

A model that knows a cat by the line of its whiskers alone does not know the cat that
somebody else draws. So details are removed at random:

    blur       fine lines:  new(p) = sum over k of w(k) old(p + k),
                            w(k) = exp(-k^2 / (2 sigma^2)) / (the sum of these)
    cut-out    a square:    filled with the mean colour of the image

Lengths are shares of the side of the image, so that they mean the same at every size.

DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
Cutout", arXiv:1708.04552.
"""

import math

import numpy as np

KERNEL_REACH = 2.5  # in sigma: 99 % of a Gaussian lies within
SMALLEST_SIGMA = 1e-3  # pixels; smaller ones would divide by zero, and change nothing


def blur(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Blur each image by a Gaussian: uint8 (B, H, W, 3) -> the same shape and dtype.

    Its sigma is between 0 and `strength` times the height. Pixels of the edge continue
    beyond it.

    >>> images = np.array([0, 0, 90, 0, 0], np.uint8).repeat(3).reshape(1, 1, 5, 3)
    >>> blur(images, np.random.default_rng(0), strength=1.0)[0, 0, :, 0].tolist()
    [0, 16, 56, 16, 0]
    """
    sigmas = rng.uniform(0, strength * images.shape[1], size=len(images))
    return np.stack([gaussian(image, sigma) for image, sigma in zip(images, sigmas)])


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur along columns and along rows: uint8 (H, W, 3) -> the same. sigma: pixels."""
    reach = math.ceil(KERNEL_REACH * sigma)
    offsets = np.arange(-reach, reach + 1)  # (K,)
    weights = np.exp(-(offsets**2) / (2 * max(sigma, SMALLEST_SIGMA) ** 2))  # (K,)
    weights = (weights / weights.sum()).astype(np.float32)
    blurred = _weighted_sum(image.astype(np.float32), weights)
    blurred = _weighted_sum(blurred.swapaxes(0, 1), weights).swapaxes(0, 1)  # (H, W, 3)
    return np.rint(blurred).clip(0, 255).astype(np.uint8)


def _weighted_sum(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum over k of weights[k] * (the row k - K // 2 further on): (N, ...)."""
    reach = len(weights) // 2
    padded = np.concatenate([rows[:1].repeat(reach, axis=0), rows, rows[-1:].repeat(reach, axis=0)])
    total = np.zeros_like(rows)
    for start, weight in enumerate(weights):
        total += weight * padded[start : start + len(rows)]
    return total


def cut_out(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Fill a rectangle of each image with the image's mean colour: uint8 (B, H, W, 3).

    Its sides are between 0 and `strength` of the image's, the same share for both. It
    lies anywhere inside.

    >>> images = np.array([0, 0, 0, 80], np.uint8).repeat(3).reshape(1, 1, 4, 3)
    >>> cut_out(images, np.random.default_rng(1), strength=1.0)[0, 0, :, 0].tolist()
    [20, 20, 0, 80]
    """
    batch, height, width, _ = images.shape
    share = rng.uniform(0, strength, size=(batch, 1))
    place = rng.uniform(size=(2, batch, 1))
    rows = _inside(height, share, place[0])[:, :, np.newaxis, np.newaxis]  # (B, H, 1, 1)
    columns = _inside(width, share, place[1])[:, np.newaxis, :, np.newaxis]  # (B, 1, W, 1)
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)  # (B, 1, 1, 3)
    return np.where(rows & columns, np.rint(mean).astype(np.uint8), images)


def _inside(length: int, share: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Which rows (or columns) lie in the rectangle: bool (B, length).

    share (B, 1) of the length; place (B, 1) from 0, at one end, to 1, at the other.
    """
    side = np.rint(share * length)
    start = np.rint(place * (length - side))
    rows = np.arange(length)
    return (rows >= start) & (rows < start + side)

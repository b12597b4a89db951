"""Does a thing stay the same in another light?

A painter, a lamp and a camera give one thing many colours. So the colours of each image
are changed a little, all its pixels alike. With factors b, c, s near 1, the mean m of
the image's grey values, and grey(x) = 0.299 red + 0.587 green + 0.114 blue:

    brightness    x -> b x
    contrast      x -> m + c (x - m)
    saturation    x -> grey(x) + s (x - grey(x))       s = 0: no colours are left
    hue           x -> R x, a rotation about the axis of the greys, red = green = blue

Each of these is a matrix times x, plus a number. One after the other they are one
matrix and one number. Saturation and hue leave greys as they are, so m passes through:

    new x = M x + (1 - c) b m       with M = c b R S,  S = s Id + (1 - s) 1 w^T

Here Id is the identity matrix, w holds the three weights of grey(x), and 1 w^T is the
matrix that turns a colour into its grey. So all of it costs one product of a 3 x 3
matrix with the pixels.

A. Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image
Classification", arXiv:1312.5402.
"""

from typing import NamedTuple

import numpy as np

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""How bright red, green and blue look: ITU-R BT.601."""

TO_GREY = np.tile(GREY_WEIGHTS, (3, 1))  # 1 w^T, (3, 3)


class Colours(NamedTuple):
    """How the colours of B images change: x -> matrix x + lift * (mean grey)."""

    matrices: np.ndarray  # (B, 3, 3) float32: M
    lifts: np.ndarray  # (B,) float32: (1 - c) b


def draw_colours(
    rng: np.random.Generator, count: int, strength: float, hue: float, grey: float
) -> Colours:
    """Random changes for `count` images.

    strength: brightness, contrast and saturation are between 1 - strength and
    1 + strength. hue: the colours turn by at most this share of a full turn. grey: the
    probability that no colours are left. What is 0 draws no random numbers.

    >>> rng = np.random.default_rng(0)
    >>> colours = draw_colours(rng, 1, strength=0.0, hue=0.0, grey=1.0)
    >>> colours.matrices[0].round(3)
    array([[0.299, 0.587, 0.114],
           [0.299, 0.587, 0.114],
           [0.299, 0.587, 0.114]], dtype=float32)
    """
    brightness, contrast, saturation = np.ones((3, count), np.float32)
    matrices = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
    if strength:
        factors = rng.uniform(1 - strength, 1 + strength, size=(3, count))
        brightness, contrast, saturation = factors.astype(np.float32)
    if hue:
        matrices = hue_rotations(2 * np.pi * rng.uniform(-hue, hue, size=count))
    if grey:
        saturation = np.where(rng.random(count) < grey, np.float32(0), saturation)
    matrices = matrices @ saturations(saturation)
    scale = contrast * brightness
    return Colours(scale[:, np.newaxis, np.newaxis] * matrices, (1 - contrast) * brightness)


def saturations(factors: np.ndarray) -> np.ndarray:
    """s Id + (1 - s) 1 w^T: (B,) -> (B, 3, 3) float32."""
    factors = factors.astype(np.float32)[:, np.newaxis, np.newaxis]  # (B, 1, 1)
    return factors * np.eye(3, dtype=np.float32) + (1 - factors) * TO_GREY


def hue_rotations(angles: np.ndarray) -> np.ndarray:
    """Rotations about the axis of the greys: (B,) radians -> (B, 3, 3) float32.

    Rodrigues' formula for the axis (1, 1, 1) / sqrt(3), with all entries of A 1/3 and K
    the matrix of the cross product with the axis:

        R = cos(angle) I + (1 - cos(angle)) A + sin(angle) K

    >>> np.rint(hue_rotations(np.array([2 * np.pi / 3]))).astype(int).tolist()
    [[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]
    """
    cosine = np.cos(angles)[:, np.newaxis, np.newaxis]  # (B, 1, 1)
    sine = np.sin(angles)[:, np.newaxis, np.newaxis]  # (B, 1, 1)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotations = cosine * np.eye(3) + (1 - cosine) / 3 + sine * cross  # (B, 3, 3)
    return rotations.astype(np.float32)


def recoloured(planes: np.ndarray, colours: Colours) -> np.ndarray:
    """Images in other colours: float32 (b, 3, H, W) -> the same.

    >>> planes = np.array([200, 100, 100], np.float32).reshape(1, 3, 1, 1)
    >>> grey = Colours(TO_GREY[np.newaxis], lifts=np.zeros(1, np.float32))
    >>> recoloured(planes, grey).ravel().astype(int).tolist()
    [129, 129, 129]
    """
    count, channels, height, width = planes.shape
    pixels = planes.reshape(count, channels, height * width)  # a pixel is a column
    mean = pixels.mean(axis=2) @ GREY_WEIGHTS  # (b,)
    changed = colours.matrices @ pixels  # (b, 3, H * W)
    changed += (colours.lifts * mean)[:, np.newaxis, np.newaxis]
    return changed.reshape(planes.shape)

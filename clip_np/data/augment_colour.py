"""Does a thing stay the same in another light?

A painter, a lamp and a camera give one thing many colours. So the colours of each image
are changed a little, all its pixels alike. With factors b, c, s near 1, the mean m of
the image's grey values, and grey(x) = 0.299 red + 0.587 green + 0.114 blue:

    brightness    x -> b x
    contrast      x -> m + c (x - m)
    saturation    x -> grey(x) + s (x - grey(x))
    hue           x -> R x, a rotation about the axis of the greys, red = green = blue
    grey          x -> grey(x)

Values are whole numbers from 0 to 255; what falls outside becomes the nearest of them.

A. Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image
Classification", arXiv:1312.5402.
"""

import numpy as np

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""How bright red, green and blue look: ITU-R BT.601."""


def brightness(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Multiply each image by a factor between 1 - strength and 1 + strength.

    uint8 (B, H, W, 3) -> the same shape and dtype, as all functions here.

    >>> images = np.full((2, 1, 1, 3), 100, np.uint8)
    >>> brightness(images, np.random.default_rng(0), strength=0.5)[:, 0, 0, 0].tolist()
    [114, 77]
    """
    return _as_uint8(images * _factors(rng, len(images), strength))


def contrast(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Move each image's values away from the mean of its greys, or towards it.

    >>> images = np.array([50, 150], np.uint8).repeat(3).reshape(1, 1, 2, 3)
    >>> contrast(images, np.random.default_rng(0), strength=0.5)[0, 0, :, 0].tolist()
    [43, 157]
    """
    mean = grey_values(images).mean(axis=(1, 2), keepdims=True)  # (B, 1, 1, 1)
    return _as_uint8(mean + _factors(rng, len(images), strength) * (images - mean))


def saturation(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Move each pixel away from its grey, or towards it.

    >>> images = np.array([200, 100, 100], np.uint8).reshape(1, 1, 1, 3)
    >>> saturation(images, np.random.default_rng(0), strength=0.5).ravel().tolist()
    [210, 96, 96]
    """
    grey = grey_values(images)
    return _as_uint8(grey + _factors(rng, len(images), strength) * (images - grey))


def hue(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Turn the colours of each image, by at most `strength` of a full turn.

    A third of a turn makes red green, green blue, and blue red. Greys stay greys.

    >>> images = np.array([200, 100, 100], np.uint8).reshape(1, 1, 1, 3)
    >>> hue(images, np.random.default_rng(0), strength=0.1).ravel().tolist()
    [199, 110, 91]
    """
    angles = 2 * np.pi * rng.uniform(-strength, strength, size=len(images))
    pixels = images.reshape(len(images), -1, 3).astype(np.float32)  # (B, H * W, 3)
    turned = pixels @ hue_rotations(angles).swapaxes(1, 2)  # a pixel is a row: x R^T
    return _as_uint8(turned.reshape(images.shape))  # (B, H, W, 3)


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


def grey(images: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
    """With this probability, an image without its colours.

    >>> images = np.array([200, 100, 100], np.uint8).reshape(1, 1, 1, 3)
    >>> grey(images, np.random.default_rng(0), probability=1.0).ravel().tolist()
    [130, 130, 130]
    """
    chosen = rng.random(len(images)) < probability
    result = images.copy()
    result[chosen] = _as_uint8(grey_values(images[chosen]))
    return result


def grey_values(images: np.ndarray) -> np.ndarray:
    """How bright each pixel looks: (B, H, W, 3) -> float32 (B, H, W, 1).

    >>> grey_values(np.full((1, 1, 1, 3), 7, np.uint8)).round(4).tolist()
    [[[[7.0]]]]
    """
    red, green, blue = GREY_WEIGHTS
    return images[..., :1] * red + images[..., 1:2] * green + images[..., 2:] * blue


def _factors(rng: np.random.Generator, count: int, strength: float) -> np.ndarray:
    """Factors from 1 - strength to 1 + strength, one for each image: (B, 1, 1, 1)."""
    factors = rng.uniform(1 - strength, 1 + strength, size=(count, 1, 1, 1))
    return factors.astype(np.float32)


def _as_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)

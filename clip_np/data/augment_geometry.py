"""Where in the picture is the thing, and how large is it?

A caption names the thing and not its place, so each image may be moved:

    stretch and shift    source = (p - centre) / scale + centre + offset
    crop                 source = start + (p + 1/2) * side / length - 1/2
    flip                 source = length - 1 - p

p is the row (or column) of the new image and *source* the row of the old one that it is
copied from. Rows and columns have numbers of their own, so that things also become wide
or tall.

The random resized crop is Szegedy et al. 2014, "Going Deeper with Convolutions",
arXiv:1409.4842, section 6.
"""

import numpy as np

WIDEST_CROP = 4 / 3  # width to height of a crop, and height to width, at most


def stretch_and_shift(
    images: np.ndarray, rng: np.random.Generator, shift: int, zoom: float
) -> np.ndarray:
    """Stretch each image and move it: uint8 (B, H, W, 3) -> the same shape and dtype.

    Each image is stretched by a factor between exp(-zoom) and exp(zoom), one for each
    axis, and moved by at most `shift` whole pixels along each axis. Pixels of the edge
    fill the gap.

    >>> images = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    >>> moved = stretch_and_shift(images, np.random.default_rng(0), shift=1, zoom=0.0)
    >>> images[0, :, :, 0].tolist()
    [[0, 3, 6], [9, 12, 15], [18, 21, 24]]
    >>> moved[0, :, :, 0].tolist()  # one pixel to the right and one down
    [[0, 0, 3], [0, 0, 3], [9, 9, 12]]
    """
    batch, height, width, _ = images.shape
    scale = np.exp(rng.uniform(-zoom, zoom, size=(2, batch, 1)))
    offset = rng.integers(-shift, shift + 1, size=(2, batch, 1))
    rows = _stretched(height, scale[0], offset[0])  # (B, H)
    columns = _stretched(width, scale[1], offset[1])  # (B, W)
    samples = np.arange(batch)[:, np.newaxis, np.newaxis]  # (B, 1, 1)
    return images[samples, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]  # (B, H, W, 3)


def _stretched(length: int, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The old row (or column) of each new one: (B, length) int64, the nearest there is.

    scale and offset: (B, 1).
    """
    centre = (length - 1) / 2
    positions = (np.arange(length) - centre) / scale + centre + offset  # (B, length)
    return np.rint(positions).clip(0, length - 1).astype(np.int64)


def crop(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Cut a box out of each image and enlarge it to the whole: uint8 (B, H, W, 3).

    The box has between 1 - strength and 1 of the area, and is up to 4/3 as wide as it
    is high, or as high as it is wide, but never larger than the image. It lies anywhere
    inside. Between pixels the value is interpolated along rows and columns.

    >>> images = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    >>> cropped = crop(images, np.random.default_rng(0), strength=0.9)
    >>> images[0, :, :, 0].tolist()
    [[0, 3, 6, 9], [12, 15, 18, 21], [24, 27, 30, 33], [36, 39, 42, 45]]
    >>> cropped[0, :, :, 0].tolist()
    [[0, 2, 5, 8], [8, 11, 13, 16], [17, 20, 23, 25], [27, 29, 32, 34]]
    """
    batch, height, width, _ = images.shape
    area = rng.uniform(1 - strength, 1, size=(batch, 1))
    log_aspect = rng.uniform(-np.log(WIDEST_CROP), np.log(WIDEST_CROP), size=(batch, 1))
    place = rng.uniform(size=(2, batch, 1))
    tall = np.minimum(np.sqrt(area * np.exp(log_aspect)), 1) * height
    wide = np.minimum(np.sqrt(area * np.exp(-log_aspect)), 1) * width
    rows = _cropped(height, tall, place[0])  # (B, H)
    columns = _cropped(width, wide, place[1])  # (B, W)
    return np.stack(
        [
            interpolated(image, its_rows, its_columns)
            for image, its_rows, its_columns in zip(images, rows, columns)
        ]
    )


def _cropped(length: int, side: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Positions in the old image, between 0 and length - 1: (B, length).

    side (B, 1) in pixels; place (B, 1) from 0, at one end, to 1, at the other.
    """
    start = place * (length - side)
    positions = start + (np.arange(length) + 0.5) * side / length - 0.5  # (B, length)
    return positions.clip(0, length - 1)


def interpolated(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The values of an image at places between its pixels: uint8 (H, W, 3) -> the same.

    rows (H,) and columns (W,): positions in the image. With f the fraction of a
    position: (1 - f) * (the pixel before) + f * (the pixel after), first along rows.

    >>> image = np.array([0, 100], np.uint8).repeat(3).reshape(1, 2, 3)
    >>> interpolated(image, np.zeros(1), np.array([0.25, 0.5]))[0, :, 0].tolist()
    [25, 50]
    """
    before, after, fraction = _neighbours(rows, image.shape[0])
    first = image[before].astype(np.float32)
    halfway = first + fraction[:, np.newaxis, np.newaxis] * (image[after] - first)
    before, after, fraction = _neighbours(columns, image.shape[1])
    first = halfway[:, before]
    result = first + fraction[:, np.newaxis] * (halfway[:, after] - first)
    return np.rint(result).astype(np.uint8)


def _neighbours(positions: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixel before and after each position, and the fraction of the way: (N,)."""
    before = np.floor(positions).astype(np.int64)
    after = np.minimum(before + 1, length - 1)
    return before, after, (positions - before).astype(np.float32)


def flip(images: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
    """With this probability, an image with left and right exchanged: (B, H, W, 3).

    Captions may speak of left and right, and letters have a direction. So no kind of
    augmentation flips unless it is asked to.

    >>> images = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    >>> flip(images, np.random.default_rng(0), probability=1.0).tolist()
    [[[[3, 4, 5], [0, 1, 2]]]]
    """
    chosen = rng.random(len(images)) < probability
    return np.where(chosen[:, np.newaxis, np.newaxis, np.newaxis], images[:, :, ::-1], images)

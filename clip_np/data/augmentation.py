"""How does a small data set last longer?

A model that sees the same 6,000 pictures a hundred times learns them by heart. So each
time a pair is used, it is varied a little and at random, in ways that leave its meaning
as it is:

    the image      is stretched along each axis and moved by a few pixels
    the caption    gets some of its tags added, words that also describe the picture

The randomness comes from a generator that the caller passes in. The same generator
gives the same variation, so a run can be repeated.
"""

import numpy as np

MOST_EXTRA_WORDS = 3  # tags added to one caption


def augment(
    images: np.ndarray, rng: np.random.Generator, shift: int, zoom: float = 0.0
) -> np.ndarray:
    """Vary each image of a batch: uint8 (B, H, W, 3) -> the same shape and dtype.

    Each image is stretched by a factor between exp(-zoom) and exp(zoom), one for each
    axis, and moved by at most `shift` whole pixels along each axis. Pixels of the edge
    fill the gap.

    >>> images = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    >>> varied = augment(images, np.random.default_rng(0), shift=1)
    >>> images[0, :, :, 0].tolist()
    [[0, 3, 6], [9, 12, 15], [18, 21, 24]]
    >>> varied[0, :, :, 0].tolist()  # one pixel to the right and one down
    [[0, 0, 3], [0, 0, 3], [9, 9, 12]]
    """
    if shift == 0 and zoom == 0:
        return images
    batch, height, width, _ = images.shape
    scale = np.exp(rng.uniform(-zoom, zoom, size=(2, batch, 1)))
    offset = rng.integers(-shift, shift + 1, size=(2, batch, 1))
    rows = _source_positions(height, scale[0], offset[0])  # (B, H)
    columns = _source_positions(width, scale[1], offset[1])  # (B, W)
    samples = np.arange(batch)[:, np.newaxis, np.newaxis]  # (B, 1, 1)
    return images[samples, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]  # (B, H, W, 3)


def _source_positions(length: int, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Which old row (or column) each new one is copied from: (B, length) int64.

    The new position p comes from (p - centre) / scale + centre + offset, rounded, at
    the edge the nearest that exists. scale and offset: (B, 1).
    """
    centre = (length - 1) / 2
    positions = (np.arange(length) - centre) / scale + centre + offset  # (B, length)
    return np.rint(positions).clip(0, length - 1).astype(np.int64)


def extra_words(caption: str, tags: str, rng: np.random.Generator, probability: float) -> str:
    """With this probability, `caption` with one to three of its `tags` added.

    tags are words or phrases separated by commas. Those that occur in the caption are
    not added.

    >>> rng = np.random.default_rng(0)
    >>> extra_words("a cat", "animal, cat, fur", rng, probability=1.0)
    'a cat, animal'
    """
    if rng.random() >= probability:
        return caption
    phrases = dict.fromkeys(tag.strip() for tag in tags.split(","))  # each once, in order
    new = [phrase for phrase in phrases if phrase.lower() not in caption.lower()]
    chosen = rng.permutation(new)[: rng.integers(1, MOST_EXTRA_WORDS + 1)]
    return ", ".join([caption, *chosen])

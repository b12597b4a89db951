"""At which point of the image is a map strongest, and where is its middle?

A map is a coarse grid of numbers that are not negative. It is resized to a finer,
smooth one, on which both points are looked for. A point is a pair (x, y): parts of the
image's width and height, from its upper left corner. So (0.5, 0.5) is the middle.

The *centre* is the centre of mass of what is at least half as strong as the strongest
point. The weak rest is left out, because there is much of it, everywhere, and it would
draw the centre to the middle of the image.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

FINE = 64  # points along a side of the finer copy
STRONG = 0.5  # of the strongest value: what counts for the centre
EQUALLY_STRONG = 1e-6  # relative; a few times the rounding of float32


class Point(NamedTuple):
    """A point of an image, as parts of its width and height."""

    x: float
    y: float


def resized(values: np.ndarray, side: int) -> np.ndarray:
    """A map (G, G) as a smooth one (side, side), bilinear between middles."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def strongest(values: np.ndarray) -> Point | None:
    """The strongest point of a map (G, G); None if the map is zero everywhere.

    >>> values = np.zeros((4, 4))
    >>> values[0, 3] = 1.0
    >>> point = strongest(values)
    >>> round(point.x, 1), round(point.y, 1)
    (0.9, 0.1)
    >>> strongest(np.zeros((4, 4))) is None
    True
    """
    fine = resized(values, FINE)
    if fine.max() <= 0:
        return None
    # Several points may be equally strong, but for rounding: then their middle counts.
    is_strongest = fine >= fine.max() * (1 - EQUALLY_STRONG)
    y, x = (np.argwhere(is_strongest).mean(axis=0) + 0.5) / FINE
    return Point(x=float(x), y=float(y))


def centre(values: np.ndarray) -> Point | None:
    """The centre of mass of the strong part of a map; None if it is zero everywhere.

    >>> values = np.zeros((4, 4))
    >>> values[0, 0] = values[0, 3] = 1.0
    >>> point = centre(values)
    >>> round(point.x, 1), round(point.y, 1)
    (0.5, 0.1)
    """
    fine = resized(values, FINE)
    if fine.max() <= 0:
        return None
    weights = np.where(fine >= STRONG * fine.max(), fine, 0.0)
    middles = (np.arange(FINE) + 0.5) / FINE
    total = weights.sum()
    x = (weights.sum(axis=0) * middles).sum() / total
    y = (weights.sum(axis=1) * middles).sum() / total
    return Point(x=float(x), y=float(y))

"""How is a scene of the shapes task drawn?

The caption says which objects there are, and roughly at which positions. Everything
else varies at random, so that no two pictures are alike: the grey of the background,
the exact size, colour and centre of each object, and noise on every pixel
(`draw_details`).

An object is a rule that says which points (x, y) around its centre belong to it
(INSIDE). A pixel at the edge is covered in part. How much is estimated by probing 3 x 3
points of the pixel, and the colours are mixed in this proportion:

    picture = cover * colour + (1 - cover) * picture
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from clip_np.data.scenes import COLOURS, IMAGE_SIZE, POSITIONS, SHAPES, SIZES, Scenes

CHUNK = 128
"""Images drawn together: 1.5 MB of float32 colour planes, which stay in the processor's
cache. The random numbers are drawn chunk by chunk, so another size would make other
pictures."""

DARK_GREYS = range(0, 60)  # backgrounds, half of them dark and half bright
BRIGHT_GREYS = range(200, 256)
PROBES = (-1 / 3, 0.0, 1 / 3)  # pixels from the middle of a pixel


# How much the details of a picture vary.
RADIUS_FACTORS = (0.92, 1.08)
COLOUR_FACTORS = (0.85, 1.1)
COLOUR_NOISE = 6  # standard deviation of each colour value, of 255
CENTRE_SHIFT = 1.2  # pixels, the most
PIXEL_NOISE = 5  # standard deviation of each pixel, of 255

# Lengths in the shapes, as parts of the radius.
SQUARE = 0.88  # half a side
TRIANGLE_BASE = 0.8  # from the centre down to the base
TRIANGLE_SLOPE = 0.58  # half the width, as a part of the distance from the tip
CROSS_ARM = 0.34  # half the width of an arm
RING_HOLE = 0.55
STAR_BODY = 0.42  # from the centre to the edge between two rays
STAR_RAY = 0.68  # how far a ray reaches beyond that


def _inside_star(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    turns = np.arctan2(x, -y) * (5 / (2 * np.pi))  # 5 turns around the circle, one for each ray
    ray = 2 * np.abs(turns - np.floor(turns) - 0.5)  # 1 on the five rays, 0 half-way between
    return np.sqrt(x * x + y * y) <= r * (STAR_BODY + STAR_RAY * ray * np.sqrt(ray))


INSIDE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y, r: x * x + y * y <= r * r,
    "square": lambda x, y, r: np.maximum(abs(x), abs(y)) <= SQUARE * r,
    "triangle": lambda x, y, r: (
        (-r <= y) & (y <= TRIANGLE_BASE * r) & (abs(x) <= TRIANGLE_SLOPE * (y + r))
    ),
    "cross": lambda x, y, r: (
        (np.minimum(abs(x), abs(y)) <= CROSS_ARM * r) & (abs(x) <= r) & (abs(y) <= r)
    ),
    "ring": lambda x, y, r: (x * x + y * y <= r * r) & (x * x + y * y >= (RING_HOLE * r) ** 2),
    "star": _inside_star,
}
"""Shape -> whether a point (x, y) from its centre is inside at radius r; y is down."""


class Details(NamedTuple):
    """What the captions of n scenes leave open."""

    grey: np.ndarray  # (n,) of the background, 0 to 255
    radii: np.ndarray  # (n, 2) of the objects, in pixels
    colours: np.ndarray  # (n, 2, 3) of the objects, red, green, blue
    centres: np.ndarray  # (n, 2, 2) of the objects, x and y in pixels
    noise: np.ndarray  # (n, 3, 32, 32) to be added to the picture


def draw_details(scenes: Scenes, rng: np.random.Generator) -> Details:
    """Draw at random what the captions leave open. The order of the draws is fixed."""
    count = len(scenes.layouts)
    is_bright = rng.random(count) < 0.5
    bright = rng.integers(BRIGHT_GREYS.start, BRIGHT_GREYS.stop, size=count)
    dark = rng.integers(DARK_GREYS.start, DARK_GREYS.stop, size=count)

    radii = np.array(list(SIZES.values()))[scenes.sizes]  # (n, 2)
    smallest, largest = RADIUS_FACTORS
    radii = radii * rng.uniform(smallest, largest, (count, 2))

    palette = np.array(list(COLOURS.values()))  # (colours, 3)
    colours = palette[scenes.labels // len(SHAPES)]  # (n, 2, 3)
    darkest, brightest = COLOUR_FACTORS
    colours = colours * rng.uniform(darkest, brightest, (count, 2, 1))
    colours = colours + rng.normal(0, COLOUR_NOISE, (count, 2, 3))

    centres = scenes.centres() + rng.uniform(-CENTRE_SHIFT, CENTRE_SHIFT, (count, 2, 2))

    # Colour planes: NumPy's inner loops then run over 32 pixels and not over 3 colours.
    noise = rng.standard_normal((count, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    noise = PIXEL_NOISE * noise
    return Details(
        grey=np.where(is_bright, bright, dark),
        radii=radii.astype(np.float32),
        colours=colours.astype(np.float32),
        centres=centres.astype(np.float32),
        noise=noise,
    )


def coverage(shapes: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How much of each pixel an object covers, 0 to 1: (n, 32, 32) float32.

    shapes (n,): index into SHAPES. centres (n, 2), x and y, and radii (n,) are in
    pixels.

    >>> square = coverage(np.array([1]), np.float32([[16, 16]]), np.float32([5]))
    >>> square.shape
    (1, 32, 32)
    >>> (9 * square[0, 16, 16:22]).round().tolist()  # 9 probes, from the middle on
    [9.0, 9.0, 9.0, 9.0, 3.0, 0.0]
    """
    hits = np.zeros((len(shapes), IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    middles = np.arange(IMAGE_SIZE, dtype=np.float32) + np.float32(0.5)  # of the pixels
    for index, name in enumerate(SHAPES):
        rows = np.flatnonzero(shapes == index)  # (m,)
        x = middles[np.newaxis, np.newaxis, :] - centres[rows, 0, np.newaxis, np.newaxis]  # (m,1,W)
        y = middles[np.newaxis, :, np.newaxis] - centres[rows, 1, np.newaxis, np.newaxis]  # (m,H,1)
        r = radii[rows, np.newaxis, np.newaxis]  # (m, 1, 1)
        for down, right in itertools.product(PROBES, PROBES):
            hits[rows] += INSIDE[name](x + right, y + down, r)
    return hits * np.float32(1 / len(PROBES) ** 2)


def _render_chunk(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw a few scenes: (n, 32, 32, 3) uint8."""
    details = draw_details(scenes, rng)
    picture = np.full_like(details.noise, details.grey[:, None, None, None])  # (n, 3, H, W)
    all_rows = np.arange(len(scenes.layouts))
    rows_with_two = np.flatnonzero(scenes.layouts >= len(POSITIONS))
    for number, rows in enumerate((all_rows, rows_with_two)):  # the first object, the second
        cover = coverage(
            shapes=scenes.labels[rows, number] % len(SHAPES),
            centres=details.centres[rows, number],
            radii=details.radii[rows, number],
        )[:, np.newaxis]  # (m, 1, H, W)
        colours = details.colours[rows, number, :, np.newaxis, np.newaxis]  # (m, 3, 1, 1)
        picture[rows] += cover * (colours - picture[rows])
    picture += details.noise
    return np.clip(picture, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)  # (n, H, W, 3)


def render(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw the scenes: (n, 32, 32, 3) uint8, the same for an equal generator.

    >>> from clip_np.data.scenes import ALL_LABELS, draw_scenes
    >>> rng = np.random.default_rng(0)
    >>> render(draw_scenes(count=3, rng=rng, labels=ALL_LABELS), rng).shape
    (3, 32, 32, 3)
    """
    images = np.empty((len(scenes.layouts), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        images[chunk] = _render_chunk(scenes.rows(chunk), rng)
    return images

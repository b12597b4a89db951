"""Chapter 23: what is the smallest world in which CLIP has something to learn?

Photographs are expensive, and they do not say what a model has understood. This chapter draws a
world of its own: coloured shapes on a grey square of 32 x 32 pixels, each picture with the one
caption that is true of it, such as "a large cyan ring left of a small pink star".

There are 37,344 captions, too many to learn by heart, and what they do not say varies at random.
Eight of the 48 pairs of colour and shape are *held out*: training shows red things and squares,
but never a red square. A model that names one has learned "red" and "square", not a list of
pictures. The idea is that of CLEVR (Johnson et al., 2017, https://arxiv.org/abs/1612.06890).
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clip_np.data.pairs import DataError, opened
from clip_np.data.sources import parquet_records

IMAGE_SIZE = 32
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 40),
    "purple": (150, 50, 190),
    "orange": (240, 135, 30),
    "cyan": (60, 200, 215),
    "pink": (245, 150, 190),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
SIZES = {"small": 3.9, "large": 6.6}  # radius in pixels
PLACES = {  # centre in pixels, x to the right and y down
    "in the center": (16, 16),
    "at the top left": (8, 8),
    "at the top right": (24, 8),
    "at the bottom left": (8, 24),
    "at the bottom right": (24, 24),
}
NAN = float("nan")
RELATIONS = {  # the centres of two objects; NaN is a level that both have, drawn at random
    "above": ((NAN, 8), (NAN, 24)),
    "below": ((NAN, 24), (NAN, 8)),
    "left of": ((8, NAN), (24, NAN)),
    "right of": ((24, NAN), (8, NAN)),
}
LAYOUTS = (*PLACES, *RELATIONS)
CENTRES = np.array([*((place, place) for place in PLACES.values()), *RELATIONS.values()])
# One shape of every colour, in the order of COLOURS: red square, green triangle, blue star ...
_WITHHELD = ("square", "triangle", "star", "circle", "cross", "ring", "square", "triangle")
HELD_OUT = frozenset(zip(COLOURS, _WITHHELD))
CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
ALL_LABELS = tuple(range(len(CLASSES)))
HELD_OUT_LABELS = tuple(n for n in ALL_LABELS if tuple(CLASSES[n].split()) in HELD_OUT)
SEEN_LABELS = tuple(n for n in ALL_LABELS if n not in HELD_OUT_LABELS)
# A class's score is the best over these ten, the class name in the braces.
PROMPTS = tuple(f"a {size} {{}} {place}" for size in SIZES for place in PLACES)

RETRIEVAL_IMAGES, IMAGES_PER_CLASS = 1000, 20
CHUNK = 128  # images rendered together: their float32 planes stay in the processor's cache


class Scenes(NamedTuple):
    """What n captions say. A scene of one object ignores the second entries and the level."""

    labels: np.ndarray  # (n, 2) class of each object, 6 * colour + shape
    sizes: np.ndarray  # (n, 2) index into SIZES
    layouts: np.ndarray  # (n,) index into LAYOUTS: PLACES, one object, then RELATIONS, two
    levels: np.ndarray  # (n,) where both objects of a relation lie on its other axis, in pixels

    def captions(self) -> list[str]:
        """The sentence that is true of each scene."""
        sizes, captions = tuple(SIZES), []
        for labels, radii, layout in zip(*(column.tolist() for column in self[:3])):
            first, second = (f"a {sizes[r]} {CLASSES[n]}" for n, r in zip(labels, radii))
            one = f"{first} {LAYOUTS[layout]}"
            captions.append(one if layout < len(PLACES) else f"{one} {second}")
        return captions

    def centres(self) -> np.ndarray:
        """Where the caption puts each object: (n, 2, 2), the last axis x and y in pixels."""
        centres = CENTRES[self.layouts]  # (n, 2, 2)
        return np.where(np.isnan(centres), self.levels[:, None, None], centres)

    def rows(self, which: slice | Sequence[int]) -> "Scenes":
        """The chosen scenes."""
        return Scenes(*(column[which] for column in self))


class ShapesSplit(NamedTuple):
    """One kind of the test split."""

    images: np.ndarray  # (n, 32, 32, 3) uint8
    captions: list[str]
    labels: np.ndarray  # (n,) int64: the class where there is one object to name, else -1


def draw_scenes(count: int, rng: np.random.Generator, labels: Sequence[int]) -> Scenes:
    """Draw ``count`` scenes of objects of the classes ``labels``, 0.4 of them of one object."""
    single = rng.random(count) < 0.4
    places = rng.integers(len(PLACES), size=count)
    relations = rng.integers(len(RELATIONS), size=count)
    levels = rng.integers(10, 23, size=count)
    classes = np.array(labels)[rng.integers(len(labels), size=(count, 2))]
    sizes = rng.integers(len(SIZES), size=(count, 2))
    return Scenes(classes, sizes, np.where(single, places, len(PLACES) + relations), levels)


def _inside_star(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    turns = np.arctan2(x, -y) * (5 / (2 * np.pi))
    ray = 2 * np.abs(turns - np.floor(turns) - 0.5)  # 1 on the five rays, 0 half-way between
    return np.sqrt(x * x + y * y) <= r * (0.42 + 0.68 * ray * np.sqrt(ray))


# For each shape, which of the points (x, y) around its centre belong to it at radius r; y down.
INSIDE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y, r: x * x + y * y <= r * r,
    "square": lambda x, y, r: np.maximum(abs(x), abs(y)) <= 0.88 * r,
    "triangle": lambda x, y, r: (-r <= y) & (y <= 0.8 * r) & (abs(x) <= 0.58 * (y + r)),
    "cross": lambda x, y, r: (
        (np.minimum(abs(x), abs(y)) <= 0.34 * r) & (abs(x) <= r) & (abs(y) <= r)
    ),
    "ring": lambda x, y, r: (x * x + y * y <= r * r) & (x * x + y * y >= (0.55 * r) ** 2),
    "star": _inside_star,
}


def _coverage(shapes: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How much of each pixel an object covers, probed at 3 x 3 points: (n, 32, 32) float32. Shapes
    (n,) index SHAPES; centres (n, 2), x and y, and radii (n,) are in pixels."""
    hits = np.zeros((len(shapes), IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    pixels = np.arange(IMAGE_SIZE, dtype=np.float32) + np.float32(0.5)
    probes = (-1 / 3, 0.0, 1 / 3)
    for index, name in enumerate(SHAPES):
        rows = np.flatnonzero(shapes == index)
        x = pixels[None, None, :] - centres[rows, 0, None, None]  # (m, 1, W)
        y = pixels[None, :, None] - centres[rows, 1, None, None]  # (m, H, 1)
        r = radii[rows, None, None]  # (m, 1, 1)
        for down, right in itertools.product(probes, probes):
            hits[rows] += INSIDE[name](x + right, y + down, r)
    return hits * np.float32(1 / len(probes) ** 2)


def _render_chunk(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw a few scenes: (n, 32, 32, 3) uint8. The order of the draws is fixed."""
    count = len(scenes.layouts)
    bright = rng.random(count) < 0.5
    grey = np.where(bright, rng.integers(200, 256, size=count), rng.integers(0, 60, size=count))
    radii = np.array(list(SIZES.values()))[scenes.sizes] * rng.uniform(0.92, 1.08, (count, 2))
    palette = np.array(list(COLOURS.values()))[scenes.labels // len(SHAPES)]  # (n, 2, 3)
    colours = palette * rng.uniform(0.85, 1.1, (count, 2, 1)) + rng.normal(0, 6, (count, 2, 3))
    centres = scenes.centres() + rng.uniform(-1.2, 1.2, (count, 2, 2))
    # Colour planes, as NumPy's inner loops are then 32 long and not 3.
    noise = 5 * rng.standard_normal((count, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)

    radii, colours, centres = (a.astype(np.float32) for a in (radii, colours, centres))
    picture = np.full_like(noise, grey[:, None, None, None])
    both = np.flatnonzero(scenes.layouts >= len(PLACES))
    for which, rows in enumerate((np.arange(count), both)):
        shapes = scenes.labels[rows, which] % len(SHAPES)
        cover = _coverage(shapes, centres[rows, which], radii[rows, which])[:, None]  # (m, 1, H, W)
        picture[rows] += cover * (colours[rows, which, :, None, None] - picture[rows])
    picture += noise
    return np.clip(picture, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)  # (n, H, W, 3)


def render(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw the scenes: (n, 32, 32, 3) uint8, the same bytes for the same scenes and generator."""
    images = np.empty((len(scenes.layouts), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        images[chunk] = _render_chunk(scenes.rows(chunk), rng)
    return images


def training_pairs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Draw ``count`` images (count, 32, 32, 3), uint8, and their captions, no held-out pairs."""
    scenes = draw_scenes(count, rng, SEEN_LABELS)
    return render(scenes, rng), scenes.captions()


def _distinct_scenes(count: int, rng: np.random.Generator, labels: Sequence[int]) -> Scenes:
    """The first ``count`` scenes with captions of their own, in the order they are drawn."""
    batches, captions = [], []
    while len(set(captions)) < count:
        batches.append(draw_scenes(count, rng, labels))
        captions += batches[-1].captions()
    _, first = np.unique(captions, return_index=True)
    return Scenes(*map(np.concatenate, zip(*batches))).rows(np.sort(first)[:count])


def test_split(seed: int) -> dict[str, ShapesSplit]:
    """Draw a test split, the same for the same seed: "all" and "heldout" (held-out pairs only) are
    1,000 images with distinct captions; "zeroshot_seen" and "zeroshot_heldout" are 20 images of
    one object for each class, 800 and 160, with captions such as "a red circle"."""
    rng = np.random.default_rng(seed)
    split = {}
    for kind, classes in (("all", ALL_LABELS), ("heldout", HELD_OUT_LABELS)):
        scenes = _distinct_scenes(RETRIEVAL_IMAGES, rng, classes)
        labels = np.full(RETRIEVAL_IMAGES, -1, dtype=np.int64)
        split[kind] = ShapesSplit(render(scenes, rng), scenes.captions(), labels)
    for kind, classes in (("zeroshot_seen", SEEN_LABELS), ("zeroshot_heldout", HELD_OUT_LABELS)):
        labels = np.repeat(np.array(classes, dtype=np.int64), IMAGES_PER_CLASS)
        scenes = draw_scenes(len(labels), rng, ALL_LABELS)
        layouts = rng.integers(len(PLACES), size=len(labels))
        scenes = scenes._replace(labels=np.stack([labels, labels], axis=1), layouts=layouts)
        split[kind] = ShapesSplit(render(scenes, rng), [f"a {CLASSES[n]}" for n in labels], labels)
    return split


def read_test_split(path: str | Path) -> dict[str, ShapesSplit]:
    """Read a test split from a parquet file, or from the test-*.parquet of a folder, with columns
    ``img`` (encoded), ``text_EN``, ``kind``, ``label``. DataError for what is not as expected."""
    files = sorted(Path(path).glob("test-*.parquet")) if Path(path).is_dir() else [Path(path)]
    columns = {name: (name,) for name in ("img", "text_EN", "kind", "label")}
    rows = {kind: [] for kind in ("all", "heldout", "zeroshot_seen", "zeroshot_heldout")}
    for file in files:
        for place, cells in parquet_records(file, columns):
            image, caption, kind, label = cells.values()
            image = np.asarray(opened((image or {}).get("bytes") or b"", f"{file} {place}"))
            valid = isinstance(caption, str) and kind in rows and label in range(-1, len(CLASSES))
            if not valid or image.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
                found = f"{image.shape}, {caption!r}, {kind!r} and {label!r}"
                raise DataError(f"{file} {place}: no image, text, kind and label as here: {found}")
            rows[kind].append((image, caption, label))
    split = {}
    for kind, found in rows.items():
        if not found:
            raise DataError(f"{path}: no rows of kind {kind} in {len(files)} parquet test files")
        images, captions, labels = zip(*found)
        split[kind] = ShapesSplit(np.stack(images), list(captions), np.array(labels, np.int64))
    return split

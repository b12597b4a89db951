"""Chapter 19: what is the smallest world in which CLIP has something to learn?

Photographs are expensive, and they do not say what a model has understood. This chapter
draws a world of its own instead: coloured shapes on a grey square of 32 x 32 pixels, each
picture with the one caption that is true of it.

    a small red circle at the top left
    a large cyan ring left of a small pink star

Eight colours, six shapes, two sizes, five places and four relations make 37,344 captions, so a
model cannot learn them by heart: it has to find colour, shape, size and place, and to bind
each word to the right object. Two tricks make the world a test of understanding:

*   Eight of the 48 pairs of colour and shape are *held out*: training never shows a red
    square, though it shows other red things and other squares. A model that names a red square
    has learned "red" and "square", not a list of pictures.
*   Everything that a caption does not say varies at random (grey level, brightness, exact
    radius and centre, pixel noise), so that no shortcut through single pixels is left.

A shape is a mask: the set of points (x, y) around its centre that satisfy an inequality. A
pixel's share of the shape is measured at 3 x 3 points inside it, which makes soft edges.

The idea of testing how attributes combine on such drawings is that of CLEVR (Johnson et al.,
2017, https://arxiv.org/abs/1612.06890), made small enough for minutes on a laptop.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

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
# Name of a size -> radius in pixels.
SIZES = {"small": 3.9, "large": 6.6}
# Name of a place -> its centre in pixels, x to the right and y down.
PLACES = {
    "in the center": (16, 16),
    "at the top left": (8, 8),
    "at the top right": (24, 8),
    "at the bottom left": (8, 24),
    "at the bottom right": (24, 24),
}
# Name of a relation -> its axis (0 is x, 1 is y), the first and the second object's place on it.
RELATIONS = {
    "above": (1, 8, 24),
    "below": (1, 24, 8),
    "left of": (0, 8, 24),
    "right of": (0, 24, 8),
}
# One shape of every colour, in the order of COLOURS: red square, green triangle, blue star ...
_WITHHELD = ("square", "triangle", "star", "circle", "cross", "ring", "square", "triangle")
HELD_OUT = frozenset(zip(COLOURS, _WITHHELD))
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
CLASSES = tuple(f"{colour} {shape}" for colour, shape in PAIRS)
HELD_OUT_LABELS = tuple(label for label, pair in enumerate(PAIRS) if pair in HELD_OUT)
SEEN_LABELS = tuple(label for label, pair in enumerate(PAIRS) if pair not in HELD_OUT)
# A class's score is the best over these ten, the class name in the braces.
PROMPTS = tuple(f"a {size} {{}} {place}" for size in SIZES for place in PLACES)
KINDS = ("all", "heldout", "zeroshot_seen", "zeroshot_heldout")

RETRIEVAL_IMAGES = 1000
IMAGES_PER_CLASS = 20
# Images rendered together: their float32 planes (1.5 MB) stay in the processor's cache.
CHUNK = 128
# Where a pixel is probed, relative to its centre: three points along each axis.
PROBES = (-1 / 3, 0.0, 1 / 3)


class Scenes(NamedTuple):
    """What n captions say. Every column has n rows; two columns hold one entry an object.

    A layout below ``len(PLACES)`` is a single object at that place, and the second entries are
    ignored; any other layout is a relation between two objects.
    """

    labels: np.ndarray  # (n, 2) class of each object, 6 * colour + shape
    sizes: np.ndarray  # (n, 2) index into SIZES
    layouts: np.ndarray  # (n,) index into PLACES followed by RELATIONS
    levels: np.ndarray  # (n,) where both objects of a relation lie on its other axis, in pixels

    def captions(self) -> list[str]:
        """The sentence that is true of each scene."""
        sizes, layouts = tuple(SIZES), (*PLACES, *RELATIONS)
        captions = []
        for labels, size, layout in zip(
            self.labels.tolist(), self.sizes.tolist(), self.layouts.tolist()
        ):
            caption = f"a {sizes[size[0]]} {CLASSES[labels[0]]} {layouts[layout]}"
            if layout >= len(PLACES):
                caption += f" a {sizes[size[1]]} {CLASSES[labels[1]]}"
            captions.append(caption)
        return captions

    def centres(self) -> np.ndarray:
        """Where the caption puts each object: (n, 2, 2), the last axis x and y in pixels."""
        table = np.zeros((len(PLACES) + len(RELATIONS), 2, 2), dtype=np.int64)
        table[: len(PLACES)] = np.array(list(PLACES.values()))[:, None]
        across = np.zeros_like(table)
        for layout, (axis, first, second) in enumerate(RELATIONS.values(), len(PLACES)):
            table[layout, :, axis] = first, second
            across[layout, :, 1 - axis] = 1
        return table[self.layouts] + across[self.layouts] * self.levels[:, None, None]  # (n, 2, 2)

    def rows(self, which: slice | np.ndarray | Sequence[int]) -> Scenes:
        """The chosen scenes."""
        return Scenes(*(column[which] for column in self))


class ShapesSplit(NamedTuple):
    """One kind of the test split."""

    images: np.ndarray  # (n, 32, 32, 3) uint8
    captions: list[str]
    labels: np.ndarray  # (n,) int64: the class where there is one object to name, else -1


def draw_scenes(
    count: int, rng: np.random.Generator, labels: Sequence[int] = tuple(range(len(CLASSES)))
) -> Scenes:
    """Draw ``count`` scenes whose objects come from the classes ``labels``, all equally likely.

    With probability 0.4 a scene holds one object. The draws come in a fixed order, each for all
    scenes at once: one object or two, place, relation, level, classes, sizes.
    """
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
    "square": lambda x, y, r: (np.abs(x) <= 0.88 * r) & (np.abs(y) <= 0.88 * r),
    "triangle": lambda x, y, r: (-r <= y) & (y <= 0.8 * r) & (np.abs(x) <= 0.58 * (y + r)),
    "cross": lambda x, y, r: (
        ((np.abs(x) <= 0.34 * r) & (np.abs(y) <= r)) | ((np.abs(y) <= 0.34 * r) & (np.abs(x) <= r))
    ),
    "ring": lambda x, y, r: (x * x + y * y <= r * r) & (x * x + y * y >= (0.55 * r) ** 2),
    "star": _inside_star,
}


def _coverage(shapes: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How much of each pixel an object covers, 0 to 1: (n, 32, 32) float32.

    ``shapes`` (n,) are indices into SHAPES, ``centres`` (n, 2) and ``radii`` (n,) are in pixels.
    """
    hits = np.zeros((len(shapes), IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    pixels = np.arange(IMAGE_SIZE, dtype=np.float32) + np.float32(0.5)
    for index, name in enumerate(SHAPES):
        rows = np.flatnonzero(shapes == index)
        x = pixels[None, None, :] - centres[rows, 0, None, None]  # (m, 1, W)
        y = pixels[None, :, None] - centres[rows, 1, None, None]  # (m, H, 1)
        r = radii[rows, None, None]  # (m, 1, 1)
        for down in PROBES:
            for right in PROBES:
                hits[rows] += INSIDE[name](x + right, y + down, r)
    return hits * np.float32(1 / len(PROBES) ** 2)


def _render_chunk(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw a few scenes: (n, 32, 32, 3) uint8."""
    count = len(scenes.layouts)
    bright = rng.random(count) < 0.5
    grey = np.where(bright, rng.integers(200, 256, size=count), rng.integers(0, 60, size=count))
    radii = np.array(list(SIZES.values()))[scenes.sizes] * rng.uniform(0.92, 1.08, (count, 2))
    palette = np.array(list(COLOURS.values()))[scenes.labels // len(SHAPES)]  # (n, 2, 3)
    colours = palette * rng.uniform(0.85, 1.1, (count, 2, 1)) + rng.normal(0, 6, (count, 2, 3))
    centres = scenes.centres() + rng.uniform(-1.2, 1.2, (count, 2, 2))
    # Colour planes, as NumPy's inner loops are then 32 long and not 3.
    canvas = rng.standard_normal((count, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)

    radii, colours, centres = (a.astype(np.float32) for a in (radii, colours, centres))
    picture = np.empty_like(canvas)
    picture[:] = grey[:, None, None, None]
    both = np.flatnonzero(scenes.layouts >= len(PLACES))
    for which, rows in enumerate((np.arange(count), both)):
        shapes = scenes.labels[rows, which] % len(SHAPES)
        cover = _coverage(shapes, centres[rows, which], radii[rows, which])[:, None]  # (m, 1, H, W)
        picture[rows] += cover * (colours[rows, which, :, None, None] - picture[rows])
    canvas *= 5
    canvas += picture
    # The fraction is cut off, not rounded.
    pixels = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)  # (n, H, W, 3)


def render(scenes: Scenes, rng: np.random.Generator) -> np.ndarray:
    """Draw the scenes: (n, 32, 32, 3) uint8, the same bytes for the same scenes and generator.

    Works in chunks of ``CHUNK`` images. Each chunk draws, for all its images at once: bright or
    dark, the bright and the dark grey level, radius factors, colour factors, colour shifts,
    shifts of the centres, pixel noise.
    """
    count = len(scenes.layouts)
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for start in range(0, count, CHUNK):
        chunk = slice(start, start + CHUNK)
        images[chunk] = _render_chunk(scenes.rows(chunk), rng)
    return images


def training_pairs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Draw ``count`` images and their captions, without the held-out pairs.

    Returns images (count, 32, 32, 3) uint8 and as many captions. All scenes are drawn first,
    then the images. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"training_pairs: count must not be negative, got {count}")
    scenes = draw_scenes(count, rng, SEEN_LABELS)
    return render(scenes, rng), scenes.captions()


def _distinct_scenes(count: int, rng: np.random.Generator, labels: Sequence[int]) -> Scenes:
    """The first ``count`` scenes with captions of their own, in the order they are drawn."""
    first: dict[str, int] = {}
    batches: list[Scenes] = []
    while len(first) < count:
        batch = draw_scenes(count, rng, labels)
        for row, caption in enumerate(batch.captions(), start=len(batches) * count):
            first.setdefault(caption, row)
        batches.append(batch)
    drawn = Scenes(*(np.concatenate(columns) for columns in zip(*batches)))
    return drawn.rows(list(first.values())[:count])


def test_split(seed: int) -> dict[str, ShapesSplit]:
    """Draw a test split: its four kinds by name, the same for the same seed.

    "all" and "heldout" hold 1,000 images with distinct captions each, of any pair or of held-out
    pairs only. "zeroshot_seen" and "zeroshot_heldout" hold 20 images of one object for each
    class, 800 and 160, with the class as label and "a red circle" as caption.
    """
    rng = np.random.default_rng(seed)
    split = {}
    for kind, labels in (("all", range(len(CLASSES))), ("heldout", HELD_OUT_LABELS)):
        scenes = _distinct_scenes(RETRIEVAL_IMAGES, rng, labels)
        none = np.full(RETRIEVAL_IMAGES, -1, dtype=np.int64)
        split[kind] = ShapesSplit(render(scenes, rng), scenes.captions(), none)
    for kind, classes in (("zeroshot_seen", SEEN_LABELS), ("zeroshot_heldout", HELD_OUT_LABELS)):
        labels = np.repeat(np.array(classes, dtype=np.int64), IMAGES_PER_CLASS)
        scenes = draw_scenes(len(labels), rng)._replace(
            labels=np.stack([labels, labels], axis=1),
            layouts=rng.integers(len(PLACES), size=len(labels)),
        )
        captions = [f"a {CLASSES[label]}" for label in labels]
        split[kind] = ShapesSplit(render(scenes, rng), captions, labels)
    return split


def _find_file(path: str | Path) -> Path:
    path = Path(path)
    found = sorted(path.glob("test-*.parquet")) if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file():
        raise FileNotFoundError(
            f"{path}: expected a parquet file, or a folder that holds exactly one test-*.parquet"
        )
    return found[0]


def _read_columns(file: Path) -> dict[str, list[Any]]:
    """The four columns of the file as Python lists."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'reading parquet files needs pyarrow: pip install "minigrad-clip[data]"'
        ) from error
    names = ["img", "text_EN", "kind", "label"]
    try:
        present = pyarrow.parquet.read_schema(file).names
        missing = [name for name in names if name not in present]
        if not missing:
            return pyarrow.parquet.read_table(file, columns=names).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a readable parquet file: {error}") from error
    raise ValueError(f"{file}: lacks the column(s) {', '.join(missing)}; it has {present}")


def _decode_image(cell: Any, where: str) -> np.ndarray:
    """The image in a cell ``{"bytes": ...}``: (32, 32, 3) uint8; ``where`` names it in errors."""
    data = cell.get("bytes") if isinstance(cell, dict) else None
    if data is None:
        raise ValueError(f"{where}: 'img' holds no image bytes")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.size != (IMAGE_SIZE, IMAGE_SIZE):
                raise ValueError(f"the image is {image.size}, expected {(IMAGE_SIZE, IMAGE_SIZE)}")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: {error}") from error


def read_test_split(path: str | Path) -> dict[str, ShapesSplit]:
    """Read a test split from its parquet file, or from the folder that holds it.

    The file has the columns ``img`` (encoded 32 x 32 images), ``text_EN``, ``kind`` and
    ``label``. Returns the kinds as `test_split` does, rows in the order of the file. Raises
    FileNotFoundError where there is no such file, ImportError without pyarrow, and ValueError,
    which names the file and the row, for a damaged file, a missing column, a missing or unknown
    kind, and a value of the wrong type.
    """
    file = _find_file(path)
    columns = _read_columns(file)
    rows: dict[str, list[tuple[np.ndarray, str, int]]] = {kind: [] for kind in KINDS}
    for row, (cell, caption, kind, label) in enumerate(zip(*columns.values())):
        where = f"{file}, row {row}"
        if kind not in rows:
            raise ValueError(f"{where}: unknown kind {kind!r}, expected one of {KINDS}")
        if not isinstance(caption, str):
            raise ValueError(f"{where}: 'text_EN' must be a string, got {caption!r}")
        if not isinstance(label, int) or not -1 <= label < len(CLASSES):
            raise ValueError(f"{where}: 'label' must be -1 .. {len(CLASSES) - 1}, got {label!r}")
        rows[kind].append((_decode_image(cell, where), caption, label))
    empty = [kind for kind in KINDS if not rows[kind]]
    if empty:
        raise ValueError(f"{file}: holds no rows of kind {', '.join(empty)}")
    split = {}
    for kind, found in rows.items():
        images, captions, labels = zip(*found)
        split[kind] = ShapesSplit(np.stack(images), list(captions), np.array(labels, np.int64))
    return split

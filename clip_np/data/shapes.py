"""What is the smallest world in which CLIP has something to learn?

Photographs are expensive, and they do not say what a model has understood. The shapes
task draws a small world: coloured shapes on a grey square of 32 x 32 pixels, and
with each picture the one caption that is true of it, such as "a large cyan ring left of
a small pink star" (scenes.py). There are 37,344 captions, too many to learn by heart.

Of the 48 pairs of a colour and a shape, 8 are *held out*: training shows red things and
squares, but never a red square. A model that names a red square has learned "red" and
"square", and not a list of pictures. The idea comes from CLEVR (Johnson et al. 2017,
arXiv:1612.06890).

The test split has four kinds:

    all                 1,000 scenes of all classes, to be matched with their captions
    heldout             1,000 scenes of held-out classes only, likewise
    zeroshot_seen       20 single objects of each class that training shows, to be named
    zeroshot_heldout    20 single objects of each held-out class, to be named
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clip_np.data.columns import Entry
from clip_np.data.drawing import render
from clip_np.data.errors import DataError
from clip_np.data.images import opened
from clip_np.data.parquet import column_names, read_parquet
from clip_np.data.scenes import (
    ALL_LABELS,
    CLASSES,
    HELD_OUT,
    HELD_OUT_LABELS,
    IMAGE_SIZE,
    POSITIONS,
    SEEN_LABELS,
    SIZES,
    Scenes,
    distinct_scenes,
    draw_scenes,
)

__all__ = [
    "CLASSES",
    "HELD_OUT",
    "HELD_OUT_LABELS",
    "IMAGE_SIZE",
    "PROMPTS",
    "SEEN_LABELS",
    "ShapesSplit",
    "read_test_split",
    "test_split",
    "training_pairs",
]

PROMPTS = tuple(f"a {size} {{}} {position}" for size in SIZES for position in POSITIONS)
"""Sentences with a gap for the name of a class. Its score is the best over all ten."""

RETRIEVAL_IMAGES = 1000  # in each of "all" and "heldout"
IMAGES_PER_CLASS = 20  # in "zeroshot_seen" and "zeroshot_heldout"
RETRIEVAL_KINDS = {"all": ALL_LABELS, "heldout": HELD_OUT_LABELS}
ZERO_SHOT_KINDS = {"zeroshot_seen": SEEN_LABELS, "zeroshot_heldout": HELD_OUT_LABELS}
NO_LABEL = -1  # for a scene in which there is not one object to name


class ShapesSplit(NamedTuple):
    """One kind of the test split."""

    images: np.ndarray  # (n, 32, 32, 3) uint8
    captions: list[str]
    labels: np.ndarray  # (n,) int64: the class of the one object, or NO_LABEL


class SplitRow(NamedTuple):
    """One row of a file with a test split."""

    kind: str
    image: np.ndarray  # (32, 32, 3) uint8
    caption: str
    label: int


def training_pairs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Draw `count` images (count, 32, 32, 3) uint8 and captions, no held-out classes.

    >>> images, captions = training_pairs(2, np.random.default_rng(0))
    >>> images.shape
    (2, 32, 32, 3)
    >>> captions[0]
    'a large orange circle above a large pink square'
    """
    scenes = draw_scenes(count, rng, SEEN_LABELS)
    return render(scenes, rng), scenes.captions()


def test_split(seed: int) -> dict[str, ShapesSplit]:
    """Draw a test split, the same for the same seed: its four kinds by name.

    The captions of "all" and "heldout" are distinct. The zero-shot kinds hold 800 and
    160 images with captions such as "a red circle".

    >>> {kind: len(part.captions) for kind, part in test_split(seed=0).items()}
    {'all': 1000, 'heldout': 1000, 'zeroshot_seen': 800, 'zeroshot_heldout': 160}
    """
    rng = np.random.default_rng(seed)
    split = {}
    for kind, classes in RETRIEVAL_KINDS.items():
        scenes = distinct_scenes(RETRIEVAL_IMAGES, rng, classes)
        labels = np.full(RETRIEVAL_IMAGES, NO_LABEL, dtype=np.int64)
        split[kind] = ShapesSplit(
            images=render(scenes, rng), captions=scenes.captions(), labels=labels
        )
    for kind, classes in ZERO_SHOT_KINDS.items():
        labels = np.repeat(np.array(classes, dtype=np.int64), IMAGES_PER_CLASS)
        scenes = _single_objects(labels, rng)
        captions = [f"a {CLASSES[label]}" for label in labels]
        split[kind] = ShapesSplit(images=render(scenes, rng), captions=captions, labels=labels)
    return split


def _single_objects(labels: np.ndarray, rng: np.random.Generator) -> Scenes:
    """A scene with one object for each label (n,), size and position are random."""
    scenes = draw_scenes(len(labels), rng, ALL_LABELS)
    positions = rng.integers(len(POSITIONS), size=len(labels))
    return scenes._replace(labels=np.stack([labels, labels], axis=1), layouts=positions)


TEST_COLUMNS = ("img", "text_EN", "kind", "label")
"""The columns of a test split in a parquet file."""


def is_shapes_split(path: str | Path) -> bool:
    """Whether `read_test_split` is meant: a parquet file with its columns.

    >>> is_shapes_split("nowhere"), is_shapes_split("captions.csv")
    (False, False)
    """
    files = _test_files(Path(path))
    is_parquet = bool(files) and all(file.suffix.lower() == ".parquet" for file in files)
    return is_parquet and files[0].is_file() and set(TEST_COLUMNS) <= set(column_names(files[0]))


def _test_files(path: Path) -> list[Path]:
    """The parquet files of a test split."""
    return sorted(path.glob("test-*.parquet")) if path.is_dir() else [path]


def read_test_split(path: str | Path) -> dict[str, ShapesSplit]:
    """Read a test split from a parquet file, or from a folder's test-*.parquet files.

    The columns are `img` (an encoded image), `text_EN` (the caption), `kind` and
    `label`. Raises DataError, naming the row, for whatever is not as expected.
    """
    path = Path(path)
    files = _test_files(path)
    columns = {name: (name,) for name in TEST_COLUMNS}
    rows: dict[str, list[SplitRow]] = {kind: [] for kind in (*RETRIEVAL_KINDS, *ZERO_SHOT_KINDS)}
    for file in files:
        for entry in read_parquet(file, columns):
            row = _check_split_row(entry, file, kinds=rows)
            rows[row.kind].append(row)
    split = {}
    for kind, rows_of_kind in rows.items():
        if not rows_of_kind:
            raise DataError(f"{path}: no rows of kind {kind} in {len(files)} parquet test files")
        split[kind] = ShapesSplit(
            images=np.stack([row.image for row in rows_of_kind]),
            captions=[row.caption for row in rows_of_kind],
            labels=np.array([row.label for row in rows_of_kind], np.int64),
        )
    return split


def _check_split_row(entry: Entry, file: Path, kinds: Iterable[str]) -> SplitRow:
    """The row of a table, checked; DataError for a row that is not as expected."""
    caption: Any = entry.cells["text_EN"]
    kind: Any = entry.cells["kind"]
    label: Any = entry.cells["label"]
    name = f"{file} {entry.location}"
    image_bytes = (entry.cells["img"] or {}).get("bytes") or b""
    image = np.asarray(opened(image_bytes, name))
    is_valid = isinstance(caption, str) and kind in kinds and label in range(-1, len(CLASSES))
    if not is_valid or image.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise DataError(
            f"{name}: expected an image (32, 32, 3), a text, one of the kinds {', '.join(kinds)}, "
            f"and a label from -1 to {len(CLASSES) - 1}; got {image.shape}, {caption!r}, {kind!r} "
            f"and {label!r}"
        )
    return SplitRow(kind=kind, image=image, caption=caption, label=label)

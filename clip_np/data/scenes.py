"""What can be seen in a picture of the shapes task, and what does its caption say?

A scene holds one object at a position, or two objects in a relation:

    "a large cyan ring at the top left"
    "a large cyan ring left of a small pink star"

There are 8 colours, 6 shapes, 2 sizes, 5 positions and 4 relations. So one object makes
8 * 6 * 2 * 5 = 480 captions, and two objects make (8 * 6 * 2)^2 * 4 = 36,864.

A colour and a shape together are a *class*, numbered 6 * colour + shape. 8 of the 48
classes are *held out*: one shape of each colour never appears in training. See
shapes.py for the reason.

Many scenes are kept together in arrays, one entry for each scene, because drawing
thousands of them one at a time would be slow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COLOURS = {  # red, green, blue, each 0 to 255
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

IMAGE_SIZE = 32  # pixels, both sides
POSITIONS = {  # centre in pixels, x to the right and y down
    "in the center": (16, 16),
    "at the top left": (8, 8),
    "at the top right": (24, 8),
    "at the bottom left": (8, 24),
    "at the bottom right": (24, 24),
}
LEVEL = float("nan")
"""Stands for a coordinate that both objects of a relation share. It is drawn for each
scene: the caption "a ring above a star" does not say how far to the right they are."""
RELATIONS = {  # centre of the first object, centre of the second
    "above": ((LEVEL, 8), (LEVEL, 24)),
    "below": ((LEVEL, 24), (LEVEL, 8)),
    "left of": ((8, LEVEL), (24, LEVEL)),
    "right of": ((24, LEVEL), (8, LEVEL)),
}
LEVELS = range(10, 23)  # pixels; objects at these levels are all inside the picture

LAYOUTS = (*POSITIONS, *RELATIONS)
CENTRES = np.array([*((centre, centre) for centre in POSITIONS.values()), *RELATIONS.values()])
"""Centres of both objects in each layout: (layouts, 2, 2), the last axis x and y. A
position has one object; the entry of the second is ignored."""

CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
ALL_LABELS = tuple(range(len(CLASSES)))
_HELD_OUT_SHAPES = (  # one for each colour, in the order of COLOURS
    "square", "triangle", "star", "circle", "cross", "ring", "square", "triangle",
)  # fmt: skip
HELD_OUT = frozenset(zip(COLOURS, _HELD_OUT_SHAPES))
HELD_OUT_LABELS = tuple(label for label in ALL_LABELS if tuple(CLASSES[label].split()) in HELD_OUT)
SEEN_LABELS = tuple(label for label in ALL_LABELS if label not in HELD_OUT_LABELS)

ONE_OBJECT = 0.4  # share of the scenes with one object


class Scenes(NamedTuple):
    """What n captions say. A scene of one object ignores second entries and level.

    >>> scenes = Scenes(
    ...     labels=np.array([[CLASSES.index("red ring"), CLASSES.index("pink star")]]),
    ...     sizes=np.array([[0, 1]]),
    ...     layouts=np.array([LAYOUTS.index("above")]),
    ...     levels=np.array([11]),
    ... )
    >>> scenes.captions()
    ['a small red ring above a large pink star']
    >>> scenes.centres().tolist()
    [[[11.0, 8.0], [11.0, 24.0]]]
    """

    labels: np.ndarray  # (n, 2) class of each object
    sizes: np.ndarray  # (n, 2) index into SIZES
    layouts: np.ndarray  # (n,) index into LAYOUTS: POSITIONS, one object, then RELATIONS, two
    levels: np.ndarray  # (n,) coordinate that the objects of a relation share, in pixels

    def captions(self) -> list[str]:
        """The sentence that is true of each scene."""
        size_names = tuple(SIZES)
        captions = []
        for labels, sizes, layout in zip(
            self.labels.tolist(), self.sizes.tolist(), self.layouts.tolist()
        ):
            first, second = (
                f"a {size_names[size]} {CLASSES[label]}" for label, size in zip(labels, sizes)
            )
            has_two = layout >= len(POSITIONS)
            caption = f"{first} {LAYOUTS[layout]}"
            captions.append(f"{caption} {second}" if has_two else caption)
        return captions

    def centres(self) -> np.ndarray:
        """Where the caption puts each object: (n, 2, 2), last axis x, y in pixels."""
        centres = CENTRES[self.layouts]  # (n, 2, 2)
        levels = self.levels[:, np.newaxis, np.newaxis]  # (n, 1, 1)
        return np.where(np.isnan(centres), levels, centres)

    def rows(self, which: slice | Sequence[int] | np.ndarray) -> "Scenes":
        """The chosen scenes."""
        return Scenes(
            labels=self.labels[which],
            sizes=self.sizes[which],
            layouts=self.layouts[which],
            levels=self.levels[which],
        )


def draw_scenes(count: int, rng: np.random.Generator, labels: Sequence[int]) -> Scenes:
    """Draw `count` scenes of the classes `labels`, 40% of them with one object.

    >>> red_stars = [CLASSES.index("red star")]
    >>> scenes = draw_scenes(2, np.random.default_rng(0), red_stars)
    >>> scenes.captions()
    ['a large red star above a large red star', 'a large red star in the center']
    """
    has_one = rng.random(count) < ONE_OBJECT
    positions = rng.integers(len(POSITIONS), size=count)
    relations = rng.integers(len(RELATIONS), size=count)
    levels = rng.integers(LEVELS.start, LEVELS.stop, size=count)
    classes = np.array(labels)[rng.integers(len(labels), size=(count, 2))]
    sizes = rng.integers(len(SIZES), size=(count, 2))
    layouts = np.where(has_one, positions, len(POSITIONS) + relations)
    return Scenes(labels=classes, sizes=sizes, layouts=layouts, levels=levels)


def distinct_scenes(count: int, rng: np.random.Generator, labels: Sequence[int]) -> Scenes:
    """The first `count` scenes with different captions, in the order of drawing.

    >>> scenes = distinct_scenes(50, np.random.default_rng(0), ALL_LABELS)
    >>> len(set(scenes.captions()))
    50
    """
    batches: list[Scenes] = []
    captions: list[str] = []
    while len(set(captions)) < count:
        batches.append(draw_scenes(count, rng, labels))
        captions += batches[-1].captions()
    drawn = Scenes(
        labels=np.concatenate([scenes.labels for scenes in batches]),
        sizes=np.concatenate([scenes.sizes for scenes in batches]),
        layouts=np.concatenate([scenes.layouts for scenes in batches]),
        levels=np.concatenate([scenes.levels for scenes in batches]),
    )
    _, first_of_each = np.unique(captions, return_index=True)
    return drawn.rows(np.sort(first_of_each)[:count])

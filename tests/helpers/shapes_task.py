"""Captions and pictures of the shapes task, taken apart."""

import re

import numpy as np

from clip_np.data import scenes

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink"]
WITHHELD = ["square", "triangle", "star", "circle", "cross", "ring", "square", "triangle"]
HELD_OUT = set(zip(COLOURS, WITHHELD))
OBJECT = r"a (small|large) (\w+) (\w+)"
PLACE = r"(in the center|at the (?:top|bottom) (?:left|right))"
SINGLE = re.compile(f"{OBJECT} {PLACE}")
DOUBLE = re.compile(f"{OBJECT} (above|below|left of|right of) {OBJECT}")


def objects(caption):
    """The (colour, shape) pairs that a caption names."""
    if match := SINGLE.fullmatch(caption):
        return [match.groups()[1:3]]
    groups = DOUBLE.fullmatch(caption).groups()
    return [groups[1:3], groups[5:7]]


def scene(count, labels, sizes, layout, level=16):
    """``count`` copies of one scene; labels and sizes are names, layout an index."""
    labels = [scenes.CLASSES.index(name) for name in labels]
    sizes = [list(scenes.SIZES).index(name) for name in sizes]
    return scenes.Scenes(
        np.tile(labels, (count, 1)),
        np.tile(sizes, (count, 1)),
        np.full(count, layout),
        np.full(count, level),
    )


def foreground(images):
    """Which pixels differ from the border, (n, 32, 32) bool, and its grey (n,)."""
    grey = np.median(images[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(len(images), -1), axis=1)
    difference = np.abs(images - grey[:, None, None, None]).max(axis=3)
    return difference > 30, grey

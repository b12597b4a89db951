"""Pictures for tests: inputs, a function that draws each kind, and what must hold."""

import itertools
import math

import numpy as np
from PIL import Image

from clip_np.data import training_pairs
from clip_np.evaluation import (
    attention_maps,
    caption_grid,
    labelled_images,
    loss_curve,
    similarity_matrix,
)

AWKWARD = [
    "costs $5, then $6",
    "$\\frac{$ and x_1^2",
    "a dog 🐶👨‍👩‍👧 in the snow ❄️, 雪の中の犬",
    "a photo of a " + "very " * 200 + "long thing",
    "unbreakable" * 60,
    "",
    "two\nlines,\ttabs and \x00 \ud800 \u202e controls",
    "e\u0301 accents a\u1ab0",
]


def some_pairs(count: int) -> tuple[np.ndarray, list[str]]:
    return training_pairs(count, np.random.default_rng(5))


def some_records(count: int) -> list[dict]:
    return [
        {
            "step": step,
            "loss": 5 * math.exp(-step / 100) + 0.5,
            "temperature": 14 + step / 50,
            "learning_rate": 1e-3 * (1 - step / count),
            "samples_per_second": 900.0,
        }
        | ({"validation_loss": 5 * math.exp(-step / 100) + 0.7} if step % 50 == 0 else {})
        for step in range(count)
    ]


def some_maps(layers: int, count: int, grid: int = 4, heads: int = 2) -> np.ndarray:
    tokens = 1 + grid * grid
    maps = np.random.default_rng(2).random((layers, count, heads, tokens, tokens))
    return maps / maps.sum(axis=-1, keepdims=True)


def draw_loss(path):
    return loss_curve(some_records(200), path, batch_size=256)


def draw_similarity(path, count=4, captions=None):
    images, own = some_pairs(count)
    features = np.random.default_rng(1).standard_normal((2, count, 8))
    return similarity_matrix(*features, images, captions or own, path)


def draw_grid(path, count=5, captions=None):
    images, own = some_pairs(count)
    captions = captions or own
    choices = [[captions[(row + k) % count] for k in range(3)] for row in range(count)]
    choices[0].reverse()
    return caption_grid(images, captions, choices, [[0.7, 0.2, 0.004]] * count, path)


def draw_attention(path, count=2, captions=None):
    images, own = some_pairs(count)
    return attention_maps(images, some_maps(3, count), path, captions or own)


def draw_labelled(path, count=3, captions=None):
    images, own = some_pairs(count)
    labels = [[("71%", caption), ("0.4%", caption)] for caption in captions or own]
    return labelled_images(images, labels, path, "Best for a sentence", "of many images")


DRAWINGS = {
    "loss": draw_loss,
    "similarity": draw_similarity,
    "grid": draw_grid,
    "attention": draw_attention,
    "labelled": draw_labelled,
}


WITH_CAPTIONS = ["similarity", "grid", "attention", "labelled"]


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 5, "the page is blank"
        return image.size


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def assert_tidy(figure, path) -> None:
    """Nothing is cut off, no two texts overlap, none runs into a picture."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.min() < 100
    for edge in (pixels[:30], pixels[-30:], pixels[:, :30], pixels[:, -30:]):
        assert (edge == 255).all()
    boxes = [(t.get_text(), t.get_window_extent()) for t in figure.texts if t.get_text()]
    areas = [("an image", axes.bbox) for axes in figure.axes if axes.images and axes.get_frame_on()]
    slack = 2  # pixels: a box is rounded outwards
    for (one, a), (two, b) in itertools.combinations(boxes + areas, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= slack or high <= slack, f"{one!r} overlaps {two!r}"

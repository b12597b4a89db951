"""How do several maps of an image become one picture?

A text is a row: the image as the model saw it, and beside it the map of each method,
laid over the image in grey. The weakest parts are blue, the strongest part of a map is
yellow, and a ring marks the centre of what is strong. Every map is scaled by its own
strongest value, so colours cannot be compared between maps.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.evaluation.drawing import (
    BODY_SIZE,
    GREY,
    INK,
    LINE_HEIGHT,
    draw_image,
    draw_text,
    new_figure,
    save,
    wrap,
)
from clip_np.evaluation.explaining.methods import METHODS, Explanation
from clip_np.evaluation.explaining.places import Point, centre, resized
from clip_np.files import File

IMAGE_WIDTH = 1.55  # inches
GAP = 0.15  # inches between images
HEADER = 0.38  # inches above the first row, for the names of the methods
WORDS_DROP = 0.06  # inches from an image to the words below it
TEXT_LINES = 3  # of a text below its image, at most
BAR_HEIGHT = 0.12  # inches, of the legend's bar
SMALLEST_SIDE = 160  # pixels of an image in the picture, so that the maps are smooth
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
OPACITY = 0.62  # of the colours over the grey image
DIMMED = 0.75  # of the grey, so that a white background does not wash the colours out

RAMP = np.array([(28, 34, 110), (180, 50, 120), (250, 150, 40), (255, 240, 80)])
"""Colours from no value to the strongest, evenly spaced: blue, red, orange, yellow."""


def explanation_picture(
    image: np.ndarray, explanations: Sequence[Explanation], path: File, title: str
) -> Path:
    """Draw the maps of each explanation beside the image, and return the path.

    image: uint8 (H, H, 3), the square that the model saw.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != image.shape[1]:
        raise ValueError(
            f"explanation_picture: expected a uint8 image (H, H, 3), got {image.dtype} "
            f"{image.shape}"
        )
    figure = new_figure()
    names = list(explanations[0].maps)
    for column, name in enumerate(names, start=1):
        x = column * (IMAGE_WIDTH + GAP)
        draw_text(figure, x, HEADER, wrap(METHODS[name], IMAGE_WIDTH, max_lines=2), GREY)
    y = 0.0
    for explanation in explanations:
        y -= IMAGE_WIDTH
        _draw_row(figure, image, explanation, y)
        y -= WORDS_DROP + (TEXT_LINES + 1) * LINE_HEIGHT
    _draw_legend(figure, x=IMAGE_WIDTH + GAP, y=y)
    note = (
        "Where the image speaks for a text. Ring: the centre of the strong part. Maps of "
        "attention are the same for every text."
    )
    return save(figure, path, title, note, left=0.0, top=HEADER)


def _draw_row(figure: Any, image: np.ndarray, explanation: Explanation, y: float) -> None:
    """The image above its text, and its maps; y is their lower edge in inches."""
    pixels = _enlarged(image)
    draw_image(figure, pixels=pixels, x=0.0, y=y, width=IMAGE_WIDTH, colour=GREY)
    words = wrap(explanation.text, IMAGE_WIDTH, max_lines=TEXT_LINES)
    draw_text(figure, 0.0, y - WORDS_DROP, words, INK)
    below = y - WORDS_DROP - (words.count("\n") + 1) * LINE_HEIGHT
    draw_text(figure, 0.0, below, f"cosine {explanation.cosine:.3f}", GREY)
    for column, (name, values) in enumerate(explanation.maps.items(), start=1):
        x = column * (IMAGE_WIDTH + GAP)
        draw_image(figure, pixels=heated(pixels, values), x=x, y=y, width=IMAGE_WIDTH, colour=GREY)
        point = centre(values)
        if point is None:
            draw_text(figure, x, y - WORDS_DROP, "nothing speaks for it", GREY)
            continue
        _draw_ring(figure, point, x, y)
        if name == "occlusion":  # the one whose numbers are cosines
            draw_text(figure, x, y - WORDS_DROP, f"lost: up to {values.max():.3f}", GREY)


def _enlarged(image: np.ndarray) -> np.ndarray:
    """The image with every pixel repeated, at least SMALLEST_SIDE pixels a side."""
    factor = math.ceil(SMALLEST_SIDE / len(image))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def heated(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The image (H, H, 3), uint8, in grey under the colours of a map (G, G).

    >>> white = np.full((2, 2, 3), 255, np.uint8)
    >>> heated(white, np.array([[1.0, 0.0], [0.0, 0.0]]))[0].tolist()
    [[230, 221, 122], [90, 93, 140]]
    """
    grey = DIMMED * (image @ np.array(LUMINANCE))  # (H, H)
    heat = resized(values, len(image))
    colours = coloured(heat / max(float(heat.max()), np.finfo(np.float32).tiny))
    return (OPACITY * colours + (1 - OPACITY) * grey[..., None]).astype(np.uint8)


def coloured(parts: np.ndarray) -> np.ndarray:
    """The colours of values from 0 to 1, in any shape: (...) -> (..., 3).

    >>> coloured(np.array([0.0, 1.0])).tolist()
    [[28.0, 34.0, 110.0], [255.0, 240.0, 80.0]]
    """
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(parts, stops, channel) for channel in RAMP.T], axis=-1)


def _draw_ring(figure: Any, point: Point, x: float, y: float) -> None:
    """A ring at a point of the image whose lower left corner is (x, y)."""
    axes = figure.add_axes((x, y, IMAGE_WIDTH, IMAGE_WIDTH))
    axes.set(xlim=(0, 1), ylim=(1, 0))
    axes.set_axis_off()
    for colour, width in (("black", 3.0), ("white", 1.5)):  # seen on dark and on bright
        axes.plot(point.x, point.y, "o", ms=9, markerfacecolor="none", color=colour, mew=width)


def _draw_legend(figure: Any, x: float, y: float) -> None:
    """A bar of the colours, below y, with what they mean."""
    width = 2 * IMAGE_WIDTH + GAP
    bar = coloured(np.linspace(0, 1, 256))[None].astype(np.uint8)  # (1, 256, 3)
    axes = figure.add_axes((x, y - BAR_HEIGHT, width, BAR_HEIGHT), xticks=[], yticks=[])
    axes.imshow(bar, aspect="auto")
    axes.spines[:].set(color=GREY, linewidth=0.6)
    below = y - BAR_HEIGHT - WORDS_DROP
    draw_text(figure, x, below, "plays no role", GREY, size=BODY_SIZE)
    draw_text(figure, x + width, below, "strongest in its map", GREY, size=BODY_SIZE, ha="right")

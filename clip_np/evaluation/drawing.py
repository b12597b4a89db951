"""How is a figure built so that everything on it has a known size?

matplotlib places things in fractions of the figure's width and height: (0.5, 0.5) is
the middle, whatever the figure's size. The figures here are 1 inch wide and 1 inch
high. So a fraction and an inch are the same number, and all coordinates are inches: x
to the right and y up, from the lower left corner of that first inch.

    figure = new_figure()
    draw_image(figure, pixels, x=0.0, y=-2.2, width=2.2, colour=GREY)
    draw_text(figure, x=0.0, y=-2.26, text="a small red circle", colour=INK)
    save(figure, path, title="...", note="...", left=0.0, top=0.0)

Most of it lies outside of that inch. This does no harm, because `save` writes the
rectangle that holds everything drawn. A page may grow to any side, and nobody has to
know its final size beforehand.

matplotlib is imported when a picture is drawn, and never its pyplot, whose state is
global.
"""

import textwrap
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.evaluation.fonts import drawable, fonts_of, is_wide, load_matplotlib
from clip_np.files import File, replace_file, shown_lines

DPI = 150  # pixels in an inch
LETTER_WIDTH = 0.602  # of the size of FONT, for all letters
POINTS = 72  # in an inch
BODY_SIZE, TITLE_SIZE = 8.0, 12.0  # points
LINE_HEIGHT = 0.134  # inches, of the body
HEADING_WIDTH = 6.5  # inches
TITLE_RISE, NOTE_DROP = 0.5, 0.45  # inches above `top`: the title's foot, and the note's head
MARGIN = 0.3  # inches around everything drawn

INK, GREY, BLUE, ORANGE = "#222222", "#6b6b6b", "#0072b2", "#d55e00"
GREEN, RED = "#00704f", "#b3261e"


def new_figure() -> Any:
    """An empty figure of 1 x 1 inch, on which coordinates are inches."""
    return load_matplotlib().figure.Figure((1, 1), dpi=DPI)


def wrap(text: str, width: float, max_lines: int) -> str:
    """The text in lines of body size, none wider than `width` inches.

    There are at most `max_lines` of them. White space becomes single spaces. What does
    not fit ends in "…", and a character that no font has becomes a box.
    """
    words = drawable(" ".join(text.split()))
    columns = int(width * POINTS / (LETTER_WIDTH * BODY_SIZE))
    if is_wide(words):
        columns //= 2
    lines = textwrap.wrap(words, columns, max_lines=max_lines, placeholder="…")
    return "\n".join(lines)


def draw_text(
    figure: Any,
    x: float,
    y: float,
    text: str,
    colour: str,
    size: float = BODY_SIZE,
    ha: str = "left",
    va: str = "top",
    rotation: float = 0.0,
) -> None:
    """Write text as it is.

    By default (x, y) is the upper left corner of its first line. ha and va are
    matplotlib's horizontal and vertical alignment, rotation is in degrees.
    """
    text = shown_lines(text)
    # A "$" in a caption is a dollar, not the beginning of a formula.
    figure.text(
        x,
        y,
        text,
        color=colour,
        size=size,
        family=fonts_of(text),
        ha=ha,
        va=va,
        rotation=rotation,
        parse_math=False,
    )


def draw_image(
    figure: Any, pixels: np.ndarray, x: float, y: float, width: float, colour: str
) -> None:
    """Show an image (H, W, 3) in a coloured frame, its lower left corner at (x, y)."""
    height = width * pixels.shape[0] / pixels.shape[1]
    axes = figure.add_axes((x, y, width, height), xticks=[], yticks=[])
    axes.imshow(pixels, aspect="auto", interpolation="antialiased")
    axes.spines[:].set(color=colour, linewidth=1.5)


def save(figure: Any, path: File, title: str, note: str, left: float, top: float) -> Path:
    """Write the figure as a PNG file, whole or not at all, and return its path.

    The title and the note below it begin at `left`; the note ends a little above `top`.
    """
    # The title's letters are larger, so fewer of them fit into the same width.
    title = wrap(title, HEADING_WIDTH * BODY_SIZE / TITLE_SIZE, max_lines=2)
    note = wrap(note, HEADING_WIDTH, max_lines=2)
    draw_text(figure, left, top + TITLE_RISE, title, INK, size=TITLE_SIZE, va="bottom")
    draw_text(figure, left, top + NOTE_DROP, note, GREY)
    with replace_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=MARGIN)
    return Path(path)


def check_images(images: np.ndarray, **others: Sized) -> None:
    """ValueError unless images are uint8 (B, H, W, 3), and the others have B items.

    B is at least 1.

    >>> images = np.zeros((2, 8, 8, 3), np.uint8)
    >>> check_images(images, captions=["a dog", "a cat"])
    >>> check_images(images, captions=["a dog"])
    Traceback (most recent call last):
    ValueError: expected ... B of the rest, got uint8 (2, 8, 8, 3), {'captions': 1}
    """
    counts = {name: len(items) for name, items in others.items()}
    are_images = images.dtype == np.uint8 and images.shape[3:] == (3,) and images.size > 0
    if not are_images or set(counts.values()) != {len(images)}:
        raise ValueError(
            "expected uint8 images (B > 0, H, W, 3) and B of the rest, "
            f"got {images.dtype} {images.shape}, {counts}"
        )

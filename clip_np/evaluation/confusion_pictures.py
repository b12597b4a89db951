"""At which classes does a model go wrong, at a glance?

The confusion matrix is drawn as a table of shades. A row is a class, and its shades are
the shares of its images that were called by the names of the columns. Right answers are
blue, on the diagonal; mistakes are orange. A rare mistake would be nearly white, so the
shade of a mistake is the square root of its share.

With few classes, the shares are written into the cells. With many, the cells shrink
until names just fit beside them. Above MOST_CLASSES, the classes with the most mistakes
are drawn, and the others left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clip_np.evaluation.confusion import Confusion, most_confused
from clip_np.evaluation.drawing import (
    BODY_SIZE,
    GREY,
    HEADING_WIDTH,
    INK,
    LETTER_WIDTH,
    LINE_HEIGHT,
    POINTS,
    draw_text,
    new_figure,
    save,
    wrap,
)
from clip_np.files import File

MOST_CLASSES = 250  # that are drawn; more would make a picture of 25 megapixels
FEW_CLASSES = 25  # whose shares are written into the cells
LARGE_CELL, SMALL_CELL = 0.42, 0.1  # inches, the side of a cell
SMALL_SIZE = 5.5  # points, of names beside small cells
NAME_WIDTH = 1.9  # inches for the longest name that is not cut
NAME_GAP = 0.06  # inches between a name and the table
LINE_EVERY = 10  # small cells between two thin lines that guide the eye
DARK = 0.6  # cells with a darker shade have white figures
LEAST_SHOWN = 0.005  # of a row; smaller shares would be written as 0
SHOWN_PAIRS = 8  # most confused pairs, listed below the table
LIST_STEP = 0.16  # inches from one line of this list to the next


class _Layout(NamedTuple):
    """The sizes of a table for so many classes."""

    cell: float  # inches
    size: float  # points
    has_figures: bool


def confusion_picture(
    matrix: np.ndarray, class_names: Sequence[str], path: File, title: str = "Confusion"
) -> Path:
    """Draw a confusion matrix (C, C), as `confusion_matrix` counts it, into a PNG file.

    Below it stand the classes that are most often taken for another one. Returns the
    path. ValueError unless there is a name for each class.
    """
    if matrix.shape != (len(class_names), len(class_names)) or len(matrix) == 0:
        raise ValueError(
            f"confusion_picture: expected a matrix (C, C) and C > 0 names, got {matrix.shape} and "
            f"{len(class_names)} names"
        )
    confused = most_confused(matrix, class_names, SHOWN_PAIRS)
    kept = _classes_to_draw(matrix)
    names = [class_names[number] for number in kept]
    totals = np.maximum(matrix.sum(axis=1), 1)  # (C,)
    shares = (matrix / totals[:, None])[np.ix_(kept, kept)]
    if len(kept) <= FEW_CLASSES:
        layout = _Layout(cell=LARGE_CELL, size=BODY_SIZE, has_figures=True)
    else:
        layout = _Layout(cell=SMALL_CELL, size=SMALL_SIZE, has_figures=False)

    figure = new_figure()
    side = len(kept) * layout.cell
    # The table hangs down from (0, 0); names stand to its left and above it.
    axes = figure.add_axes((0, -side, side, side), xticks=[], yticks=[])
    _draw_cells(axes, shares, layout)
    reach = _draw_names(figure, names, layout)
    _draw_confused(figure, confused, top=-side - 2 * LINE_HEIGHT, left=-reach)
    return save(figure, path, title, _note(matrix, len(kept)), left=-reach, top=reach)


def _classes_to_draw(matrix: np.ndarray) -> np.ndarray:
    """The numbers of the classes to draw, in order: those with the most mistakes."""
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)  # (C,)
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])


def _draw_cells(axes: Any, shares: np.ndarray, layout: _Layout) -> None:
    """Shade the table (C, C), and write the shares into large cells."""
    is_right = np.eye(len(shares), dtype=bool)
    right = np.ma.masked_array(shares, ~is_right)
    wrong = np.ma.masked_array(np.sqrt(shares), is_right | (shares == 0))
    for table, colours in ((wrong, "Oranges"), (right, "Blues")):
        axes.imshow(table, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.spines[:].set(color=GREY, linewidth=0.6)
    step = 1 if layout.has_figures else LINE_EVERY
    lines = np.arange(step, len(shares), step) - 0.5
    axes.hlines(lines, -0.5, len(shares) - 0.5, color="#dddddd", linewidth=0.4)
    axes.vlines(lines, -0.5, len(shares) - 0.5, color="#dddddd", linewidth=0.4)
    if not layout.has_figures:
        return
    for (row, column), share in np.ndenumerate(shares):
        shade = share if row == column else np.sqrt(share)
        if share >= LEAST_SHOWN:
            axes.text(
                column,
                row,
                f"{share:.0%}",
                color="white" if shade > DARK else INK,
                size=layout.size,
                ha="center",
                va="center",
            )


def _draw_names(figure: Any, names: Sequence[str], layout: _Layout) -> float:
    """Write the names to the left and above; returns how far the longest reaches."""
    scale = BODY_SIZE / layout.size  # smaller letters: more of them in the same width
    lines = [wrap(name, NAME_WIDTH * scale, max_lines=1) for name in names]
    for number, line in enumerate(lines):
        middle = (number + 0.5) * layout.cell
        draw_text(figure, -NAME_GAP, -middle, line, INK, size=layout.size, ha="right", va="center")
        draw_text(
            figure,
            middle,
            NAME_GAP,
            line,
            INK,
            size=layout.size,
            ha="center",
            va="bottom",
            rotation=90,
        )
    longest = max(map(len, lines)) * LETTER_WIDTH * layout.size / POINTS
    return float(longest + 2 * NAME_GAP)


def _draw_confused(figure: Any, confused: Sequence[Confusion], top: float, left: float) -> None:
    """List the most frequent mistakes below the table."""
    lines = [
        f"{pair.actual} called {pair.named}: {pair.mistakes:,} of {pair.images:,}"
        for pair in confused
    ]
    heading = "Most often called by another name:" if lines else "No image has a wrong name."
    for number, line in enumerate([heading, *lines]):
        words = wrap(line, HEADING_WIDTH, max_lines=1)
        draw_text(figure, left, top - number * LIST_STEP, words, INK)


def _note(matrix: np.ndarray, drawn: int) -> str:
    """What rows and shades mean, and how many images and classes there are."""
    images, classes = int(matrix.sum()), len(matrix)
    note = (
        f"Rows: the class of {images:,} images; columns: the name they were called by. "
        f"Blue: right, {int(np.trace(matrix)):,} of {images:,}; orange: wrong."
    )
    if drawn < classes:
        note += f" Drawn: the {drawn} of {classes:,} classes with the most mistakes."
    return note

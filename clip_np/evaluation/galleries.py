"""What does a model say about many images at once?

A gallery shows images in rows, each above its labels. A label has a mark, such as
"71%", and words, such as "a small red circle". The words are wrapped, and every row
leaves room for the longest labels, so nothing overlaps.

Two pictures are galleries: images with any labels, and images with the captions that a
model chose for them, green for right and red for wrong.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clip_np.evaluation.drawing import (
    GREEN,
    GREY,
    INK,
    LINE_HEIGHT,
    RED,
    check_images,
    draw_image,
    draw_text,
    new_figure,
    save,
    wrap,
)
from clip_np.files import File

COLUMNS = 5  # images in a row
IMAGE_WIDTH = 2.2  # inches
GAP = 0.3  # inches between images
MARK_WIDTH = 0.55  # inches before the words, if there is a mark
LABEL_DROP = 0.06  # inches from an image to its first label
BETWEEN_LABELS = 0.4  # lines from one label to the next
MAX_LINES = 5  # of one label


class Label(NamedTuple):
    """A line or a few below an image."""

    mark: str  # a short text before the words, or ""
    words: str
    colour: str


class Cell(NamedTuple):
    """An image (H, W, 3), the colour of its frame, and what stands below it."""

    image: np.ndarray
    frame: str
    labels: Sequence[Label]


def labelled_images(
    images: np.ndarray,
    labels: Sequence[Sequence[tuple[str, str]]],
    path: File,
    title: str,
    note: str,
) -> Path:
    """Draw images under a title, each above its labels, and return the path.

    images: uint8 (B, H, W, 3). labels: for each image, pairs of a short mark and words,
    such as ("71%", "a dog"); the mark may be "".
    """
    check_images(images, labels=labels)
    cells = [
        Cell(image, GREY, [Label(mark, words, INK) for mark, words in image_labels])
        for image, image_labels in zip(images, labels)
    ]
    return draw_gallery(cells, path, title, note)


def caption_grid(
    images: np.ndarray,
    captions: Sequence[str],
    choices: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float]] | np.ndarray,
    path: File,
    caption_count: int | None = None,
) -> Path:
    """Draw images with the captions that a model chose for each, and return the path.

    images: uint8 (B, H, W, 3); captions: the B true ones. choices: captions for each
    image, best first; scores: their probabilities. The frame is green if the first
    choice is the true caption. If it is not, the true caption stands below in grey.
    caption_count: among how many captions the model chose, if that is known.
    """
    check_images(images, captions=captions, choices=choices, scores=scores)
    choice_counts = [len(chosen) for chosen in choices]
    if choice_counts != [len(chances) for chances in scores] or 0 in choice_counts:
        raise ValueError("caption_grid: every image needs a choice, every choice a score")
    cells = []
    right = 0
    for image, caption, chosen, chances in zip(images, captions, choices, scores):
        labels = [
            _choice_label(choice, chance, truth=caption) for choice, chance in zip(chosen, chances)
        ]
        if chosen[0] == caption:
            right += 1
        else:
            labels.append(Label("true", caption, GREY))
        cells.append(Cell(image, labels[0].colour, labels))
    among = "" if caption_count is None else f" among {caption_count:,} captions"
    note = (
        f"First choice{among} right for {right} of {len(images)} images. "
        "Percentages are probabilities."
    )
    return draw_gallery(cells, path, "Captions chosen by the model", note)


def _choice_label(choice: str, chance: float, truth: str) -> Label:
    """A chosen caption with its probability, marked as right or wrong."""
    if choice == truth:
        return Label(f"✓ {chance:.0%}", choice, GREEN)
    return Label(f"✗ {chance:.0%}", choice, RED)


def draw_gallery(
    cells: Sequence[Cell],
    path: File,
    title: str,
    note: str,
    columns: int = COLUMNS,
    width: float = IMAGE_WIDTH,
) -> Path:
    """Draw cells in rows of `columns`, and return the path.

    The images are `width` inches wide. All images have the same shape.
    """
    figure = new_figure()
    wrapped = [[_wrapped(label, width) for label in cell.labels] for cell in cells]
    heights = [[_height(label) for label in labels] for labels in wrapped]
    first_image = cells[0].image
    image_height = width * first_image.shape[0] / first_image.shape[1]
    row_height = image_height + GAP + max(sum(cell_heights) for cell_heights in heights)

    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        x = column * (width + GAP)
        y = -row * row_height - image_height  # the image's lower edge
        draw_image(figure, pixels=cell.image, x=x, y=y, width=width, colour=cell.frame)
        y -= LABEL_DROP
        for label, height in zip(wrapped[number], heights[number]):
            draw_text(figure, x, y, label.mark, label.colour)
            draw_text(figure, x + _indent(label), y, label.words, label.colour)
            y -= height
    return save(figure, path, title, note, left=0.0, top=0.0)


def _indent(label: Label) -> float:
    """How far its words stand to the right of the image's edge, in inches."""
    return MARK_WIDTH if label.mark else 0.0


def _wrapped(label: Label, width: float) -> Label:
    """The label with its words in lines that fit below an image of that width."""
    return label._replace(words=wrap(label.words, width - _indent(label), MAX_LINES))


def _height(label: Label) -> float:
    """The height of a wrapped label and the space below it, in inches."""
    lines = label.words.count("\n") + 1
    return LINE_HEIGHT * (lines + BETWEEN_LABELS)

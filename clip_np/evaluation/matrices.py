"""Which images and captions lie near to each other?

The table of all their cosines answers it. Each column is an image and each row a
caption, in the same order, so pairs stand on the diagonal. A model that has learned
them is dark there and light elsewhere.

Radford et al. 2021, arXiv:2103.00020, figure 1 (the same table, as it is trained).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from clip_np.evaluation.drawing import (
    BODY_SIZE,
    GREY,
    INK,
    ORANGE,
    POINTS,
    check_images,
    draw_image,
    draw_text,
    new_figure,
    save,
    wrap,
)
from clip_np.files import File
from clip_np.losses import similarity_logits

CELL = 0.56  # inches, the side of a cell
CAPTION_WIDTH = 2.5  # inches, to the left of the table
CAPTION_GAP = 0.1  # inches between a caption and the table
CAPTION_LINES = 3
IMAGE_MARGIN = 0.03  # inches between an image and the sides of its column
IMAGE_GAP = 0.05  # inches between an image and the table
DARK = 0.65  # on a scale from 0 to 1: cells darker than this have white figures


def similarity_matrix(
    image_features: np.ndarray,
    text_features: np.ndarray,
    images: np.ndarray,
    captions: Sequence[str],
    path: File,
) -> Path:
    """Draw the cosines of N images (columns) with their N captions (rows).

    image_features, text_features: (N, E), of any length; images: uint8 (N, H, W, 3).
    Returns the path.
    """
    check_images(
        images, captions=captions, image_features=image_features, text_features=text_features
    )
    cosines = _cosines(image_features, text_features).T  # (captions, images)
    side = len(images) * CELL
    figure = new_figure()
    # The table hangs down from (0, 0), with the images above and the captions to the
    # left of it.
    axes = figure.add_axes((0, -side, side, side), frameon=False, xticks=[], yticks=[])
    _draw_cells(axes, cosines)
    for number, (image, caption) in enumerate(zip(images, captions)):
        draw_image(
            figure,
            pixels=image,
            x=number * CELL + IMAGE_MARGIN,
            y=IMAGE_GAP,
            width=CELL - 2 * IMAGE_MARGIN,
            colour=GREY,
        )
        lines = wrap(caption, CAPTION_WIDTH, max_lines=CAPTION_LINES)
        middle = -(number + 0.5) * CELL
        draw_text(figure, -CAPTION_GAP, middle, lines, INK, ha="right", va="center")
    title = "Cosines of images and captions"
    left = -CAPTION_WIDTH - CAPTION_GAP
    return save(figure, path, title, _note(cosines), left=left, top=CELL)


def _cosines(image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    """The cosines of N images with N captions: (N, N), float32."""
    image_rows = mg.tensor(np.asarray(image_features, np.float32))
    text_rows = mg.tensor(np.asarray(text_features, np.float32))
    # Logits are cosines times exp(logit_scale); here this factor is exp(0) = 1.
    return similarity_logits(image_rows, text_rows, mg.tensor(0.0)).numpy()


def _draw_cells(axes: Any, cosines: np.ndarray) -> None:
    """Shade the table of cosines, frame its diagonal, and write each into its cell."""
    shades = axes.imshow(cosines, cmap="Blues", aspect="auto")
    diagonal = np.arange(len(cosines))
    axes.plot(
        diagonal,
        diagonal,
        "s",
        markersize=CELL * POINTS,
        markerfacecolor="none",
        markeredgecolor=ORANGE,
        markeredgewidth=2,
        clip_on=False,
    )
    nearest_caption = cosines.argmax(axis=0)  # (N,), of each image
    for (row, column), cosine in np.ndenumerate(cosines):
        axes.text(
            column,
            row,
            f"{cosine:z.2f}".replace("-", "−"),  # z: no minus before 0.00
            color="white" if shades.norm(cosine) > DARK else INK,
            weight="bold" if row == nearest_caption[column] else "normal",
            size=BODY_SIZE,
            ha="center",
            va="center",
        )


def _note(cosines: np.ndarray) -> str:
    """What the marks mean, and how many images and captions find each other."""
    count = len(cosines)
    right_captions = int((cosines.argmax(axis=0) == np.arange(count)).sum())
    right_images = int((cosines.argmax(axis=1) == np.arange(count)).sum())
    return (
        f"Framed: pairs; bold: an image's highest cosine. {right_captions} of {count} images "
        f"find their own caption, {right_images} of {count} captions their own image."
    )

"""Where does a model look in an image?

In each layer of the vision transformer, the class token asks all tokens, and the
softmax of its attention says how much it takes from each: T = 1 + N numbers that sum to
1. The N of the patches are drawn over the image as light. What is dark plays no role
for the class token in that layer; full yellow is the patch that it looks at most.

A ResNet has one such map: in its attention pool, the mean of all positions takes the
place of the class token, and the positions that of the patches.

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv:2010.11929, figure 6.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clip_np.evaluation.drawing import GREY, INK, check_images
from clip_np.evaluation.galleries import Cell, Label, draw_gallery
from clip_np.files import File

IMAGE_WIDTH = 1.35  # inches
YELLOW = (255, 217, 26)
OPACITY = 0.7  # of the yellow over the brightest patch
CONTRAST = 0.5  # of the image below the light
BLACK = 25  # what black becomes there, of 255
SMALLEST = 1e-12  # attention below this counts as this, so that nothing is divided by 0


def attention_maps(
    images: np.ndarray, maps: np.ndarray, path: File, captions: Sequence[str]
) -> Path:
    """Draw where the token that is read looks in each layer, and return the path.

    The attention is the mean over heads. images: uint8 (B, H, W, 3). maps: (layers, B,
    heads, T, T) or (1, B, heads, 1, T) as `CLIP.attention_maps` gives them, with T = 1
    + N tokens, the N patches in a square grid. A row of the picture is an image, then
    its layers.
    """
    side = _patches_in_a_row(maps)
    layers, count, heads = maps.shape[:3]
    check_images(images, maps=maps[0], captions=captions)
    # Row 0 of each map belongs to the token that is read; column 0 is what it takes
    # from itself.
    attention = maps[:, :, :, 0, 1:].mean(axis=2)  # (layers, B, N)
    attention = attention.reshape(layers, count, side, side)
    cells = []
    for number, (image, caption) in enumerate(zip(images, captions)):
        cells.append(Cell(image, GREY, [Label("", caption, INK)]))
        for layer, patches in enumerate(attention[:, number], start=1):
            share = Label("", f"layer {layer}: {patches.max():.1%}", GREY)
            cells.append(Cell(_lit(image, patches), GREY, [share]))
    note = (
        f"Attention of the token that is read to {side} × {side} patches, mean over {heads} heads. "
        "No yellow is 0, full yellow the share printed below each map."
    )
    title = "Where the token that is read looks"
    return draw_gallery(cells, path, title, note, columns=layers + 1, width=IMAGE_WIDTH)


def _patches_in_a_row(maps: np.ndarray) -> int:
    """The side of the grid of patches; ValueError if the maps have another shape."""
    side = math.isqrt(max(maps.shape[-1] - 1, 0)) if maps.ndim == 5 else 0
    tokens = 1 + side * side
    if maps.size == 0 or side == 0 or maps.shape[3:] not in ((tokens, tokens), (1, tokens)):
        raise ValueError(
            "attention_maps: maps must be (layers, B, heads, T, T) or (1, B, heads, 1, T), "
            f"T - 1 patches in a square grid, got {maps.shape}"
        )
    return side


def _lit(image: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """The dimmed image (H, W, 3), uint8, with yellow over its patches (G, G)."""
    height, width = image.shape[:2]
    side = len(patches)
    # The grid may not divide the image evenly: pixel y belongs to patch floor(y G / H).
    patch_of_row = np.arange(height) * side // height
    patch_of_column = np.arange(width) * side // width
    attention = patches[patch_of_row][:, patch_of_column, None]  # (H, W, 1)
    opacity = OPACITY * attention / max(patches.max(), SMALLEST)
    dimmed = CONTRAST * image + BLACK
    return (opacity * YELLOW + (1 - opacity) * dimmed).astype(np.uint8)

"""How does an image become a sequence of words?

    python examples/steps/step_07_patches.py [PICTURE.png]

A transformer reads a sequence of rows. A vision transformer makes one from an image by
cutting it into square patches and writing the pixels of each patch as one row:

    image     (S, S, 3)         32 x 32 pixels in three colours
    patches   (N, P, P, 3)      N = (S / P)^2 = 16 patches, P = 8 pixels wide
    rows      (N, 3 P^2)        192 numbers each
    tokens    (N, W)            rows @ a learned matrix (3 P^2, W)

The matrix is what the model learns; cutting is only reshaping. Without something more,
the tokens would have no order. So each token also gets a learned vector added, which
stands for the place of its patch.

The picture shows the image, the cut patches, and the tokens as grey values, one column
for each patch: the first 40 of its 64 numbers, less their mean over all patches. The
columns of empty patches are nearly the same.

Dosovitskiy et al. 2021, "An image is worth 16x16 words", arXiv:2010.11929.
"""

import sys

import numpy as np
from PIL import Image

from clip_np.data import shapes

P, W, ZOOM, GAP = 8, 64, 6, 2
rng = np.random.default_rng(4)
images, captions = shapes.training_pairs(1, rng)
image = images[0]  # (S, S, 3) uint8
grid = image.shape[0] // P  # patches along a side

cut = image.reshape(grid, P, grid, P, 3)  # (row, y, column, x, colour)
patches = cut.transpose(0, 2, 1, 3, 4).reshape(-1, P, P, 3)  # (N, P, P, 3)
rows = patches.reshape(len(patches), -1) / 255.0  # (N, 3 P^2)
tokens = rows @ rng.normal(scale=rows.shape[1] ** -0.5, size=(rows.shape[1], W))  # (N, W)
print(f"{captions[0]!r}: image {image.shape} -> rows {rows.shape} -> tokens {tokens.shape}")

spread = np.full((grid * (P + GAP), grid * (P + GAP), 3), 255, np.uint8)
for number, patch in enumerate(patches):
    top, left = (P + GAP) * (number // grid), (P + GAP) * (number % grid)
    spread[top : top + P, left : left + P] = patch
tokens -= tokens.mean(axis=0)  # what all patches share would hide what tells them apart
grey = np.interp(tokens.T, (tokens.min(), tokens.max()), (0, 255)).astype(np.uint8)  # (W, N)
grey = np.repeat(grey[: spread.shape[0], :, None], 3, axis=2)  # as many rows as fit
parts = [np.pad(image, ((0, 8), (0, 8), (0, 0)), constant_values=255), spread, grey]
picture = Image.fromarray(np.concatenate(parts, axis=1))
name = sys.argv[1] if len(sys.argv) > 1 else "patches.png"
size = (picture.width * ZOOM, picture.height * ZOOM)
picture.resize(size, Image.Resampling.NEAREST).save(name)
print(f"drawn: {name}")

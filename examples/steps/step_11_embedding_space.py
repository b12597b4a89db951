"""What does the space look like in which images and captions meet?

    python examples/steps/step_11_embedding_space.py [PICTURE.png]

Both encoders write vectors of the same width, 64 here, and length 1. To see them, turn
the space so that its first two axes show as much as two axes can: the principal
components, which are the first right singular vectors of the centred vectors.

Large dots are images, small dots are captions, drawn in the colour that the caption
names. The 200 images have 40 different captions, and equal captions lie on one another.
Two things to look for. Colours gather: the space is ordered by meaning, though nobody
named its axes. And a caption need not lie on its image. The loss asks only that the
right caption is the nearest of all captions, not that it is near. In large models all
images lie on one side and all captions on another, the *modality gap*. The picture of
this small model does not show one.

Liang et al. 2022, "Mind the gap", arXiv:2203.02053.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw
from quick_clip import train

from clip_np.data import shapes
from clip_np.evaluation import embed_images, embed_texts

SIDE, MARGIN = 640, 40
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink")
model, tokenizer = train(steps=120)
split = shapes.test_split(seed=1)["zeroshot_seen"]
images, captions = split.images[::4], split.captions[::4]
vectors = np.concatenate(
    [embed_images(model, images), embed_texts(model, tokenizer, captions)]
)  # (2 n, E)
_, _, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
flat = vectors @ axes[:2].T  # (2 n, 2)
low, high = flat.min(axis=0), flat.max(axis=0)
pixels = MARGIN + (flat - low) / (high - low) * (SIDE - 2 * MARGIN)

picture = Image.new("RGB", (SIDE, SIDE), "white")
draw = ImageDraw.Draw(picture)
for number, (x, y) in enumerate(pixels.tolist()):
    colour = next(word for word in captions[number % len(images)].split() if word in COLOURS)
    radius = 7 if number < len(images) else 3
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=colour, outline="black")
name = sys.argv[1] if len(sys.argv) > 1 else "space.png"
picture.save(name)
print(f"{len(images)} images and their captions, drawn: {name}")

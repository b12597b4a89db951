"""Where does the model look?

    python examples/steps/step_10_attention_maps.py [PICTURE.png]

The class token of a vision transformer reads the patches. In each layer and head, a
row of attention says how much it takes from each patch. `model.attention_maps` has all:

    maps          (layers, B, heads, T, T)    T = 1 class token + N patches
    its row       maps[layer, image, :, 0, 1:]    N numbers for each head

Here a small model trains for some seconds. Then five drawings are shown. Beside each
one stands the last layer's attention, averaged over heads: what it reads is bright. No
caption says where the shapes are.

A warning: a map says what was read, not what was decisive. `clip-np explain` draws
several answers to "why?" side by side.

Abnar & Zuidema 2020, "Quantifying attention flow in transformers", arXiv:2005.00928.
"""

import sys

import numpy as np
from PIL import Image
from quick_clip import train

import minigrad as mg
from clip_np.data import shapes, to_model_input

COUNT, ZOOM = 5, 4
model, _ = train(steps=120)
images, captions = shapes.training_pairs(COUNT, np.random.default_rng(9))
with mg.no_grad():
    maps = model.attention_maps(to_model_input(images)).numpy()  # (layers, B, heads, T, T)
last = maps[-1, :, :, 0, 1:].mean(axis=1)  # (B, N)
grid = round(last.shape[1] ** 0.5)

rows = []
for image, light, caption in zip(images, last, captions):
    light = (light / light.max()).reshape(grid, grid)
    pixels = image.shape[0] // grid
    light = np.kron(light, np.ones((pixels, pixels)))  # each patch's number on its pixels
    lit = (image * light[:, :, None]).astype(np.uint8)
    rows.append(np.concatenate([image, lit], axis=1))
    brightest = divmod(int(light.argmax()), image.shape[0])
    print(f"{caption}: looks most near row {brightest[0]}, column {brightest[1]}")
picture = Image.fromarray(np.concatenate(rows, axis=0))
name = sys.argv[1] if len(sys.argv) > 1 else "attention.png"
size = (picture.width * ZOOM, picture.height * ZOOM)
picture.resize(size, Image.Resampling.NEAREST).save(name)
print(f"drawn: {name}")

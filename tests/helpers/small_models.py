"""A CLIP small enough for complex steps, and a batch for it."""

import dataclasses

import numpy as np

from clip_np import CLIP, CLIPConfig, TextConfig, VisionConfig

SMALL = CLIPConfig(
    embed_dim=6,
    vision=VisionConfig(image_size=8, patch_size=4, width=8, layers=2, heads=2),
    text=TextConfig(vocab_size=20, context_length=7, width=8, layers=2, heads=2),
)


def small_model(dtype=np.float64, **text) -> CLIP:
    config = dataclasses.replace(SMALL, text=dataclasses.replace(SMALL.text, **text))
    model = CLIP(config, np.random.default_rng(0)).astype(dtype)
    rng = np.random.default_rng(1)
    for parameter in model.parameters():  # biases too, so that nothing hides behind a zero
        parameter.data[...] += 0.3 * rng.standard_normal(parameter.shape)
    return model


def batch(count: int = 3, dtype=np.float64):
    rng = np.random.default_rng(2)
    images = rng.standard_normal((count, 3, 8, 8)).astype(dtype)
    tokens = np.zeros((count, 7), np.int64)
    for row in tokens:
        length = rng.integers(3, 7)
        row[: length - 1] = rng.integers(1, 19, length - 1)
        row[length - 1] = 19
    return images, tokens

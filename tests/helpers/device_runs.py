"""A small model, its batches and its steps, on any backend."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from strict_cupy.events import Events, watching

from clip_np import CLIP, CLIPConfig, TextConfig, Tokenizer, VisionConfig
from clip_np.training import training_step
from minigrad.backend import move
from minigrad.optim import AdamW

MICRO = CLIPConfig(
    embed_dim=8,
    vision=VisionConfig(image_size=8, patch_size=4, width=8, layers=2, heads=2),
    text=TextConfig(20, 7, width=8, layers=2, heads=2),
)
TOKENIZER = Tokenizer([], context_length=7)
END = 19  # the end token, the highest id


def deeper(layers: int) -> CLIPConfig:
    """MICRO with so many layers in both encoders."""
    vision, text = replace(MICRO.vision, layers=layers), replace(MICRO.text, layers=layers)
    return replace(MICRO, vision=vision, text=text)


def a_model(backend: str = "numpy", dtype: str = "float64", config: CLIPConfig = MICRO) -> CLIP:
    return CLIP(config, np.random.default_rng(0)).astype(dtype).to(backend)


def batches(count: int, dtype: type = np.float64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(images (8, 3, 8, 8), tokens (8, 7)) of `count` steps."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        images = rng.standard_normal((8, 3, 8, 8)).astype(dtype)
        tokens = rng.integers(1, 18, (8, 7))
        tokens[np.arange(8), rng.integers(1, 7, 8)] = END
        yield images, tokens


def even_batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose captions all have one length, so that they stay in one piece."""
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, 18, (size, 7))
    tokens[:, -1] = END
    return rng.standard_normal((size, 3, 8, 8), dtype=np.float32), tokens


def losses_of(backend: str, steps: int, **options: object) -> tuple[list[float], list[str]]:
    """The losses of a run, and of what a step reads from the device."""
    model, reads = a_model(backend), []
    optimizer = AdamW(model.parameters(), lr=1e-2)
    results = []
    for images, tokens in batches(steps):
        with watching() as events:
            results.append(training_step(model, optimizer, images, tokens, **options)["loss"])
        reads += events.reads
    return [move(loss, "numpy").item() for loss in results], reads


def events_of_a_step(
    backend: str = "cupy", config: CLIPConfig = MICRO, batch: int = 8, **options: object
) -> Events:
    """What the second step of a float32 training asks of the device."""
    model = a_model(backend, "float32", config)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    images, tokens = even_batch(batch)
    for _ in range(2):
        with watching() as events:
            training_step(model, optimizer, images, tokens, **options)
    return events

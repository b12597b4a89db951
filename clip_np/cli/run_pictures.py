"""What does a run look like?

At the end of a training, four pictures are drawn into its directory: the loss, the
cosines of images and captions, the captions that the model chooses for images, and
where its last layer looks. The images are those of the test split.
"""

import warnings
from pathlib import Path

import numpy as np

from clip_np.evaluation import (
    CutTextWarning,
    attention_maps,
    caption_grid,
    caption_probabilities,
    embed_images,
    embed_texts,
    loss_curve,
    similarity_matrix,
)
from clip_np.training import METRICS, Trainer, read_metrics

GRID_IMAGES = 20  # test images in captions.png
GRID_CHOICES = 3  # captions shown for each of them
GRID_CAPTIONS = 1000  # captions to choose from
MATRIX_IMAGES = 16  # test images in similarity.png
ATTENTION_IMAGES = 6  # test images in attention.png


def draw_run(trainer: Trainer) -> list[Path]:
    """Draw the run's pictures into its directory, and return their paths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutTextWarning)  # the measurement has warned of them
        return _draw_run(trainer)


def _draw_run(trainer: Trainer) -> list[Path]:
    model = trainer.model
    directory = trainer.directory
    size = model.config.vision.image_size
    preprocess = trainer.loader.prepare
    images, captions = trainer.task.test_samples(GRID_CAPTIONS, size)
    maps = model.attention_maps(preprocess.normalise(images[:ATTENTION_IMAGES])).numpy()
    return [
        loss_curve(
            entries=read_metrics(directory / METRICS),
            path=directory / "loss.png",
            batch_size=trainer.loader.batch_size,
            loss=trainer.options.loss,
        ),
        similarity_matrix(
            image_features=embed_images(model, images[:MATRIX_IMAGES], preprocess),
            text_features=embed_texts(model, trainer.tokenizer, captions[:MATRIX_IMAGES]),
            images=images[:MATRIX_IMAGES],
            captions=captions[:MATRIX_IMAGES],
            path=directory / "similarity.png",
        ),
        _draw_choices(trainer, images[:GRID_IMAGES], captions),
        attention_maps(
            images=images[:ATTENTION_IMAGES],
            maps=maps,
            path=directory / "attention.png",
            captions=captions[:ATTENTION_IMAGES],
        ),
    ]


def _draw_choices(trainer: Trainer, images: np.ndarray, captions: list[str]) -> Path:
    """Draw images with the captions that the model finds likeliest for them.

    The first captions are the captions of the images, in the same order.
    """
    probabilities = caption_probabilities(
        model=trainer.model,
        tokenizer=trainer.tokenizer,
        images=images,
        captions=captions,
        preprocess=trainer.loader.prepare,
    )
    best = np.argsort(-probabilities, axis=1)[:, :GRID_CHOICES]  # (N, choices)
    choices = [[captions[column] for column in columns] for columns in best]
    scores = np.take_along_axis(probabilities, best, axis=1)  # (N, choices)
    path = trainer.directory / "captions.png"
    true = captions[: len(images)]
    return caption_grid(images, true, choices, scores, path, caption_count=len(captions))

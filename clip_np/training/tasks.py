"""Chapter 27: what is there to learn, and how is it measured?

A task brings together what belongs together: pairs to train on, pairs to validate on, the
measurement at the end, and the settings that suit it. There are two, the built-in shapes and
image-caption data. The test split takes part in no decision and is looked at once, at the end.

Both have `train` and `validation` (Pairs, or None), `settings` for TrainingOptions, `source`, which
is what it takes to open the same data again, report(model, tokenizer), the figures of the test
split by name, and test_samples(count, size), images and as many different captions.
"""

import os
from typing import Any

import numpy as np

from clip_np.data import DataError, Pairs, load_images, open_dataset, shapes
from clip_np.evaluation import pairs_report, shapes_report
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer

TRAINING_IMAGES = 60_000
VALIDATION_IMAGES = 512
TEST_SEED = 2103_00020  # any fixed number: this is what makes the test split the same for all


class ShapesTask:
    """The built-in drawings; `test` is a file that holds another test split of the same form."""

    measured_on = "the test split"

    def __init__(self, seed: int = 0, test: str | None = None, training: bool = True) -> None:
        self.train = self.validation = None
        if training:
            rng, held_out = np.random.default_rng([seed, 3]), VALIDATION_IMAGES
            images, captions = shapes.training_pairs(TRAINING_IMAGES + held_out, rng)
            self.train = Pairs.from_arrays(images[held_out:], captions[held_out:])
            self.validation = Pairs.from_arrays(images[:held_out], captions[:held_out])
        self.settings = {"preset": "tiny", "learning_rate": 2e-3, "batch_size": 160}
        self.source = {"task": "shapes", "seed": seed, "test": test and os.path.abspath(test)}
        self.splits = shapes.read_test_split(test) if test else shapes.test_split(TEST_SEED)

    def report(self, model: CLIP, tokenizer: Tokenizer) -> dict[str, float]:
        return shapes_report(model, tokenizer, self.splits)

    def test_samples(self, count: int, size: int) -> tuple[np.ndarray, list[str]]:
        split = self.splits["all"]
        return split.images[:count], list(split.captions[:count])


class FilesTask:
    """Image-caption data, measured on the test split, else on validation; how: what `open_dataset`
    is told, such as seed and image_column."""

    def __init__(self, path: str | os.PathLike, skip_bad: bool = False, **how: Any) -> None:
        splits = open_dataset(path, **how)
        self.train, self.validation = splits.get("train"), splits.get("validation")
        self.settings = {"preset": "small", "steps": None, "seconds": 240.0, "learning_rate": 1e-3}
        self.settings |= {"batch_size": 64, "shift": 3, "zoom": 0.1}
        if self.train is not None and self.train.tags is not None:
            self.settings["tag_probability"] = 0.6
        place = os.path.abspath(path) if os.path.exists(path) else str(path)  # or a hub's name
        self.source = {"task": "files", "path": place, "skip_bad": skip_bad, **how}
        name = "test" if "test" in splits else "validation"
        if name not in splits:
            raise DataError(f"{path}: too few pairs to hold any out for measuring")
        self.test = splits[name]
        self.measured_on = f"the {name} split, {len(self.test):,} pairs"

    def report(self, model: CLIP, tokenizer: Tokenizer) -> dict[str, float]:
        size = model.config.vision.image_size
        images, test = load_images(self.test, size, self.source["skip_bad"])
        return pairs_report(model, tokenizer, images, test.captions, test.names)

    def test_samples(self, count: int, size: int) -> tuple[np.ndarray, list[str]]:
        rows = list({caption: row for row, caption in enumerate(self.test.captions)}.values())
        spread = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
        chosen = self.test.select([rows[place] for place in spread])
        images, kept = load_images(chosen, size, self.source["skip_bad"])
        return images, kept.captions


Task = ShapesTask | FilesTask


def open_task(source: dict[str, Any], training: bool = True) -> Task:
    """The task that a checkpoint's `source` describes."""
    settings = dict(source)
    if settings.pop("task") == "shapes":
        return ShapesTask(**settings, training=training)
    return FilesTask(**settings)

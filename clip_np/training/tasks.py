"""What is there to learn, and how is it measured?

A task brings together what belongs together: pairs to train on, pairs to validate on,
the measurement at the end, and the settings that suit it. There are two of them, the
shapes task with its built-in drawings, and image-caption data from files. Both offer:

    train, validation       Pairs, or None
    settings                for TrainingOptions.of
    source                  what it takes to open the same data again (for checkpoints)
    measure(...)            the figures of the test split, with chance and intervals
    report(...)             the figures alone, by name
    test_samples(...)       images of the test split, and as many different captions
    skip_bad                whether unreadable images are left out
    measured_on             which pairs the figures are about, in words

The test split takes part in no decision. It is looked at once, at the end.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.data import (
    SHAPES_STREAM,
    VALIDATION_PAIRS,
    DataError,
    Pairs,
    Preprocess,
    load_images,
    open_dataset,
    shapes,
    training_preprocess,
)
from clip_np.evaluation import (
    CHOICES,
    AnyTokenizer,
    Measurement,
    embed_images,
    embed_readable,
    embed_texts,
    measure_pairs,
)
from clip_np.model import CLIP
from clip_np.training.checks import shown
from clip_np.training.data_record import keep_held_out, record_of
from clip_np.training.shapes_figures import measure_shapes

TRAINING_IMAGES = 60_000
"""Drawings that the shapes task trains on."""

VALIDATION_IMAGES = VALIDATION_PAIRS
"""Drawings that the shapes task holds out, and the most pairs that a validation uses.

A validation has to be quick: it interrupts the training every 100 steps.
"""

TEST_SEED = 2103_00020
"""Any fixed number: it makes the test split the same for all. It is CLIP's on arXiv."""

SHAPES_SETTINGS: dict[str, Any] = {"preset": "tiny", "batch_size": 160}
"""Settings for the shapes. The other settings are the defaults of `TrainingOptions`."""

FILES_SETTINGS: dict[str, Any] = {
    "preset": "small",
    "vision": "resnet",
    "steps": None,
    "seconds": 240.0,
    "learning_rate": 1e-3,
    "batch_size": 64,
    "augment": "light",
    "label_smoothing": 0.1,
}
"""Settings for pairs from files. They are varied, because a real data set is small. The
clock ends the run, because the time of a step depends on the preset. In a style that it
never saw, a ResNet recognises more than a vision transformer, and more still with label
smoothing: docs/figures.md."""

TAG_PROBABILITY = 0.6
"""How often a caption gets some of its tags added, if the data has tags."""


class ShapesTask:
    """The built-in drawings.

    seed draws the training pairs. test is a file with another test split of the same
    form. With training=False there are no pairs to train and validate on.
    """

    measured_on = "the test split"
    skip_bad = False
    skipped_rows: Sequence[str] = ()
    record: dict[str, Any] | None = None

    def __init__(self, seed: int = 0, test: str | None = None, training: bool = True) -> None:
        self.train: Pairs | None = None
        self.validation: Pairs | None = None
        if training:
            rng = np.random.default_rng([seed, SHAPES_STREAM])
            held_out = VALIDATION_IMAGES
            images, captions = shapes.training_pairs(TRAINING_IMAGES + held_out, rng)
            self.train = Pairs.from_arrays(images[held_out:], captions[held_out:])
            self.validation = Pairs.from_arrays(images[:held_out], captions[:held_out])
        self.settings = dict(SHAPES_SETTINGS)
        test_path = None if test is None else os.path.abspath(test)
        self.source = {"task": "shapes", "seed": seed, "test": test_path}
        if test is None:
            self.splits = shapes.test_split(TEST_SEED)
        else:
            self.splits = shapes.read_test_split(test)

    def report(
        self, model: CLIP, tokenizer: AnyTokenizer, preprocess: Preprocess | None = None
    ) -> dict[str, float]:
        """The figures of `measure`."""
        return self.measure(model, tokenizer, preprocess).figures

    def measure(
        self, model: CLIP, tokenizer: AnyTokenizer, preprocess: Preprocess | None = None
    ) -> Measurement:
        """Recall and zero-shot accuracy, as in `measure_shapes`.

        ValueError for a `preprocess` that is not the one for drawings of this size.
        """
        if preprocess not in (None, training_preprocess(shapes.IMAGE_SIZE)):
            raise ValueError("the shapes task measures models that were trained here; pass `data`")
        return measure_shapes(model, tokenizer, self.splits)

    def test_samples(self, count: int, size: int) -> tuple[np.ndarray, list[str]]:
        """The first `count` test images, uint8 (count, 32, 32, 3), with captions."""
        split = self.splits["all"]
        return split.images[:count], list(split.captions[:count])


class FilesTask:
    """Image-caption data, measured on its test split, or if it has none, on validation.

    columns_and_split is passed on to `open_dataset`: seed, image_column and so on.
    skip_bad leaves unreadable images and rows without image or caption out, and
    skipped_rows says why a row was. Raises DataError if no pair can be held out.
    """

    def __init__(
        self, path: str | os.PathLike[str], skip_bad: bool = False, **columns_and_split: Any
    ) -> None:
        self.skipped_rows: list[str] = []
        splits = open_dataset(
            os.fspath(path), skipped=self.skipped_rows if skip_bad else None, **columns_and_split
        )
        self.train = splits.get("train")
        self.validation = splits.get("validation")
        self.settings = dict(FILES_SETTINGS)
        if self.train is not None and self.train.tags is not None:
            self.settings["tag_probability"] = TAG_PROBABILITY
        is_on_disk = os.path.exists(path)  # if not, it is the name of a data set on a hub
        self.source = {
            "task": "files",
            "path": os.path.abspath(path) if is_on_disk else str(path),
            "skip_bad": skip_bad,
            **columns_and_split,
        }
        self.skip_bad = skip_bad
        # The names of images begin with this, without "./" and the like.
        folder = Path(path)
        self.folder = str(folder.parent if folder.is_file() else folder)
        self.record: dict[str, Any] | None = None
        if self.train is None or self.train.repeats:
            self.record = record_of(splits, self.folder)
        self.splits = splits
        self._choose_test(splits)

    def _choose_test(self, splits: Mapping[str, Pairs]) -> None:
        """What is measured on. DataError if nothing is held out."""
        path = self.source["path"]
        name = "test" if "test" in splits else "validation"
        if name not in splits:
            raise DataError(
                f"{path}: too few pairs to hold any out for measuring, {len(splits['train'])}; "
                "a run needs two images or more"
            )
        self.test = splits[name]
        plural = "" if len(self.test) == 1 else "s"
        self.measured_on = f"the {name} split, {len(self.test):,} pair{plural}"

    def keep_held_out(self, before: Mapping[str, Any]) -> None:
        """Hold out the images that a record of the data says: see data_record.py."""
        splits = keep_held_out(self.splits, before, self.folder)
        self.train = splits.get("train")
        self.validation = splits.get("validation")
        held_out = record_of(splits, self.folder)["held_out"]
        self.record = {**(self.record or {}), "held_out": held_out}
        self._choose_test(splits)

    def report(
        self, model: CLIP, tokenizer: AnyTokenizer, preprocess: Preprocess | None = None
    ) -> dict[str, float]:
        """The figures of `measure`."""
        return self.measure(model, tokenizer, preprocess).figures

    def measure(
        self, model: CLIP, tokenizer: AnyTokenizer, preprocess: Preprocess | None = None
    ) -> Measurement:
        """Recall, median ranks and multiple choice, as in `measure_pairs`.

        preprocess: how images are prepared for a model that did not begin here. Images
        that are left out count nowhere, in chance neither.
        """
        size = model.config.vision.image_size
        if preprocess in (None, training_preprocess(size)):
            images, test = load_images(self.test, size, self.skip_bad)
            image_features = embed_images(model, images)  # (N, E)
        else:
            image_features, test = embed_readable(model, preprocess, self.test, self.skip_bad)
        text_features = embed_texts(model, tokenizer, test.captions)  # (N, E)
        return measure_pairs(image_features, text_features, test.captions, test.names, CHOICES)

    def test_samples(self, count: int, size: int) -> tuple[np.ndarray, list[str]]:
        """At most `count` test images, uint8 (n, size, size, 3), no caption twice.

        They are spread evenly over the split.
        """
        row_of = {caption: row for row, caption in enumerate(self.test.captions)}
        rows = list(row_of.values())
        spread = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
        chosen = self.test.select([rows[index] for index in spread])
        images, readable = load_images(chosen, size, self.skip_bad)
        return images, list(readable.captions)


Task = ShapesTask | FilesTask


def open_task(source: dict[str, Any], training: bool = True) -> Task:
    """The task that a checkpoint's `source` describes.

    With training=False, a shapes task draws no training pairs. ValueError for a kind of
    task that does not exist. What else a checkpoint says is looked at in saved.py.
    """
    settings = dict(source)
    kind = settings.pop("task", None)
    if kind == "shapes":
        return ShapesTask(training=training, **settings)
    if kind == "files":
        return FilesTask(**settings)
    raise ValueError(f"a task is 'shapes' or 'files', got {shown(kind)}")

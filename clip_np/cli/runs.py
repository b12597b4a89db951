"""How is a model trained, measured and watched from a shell?

`clip-np train` makes a *run*: a directory with the checkpoint, the metrics and the
pictures of one training. `clip-np evaluate` and `clip-np plot` look at it again, and
`clip-np train --resume` goes on with it.

Every option that is not given is None. So the settings that suit a task, those of a
preset, and those that a resumed run was started with all hold, unless an option
replaces them.
"""

import argparse
import dataclasses
import shlex
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.cli.output import draw_pictures, print_text
from clip_np.cli.reporting import write_report
from clip_np.data import IMAGE_SIZE, to_model_input
from clip_np.encoders import PRESETS
from clip_np.evaluation import (
    attention_maps,
    caption_grid,
    caption_probabilities,
    embed_images,
    embed_texts,
    loss_curve,
    similarity_matrix,
)
from clip_np.files import FileError, file_errors, shown
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training import (
    METRICS,
    FilesTask,
    RunDirectory,
    SavedTraining,
    ShapesTask,
    Task,
    Trainer,
    TrainingOptions,
    count_of_pairs,
    open_task,
    read_metrics,
    read_run,
    saved_training,
    write_description,
)
from clip_np.weights import CHECKPOINT, PREVIOUS
from minigrad.nn import count_parameters

# Options by what they belong to, under the names that they have in Python.
DATA_OPTIONS = ("image_column", "caption_column", "split", "streaming", "allow_outside", "skip_bad")
NEW_RUN_OPTIONS = (
    "data", *DATA_OPTIONS, "test", "preset", "vocab_size", "loss", "seed", "name", "out",
    "vision", "text", "text_weights",
)  # fmt: skip
TRAINING_OPTIONS = tuple(field.name for field in dataclasses.fields(TrainingOptions))

SIGNALLED = 128  # added to a signal's number, it is the exit status, as in shells
SHOWN_SKIPPED = 5  # unreadable images that are named after a training
FIGURE_WIDTH = 36  # characters of a figure's name
GRID_IMAGES = 20  # test images in captions.png
GRID_CHOICES = 3  # captions shown for each of them
GRID_CAPTIONS = 1000  # captions to choose from
MATRIX_IMAGES = 16  # test images in similarity.png
ATTENTION_IMAGES = 6  # test images in attention.png


def _options_given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named options that are set."""
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _refuse(arguments: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """ValueError if one of the named options is set: it would have no effect."""
    flags = ["--" + name.replace("_", "-") for name in _options_given(arguments, names)]
    if flags:
        raise ValueError(f"{', '.join(flags)}: {reason}; leave it out")


# --- clip-np train --------------------------------------------------------------------


def train_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a CLIP on shapes or on your own images, measure it, and draw pictures."""
    is_new = arguments.resume is None
    files = RunDirectory(_new_directory(arguments) if is_new else arguments.resume)
    if not is_new:
        _require_run_directory(arguments)
    with files.locked():  # from the reading of the checkpoint to the last picture
        return _train_in(files, arguments)


def _train_in(files: RunDirectory, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train in a directory that is locked."""
    is_new = arguments.resume is None
    trainer = _new_run(arguments, files) if is_new else _resumed_run(arguments, files)
    _announce(arguments, trainer)
    result: dict[str, Any] = trainer.run()
    if trainer.interrupted:
        _stop(arguments, trainer)
    skipped = list(trainer.loader.skipped.values())
    for problem in skipped[:SHOWN_SKIPPED]:
        print_text(arguments, f"skipped {problem}")
    print_text(arguments, f"{result['steps']} steps in {result['train_seconds']:.0f} s")
    figures = _measure(arguments, trainer.task, trainer.model, trainer.tokenizer)
    draw_pictures(arguments, lambda: draw_run(trainer))
    measured = {"figures": figures, "chance": trainer.task.chance()}
    write_description(trainer.directory, trainer.description | measured)
    print_text(arguments, f"report: {shown(write_report(trainer.directory))}")
    return {**result, "skipped_images": len(skipped), **figures}


def _stop(arguments: argparse.Namespace, trainer: Trainer) -> None:
    """Say how to go on, and end the program as the signal asks."""
    if trainer.files.is_begun:
        command = f"clip-np train --resume {shlex.quote(str(trainer.directory))}"
        text = f"stopped at step {trainer.step}, all is saved; go on with:\n    {command}"
    else:
        text = "stopped before the first step; nothing was written"
    print_text(arguments, text)
    if trainer.stopped_by in (None, signal.SIGINT):
        raise KeyboardInterrupt
    raise SystemExit(SIGNALLED + int(trainer.stopped_by or 0))


def _new_directory(arguments: argparse.Namespace) -> Path:
    """Where a new run goes: --out, or a folder of its own below "runs"."""
    name = arguments.name or Path(arguments.data or "shapes").resolve().stem
    return Path(arguments.out or f"runs/{name}")


def _new_run(arguments: argparse.Namespace, files: RunDirectory) -> Trainer:
    """A trainer at its first step."""
    options = _options_given(arguments, TRAINING_OPTIONS)
    TrainingOptions.of({}, **options)  # mistakes in them show before the data is opened
    task = _open_data(arguments)
    if task.train is None:
        raise ValueError(f"{arguments.data}: holds a test split only, nothing to train on")
    return Trainer(task, TrainingOptions.of(task.settings, **options), files)


def _open_data(arguments: argparse.Namespace) -> Task:
    """The task of --data, or the built-in shapes."""
    seed = arguments.seed or 0
    if arguments.data is not None:
        _refuse(arguments, ["test"], "only for the built-in shapes")
        return FilesTask(arguments.data, seed=seed, **_options_given(arguments, DATA_OPTIONS))
    _refuse(arguments, DATA_OPTIONS, "only for --data")
    size = PRESETS[arguments.preset or "tiny"].vision.image_size
    if size != IMAGE_SIZE:
        raise ValueError(
            f"--preset {arguments.preset} sees images of {size} pixels, the built-in shapes "
            f"have {IMAGE_SIZE}: take tiny or small, or pass --data"
        )
    return ShapesTask(seed=seed, test=arguments.test)


def _require_run_directory(arguments: argparse.Namespace) -> None:
    """Look at --resume before anything is made or locked there."""
    _refuse(arguments, NEW_RUN_OPTIONS, "a resumed run keeps its own")
    directory = Path(arguments.resume)
    if directory.is_file():  # the files next to it would be overwritten
        raise ValueError(f"--resume {directory}: expected a run directory, not a file in it")
    if not any((directory / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        raise FileNotFoundError(
            f"{directory}: no such checkpoint; a run directory holds {CHECKPOINT}"
        )


def _resumed_run(arguments: argparse.Namespace, files: RunDirectory) -> Trainer:
    """A trainer at the step where an earlier one was stopped."""
    checkpoint = files.read()
    saved = saved_training(checkpoint, files.path)
    with file_errors(files.path, "no run to go on with"):
        saved.require_all()
    options = TrainingOptions.of(saved.options or {}, **_options_given(arguments, TRAINING_OPTIONS))
    task = open_task(saved.source or {})
    try:
        return Trainer(task, options, files, checkpoint=checkpoint)
    except ValueError as error:
        raise FileError(f"{files.path}: {error}", files.path) from error


def _announce(arguments: argparse.Namespace, trainer: Trainer) -> None:
    """Print what is trained, on what, and where it goes."""
    pairs = trainer.task.train
    assert pairs is not None  # a trainer has pairs to train on
    amount = f"{len(pairs):,} pairs"
    if not pairs.repeats:
        amount += " and those that the stream brings"
    print_text(
        arguments,
        f"training {trainer.options.preset}: {count_parameters(trainer.model):,} weights, "
        f"{amount}; results go to {trainer.directory}",
    )


def _measure(
    arguments: argparse.Namespace, task: Task, model: CLIP, tokenizer: TokenizerProtocol
) -> dict[str, Any]:
    """The figures of a model on the task's held-out data, also printed as a table."""
    figures = task.report(model, tokenizer)
    print_text(arguments, f"on {task.measured_on}:")
    chances = task.chance()
    for key, value in figures.items():
        line = f"    {key.replace('_', ' '):<{FIGURE_WIDTH}}{round(value, 3):>10g}"
        if key in chances:
            line += f"   chance {round(chances[key], 3):g}"
            line += ": says nothing" if chances[key] == 1 else ""
        print_text(arguments, line)
    if chances.get("recall_at_1") == 1:
        print_text(arguments, f"{count_of_pairs(figures['pairs'])} measured: says nothing")
    return figures


# --- the pictures of a run ------------------------------------------------------------


def draw_run(trainer: Trainer) -> list[Path]:
    """Draw the run's pictures into its directory, and return their paths."""
    model = trainer.model
    directory = trainer.directory
    size = model.config.vision.image_size
    images, captions = trainer.task.test_samples(GRID_CAPTIONS, size)
    maps = model.attention_maps(to_model_input(images[:ATTENTION_IMAGES])).numpy()
    return [
        loss_curve(
            entries=read_metrics(directory / METRICS),
            path=directory / "loss.png",
            batch_size=trainer.loader.batch_size,
            loss=trainer.options.loss,
        ),
        similarity_matrix(
            image_features=embed_images(model, images[:MATRIX_IMAGES]),
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
    probabilities = caption_probabilities(trainer.model, trainer.tokenizer, images, captions)
    best = np.argsort(-probabilities, axis=1)[:, :GRID_CHOICES]  # (N, choices)
    choices = [[captions[column] for column in columns] for columns in best]
    scores = np.take_along_axis(probabilities, best, axis=1)  # (N, choices)
    path = trainer.directory / "captions.png"
    return caption_grid(images, captions[: len(images)], choices, scores, path)


# --- clip-np evaluate and plot --------------------------------------------------------


def evaluate_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a trained model on its test split, or on other data."""
    checkpoint = read_run(arguments.run)
    source = SavedTraining.of(checkpoint.training).source or {}
    task = _data_to_measure_on(arguments, source)
    checkpoint.model.to(arguments.backend or "numpy")
    return _measure(arguments, task, checkpoint.model, checkpoint.tokenizer)


def _data_to_measure_on(arguments: argparse.Namespace, source: dict[str, Any]) -> Task:
    """The data of --data, or those that the run's `source` names."""
    if arguments.data is None:
        _refuse(arguments, DATA_OPTIONS, "only for --data")
        if not source:
            raise ValueError(f"{arguments.run}: names no data to measure on; pass --data PATH")
        return open_task(source, training=False)
    if source.get("task") == "shapes":
        return ShapesTask(test=arguments.data, training=False)
    # With the seed of the training, what it held out is held out again.
    seed = source.get("seed", 0)
    return FilesTask(arguments.data, seed=seed, **_options_given(arguments, DATA_OPTIONS))


def plot_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw the loss of a run again, also while it is training."""
    directory = Path(arguments.run)
    options = SavedTraining.of(read_run(directory).training).options
    if options is None or not directory.is_dir():
        raise ValueError(f"{directory}: expected the directory of a run, with its {METRICS}")
    entries = read_metrics(directory / METRICS)
    chosen = TrainingOptions.of(options)
    draw_pictures(
        arguments,
        lambda: [
            loss_curve(
                entries=entries,
                path=directory / "loss.png",
                batch_size=chosen.batch_size,
                loss=chosen.loss,
            )
        ],
    )
    print_text(arguments, f"report: {shown(write_report(directory))}")
    return {"records": len(entries)}

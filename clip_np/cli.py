"""Chapter 31: how is all this used from a shell?

    clip-np train                         the built-in shapes, two minutes on a laptop
    clip-np train --data FOLDER           your own images and captions
    clip-np evaluate runs/shapes          the figures of a run, once more

`python -m clip_np` is the same program. Mistakes end with one line on stderr that says what to
do, and exit status 1; Ctrl-C saves first and ends with 130.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from clip_np import pictures
from clip_np.checkpoints import CHECKPOINT, read_checkpoint
from clip_np.config import PRESETS
from clip_np.evaluate import embed_images, embed_texts
from clip_np.loading import to_model_input
from clip_np.shapes import IMAGE_SIZE
from clip_np.tasks import FilesTask, ShapesTask, Task, open_task
from clip_np.train import METRICS, Trainer, TrainingError, TrainingOptions, read_metrics
from minigrad.backend import BackendError, move
from minigrad.nn import count_parameters

OF_FILES = ("image_column", "caption_column", "skip_bad")
OF_NEW_RUNS = ("data", *OF_FILES, "test", "preset", "vocab_size", "seed", "name", "out")


# Options of the commands by group: flag, type (None: a switch), how its value is called, help.
FILE_OPTIONS = (
    ("--image-column", str, "NAME", "column that holds the images"),
    ("--caption-column", str, "NAME", "column that holds the captions"),
    ("--skip-bad", None, "", "leave unreadable images out, and count them"),
)
JSON_OPTION = ("--json", None, "", "print one JSON object as the last line")
BACKEND_OPTION = ("--backend", str, "NAME", "numpy (the default), or cupy or cupy:1 for a GPU")
DATA_HELP = (
    "a folder with captions.csv or metadata.csv, or with name.jpg beside name.txt, or a parquet "
    "file or a folder of them; without it, the built-in shapes are drawn"
)
TRAIN_OPTIONS = {
    "data": (
        ("--data", str, "PATH", DATA_HELP),
        *FILE_OPTIONS,
        ("--test", str, "PATH", "shapes only: a parquet file with another test split"),
    ),
    "how long": (
        ("--steps", int, "N", "steps to take (default for shapes: 1200)"),
        ("--seconds", float, "S", "time limit (default for --data: 240)"),
    ),
    "model and optimizer (defaults depend on the data)": (
        ("--preset", str, "NAME", "size of the model: " + ", ".join(PRESETS)),
        ("--batch-size", int, "N", "pairs in a step"),
        ("--learning-rate", float, "X", "highest learning rate"),
        ("--weight-decay", float, "X", "AdamW's weight decay (0.1)"),
        ("--warmup", int, "N", "steps of rising rate (100)"),
        ("--vocab-size", int, "N", "most tokens to learn (4000)"),
        ("--shift", int, "PIXELS", "move training images by up to this"),
        ("--zoom", float, "X", "stretch training images by up to exp(X), each way"),
        ("--colour-jitter", float, "X", "vary colours of training images by this share"),
        ("--seed", int, "N", "for all random numbers; same seed, same run (0)"),
    ),
    "machine": (
        BACKEND_OPTION,
        ("--workers", int, "N", "threads (default: the cores)"),
        ("--shards", int, "N", "cut each batch into N pieces: less memory (1)"),
    ),
    "output": (
        ("--name", str, "NAME", "results go to runs/NAME (default: shapes, or the data's name)"),
        ("--out", str, "DIR", "results go to DIR instead"),
        ("--resume", str, "DIR", "go on with the run in DIR; --steps or --seconds may grow"),
        JSON_OPTION,
    ),
}
EVALUATE_OPTIONS = (
    ("run", str, "RUN", "a run directory, or a checkpoint file"),
    ("--data", str, "PATH", "measure on this data instead of that of the training"),
    *FILE_OPTIONS,
    BACKEND_OPTION,
    JSON_OPTION,
)


def _add_options(parser: Any, options: Sequence[tuple[str, Any, str, str]]) -> None:
    for flag, kind, metavar, text in options:
        # An option that is not given is None, so that a default can depend on the others.
        switch = {"action": "store_true", "default": None}
        valued = {"type": kind, "metavar": metavar}
        parser.add_argument(flag, help=text, **(valued if kind else switch))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clip-np", description="Train and use CLIP on NumPy alone."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "train a CLIP on the built-in shapes or on your own images, measure it, draw pictures"
    train = commands.add_parser("train", help=text, description=text)
    for name, options in TRAIN_OPTIONS.items():
        _add_options(train.add_argument_group(name), options)
    text = "measure a trained model on its test split, or on other data"
    _add_options(commands.add_parser("evaluate", help=text, description=text), EVALUATE_OPTIONS)
    return parser


def _options(arguments: argparse.Namespace, base: dict[str, Any]) -> TrainingOptions:
    """Options from `base`, but for those given; one of --steps and --seconds replaces both."""
    fields = {field.name for field in dataclasses.fields(TrainingOptions)}
    given = {k: v for k, v in vars(arguments).items() if k in fields and v is not None}
    if "steps" in given or "seconds" in given:
        base = {**base, "steps": None, "seconds": None}
    return TrainingOptions(**{**base, **given})


def _refuse(arguments: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """ValueError where one of the options is set that would have no effect."""
    given = [f"--{n}".replace("_", "-") for n in names if getattr(arguments, n) is not None]
    if given:
        raise ValueError(f"{', '.join(given)}: {reason}; leave it out")


def _new_run(arguments: argparse.Namespace) -> tuple[Task, TrainingOptions, pathlib.Path]:
    _options(arguments, {})  # mistakes in them show before the data is opened
    seed = arguments.seed or 0
    if arguments.data is None:
        _refuse(arguments, OF_FILES, "only for --data")
        size = PRESETS[arguments.preset or "tiny"].vision.image_size
        if size != IMAGE_SIZE:
            raise ValueError(
                f"--preset {arguments.preset} sees images of {size} pixels, the built-in shapes "
                f"have {IMAGE_SIZE}: take tiny or small, or pass --data"
            )
        task: Task = ShapesTask(seed, arguments.test)
        name = "shapes"
    else:
        _refuse(arguments, ("test",), "only for the built-in shapes")
        columns = arguments.image_column, arguments.caption_column
        task = FilesTask(arguments.data, *columns, seed=seed, skip_bad=bool(arguments.skip_bad))
        name = pathlib.Path(arguments.data).resolve().stem
    if task.train is None:
        raise ValueError(f"{arguments.data}: holds a test split only, nothing to train on")
    directory = pathlib.Path(arguments.out or pathlib.Path("runs") / (arguments.name or name))
    return task, _options(arguments, task.settings), directory


def _say(arguments: argparse.Namespace, text: str) -> None:
    """Print for people: to stderr where stdout is kept for JSON."""
    print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)


def train_command(arguments: argparse.Namespace) -> int:
    """Train, measure, draw."""
    if arguments.resume is not None:
        _refuse(arguments, OF_NEW_RUNS, "a resumed run keeps its own")
        directory = pathlib.Path(arguments.resume)
        resumed = read_checkpoint(directory)
        if not directory.is_dir():  # its neighbours would be overwritten
            raise ValueError(f"--resume {directory}: expected a run directory, not a file in it")
        if resumed.training is None:
            raise ValueError(f"{directory}: this checkpoint holds no training to go on with")
        task = open_task(resumed.training["source"])
        options = _options(arguments, resumed.training["options"])
        trainer = Trainer(task, options, directory, resumed)
    else:
        task, options, directory = _new_run(arguments)
        trainer = Trainer(task, options, directory)
        previous = directory / CHECKPOINT
        if previous.exists():
            kept = previous.with_name("checkpoint.previous.npz")
            previous.replace(kept)
            _say(arguments, f"an earlier run was here; its checkpoint is now {kept}")
    sizes = f"{count_parameters(trainer.model):,} weights, {len(task.train):,} pairs"
    _say(arguments, f"training {options.preset}: {sizes}; results go to {trainer.directory}")
    outcome: dict[str, Any] = trainer.run()
    if trainer.interrupted:
        again = f"clip-np train --resume {shlex.quote(str(trainer.directory))}"
        _say(arguments, f"stopped at step {trainer.step}, all is saved; go on with:\n    {again}")
        return 130
    for name, cause in list(trainer.loader.skipped.items())[:5]:
        _say(arguments, f"skipped {name}: {cause}")
    outcome["skipped_images"] = len(trainer.loader.skipped)
    _say(arguments, f"{outcome['steps']} steps in {outcome['train_seconds']:.0f} s")
    report = task.report(trainer.model, trainer.tokenizer)
    _print_figures(arguments, report, task)
    draw_pictures(arguments, trainer, task)
    if arguments.json:
        print(json.dumps(outcome | report))
    return 0


def _print_figures(arguments: argparse.Namespace, figures: dict[str, Any], task: Task) -> None:
    _say(arguments, f"on {task.measured_on}:")
    for key, value in figures.items():
        _say(arguments, f"    {key.replace('_', ' '):<36}{round(value, 3):>10g}")


def draw_pictures(arguments: argparse.Namespace, trainer: Trainer, task: Task) -> None:
    """The run's pictures, beside its checkpoint; without matplotlib, a line that says so."""
    directory, model = trainer.directory, trainer.model
    images, captions = task.test_samples(1000, model.config.vision.image_size)
    features = embed_images(model, images), embed_texts(model, trainer.tokenizer, captions)
    # The captions of the first twenty images that are likeliest among all.
    logits = math.exp(model.logit_scale.item()) * (features[0][:20] @ features[1].T)  # (20, N)
    probabilities = mg.softmax(mg.tensor(logits)).numpy()
    best = np.argsort(-probabilities, axis=1)[:, :3]  # (20, 3)
    choices = [[captions[column] for column in row] for row in best]
    chosen = images[:20], captions[:20], choices, np.take_along_axis(probabilities, best, axis=1)
    pairs = *(each[:16] for each in features), images[:16], captions[:16]
    maps = model.attention_maps(to_model_input(images[:6])).numpy()
    curve = read_metrics(directory / METRICS), directory / "loss.png", trainer.loader.batch_size
    try:
        drawn = [
            pictures.loss_curve(*curve),
            pictures.similarity_matrix(*pairs, directory / "similarity.png"),
            pictures.caption_grid(*chosen, directory / "captions.png"),
            pictures.attention_maps(images[:6], maps, directory / "attention.png", captions[:6]),
        ]
    except pictures.MissingMatplotlib as error:
        _say(arguments, str(error))
    else:
        _say(arguments, "pictures: " + ", ".join(str(path) for path in drawn))


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Measure a trained model."""
    found = read_checkpoint(arguments.run)
    source = (found.training or {}).get("source")
    if source is None and arguments.data is None:
        raise ValueError(f"{arguments.run}: names no data to measure on; pass --data PATH")
    if arguments.data is None:
        _refuse(arguments, OF_FILES, "only for --data")
        task = open_task(source, training=False)
    elif source is not None and source["task"] == "shapes":
        task = ShapesTask(test=arguments.data, training=False)
    else:
        columns = arguments.image_column, arguments.caption_column
        seed = (source or {}).get("seed", 0)  # held out is what the training held out
        task = FilesTask(arguments.data, *columns, seed=seed, skip_bad=bool(arguments.skip_bad))
    figures = task.report(found.model.to(arguments.backend or "numpy"), found.tokenizer)
    _print_figures(arguments, figures, task)
    if arguments.json:
        print(json.dumps(figures))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    # Emoji in captions must not end a run on a terminal that cannot show them.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
        move(np.zeros(1), arguments.backend or "numpy")  # a missing GPU shows before data is read
        return {"train": train_command, "evaluate": evaluate_command}[arguments.command](arguments)
    except (ValueError, OSError, ImportError, TrainingError, BackendError) as error:
        print(f"clip-np: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("clip-np: interrupted", file=sys.stderr)
        return 130

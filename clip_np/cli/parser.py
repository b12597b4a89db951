"""Chapter 40: how is all this used from a shell?

    clip-np train                                     the built-in shapes, two minutes on a laptop
    clip-np train --data FOLDER                       your own images and captions
    clip-np evaluate RUN                              the figures of a run, once more
    clip-np plot RUN                                  the loss so far

and what chapter 39 adds. `python -m clip_np` is the same program. Mistakes end with one line on
stderr that says what to do, and exit status 1; Ctrl-C saves first and ends with 130.
"""

import argparse
import dataclasses
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.cli import commands
from clip_np.cli.commands import draw, say
from clip_np.data import IMAGE_SIZE, to_model_input
from clip_np.encoders import PRESETS
from clip_np.evaluation import caption_probabilities, embed_images, embed_texts, pictures
from clip_np.training import (
    METRICS,
    FilesTask,
    ShapesTask,
    Task,
    Trainer,
    TrainingError,
    TrainingOptions,
    open_task,
    read_metrics,
)
from clip_np.weights import BEST, CHECKPOINT, read_checkpoint
from minigrad.backend import BackendError, move
from minigrad.nn import count_parameters

# Options as they are called in Python: those of files, of new runs only, and of any training.
OF_FILES = ("image_column", "caption_column", "split", "streaming", "skip_bad")
OF_NEW_RUNS = ("data", *OF_FILES, "test", "preset", "vocab_size", "seed", "name", "out")
OF_TRAINING = {field.name: field.metadata for field in dataclasses.fields(TrainingOptions)}


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that are set."""
    return {k: v for k, v in vars(arguments).items() if k in names and v is not None}


def _refuse(arguments: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """ValueError where one of the options is set that would have no effect."""
    given = ", ".join(f"--{name}" for name in _given(arguments, names)).replace("_", "-")
    if given:
        raise ValueError(f"{given}: {reason}; leave it out")


def _new_run(arguments: argparse.Namespace) -> Trainer:
    given, seed = _given(arguments, OF_TRAINING), arguments.seed or 0
    TrainingOptions.of({}, **given)  # mistakes in them show before the data is opened
    if arguments.data is None:
        _refuse(arguments, OF_FILES, "only for --data")
        size = PRESETS[arguments.preset or "tiny"].vision.image_size
        if size != IMAGE_SIZE:
            ours = f"the built-in shapes have {IMAGE_SIZE}: take tiny or small, or pass --data"
            raise ValueError(f"--preset {arguments.preset} sees images of {size} pixels, {ours}")
        task: Task = ShapesTask(seed, arguments.test)
    else:
        _refuse(arguments, ("test",), "only for the built-in shapes")
        task = FilesTask(arguments.data, seed=seed, **_given(arguments, OF_FILES))
    if task.train is None:
        raise ValueError(f"{arguments.data}: holds a test split only, nothing to train on")
    name = arguments.name or Path(arguments.data or "shapes").resolve().stem
    directory = Path(arguments.out or f"runs/{name}")
    trainer = Trainer(task, TrainingOptions.of(task.settings, **given), directory)
    for file in (directory / CHECKPOINT, directory / BEST):
        if file.exists():
            kept = file.replace(file.with_suffix(".previous.npz"))
            say(arguments, f"an earlier run was here; its checkpoint is now {kept}")
    return trainer


def _resumed_run(arguments: argparse.Namespace) -> Trainer:
    _refuse(arguments, OF_NEW_RUNS, "a resumed run keeps its own")
    directory = Path(arguments.resume)
    resumed = read_checkpoint(directory)
    if not directory.is_dir():  # its neighbours would be overwritten
        raise ValueError(f"--resume {directory}: expected a run directory, not a file in it")
    if resumed.training is None:
        raise ValueError(f"{directory}: this checkpoint holds no training to go on with")
    options = TrainingOptions.of(resumed.training["options"], **_given(arguments, OF_TRAINING))
    task = open_task(resumed.training["source"])
    return Trainer(task, options, directory, checkpoint=resumed)


def train_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a CLIP on the built-in shapes or on your own images, measure it, draw pictures."""
    trainer = (_new_run if arguments.resume is None else _resumed_run)(arguments)
    task, model, directory = trainer.task, trainer.model, trainer.directory
    more = "" if task.train.repeats else " and those that the stream brings"
    sizes = f"{count_parameters(model):,} weights, {len(task.train):,} pairs{more}"
    say(arguments, f"training {trainer.options.preset}: {sizes}; results go to {directory}")
    outcome: dict[str, Any] = trainer.run()
    if trainer.interrupted:
        again = f"clip-np train --resume {shlex.quote(str(directory))}"
        say(arguments, f"stopped at step {trainer.step}, all is saved; go on with:\n    {again}")
        raise KeyboardInterrupt
    for cause in list(trainer.loader.skipped.values())[:5]:
        say(arguments, f"skipped {cause}")
    outcome["skipped_images"] = len(trainer.loader.skipped)
    say(arguments, f"{outcome['steps']} steps in {outcome['train_seconds']:.0f} s")
    outcome |= _measure(arguments, task, model, trainer.tokenizer)
    draw(arguments, lambda: draw_run(trainer))
    return outcome


def _measure(arguments: argparse.Namespace, task: Task, *model: Any) -> dict[str, Any]:
    """The figures of a model and its tokenizer, also for people."""
    figures = task.report(*model)
    say(arguments, f"on {task.measured_on}:")
    for key, value in figures.items():
        say(arguments, f"    {key.replace('_', ' '):<36}{round(value, 3):>10g}")
    return figures


def draw_run(trainer: Trainer) -> list[Path]:
    """The run's pictures, beside its checkpoint."""
    directory, model, tokenizer = trainer.directory, trainer.model, trainer.tokenizer
    images, captions = trainer.task.test_samples(1000, model.config.vision.image_size)
    # The captions of the first twenty images that are likeliest among all.
    probabilities = caption_probabilities(model, tokenizer, images[:20], captions)
    best = np.argsort(-probabilities, axis=1)[:, :3]  # (20, 3)
    choices = np.array(captions, object)[best].tolist()
    chosen = images[:20], captions[:20], choices, np.take_along_axis(probabilities, best, axis=1)
    pairs = images[:16], captions[:16]
    features = embed_images(model, pairs[0]), embed_texts(model, tokenizer, pairs[1])
    maps = model.attention_maps(to_model_input(images[:6])).numpy()
    curve = read_metrics(directory / METRICS), directory / "loss.png", trainer.loader.batch_size
    return [
        pictures.loss_curve(*curve),
        pictures.similarity_matrix(*features, *pairs, directory / "similarity.png"),
        pictures.caption_grid(*chosen, directory / "captions.png"),
        pictures.attention_maps(images[:6], maps, directory / "attention.png", captions[:6]),
    ]


def evaluate_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a trained model on its test split, or on other data."""
    found = read_checkpoint(arguments.run)
    source = (found.training or {}).get("source", {})
    if arguments.data is None:
        _refuse(arguments, OF_FILES, "only for --data")
        if not source:
            raise ValueError(f"{arguments.run}: names no data to measure on; pass --data PATH")
        task = open_task(source, training=False)
    elif source.get("task") == "shapes":
        task = ShapesTask(test=arguments.data, training=False)
    else:
        seed = source.get("seed", 0)  # held out is what the training held out
        task = FilesTask(arguments.data, seed=seed, **_given(arguments, OF_FILES))
    return _measure(arguments, task, found.model.to(arguments.backend or "numpy"), found.tokenizer)


def plot_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw the loss of a run again, also while it is training."""
    directory, training = Path(arguments.run), read_checkpoint(arguments.run).training
    if training is None or not directory.is_dir():
        raise ValueError(f"{directory}: expected the directory of a run, with its {METRICS}")
    records = read_metrics(directory / METRICS)
    curve = records, directory / "loss.png", training["options"]["batch_size"]
    draw(arguments, lambda: [pictures.loss_curve(*curve)])
    return {"records": len(records)}


VALUES = {"N": int, "PIXELS": int, "COUNT": int, "S": float, "X": float}  # others are texts


def takes(value: str | None, meaning: str, **more: Any) -> dict[str, Any]:
    """An argument in argparse's words. What stands for its value tells the type; None: a switch."""
    kind = {"metavar": value, "type": VALUES.get(value, str)}
    if value is None:  # not given it is None, as all options are
        kind = {"action": "store_const", "const": True}
    return {"help": meaning, **kind, **more}


# The arguments of all commands; --json is one of each.
ARGUMENTS = {
    "run": takes("RUN", "a run directory, or a checkpoint file in it"),
    "model": takes("MODEL", "a run directory or a file of weights"),
    "first": takes("MODEL", "a run directory or a file of weights, but where --model is given"),
    "inputs": takes("IMAGE", "images, and folders of them", nargs="*"),
    "index": takes("INDEX", "what clip-np embed wrote"),
    "query": takes("QUERY", "a sentence, or an image to find similar ones"),
    "target": takes("TARGET", "the directory to write, or the .safetensors file"),
    "--data": takes("DATA", "a folder with captions.csv or metadata.csv, or with name.jpg beside "
        "name.txt; a parquet file or a folder of them; a set saved by the datasets library, or "
        "its name on the Hugging Face hub (default: the built-in shapes)"),
    "--image-column": takes("NAME", "column that holds the images"),
    "--caption-column": takes("NAME", "column that holds the captions"),
    "--split": takes("NAME", "datasets only: take all pairs from this split"),
    "--streaming": takes(None, "datasets only: read while training, nothing on the disk"),
    "--skip-bad": takes(None, "leave unreadable images out, and count them"),
    "--test": takes("PATH", "shapes only: a parquet file with another test split"),
    "--name": takes("NAME", "results go to runs/NAME (shapes, or the data's name)"),
    "--out": takes("DIR", "results go to DIR instead"),
    "--resume": takes("DIR", "go on with the run in DIR; its end may be moved"),
    "--model": takes("PATH", "the model, if the first argument is none (of search: if it is not "
        "where the index says)"),
    "--labels": takes("A,B,C", "labels to choose from, for any number of images; @FILE: one on "
        "each line of a text file"),
    "--template": takes("TEXT", 'a sentence around each label, such as "a photo of a {}"; of '
        "several, the mean counts (default: the label alone)", action="append"),
    "--picture": takes("FILE", "draw the answer (after captions: classify.png)"),
    "-o": takes("INDEX", "the index file; where one is, it grows", dest="index", required=True),
    "-k": takes("COUNT", "how many images (12)", default=12),
    "--html": takes("FILE", "show them on a web page"),
    "--png": takes("FILE", "draw them as one picture"),
    "--layout": takes("{hf,openai}", "hf: a directory for transformers (the default); openai: one "
        "file, under the names that open_clip reads too", choices=("hf", "openai"), default="hf"),
    "--json": takes(None, "print one JSON object as the last line"),
}  # fmt: skip
OPTIONS = {
    "--" + name.replace("_", "-"): takes(**words) for name, words in OF_TRAINING.items() if words
}
IMAGES = "first inputs --model"
DATA = "--data --image-column --caption-column --split --streaming --skip-bad"
# Command -> its function and its arguments.
COMMANDS: dict[str, tuple[Callable, str]] = {
    "train": (train_command, f"{DATA} --test --name --out --resume {' '.join(OPTIONS)}"),
    "evaluate": (evaluate_command, f"run {DATA} --backend"),
    "plot": (plot_command, "run"),
    "info": (commands.info_command, "model"),
    "classify": (commands.classify_command, f"{IMAGES} --labels --template --picture --backend"),
    "embed": (commands.embed_command, f"{IMAGES} -o --backend"),
    "search": (commands.search_command, "index query -k --html --png --model --backend"),
    "convert": (commands.convert_command, "model target --layout"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clip-np", description="Train and use CLIP on NumPy.")
    table = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, arguments) in COMMANDS.items():
        words = inspect.getdoc(function)
        command = table.add_parser(name, help=words.partition("\n")[0], description=words)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        for argument in (*arguments.split(), "--json"):
            command.add_argument(argument, **(ARGUMENTS | OPTIONS)[argument])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    # Emoji in captions must not end a run on a terminal that cannot show them.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
        # A missing GPU shows before data is read.
        move(np.zeros(1), vars(arguments).get("backend") or "numpy")
        result = COMMANDS[arguments.command][0](arguments)
    except (ValueError, OSError, ImportError, TrainingError, BackendError) as error:
        print(f"clip-np: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("clip-np: interrupted", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(result))
    return 0

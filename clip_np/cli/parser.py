"""Which commands and options are there?

Each command has a function here that adds it with its arguments, and one elsewhere that
runs it. An option that is not given is None, except -k and --layout. `TrainingOptions`
fills in the defaults that the help names.

The options of the training itself are declared once, as fields of `TrainingOptions`. A
field's type is the option's type; its metadata has a word for the value and the help.
"""

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from clip_np.cli.asking import classify_command, info_command
from clip_np.cli.converting import convert_command
from clip_np.cli.explaining import explain_command
from clip_np.cli.measuring_arguments import add_evaluate, add_explore, add_plot
from clip_np.cli.mistyped import Parser
from clip_np.cli.runs import train_command
from clip_np.cli.search_arguments import add_duplicates, add_embed, add_export, add_search
from clip_np.cli.shared_arguments import (
    MODEL_HELP,
    Commands,
    add_activation,
    add_backend,
    add_command,
    add_data_options,
    add_image_size,
    add_json,
    add_model_and_images,
    add_switch,
)
from clip_np.training import TrainingOptions

PACKAGE = "minigrad-clip"

TRAIN = "Train a CLIP on the built-in shapes or on your own images, measure it, draw pictures."
INFO = "Say what a model is: its file, its sizes, its tokenizer, how long it was trained."

CLASSIFY = """\
Say which label fits an image, or which images fit a sentence.

    clip-np classify MODEL IMAGE... --labels cat,dog --template "a photo of a {}"
    clip-np classify MODEL IMAGE "a cat" "a dog"
    clip-np classify MODEL FOLDER "a cat on a roof"

Without --labels, what follows the first image (or folder) are captions to choose from, and
further image files. The probabilities of several labels sum to 100 % for each image; the cosine
stands beside them. For a single label, images are ranked by their cosine to it.

--json prints {image: {label: probability}}. About one image and its captions it prints
{caption: probability}, and about a single label {image: cosine}."""

EXPLAIN = """\
Draw where in an image the model sees what a text says.

    clip-np explain MODEL IMAGE "a cat" "a dog"
    clip-np explain IMAGE "a cat" --model MODEL --picture cat.png

Several methods stand side by side, the most useful one first: it hides one part of the image
after the other, and looks how far the cosine to the text falls. Its centre is printed in
pixels from the upper left corner. Attention alone is the same for every text.

--json prints {"size": [width, height], "texts": {text: {"cosine": ..., "maps": {method:
{"centre": [x, y], "strongest": [x, y], "largest": ...}}}}}; an empty map has null for points."""

CONVERT = """\
Write a model in another layout: for Hugging Face's transformers, or under OpenAI's names.

    clip-np convert MODEL DIRECTORY
    clip-np convert MODEL FILE.safetensors --layout openai

The tokenizer goes into the directory; a single file has no room for it.

Hugging Face's CLIP has no ResNet, so a run whose image encoder is one is converted with
--layout openai only. Training on other data than shapes makes a ResNet, unless
--vision vit is chosen."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of `clip-np`.

    Parsed arguments have a `function`, which runs the command, a `command_parser`, and
    a `status`, with which the program ends. Without a command there is none of these.
    """
    parser = Parser(prog="clip-np", description="Train and use CLIP on NumPy.")
    parser.add_argument(
        "--version", action=PrintVersion, nargs=0, help="print the version of the program"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_train(commands)
    add_evaluate(commands)
    add_plot(commands)
    add_explore(commands)
    add_info(commands)
    add_classify(commands)
    add_explain(commands)
    add_embed(commands)
    add_search(commands)
    add_duplicates(commands)
    add_export(commands)
    add_convert(commands)
    return parser


class PrintVersion(argparse.Action):
    """Prints the version of the installed package, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata  # here, since it takes 20 ms

        try:
            version = metadata.version(PACKAGE)
        except metadata.PackageNotFoundError:
            version = f"(not installed, from {Path(__file__).parents[1]})"
        print(f"{parser.prog} {version}")
        parser.exit()


# --- the commands, a function each ----------------------------------------------------


def add_train(commands: Commands) -> None:
    """Add `clip-np train` and its arguments."""
    command = add_command(commands, "train", train_command, TRAIN)
    add_data_options(command, default="the built-in shapes")
    command.add_argument(
        "--test", metavar="PATH", help="shapes only: a parquet file with another test split"
    )
    command.add_argument(
        "--name", metavar="NAME", help="results go to runs/NAME (shapes, or the data's name)"
    )
    command.add_argument("--out", metavar="DIR", help="results go to DIR instead")
    command.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the run in DIR; its end may be moved, and --data says where its data "
        "are now",
    )
    add_switch(
        command,
        "--changed-data",
        "with --resume: go on although the data has changed; what was held out stays held out",
    )
    _add_training_options(command)
    add_json(command)


def add_info(commands: Commands) -> None:
    """Add `clip-np info` and its arguments."""
    command = add_command(commands, "info", info_command, INFO)
    command.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    add_activation(command)
    add_json(command)


def add_classify(commands: Commands) -> None:
    """Add `clip-np classify` and its arguments."""
    command = add_command(commands, "classify", classify_command, CLASSIFY)
    add_model_and_images(command)
    command.add_argument(
        "--labels",
        metavar="A,B,C",
        action="append",
        help="labels to choose from, for any number of images; @FILE: one on each line of a "
        "text file; may be given several times",
    )
    command.add_argument(
        "--template",
        metavar="TEXT",
        action="append",
        help='a sentence around each label, such as "a photo of a {}"; if it is given several '
        "times, a label is the mean of its sentences (default: the label alone)",
    )
    command.add_argument(
        "--picture", metavar="FILE", help="draw the answer (after captions: classify.png)"
    )
    add_image_size(command)
    add_backend(command)
    add_json(command)


def add_explain(commands: Commands) -> None:
    """Add `clip-np explain` and its arguments."""
    command = add_command(commands, "explain", explain_command, EXPLAIN)
    command.add_argument("first", metavar="MODEL", help=f"{MODEL_HELP}, unless --model is given")
    command.add_argument(
        "inputs", metavar="IMAGE TEXT", nargs="*", help="an image, and texts that may fit it"
    )
    command.add_argument(
        "--model", metavar="PATH", help="the model, if the first argument is the image"
    )
    command.add_argument(
        "--picture", metavar="FILE", help="where to draw it (default: explain.png)"
    )
    add_activation(command)
    add_image_size(command)
    add_backend(command)
    add_json(command)


def add_convert(commands: Commands) -> None:
    """Add `clip-np convert` and its arguments."""
    command = add_command(commands, "convert", convert_command, CONVERT)
    command.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    command.add_argument(
        "target", metavar="TARGET", help="the directory to write, or the .safetensors file"
    )
    command.add_argument(
        "--layout",
        choices=("hf", "openai"),
        default="hf",
        help="hf: a directory for transformers (the default); openai: one file, under the names "
        "that open_clip reads too",
    )
    add_activation(command)
    add_json(command)


# --- arguments that some commands share ---------------------------------------------


def _add_training_options(command: argparse.ArgumentParser) -> None:
    """The fields of TrainingOptions that have help, in their groups."""
    hints = typing.get_type_hints(TrainingOptions)
    groups: dict[str, Any] = {"": command}  # argparse has no public name for a group
    for field in dataclasses.fields(TrainingOptions):
        if field.metadata:
            name = field.metadata["group"]
            if name not in groups:
                groups[name] = command.add_argument_group(name)
            groups[name].add_argument(
                "--" + field.name.replace("_", "-"),
                metavar=field.metadata["value"],
                type=_value_type(hints[field.name]),
                help=field.metadata["meaning"],
            )


def _value_type(hint: Any) -> type:
    """The type of an option's value, for a field that may also be None.

    >>> _value_type(float), _value_type(int | None)
    (<class 'float'>, <class 'int'>)
    """
    if isinstance(hint, types.UnionType):
        (hint,) = set(typing.get_args(hint)) - {types.NoneType}
    return hint

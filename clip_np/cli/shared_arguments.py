"""Which arguments do several commands have?

They are added by the functions here, so that they have the same names and help
everywhere. Those of the training are in `parser.py`.
"""

import argparse
from collections.abc import Callable
from typing import Any

from clip_np.encoders import ACTIVATIONS
from clip_np.training import BACKEND_HELP

Function = Callable[[argparse.Namespace], dict[str, Any]]  # what runs a command
Commands = Any  # what `add_subparsers` returns; argparse has no public name for it

Arguments = Any  # a command, or a group of its options; likewise

MODEL_HELP = "a run directory or a file of weights"


def add_command(
    commands: Commands, name: str, function: Function, description: str
) -> argparse.ArgumentParser:
    """Add a command without arguments. Its description's first line is its help."""
    command = commands.add_parser(
        name,
        help=description.partition("\n")[0],
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(function=function, command_parser=command, status=0)
    return command


def add_data_options(command: argparse.ArgumentParser, default: str) -> None:
    """--data, and how to read it. default: what is taken without it, in words."""
    command.add_argument(
        "--data",
        metavar="DATA",
        help="a folder with captions.csv or metadata.csv, or with pairs of files name.jpg and "
        "name.txt; a parquet file or a folder of them; a set saved by the datasets library, or "
        f"its name on the Hugging Face hub (default: {default})",
    )
    command.add_argument("--image-column", metavar="NAME", help="column that holds the images")
    command.add_argument("--caption-column", metavar="NAME", help="column that holds the captions")
    command.add_argument(
        "--split", metavar="NAME", help="datasets only: take all pairs from this split"
    )
    add_switch(
        command,
        "--streaming",
        "datasets: read while training, keep nothing on the disk; tar files: list none before",
    )
    add_switch(
        command, "--allow-outside", "read images that lie outside of the folder of their table"
    )
    command.add_argument(
        "--template",
        metavar="TEXT",
        help='the caption of a class, such as "a photo of a {}", for data with classes (folders, '
        "or labels of the datasets library) in place of captions",
    )
    add_switch(
        command,
        "--skip-bad",
        "leave out images that cannot be read and rows without image or caption, and count them",
    )


def add_model_and_images(command: argparse.ArgumentParser) -> None:
    """MODEL IMAGE..., or IMAGE... --model PATH; `load_model` tells them apart."""
    command.add_argument("first", metavar="MODEL", help=f"{MODEL_HELP}, unless --model is given")
    command.add_argument("inputs", metavar="IMAGE", nargs="*", help="images, and folders of them")
    command.add_argument(
        "--model", metavar="PATH", help="the model, if the first argument is an image"
    )
    add_activation(command)


def add_root(command: argparse.ArgumentParser) -> None:
    """--root, for commands that open an index."""
    command.add_argument(
        "--root",
        metavar="FOLDER",
        help="where the folder is that the index names its images from, if it was moved",
    )


def add_backend(command: argparse.ArgumentParser) -> None:
    """--backend, for commands that compute but do not train."""
    command.add_argument("--backend", metavar="NAME", help=BACKEND_HELP)


def add_activation(command: argparse.ArgumentParser) -> None:
    """--activation, for commands that open published weights."""
    command.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        help="the model's activation, if its files do not say it: quick_gelu in OpenAI's models, "
        "gelu in most of open_clip's",
    )


def add_image_size(command: argparse.ArgumentParser) -> None:
    """--image-size, for commands that look at images with a model that is made."""
    command.add_argument(
        "--image-size",
        metavar="PIXELS",
        type=int,
        help="see images of this size, a multiple of the model's patches (default: the size it "
        "was trained with)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """--json, the last option of every command."""
    add_switch(command, "--json", "print one JSON object as the last line")


def add_switch(command: Arguments, flag: str, meaning: str) -> None:
    """An option without a value: True if it is given, None if it is not."""
    command.add_argument(flag, action="store_true", default=None, help=meaning)

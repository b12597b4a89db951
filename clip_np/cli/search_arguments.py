"""Which arguments do the commands for searching have?"""

from clip_np.cli.searching import duplicates_command, embed_command, export_command, search_command
from clip_np.cli.shared_arguments import (
    Commands,
    add_activation,
    add_backend,
    add_command,
    add_image_size,
    add_json,
    add_model_and_images,
    add_root,
    add_switch,
)
from clip_np.evaluation import LAYOUTS

EMBED = """\
Look at images once and keep what the model sees, for clip-np search.

    clip-np embed MODEL FOLDER... -o index.npz

The same command once more looks only at what is new or changed; Ctrl-C saves first. Images
that are gone from a FOLDER leave the index. Those of other folders stay in it, for their disk
may not be plugged in."""

SEARCH = """\
Find the images of an index that fit a sentence, or that resemble an image.

    clip-np search INDEX "a cat on a roof"
    clip-np search INDEX beach sunset --minus people
    clip-np search INDEX cat.jpg "at night"

Several sentences and images are added up; an image has more weight than a sentence."""

DUPLICATES = """\
List the images of an index that are the same.

    clip-np duplicates INDEX
    clip-np duplicates INDEX --cosine 0.95

Copies are the same, also in another file format. A lower cosine also finds images that were
scaled, cropped or compressed. --json prints {"groups": [[path, ...], ...]}."""

EXPORT = """\
Write the images of an index for another search engine.

    clip-np export INDEX --to parquet -o photos.parquet
    clip-np export INDEX --to faiss -o photos.faiss

A parquet file has the columns path and embedding. Beside a FAISS index lies a file with the
paths, photos.faiss.paths.jsonl: a JSON string on each line, in the order of the rows."""

OUTSIDE_HELP = "also open files that a stranger's index names outside of its own folder"


def add_embed(commands: Commands) -> None:
    """Add `clip-np embed` and its arguments."""
    command = add_command(commands, "embed", embed_command, EMBED)
    add_model_and_images(command)
    command.add_argument(
        "-o",
        metavar="INDEX",
        dest="index",
        required=True,
        help="the index file; if there is one already, it grows",
    )
    add_root(command)
    add_switch(
        command, "--drop-missing", "drop all images that are not there, whatever their folder"
    )
    add_switch(command, "--allow-outside", OUTSIDE_HELP)
    add_image_size(command)
    add_backend(command)
    add_json(command)


def add_search(commands: Commands) -> None:
    """Add `clip-np search` and its arguments."""
    command = add_command(commands, "search", search_command, SEARCH)
    command.add_argument("index", metavar="INDEX", help="what clip-np embed wrote")
    command.add_argument(
        "query",
        metavar="QUERY",
        nargs="+",
        help="a sentence, or an image to find similar ones; several are added up",
    )
    command.add_argument(
        "--minus",
        metavar="QUERY",
        action="append",
        help="a sentence or an image to stay away from; may be given several times",
    )
    command.add_argument("-k", metavar="COUNT", type=int, default=12, help="how many images (12)")
    add_switch(command, "--fold", "show images that are the same only once")
    command.add_argument("--html", metavar="FILE", help="show them on a web page")
    command.add_argument("--png", metavar="FILE", help="draw them as one picture")
    command.add_argument(
        "--model", metavar="PATH", help="the model, if it is not where the index says"
    )
    add_root(command)
    add_activation(command)
    add_switch(command, "--allow-outside", OUTSIDE_HELP)
    add_image_size(command)
    add_backend(command)
    add_json(command)


def add_duplicates(commands: Commands) -> None:
    """Add `clip-np duplicates` and its arguments."""
    command = add_command(commands, "duplicates", duplicates_command, DUPLICATES)
    command.add_argument("index", metavar="INDEX", help="what clip-np embed wrote")
    command.add_argument(
        "--cosine",
        metavar="X",
        type=float,
        help="the lowest cosine of two images that count as the same (0.99999)",
    )
    add_root(command)
    add_json(command)


def add_export(commands: Commands) -> None:
    """Add `clip-np export` and its arguments."""
    command = add_command(commands, "export", export_command, EXPORT)
    command.add_argument("index", metavar="INDEX", help="what clip-np embed wrote")
    command.add_argument("--to", choices=LAYOUTS, required=True, help="the layout")
    command.add_argument(
        "-o", metavar="FILE", dest="output", required=True, help="the file to write"
    )
    add_root(command)
    add_json(command)

"""Which arguments do the commands that measure and compare have?

`clip-np evaluate`, `clip-np plot` and `clip-np explore`, with the text of their help.
What they do is in evaluating.py, plotting.py and exploring.py.
"""

from clip_np.cli.evaluating import evaluate_command
from clip_np.cli.exploring import DEFAULT_IMAGES, DEFAULT_PAGE, explore_command
from clip_np.cli.plotting import DEFAULT_PICTURE, plot_command
from clip_np.cli.shared_arguments import (
    MODEL_HELP,
    Commands,
    add_activation,
    add_backend,
    add_command,
    add_data_options,
    add_json,
    add_switch,
)
from clip_np.evaluation import CHOICES, NEIGHBOURS

MEASURED_DEFAULT = "what the run was trained on"

EVALUATE = """\
Measure a trained model on its test split, or any model on other data.

    clip-np evaluate RUN
    clip-np evaluate MODEL --data FOLDER
    clip-np evaluate MODEL --data FOLDER_OF_CLASSES --classes
    clip-np evaluate MODEL --data TABLE.csv --label-column kind --probe --picture mistakes.png

Without --classes and --label-column: how well images and captions find each other, both ways,
and how often an image prefers its caption to a few others. With one of them: how well images are
named, by sentences alone, and with --probe also by what labelled images teach.

Beside a figure stand chance, which is what a model scores that knows nothing, and the two values
between which the figure may lie, because only so many images were measured. --json prints
{figure: value, ..., "chance": {figure: value}, "intervals": {figure: [low, high]}}."""

PLOT = """\
Draw the loss of a run again, also while it is training, or compare runs in one picture.

    clip-np plot RUN
    clip-np plot RUN RUN RUN --picture compare.png

Several runs: their validation loss and recall, beside what a model scores that knows nothing.
The legend names the options in which they differ."""

EXPLORE = """\
Write a page on which a model can be looked at by clicking: one HTML file, without a server.

    clip-np explore RUN
    clip-np explore MODEL --data FOLDER --images 100 --out page.html

The images are those that `clip-np evaluate` measures, a few of them. On the page are the
similarity of every image and caption, what lies nearest to what, both in one plane, the attention
of all layers and heads in image and caption, and the curves of the training."""


def add_evaluate(commands: Commands) -> None:
    """Add `clip-np evaluate` and its arguments."""
    command = add_command(commands, "evaluate", evaluate_command, EVALUATE)
    command.add_argument("run", metavar="MODEL", help=f"{MODEL_HELP}, which needs --data")
    add_data_options(command, default=MEASURED_DEFAULT)
    command.add_argument(
        "--choices",
        metavar="N",
        type=int,
        help=f"captions that an image chooses from: its own and N - 1 others (default: {CHOICES})",
    )
    naming = command.add_argument_group("how well images are named")
    naming.add_argument(
        "--classes",
        metavar="FILE",
        nargs="?",
        const="",
        help="the classes to choose from: a name on each line, a JSON list, or a JSON object of "
        "labels and names; without FILE, the classes of the data: folders, or labels",
    )
    naming.add_argument(
        "--label-column", metavar="NAME", help="column that holds the classes of the images"
    )
    naming.add_argument(
        "--templates",
        metavar="FILE",
        help="sentences with {} for the name of a class, one on each line or as a JSON list "
        "(default: --template, or a few that ship with the program)",
    )
    add_switch(
        naming,
        "--probe",
        "also learn the classes from the training split: a linear probe, and nearest neighbours",
    )
    naming.add_argument(
        "--neighbours",
        metavar="K",
        type=int,
        help=f"with --probe: how many images vote (default: {NEIGHBOURS})",
    )
    naming.add_argument(
        "--picture", metavar="FILE", help="draw which classes are called by which names"
    )
    add_activation(command)
    add_backend(command)
    add_json(command)


def add_plot(commands: Commands) -> None:
    """Add `clip-np plot` and its arguments."""
    command = add_command(commands, "plot", plot_command, PLOT)
    command.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="a run directory, or a checkpoint file in it; several are compared",
    )
    command.add_argument(
        "--picture", metavar="FILE", help=f"where to draw several runs (default: {DEFAULT_PICTURE})"
    )
    add_json(command)


def add_explore(commands: Commands) -> None:
    """Add `clip-np explore` and its arguments."""
    command = add_command(commands, "explore", explore_command, EXPLORE)
    command.add_argument("run", metavar="MODEL", help=f"{MODEL_HELP}, which needs --data")
    add_data_options(command, default=MEASURED_DEFAULT)
    command.add_argument(
        "--images",
        metavar="N",
        type=int,
        help=f"how many different test images the page holds (default: {DEFAULT_IMAGES})",
    )
    command.add_argument(
        "--out", metavar="FILE", help=f"where to write the page (default: {DEFAULT_PAGE})"
    )
    add_activation(command)
    add_backend(command)
    add_json(command)

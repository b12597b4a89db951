"""Which options there are, and what wrong usage is answered with."""

from importlib import metadata

import pytest

from clip_np.cli import main
from clip_np.cli.parser import build_parser
from clip_np.training import TrainingOptions
from clip_np.training.tasks import FILES_SETTINGS, SHAPES_SETTINGS

COMMON = ["--backend", "--json", "--help"]


DATA_FLAGS = [
    *("--data", "--image-column", "--caption-column", "--split", "--streaming", "--skip-bad"),
    "--allow-outside",
    "--template",
    *COMMON,
]


EVALUATE_FLAGS = [
    *DATA_FLAGS,
    *("--activation", "--choices", "--classes", "--label-column", "--templates"),
    *("--probe", "--neighbours", "--picture"),
]


TRAIN_FLAGS = [
    "--patience",
    *DATA_FLAGS,
    *(
        "--test",
        "--steps",
        "--seconds",
        "--preset",
        "--vision",
        "--text",
        "--text-weights",
        "--batch-size",
        "--learning-rate",
    ),
    *("--weight-decay", "--warmup", "--vocab-size", "--label-smoothing"),
    *("--init", "--freeze", "--layer-decay", "--frozen-dtype"),
    *("--augment", "--shift", "--zoom", "--crop", "--colour", "--hue", "--grey", "--blur"),
    *("--cut-out", "--flip", "--word-dropout"),
    *("--loss", "--seed", "--workers", "--data-workers", "--shards", "--name", "--out", "--resume"),
    "--precision",
    *("--processes", "--deadline"),
    "--changed-data",
]


CLASSIFY_FLAGS = [
    "--model",
    "--activation",
    "--image-size",
    "--labels",
    "--template",
    "--picture",
    *COMMON,
]


EXPLAIN_FLAGS = ["--model", "--activation", "--image-size", "--picture", *COMMON]


EXPLORE_FLAGS = [*DATA_FLAGS, "--activation", "--images", "--out"]


EMBED_FLAGS = [
    "--model",
    "--activation",
    "--image-size",
    "-o",
    "--root",
    "--drop-missing",
    "--allow-outside",
    *COMMON,
]


SEARCH_FLAGS = [
    "--model",
    "--activation",
    "--image-size",
    "-k",
    "--minus",
    "--fold",
    "--html",
    "--png",
    "--root",
    "--allow-outside",
    *COMMON,
]


@pytest.mark.parametrize(
    "command, flags",
    [
        (
            [],
            [
                "train",
                "evaluate",
                "plot",
                "info",
                "classify",
                "explain",
                "explore",
                "embed",
                "search",
                "convert",
            ],
        ),
        (["export"], ["INDEX", "--to", "-o", "--root", "--json", "--help"]),
        (["duplicates"], ["INDEX", "--cosine", "--root", "--json", "--help"]),
        (["train"], TRAIN_FLAGS),
        (["evaluate"], ["MODEL", *EVALUATE_FLAGS]),
        (["explore"], ["MODEL", *EXPLORE_FLAGS]),
        (["info"], ["MODEL", "--activation", "--json", "--help"]),
        (["classify"], ["MODEL", "[IMAGE", *CLASSIFY_FLAGS]),
        (["embed"], ["MODEL", "[IMAGE", *EMBED_FLAGS]),
        (["search"], ["INDEX", "QUERY", *SEARCH_FLAGS]),
        (["convert"], ["MODEL", "TARGET", "--layout", "--json", "--help"]),
        (["plot"], ["RUN", "--picture", "--json", "--help"]),
    ],
)
def test_help_names_every_flag(capsys, command, flags):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for flag in flags:
        assert flag in text.replace(",", " ").split()


def help_of(capsys, command: str) -> str:
    """The help of a command, on one line."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_the_defaults_in_the_help_are_those_of_the_data(capsys):
    text = help_of(capsys, "train")
    shapes, files = (TrainingOptions.of(kind) for kind in (SHAPES_SETTINGS, FILES_SETTINGS))
    for name in ("preset", "batch_size", "learning_rate", "augment"):
        assert f"(shapes {getattr(shapes, name)}, other data {getattr(files, name)}" in text, name
    assert f"of all ({shapes.warmup:g})" in text
    assert f"(shapes {shapes.steps}, preset tutorial 5000)" in text
    assert f"(for other data than shapes {files.seconds:g})" in text
    assert "(default: the built-in shapes)" in text
    for command in ("evaluate", "explore"):
        assert "(default: what the run was trained on)" in help_of(capsys, command)


def test_every_flag_is_explained():
    commands = {"train": TRAIN_FLAGS, "evaluate": EVALUATE_FLAGS, "classify": CLASSIFY_FLAGS}
    commands |= {"explain": EXPLAIN_FLAGS, "embed": EMBED_FLAGS, "search": SEARCH_FLAGS}
    commands |= {"explore": EXPLORE_FLAGS}
    for command, flags in commands.items():
        parser = build_parser()._subparsers._group_actions[0].choices[command]
        found = {flag for action in parser._actions for flag in action.option_strings}
        assert found - {"-h"} == set(flags)
        assert all(action.help for action in parser._actions)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("draw", "invalid choice: 'draw'"),
        ("serch index.npz red", "; did you mean search?"),
        ("train --steeps 3", "unrecognized arguments: --steeps 3; did you mean --steps?"),
        ("train .", "unrecognized arguments: .; did you mean --data .?"),
        ("classify run a.png --lables=a,b", "--lables=a,b; did you mean --labels?"),
        ("--versoin", "unrecognized arguments: --versoin; did you mean --version?"),
        ("evaluate", "the following arguments are required: MODEL"),
        ("train --steps many", "--steps: invalid int value: 'many'"),
        ("train --epochs 3", "unrecognized arguments: --epochs 3"),
    ],
)
def test_wrong_usage_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_training_options_have_the_types_of_their_fields():
    options = ["--steps", "7", "--seconds", "2", "--zoom", "0.5", "--preset", "small"]
    arguments = build_parser().parse_args(["train", *options])
    values = (arguments.steps, arguments.seconds, arguments.zoom, arguments.preset)
    assert values == (7, 2.0, 0.5, "small")
    assert [type(value) for value in values] == [int, float, float, str]


def test_an_option_that_is_not_given_is_none():
    arguments = vars(build_parser().parse_args(["train"]))
    known = {"command", "function", "command_parser", "status"}
    assert {name for name, value in arguments.items() if value is not None} == known


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 0
    assert "clip-np" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_version(capsys, monkeypatch, is_installed):
    def version(name):
        assert name == "minigrad-clip"
        if not is_installed:
            raise metadata.PackageNotFoundError
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    expected = "clip-np 1.2.3\n" if is_installed else "clip-np (not installed, from "
    assert capsys.readouterr().out.startswith(expected)

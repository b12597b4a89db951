"""Messages name options at the command line, and parameters everywhere else."""

import os
import subprocess
import sys
import warnings

import pytest
from command_line import fail
from paths import ROOT

from clip_np.cli import runs
from clip_np.cli.messages import flags_of, name_flags, warnings_name_flags
from clip_np.cli.parser import build_parser
from clip_np.data import DataError


def flags(*command: str) -> dict[str, str]:
    return flags_of(build_parser().parse_args(command).command_parser)


@pytest.mark.parametrize(
    "command, message, expected",
    [
        ("train", "`image_column` or `shards`", "--image-column or --shards"),
        ("train", "(`vocab_size`), `batch_size`: 3", "(--vocab-size), --batch-size: 3"),
        ("train", "read by the `datasets` library", "read by the `datasets` library"),
        ("train", "image_column, shards", "image_column, shards"),
        ("evaluate run", "`image_column` or `shards`", "--image-column or `shards`"),
        ("evaluate run", "`run` is no option", "`run` is no option"),
        ("info run", "`image_column`", "`image_column`"),
        ("embed run photos -o a", "`index`", "-o"),
        ("search index.npz red", "`k` = 0, `model`", "-k = 0, --model"),
        ("search index.npz red", "make one with `build_index`", "make one with clip-np embed"),
    ],
)
def test_options_of_the_command_are_named(command, message, expected):
    assert name_flags(message, flags(*command.split())) == expected


def test_an_error_names_options(capsys, photos, monkeypatch):
    def refuse(path, **settings):
        raise DataError("no image column; `image_column` names one, `row` does not")

    monkeypatch.setattr(runs, "FilesTask", refuse)
    message = fail(capsys, "train", "--data", photos)
    assert message == "no image column; --image-column names one, `row` does not"


def test_a_warning_that_is_caught_stays_as_it_is():
    with warnings_name_flags({"vocab_size": "--vocab-size"}), pytest.warns(UserWarning) as caught:
        warnings.warn("too small (`vocab_size`)", UserWarning, stacklevel=1)
        printed = warnings.formatwarning("small (`vocab_size`)", UserWarning, "a.py", 3, "code")
    # Python may warn of a file that an earlier test left open, at any moment.
    texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert texts == ["too small (`vocab_size`)"]
    assert printed == "clip-np: warning: small (--vocab-size)\n"
    after = warnings.formatwarning("small (`vocab_size`)", UserWarning, "a.py", 3, "code")
    assert "`vocab_size`" in after


def test_a_printed_warning_names_options():
    program = """
import sys, warnings
from clip_np.cli import evaluating, main

def warn(path, activation):
    warnings.warn("`data` or `k`?")
    raise ValueError("`skip_bad`")

evaluating.read_run = warn
sys.exit(main(["evaluate", "run.npz"]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    warning, error = ended.stderr.splitlines()
    assert warning == "clip-np: warning: --data or `k`?"
    assert error == "clip-np: error: --skip-bad"

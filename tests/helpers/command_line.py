"""How tests use the command line."""

import json
import pathlib

import numpy as np
import pytest

import clip_np
from clip_np.cli import main
from clip_np.encoders import PRESETS
from clip_np.weights import CHECKPOINT, save_checkpoint

SHORT = ["--batch-size=16", "--vocab-size=560", "--warmup=2", "--steps=10", "--json"]


def run(capsys, *arguments, status: int = 0) -> tuple[str, str]:
    """What the command prints: (stdout, stderr)."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == status
    return tuple(capsys.readouterr())


def fail(capsys, *arguments) -> str:
    """The one line that a mistake is answered with."""
    output, errors = run(capsys, *arguments, status=1)
    assert output == ""
    lines = [line for line in errors.splitlines() if line.startswith("clip-np: error: ")]
    assert len(lines) == 1
    assert errors.rstrip().endswith(lines[0])
    assert "Traceback" not in errors
    return lines[0].removeprefix("clip-np: error: ")


def report_of(output: str) -> dict:
    """The last line; numbers that JSON does not know are an error."""
    return json.loads(output.splitlines()[-1], parse_constant=pytest.fail)


def figures_of(output: str) -> dict:
    """The figures that `evaluate` printed, without chance and intervals."""
    beside = {"chance", "intervals", "confused"}
    return {name: value for name, value in report_of(output).items() if name not in beside}


def untrained(directory: str) -> None:
    tokenizer = clip_np.Tokenizer.train(["a large red circle"], 530)
    model = clip_np.CLIP(PRESETS["micro"].for_tokenizer(tokenizer), np.random.default_rng(0))
    pathlib.Path(directory).mkdir()
    save_checkpoint(pathlib.Path(directory, CHECKPOINT), model, tokenizer)

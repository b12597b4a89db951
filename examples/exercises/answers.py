"""How is an answer to an exercise loaded, run and judged?

An answer is a Python file with the function that the problem asks for. The key of an
exercise calls it and raises `Wrong` with a sentence that helps. Everything else that an
answer can do wrong, such as a typing error or an exception in it, is reported with its
line.
"""

import importlib.util
import traceback
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from examples.exercises.catalogue import Exercise
from examples.exercises.comparing import Wrong

HERE = Path(__file__).parent


class Verdict(NamedTuple):
    """What came out of a check: message is empty if there is nothing to say."""

    is_right: bool
    message: str


def problem_path(exercise: Exercise) -> Path:
    """The file with the problem, into which the answer goes."""
    return HERE / "problems" / f"{exercise.name}.py"


def solution_path(exercise: Exercise) -> Path:
    """The file with a solution. Look at it last."""
    return HERE / "solutions" / f"{exercise.name}.py"


def load(path: Path) -> ModuleType:
    """Run a Python file as a module of its own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verdict(exercise: Exercise, path: Path) -> Verdict:
    """Whether the answer in the file is right, and if not, what is wrong."""
    try:
        exercise.check(load(path))
    except Wrong as wrong:
        return Verdict(is_right=False, message=str(wrong))
    except Exception as error:  # the answer is a program that may fail in any way
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines = [error.lineno]
        where = f"line {lines[-1]} of {path.name}" if lines else "the check"
        return Verdict(is_right=False, message=f"{where}: {type(error).__name__}: {error}")
    return Verdict(is_right=True, message="")

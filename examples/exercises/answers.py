"""How is an answer to an exercise loaded, run and judged?

An answer is a Python file with the function that the problem asks for. The key of an
exercise calls it and raises `Wrong` with a sentence that helps. Everything else that an
answer can do wrong, such as a typing error or an exception in it, is reported with its
line.

An answer may also never end. So it runs in a thread, and the check waits for it only so
long. A thread cannot be stopped from outside, but it ends with the program, because it
is a daemon.
"""

import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import NamedTuple

from examples.exercises.catalogue import Exercise
from examples.exercises.comparing import Wrong

HERE = Path(__file__).parent
SECONDS = 10.0  # a right answer needs less than a tenth of a second


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


def function_name(exercise: Exercise) -> str:
    """The function that an answer defines. The parameter of the check has its name."""
    return next(iter(inspect.signature(exercise.check).parameters))


def function_of(exercise: Exercise, path: Path) -> Callable:
    """The function that answers an exercise. Wrong if the file has none of its name."""
    module, name = load(path), function_name(exercise)
    function = getattr(module, name, None)
    if not callable(function):
        raise Wrong(f"the function {name} is missing in {path.name}: the check calls it")
    return function


def verdict(exercise: Exercise, path: Path, seconds: float = SECONDS) -> Verdict:
    """Whether the answer in the file is right, and if not, what is wrong."""
    path = path.resolve()
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(_verdict(exercise, path)), daemon=True)
    thread.start()
    thread.join(seconds)
    if verdicts:
        return verdicts[0]
    line = _line_in(path, sys._current_frames().get(thread.ident or 0))
    where = f", and stands in line {line} of {path.name}" if line else ""
    return Verdict(
        is_right=False,
        message=f"your answer is still running after {seconds:g} seconds{where}: does your loop "
        "end?",
    )


def _verdict(exercise: Exercise, path: Path) -> Verdict:
    """The same, however long it lasts."""
    try:
        exercise.check(function_of(exercise, path))
    except Wrong as wrong:
        return Verdict(is_right=False, message=str(wrong))
    except (Exception, SystemExit) as error:  # the answer may fail in any way, or call exit()
        return Verdict(is_right=False, message=_failure(error, function_name(exercise), path))
    return Verdict(is_right=True, message="")


def _line_in(path: Path, frame: FrameType | None) -> int | None:
    """The line of a file at which a running thread stands."""
    while frame is not None and frame.f_code.co_filename != str(path):
        frame = frame.f_back
    return frame.f_lineno if frame is not None else None


def _failure(error: BaseException, function: str, path: Path) -> str:
    """An exception as a message: in which line of the answer it was raised."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == str(path):
        text = (error.text or "").strip()
        return f"line {error.lineno} of {path.name} is no Python: {text}\n{name}: {error.msg}"
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()) if note)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    if not frames:
        return f"calling {function}, or reading what it returned, failed: {name}: {error}{notes}"
    return (
        f"your answer raised {name} in line {frames[-1].lineno} of {path.name}: "
        f"{frames[-1].line}\n{error}{notes}"
    )

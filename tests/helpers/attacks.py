"""Damage one file of a kind thousands of times, and use whatever can still be read.

A `Target` knows one kind of file: how to damage it, and how to use it as a person
would. `attack` repeats that. A file survives in one of two ways:

    read       all of it was used: images and texts encoded, rows read, ...
    refused    FileError or DataError, or FileNotFoundError where a file names another;
               the message names the file

Anything else is a fault: another exception, a program that was started, a file that was
written elsewhere, a warning of another library, too much time or memory.
"""

import collections
import os
import pathlib
import random
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from clip_np.data import DataError, DataWarning
from clip_np.files import FileError
from clip_np.training import TrainingWarning
from clip_np.weights import AssumedActivation

MOST_SECONDS = 5.0  # of the processor, for one file
MOST_MEGABYTES = 300  # above what the process has when the attack begins
SHOWN_FAULTS = 12  # kinds of faults in a message
STATUS = pathlib.Path("/proc/self/status")
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")

# What the interpreter tells before it does something that no file may ask for.
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "socket.connect",
    "socket.getaddrinfo",
    "pickle.find_class",
    "webbrowser.open",
}
# Python hides the second kind unless one asks for it.
KNOWN_WARNINGS = (DataWarning, TrainingWarning, AssumedActivation, DeprecationWarning)


class Target(Protocol):
    """One kind of file."""

    folder: pathlib.Path  # nothing is written elsewhere
    names: Sequence[str]  # one of them is in every message

    def damage(self, rng: random.Random) -> None:
        """Write the file anew, with another damage."""
        ...

    def use(self) -> None:
        """Read the file, and use what is in it."""
        ...


class Result(NamedTuple):
    """How many files were read, and how many were refused."""

    read: int
    refused: int
    seconds: float  # of the processor, for the slowest file
    megabytes: float  # that the process grew by


class Watch:
    """Notes what the interpreter does that no file may ask for."""

    def __init__(self) -> None:
        self.allowed: str | None = None  # the folder, while it watches
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.allowed is None:
            return
        if event in FORBIDDEN or (event == "open" and self._is_elsewhere(arguments)):
            self.seen.append(f"{event} {arguments}"[:200])

    def _is_elsewhere(self, arguments: tuple) -> bool:
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes or not isinstance(path, str | os.PathLike):
            return False
        assert self.allowed is not None
        name = os.path.abspath(os.fspath(path))
        return not name.startswith((self.allowed, "/dev/null", "/tmp/_MEI"))

    @contextmanager
    def over(self, folder: pathlib.Path) -> Iterator[list[str]]:
        """Watch within the block; the list grows by what is seen."""
        self.seen = []
        self.allowed = str(folder)
        try:
            yield self.seen
        finally:
            self.allowed = None


WATCH = Watch()


def peak_megabytes() -> float:
    """The most memory that this process has had; 0 where the system does not say."""
    if not STATUS.exists():
        return 0.0
    match = PEAK.search(STATUS.read_text())
    return int(match[1]) / 1024 if match else 0.0


def attack(name: str, target: Target, count: int) -> Result:
    """Damage and use a file `count` times. AssertionError with all kinds of faults."""
    faults: dict[str, list[str]] = collections.defaultdict(list)
    results: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    target.use()  # the whole file is read, and what is imported late is there
    memory = peak_megabytes()
    for number in range(count):
        target.damage(random.Random(f"{name} {number}"))
        started = time.process_time()
        outcome, fault = _outcome(target)
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        if seconds > MOST_SECONDS:
            fault = fault or f"{seconds:.1f} seconds"
        if peak_megabytes() > memory + MOST_MEGABYTES:
            fault = fault or f"{peak_megabytes() - memory:.0f} MB"
            memory = peak_megabytes()
        if fault:
            faults[fault.partition("\n")[0]].append(f"file {number}: {fault}")
        else:
            results[outcome] += 1
    if faults:
        by_count = sorted(faults.values(), key=len, reverse=True)[:SHOWN_FAULTS]
        kinds = "\n\n".join(f"{len(kind):,} times, {kind[0]}" for kind in by_count)
        total = sum(map(len, faults.values()))
        raise AssertionError(f"{name}: {total:,} of {count:,} files did harm\n\n{kinds}")
    growth = max(0.0, peak_megabytes() - memory)
    return Result(results["read"], results["refused"], slowest, growth)


def _outcome(target: Target) -> tuple[str, str]:
    """What became of a damaged file: ("read" or "refused", the fault or "")."""
    outcome = "read"
    fault = ""
    with warnings.catch_warnings(record=True) as caught, WATCH.over(target.folder) as seen:
        warnings.simplefilter("always")
        try:
            target.use()
        except (FileError, DataError, FileNotFoundError) as error:
            outcome = "refused"
            if not any(name in str(error) for name in target.names):
                fault = f"{type(error).__name__} names no file\n{error}"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{pathlib.Path(place.filename).name}:{place.lineno}"
            fault = f"{type(error).__name__} in {where}\n{_tail()}"
    foreign = [each for each in caught if not _is_known(each, outcome)]
    if foreign and not fault:
        fault = f"warning {foreign[0].category.__name__}: {foreign[0].message!s:.60}"
    if seen:
        fault = f"{seen[0].partition(' ')[0]}\n{seen[0]}"
    return outcome, fault


def _is_known(warning: warnings.WarningMessage, outcome: str) -> bool:
    """Whether a warning may be: our own, a hidden one, or Pillow's of metadata.

    And Pillow's of a size, from inside a plugin, if the picture is refused for it.
    """
    of_metadata = warning.category is UserWarning and f"{os.sep}PIL{os.sep}" in warning.filename
    of_size = warning.category is Image.DecompressionBombWarning and outcome == "refused"
    return of_metadata or of_size or issubclass(warning.category, KNOWN_WARNINGS)


def _tail() -> str:
    return "\n".join(traceback.format_exc().splitlines()[-14:])


# --- ways to damage a file ------------------------------------------------------------


def repeated(function: Callable, value, rng: random.Random):
    """`function` applied once or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = function(value, rng)
    return value


def change_numbers(arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """Change one array: its name, type, shape, length or content."""
    name = rng.choice(list(arrays))
    array = arrays[name]
    match rng.randrange(7):
        case 0:
            del arrays[name]
        case 1:
            arrays[rng.choice(["", "x", "header", f"{name}.x", *arrays])] = arrays.pop(name)
        case 2:
            kind = rng.choice(("u1", "i1", "<i8", ">i8", "<f4", ">f4", "<f8", "<f2", "?", "<c8"))
            arrays[name] = np.zeros(array.shape, kind)
        case 3:
            arrays[name] = array[: rng.randrange(len(array) + 1)] if array.ndim else array[None]
        case 4:
            arrays[name] = array[None] if rng.random() < 0.5 else array.reshape(-1)
        case _:
            content = bytearray(array.tobytes())
            for _ in range(rng.choice((1, 2, 8))):
                place = rng.randrange(len(content)) if content else 0
                content[place : place + 1] = rng.randbytes(1) if content else b""
            arrays[name] = np.frombuffer(bytes(content), array.dtype).reshape(array.shape)

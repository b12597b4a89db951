"""What was this run made of?

A directory of weights says little a month later. So a run writes run.json next to its
checkpoint, for people and programs:

    options     the TrainingOptions, by name, with those that nobody chose
    versions    of this program, Python and the libraries, and the machine's kind
    data        where the pairs came from, how many there are, and a checksum of them
    init        the model that the run began with, if there was one
    figures     at the end: what the test split measured
    chance      what a model that knows nothing scores in the figures
    intervals   between which two values the figures may lie

The checkpoint holds what it takes to go on. This file may be changed or lost, and
nothing but the report of the run is made from it.
"""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_np.files import FileError, file_errors, replace_file
from clip_np.training.options import TrainingOptions
from clip_np.training.tasks import Task
from minigrad.threads import available_cores

DESCRIPTION = "run.json"
PROGRAM = "minigrad-clip"  # as packages are named where they are installed
LIBRARIES = ("numpy", "Pillow")
SECTIONS = ("options", "versions", "data", "init", "figures", "chance", "intervals")
LARGEST_DESCRIPTION = 2**20  # bytes; those of real runs have 2,000


def describe_run(
    options: TrainingOptions, task: Task, weights: int, origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What run.json says of a run that begins.

    `weights` is how many there are. `origin` says which model the run began with.
    """
    return {
        **({} if origin is None else {"init": dict(origin)}),
        "options": dataclasses.asdict(options),
        "versions": versions(),
        "data": {
            **task.source,
            "training_pairs": len(task.train or ()),
            "validation_pairs": len(task.validation or ()),
            "measured_on": task.measured_on,
            # Of the built-in shapes, the seed says all.
            **({} if task.record is None else {"checksum": task.record["checksum"]}),
            "weights": weights,
        },
    }


def write_description(directory: Path, description: Mapping[str, Any]) -> None:
    """Write run.json, or leave the one that is there as it is."""
    with replace_file(directory / DESCRIPTION) as file:
        file.write((json.dumps(description, indent=1) + "\n").encode("utf-8"))


def read_description(directory: Path) -> dict[str, dict[str, Any]]:
    """The sections of run.json; none if there is no such file, as in early runs.

    FileError for a file that is no description.
    """
    path = directory / DESCRIPTION
    if not path.exists():
        return {}
    with file_errors(path, "no description of a run"):
        if path.stat().st_size > LARGEST_DESCRIPTION:
            raise FileError(f"it is longer than {LARGEST_DESCRIPTION:,} bytes")
        try:
            content = json.loads(path.read_bytes())
        except RecursionError:
            raise FileError("its brackets nest too deep") from None
        if not isinstance(content, dict):
            raise FileError("it is no object with named entries")
    return {name: content[name] for name in SECTIONS if isinstance(content.get(name), dict)}


def versions() -> dict[str, str]:
    """The versions of this program and what it stands on."""
    return {
        PROGRAM: _version(PROGRAM),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
        "system": platform.platform(),
        "processor": f"{platform.processor() or platform.machine()}, {available_cores()} cores",
    }


def _version(package: str) -> str:
    """The version of a package, also if its source is used without installing it."""
    from importlib import metadata  # here, since it imports email

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

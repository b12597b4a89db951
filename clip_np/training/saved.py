"""What does a checkpoint know of the training that wrote it?

    step       how many steps were taken
    elapsed    how many seconds they took
    source     which data: a kind of task, and what it needs to be opened again
    options    the TrainingOptions, by name
    data       a record of the data, to notice a change (data_record.py)
    init       the model that the run began with, if there was one: where it was, and
               the fingerprint of its weights (finetuning.py)

A checkpoint may come from somebody else, or from a damaged disk. So all of it is looked
at before anything is done with it, and a mistake is named by its entry. Each entry may
be missing: for use alone a checkpoint needs none of them. To go on, it needs all but
the last two, which older ones do not have.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clip_np.files import FileError, file_errors
from clip_np.training.checks import LARGEST_NUMBER, require_kind, require_range, shown
from clip_np.training.data_record import HELD_OUT
from clip_np.training.options import UPPER_BOUNDS, TrainingOptions
from clip_np.weights import Checkpoint

LONGEST_RUN = 1e12
"""Seconds; 30,000 years."""

SOURCES: dict[str, dict[str, Any]] = {
    "shapes": {"seed": int, "test": str | None},
    "files": {
        "path": str,
        "skip_bad": bool,
        "seed": int,
        "image_column": str | None,
        "caption_column": str | None,
        "validation_fraction": float,
        "split": str | None,
        "streaming": bool,
        "allow_outside": bool,
        "template": str | None,
    },
}
"""The kinds of tasks, and what a source says of each: see `Task`."""


@dataclass(frozen=True)
class SavedTraining:
    """The entry "training" of a checkpoint, looked at. None: it does not hold that."""

    step: int | None = None
    elapsed: float | None = None
    source: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    init: dict[str, Any] | None = None

    @classmethod
    def of(cls, entry: Any) -> "SavedTraining":
        """Look at what a checkpoint holds. ValueError, naming the entry, for mistakes.

        >>> SavedTraining.of({"step": 7, "elapsed": 1.5}).step
        7
        >>> SavedTraining.of({"step": "7"})
        Traceback (most recent call last):
        ValueError: training: `step` must be a whole number, got '7'
        """
        if entry is None:
            return cls()
        try:
            return cls(**_looked_at(entry))
        except ValueError as error:
            raise ValueError(f"training: {error}") from None

    def require_all(self) -> None:
        """FileError if something is missing that it takes to go on."""
        optional = ("data", "init")
        needed = {name: value for name, value in vars(self).items() if name not in optional}
        missing = [name for name, value in needed.items() if value in (None, {})]
        if len(missing) == len(needed):
            raise FileError("this checkpoint holds no training to go on with")
        if missing:
            raise FileError(f"training: holds no {' and no '.join(missing)}")


def saved_training(checkpoint: Checkpoint, path: Any) -> SavedTraining:
    """What a checkpoint from `path` knows of its training; FileError for mistakes."""
    with file_errors(path, "no checkpoint of a training"):
        try:
            return SavedTraining.of(checkpoint.training)
        except ValueError as error:
            raise FileError(str(error)) from None


def _looked_at(entry: Any) -> dict[str, Any]:
    """Those of the six entries that are there. ValueError for mistakes."""
    _require_object("it", entry)
    entries = {
        field.name: entry[field.name]
        for field in dataclasses.fields(SavedTraining)
        if field.name in entry
    }
    if "step" in entries:
        require_kind("step", entries["step"], int)
        require_range("step", entries["step"], 0, LARGEST_NUMBER)
    if "elapsed" in entries:
        require_kind("elapsed", entries["elapsed"], float)
        require_range("elapsed", entries["elapsed"], 0, LONGEST_RUN)
    if "source" in entries:
        _check_source(entries["source"])
    if "data" in entries:
        _check_record(entries["data"])
    if entries.get("init") is not None:
        _require_object("`init`", entries["init"])
        for name in ("source", "fingerprint"):
            require_kind(f"init.{name}", entries["init"].get(name), str)
    if "options" in entries:
        _require_object("`options`", entries["options"])
        TrainingOptions.of(entries["options"])
    return entries


def _check_record(record: Any) -> None:
    """ValueError if a record of the data is none."""
    if record is None:
        return
    _require_object("`data`", record)
    pairs, held_out = record.get("pairs"), record.get("held_out")
    _require_object("`data`: `pairs`", pairs)
    _require_object("`data`: `held_out`", held_out)
    require_kind("data.checksum", record.get("checksum"), str)
    for split, count in pairs.items():
        require_kind(f"data.pairs.{split}", count, int)
    for split, images in held_out.items():
        if split not in HELD_OUT or not isinstance(images, list):
            raise ValueError(f"`data`: `held_out` must list images, got {shown(images)}")
        for image in images:
            require_kind("data.held_out", image, str)


def _check_source(source: Any) -> None:
    """ValueError if a source is none that `open_task` can open."""
    _require_object("`source`", source)
    if not source:  # no data are named: they are asked for when they are needed
        return
    kind = source.get("task")
    if not isinstance(kind, str) or kind not in SOURCES:
        raise ValueError(f"`source`: `task` must be one of {', '.join(SOURCES)}, got {shown(kind)}")
    expected = SOURCES[kind]
    if kind == "files" and "path" not in source:
        raise ValueError("`source`: `path` is missing")
    for name, value in source.items():
        if name == "task":
            continue
        if name not in expected:
            raise ValueError(f"`source`: a task of kind {kind} has no {shown(name)}")
        require_kind(f"source.{name}", value, expected[name])
    if "seed" in source:
        require_range("source.seed", source["seed"], 0, UPPER_BOUNDS["seed"])


def _require_object(name: str, value: Any) -> None:
    """ValueError for anything but a JSON object."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be an object with named entries, got {shown(value)}")

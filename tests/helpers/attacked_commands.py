"""Targets: all commands of the command line, on runs and files that are damaged.

The allowed results are exit status 0, or 1 and one line that begins "clip-np: error: "
and names a file.
"""

import contextlib
import io
import json
import pathlib
import random
import shutil
from collections.abc import Callable

import numpy as np
from attacked_data import Parquet, Table
from attacked_pictures import Picture
from attacked_runs import Index, Metrics
from attacked_weights import Checkpoint, Published, TrainingRecord
from attacks import Target

from clip_np.cli import main
from clip_np.files import FileError
from clip_np.training import METRICS
from clip_np.weights import CHECKPOINT

# The attack hides matplotlib. Then a picture that was asked for is all that is missing.
WITHOUT_PICTURE = "pictures need matplotlib"
FEW_STEPS = ["--steps=1", "--batch-size=2", "--workers=1", "--shards=1"]


def command(*arguments: object) -> None:
    """Run a command. FileError with its message if it ends with status 1."""
    output, errors = io.StringIO(), io.StringIO()
    # Weights that are large but finite may overflow: that is their right.
    quiet = np.errstate(all="ignore")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), quiet:
        status = main([*map(str, arguments), "--json"])
    assert status in (0, 1)
    lines = errors.getvalue().splitlines()
    assert not any(line.startswith("Traceback") for line in lines), errors.getvalue()
    if status == 0 or WITHOUT_PICTURE in errors.getvalue():
        json.loads(output.getvalue().splitlines()[-1])
        return
    assert output.getvalue() == ""
    (message,) = [line for line in lines if line.startswith("clip-np: error: ")]
    raise FileError(message)


class Commands:
    """A command picked at random, and damage to one of the files that it reads."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.damaged: dict[str, Target] = {}
        for name, kind in {
            "checkpoint": Checkpoint,
            "model": Checkpoint,
            "table": Table,
            "parquet": Parquet,
            "metrics": Metrics,
        }.items():
            (folder / name).mkdir()
            self.damaged[name] = kind(folder / name)
        for name in ("record", "weights", "index", "pictures"):
            (folder / name).mkdir()
        self.damaged["record"] = TrainingRecord(folder / "record", data=str(folder / "table"))
        self.damaged["weights"] = Published(
            folder / "weights", weights="model.safetensors", damaged="model.safetensors"
        )
        self.damaged["picture"] = Picture(folder / "pictures", kind="PNG")
        sound = (folder / "checkpoint" / CHECKPOINT).read_bytes()
        shutil.copy(folder / "metrics" / METRICS, folder / "record" / METRICS)
        (folder / "metrics" / CHECKPOINT).write_bytes(sound)
        self.sound = folder / "sound"
        self.sound.mkdir()
        (self.sound / CHECKPOINT).write_bytes(sound)
        self.damaged["index"] = Index(folder / "index", form=2, run=self.sound)
        self.photos = folder / "index" / "photos"
        self.run: Callable[[], None] = self.run_all
        self.names = [str(folder), "captions.csv", "a.parquet"]

    def commands(self, kind: str) -> list[tuple]:
        """The commands that read a file of a kind."""
        folder, sound, photos = self.folder, self.sound, self.photos
        new_index = folder / "new.npz"
        match kind:
            case "checkpoint" | "weights":
                model = folder / kind
                return [
                    ("info", model),
                    ("classify", model, photos / "0.png", "--labels", "red,blue"),
                    ("embed", model, photos, "-o", new_index),
                    ("convert", model, folder / "converted"),
                    ("convert", model, folder / "a.safetensors", "--layout", "openai"),
                ]
            case "model":
                index = folder / "index" / "index.npz"
                return [("search", index, "red", "--model", folder / kind)]
            case "record":
                run = folder / kind
                return [
                    ("info", run),
                    ("evaluate", run, "--data", folder / "table", "--skip-bad"),
                    ("evaluate", run),
                    ("plot", run),
                    ("train", "--resume", run, *FEW_STEPS),
                ]
            case "table" | "parquet":
                data = folder / kind
                return [
                    ("evaluate", sound, "--data", data),
                    ("evaluate", sound, "--data", data, "--skip-bad"),
                    ("train", "--data", data, "--out", folder / "new", *FEW_STEPS),
                ]
            case "metrics":
                return [("plot", folder / kind)]
            case "picture":
                picture = folder / "pictures" / "picture"
                return [
                    ("classify", sound, picture, "--labels", "red,blue"),
                    ("embed", sound, picture, photos, "-o", new_index),
                    ("search", folder / "index" / "index.npz", picture, "--model", sound),
                ]
        index = folder / "index" / "index.npz"
        page = folder / "page.html"
        return [
            ("search", index, "red", "--model", sound),
            ("search", index, "red", "--html", page),
            ("embed", sound, photos, "-o", index),
        ]

    def damage(self, rng: random.Random) -> None:
        self.clear()
        kind = rng.choice(list(self.damaged))
        self.damaged[kind].damage(rng)
        chosen = rng.choice(self.commands(kind))
        self.run = lambda: command(*chosen)

    def run_all(self) -> None:
        """All commands on files that are not damaged."""
        for kind in self.damaged:
            for arguments in self.commands(kind):
                self.clear()
                command(*arguments)

    def clear(self) -> None:
        """Remove what commands have written."""
        (self.folder / "new.npz").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "new", ignore_errors=True)

    def use(self) -> None:
        self.run()

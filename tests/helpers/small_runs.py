"""Training runs of a second, and ways to disturb them."""

import csv
import pathlib
import signal

import numpy as np
from PIL import Image

from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.files import read_npz
from clip_np.training import Trainer, TrainingOptions, TrainingWarning
from clip_np.weights import CHECKPOINT, read_checkpoint

MICRO = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
    text=TextConfig(514, 77, width=16, layers=1, heads=2),
)
SHORT = {"preset": "micro", "steps": 24, "batch_size": 16, "vocab_size": 560, "workers": 2}


def trainer_of(task, directory, resume: bool = False, **changes) -> Trainer:
    options = TrainingOptions(**{**SHORT, **changes})
    checkpoint = read_checkpoint(directory) if resume else None
    return Trainer(task, options, directory, checkpoint=checkpoint)


def at_step(trainer: Trainer, step: int, action) -> None:
    """Do something when `step` is logged (every tenth step is, and the last)."""
    report = trainer._report

    def report_and_act(*arguments) -> None:
        report(*arguments)
        if trainer.step == step:
            action()

    trainer._report = report_and_act


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def numbers_of(directory: pathlib.Path) -> dict[str, bytes]:
    """The arrays of the last checkpoint of a run."""
    return arrays_of(directory / CHECKPOINT)


def arrays_of(checkpoint: pathlib.Path) -> dict[str, bytes]:
    """All arrays of a checkpoint but its header, which holds times."""
    arrays = read_npz(checkpoint)
    return {name: array.tobytes() for name, array in arrays.items() if name != "header"}


def write_pairs(folder: pathlib.Path, splits: list[str], bad=()) -> pathlib.Path:
    """A folder of small pictures, one for each entry of `splits`, with captions.csv."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "split"])
        for row, split in enumerate(splits):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{row}.png")
            table.writerow([f"{row}.png", f"picture number {row} of them", split])
    for row in bad:
        (folder / f"{row}.png").write_bytes(b"no picture")
    return folder


def everything_in(folder: pathlib.Path) -> dict[str, bytes]:
    """The contents of all files below a folder, by their relative paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def texts_of(caught):
    """The texts of the training's warnings, of which there must be no other kind.

    But Python may warn of a file that an earlier test left open, at any moment.
    """
    heard = [warning for warning in caught if warning.category is not ResourceWarning]
    assert all(issubclass(warning.category, TrainingWarning) for warning in heard)
    return [str(warning.message) for warning in heard]

"""Chapter 33: what must be kept, so that a model can be used and its training go on?

One file, `checkpoint.npz`, holds all of it: the model's sizes, its numbers, its tokenizer, and
what the training needs to continue as if it had never stopped (the optimizer's memory, the
step, the options). One file cannot come apart: weights never meet the wrong vocabulary. Beside it
lies `best.npz`, for use only: the model as it was when its validation loss was lowest.
"""

import pathlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from clip_np.encoders import CLIPConfig
from clip_np.files import File, file_errors, read_archive, require_finite, write_archive
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer
from minigrad.backend import move
from minigrad.optim import Optimizer

CHECKPOINT, BEST = "checkpoint.npz", "best.npz"


@dataclass
class Checkpoint:
    """What a checkpoint file holds; `training` is None where it is for use only."""

    model: CLIP
    tokenizer: Tokenizer
    training: dict[str, Any] | None
    optimizer_state: dict[str, np.ndarray]


def save_checkpoint(
    path: File,
    model: CLIP,
    tokenizer: Tokenizer,
    optimizer: Optimizer | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint file; it takes the place of an older one when it is complete. training
    is what the training wants back. ValueError, and nothing written, where a weight is NaN or
    infinite."""
    state = {name: p.numpy() for name, p in model.named_parameters()}
    with file_errors(path, "not saved"):
        require_finite(state, "not saved")
    record = {"config": model.config.to_dict(), "tokenizer": tokenizer.to_json()}
    record["training"] = training
    arrays = {f"model/{name}": array for name, array in state.items()}
    if optimizer is not None:
        state = optimizer.state_dict()
        arrays |= {f"optimizer/{key}": move(array, "numpy") for key, array in state.items()}
    write_archive(path, "checkpoint", record, arrays)


def read_checkpoint(path: File, activation: str | None = None) -> Checkpoint:
    """Read a checkpoint file, or the one in a run directory, perhaps with another activation than
    it names. FileNotFoundError where nothing is, FileError where something else is."""
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run directory holds {CHECKPOINT}")
    record, arrays = read_archive(path, "checkpoint")
    with file_errors(path, "no checkpoint of clip_np that can be read"):
        for tower in ("vision", "text") if activation is not None else ():
            record["config"][tower]["activation"] = activation
        config = CLIPConfig.from_dict(record["config"])
        tokenizer = Tokenizer.from_json(record["tokenizer"])
        training = record["training"]
    with file_errors(path, "weights and configuration disagree: no model"):
        weights = {key[6:]: array for key, array in arrays.items() if key.startswith("model/")}
        # Version 0.1 called the image encoder "visual".
        weights = {re.sub("^visual[.]", "vision.", name): array for name, array in weights.items()}
        state = {name: np.asarray(array, np.float32) for name, array in weights.items()}
        model = CLIP(config, None)
        model.load_state_dict(state, assign=True)
        require_finite(state)
    optimizer_state = {k[10:]: a for k, a in arrays.items() if k.startswith("optimizer/")}
    return Checkpoint(model, tokenizer, training, optimizer_state)

"""What must be kept, so that a model can be used and its training can go on?

One file, `checkpoint.npz`, holds all of it:

    header           sizes of the model, the tokenizer, and what the training wants
                     back: the step, the options
    model/...        the parameters
    optimizer/...    the optimizer's memory

A resumed run goes on from here (training/loop.py says when its steps are the same as
those of an uninterrupted run). One file cannot come apart, so
weights never meet the wrong vocabulary. Next to it lies `best.npz`, for use only: the
model as it was when its validation loss was lowest.
"""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clip_np.encoders import CLIPConfig
from clip_np.files import File, file_errors, read_archive, require_finite, write_archive
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol, tokenizer_from_json
from minigrad.backend import move
from minigrad.optim import Optimizer

CHECKPOINT = "checkpoint.npz"
BEST = "best.npz"
KIND = "checkpoint"  # of archive
# What the names of the arrays begin with.
MODEL = "model/"
OPTIMIZER = "optimizer/"
VISION = "vision."
OLD_VISION = "visual."  # what version 0.1 called the vision encoder


@dataclass
class Checkpoint:
    """What a checkpoint file holds; `training` is None if it is for use only."""

    model: CLIP
    tokenizer: TokenizerProtocol
    training: dict[str, Any] | None
    optimizer_state: dict[str, np.ndarray]


def save_checkpoint(
    path: File,
    model: CLIP,
    tokenizer: TokenizerProtocol,
    optimizer: Optimizer | None = None,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint file; it replaces an older one when it is complete.

    `training` is what the training wants back, anything that JSON can hold. ValueError,
    and nothing written, if a weight is NaN or infinite.

    >>> import tempfile
    >>> from clip_np.encoders import PRESETS
    >>> from clip_np import Tokenizer
    >>> tokenizer = Tokenizer([], context_length=9)
    >>> config = PRESETS["tiny"].for_tokenizer(tokenizer)
    >>> model = CLIP(config, np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, CHECKPOINT)
    ...     save_checkpoint(path, model, tokenizer, training={"step": 7})
    ...     checkpoint = read_checkpoint(folder)
    >>> checkpoint.training, checkpoint.model.config == config
    ({'step': 7}, True)
    """
    state = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    with file_errors(path, "not saved"):
        require_finite(state, "not saved")
    settings = {
        "config": model.config.to_dict(),
        "tokenizer": tokenizer.to_json(),
        "training": training,
    }
    arrays = {f"{MODEL}{name}": array for name, array in state.items()}
    if optimizer is not None:
        for key, array in optimizer.state_dict().items():
            arrays[f"{OPTIMIZER}{key}"] = move(array, "numpy")
    write_archive(path, KIND, settings, arrays)


def read_checkpoint(path: File, activation: str | None = None) -> Checkpoint:
    """Read a checkpoint file, or the one in a run directory.

    `activation` replaces the one that the file names. FileNotFoundError if nothing is
    there, FileError if something else is.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run directory holds {CHECKPOINT}")
    settings, arrays = read_archive(path, KIND)
    with file_errors(path, "no checkpoint of clip_np that can be read"):
        if activation is not None:
            for encoder in ("vision", "text"):
                settings["config"][encoder]["activation"] = activation
        config = CLIPConfig.from_dict(settings["config"])
        tokenizer = tokenizer_from_json(settings["tokenizer"])
        training = settings["training"]
    with file_errors(path, "weights and configuration disagree: no model"):
        model = CLIP(config, None)
        state = _model_state(arrays)
        model.load_state_dict(state, assign=True)
        require_finite(state)
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        training=training,
        optimizer_state=_arrays_below(OPTIMIZER, arrays),
    )


def _arrays_below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with this beginning of their names, without it.

    >>> _arrays_below("model/", {"model/scale": np.ones(1), "header": np.ones(2)})
    {'scale': array([1.])}
    """
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _model_state(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters in a checkpoint's arrays, in float32, by their present names."""
    state: dict[str, np.ndarray] = {}
    for name, array in _arrays_below(MODEL, arrays).items():
        if name.startswith(OLD_VISION):
            name = VISION + name.removeprefix(OLD_VISION)
        state[name] = np.asarray(array, np.float32)
    return state

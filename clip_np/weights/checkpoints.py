"""What must be kept, so that a model can be used and its training can go on?

One file, `checkpoint.npz`, holds all of it:

    header           sizes of the model, the tokenizer, how images are prepared, and
                     what the training wants back: the step, the options
    model/...        the parameters and buffers
    optimizer/...    the optimizer's memory

A resumed run goes on from here (training/loop.py says when its steps are the same as
those of an uninterrupted run). One file cannot come apart, so
weights never meet the wrong vocabulary. Next to it lies `best.npz`, for use only: the
model as it was when its recall in validation was highest.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clip_np.data import Preprocess, training_preprocess
from clip_np.encoders import CLIPConfig
from clip_np.files import (
    File,
    FileError,
    file_errors,
    read_archive,
    require_finite,
    with_dtype,
    write_archive,
)
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol, tokenizer_from_json
from clip_np.weights.fitting import require_fit
from clip_np.weights.image_words import IMAGE_WORDS, image_settings
from clip_np.weights.preprocessing import parse_preprocess
from clip_np.weights.shapes import require_shapes
from minigrad.backend import move
from minigrad.optim import Optimizer

CHECKPOINT = "checkpoint.npz"
BEST = "best.npz"
PREVIOUS = "checkpoint.previous.npz"  # what a training keeps of the checkpoint before
KIND = "checkpoint"  # of archive
PREPROCESS = "preprocess"  # the entry of the header, in the words of image_words.py
# What the names of the arrays begin with.
MODEL = "model/"
OPTIMIZER = "optimizer/"
VISION = "vision."
OLD_VISION = "visual."  # what version 0.1 called the vision encoder


@dataclass
class Checkpoint:
    """What a checkpoint file holds; `training` is None if it is for use only.

    preprocess None means that of the models that were new when their training began.
    """

    model: CLIP
    tokenizer: TokenizerProtocol
    training: dict[str, Any] | None
    optimizer_state: dict[str, np.ndarray]
    preprocess: Preprocess | None = None

    @property
    def prepare(self) -> Preprocess:
        """What the model's images pass through."""
        return self.preprocess or training_preprocess(self.model.config.vision.image_size)


def save_checkpoint(
    path: File,
    model: CLIP,
    tokenizer: TokenizerProtocol,
    optimizer: Optimizer | None = None,
    training: dict[str, Any] | None = None,
    preprocess: Preprocess | None = None,
) -> None:
    """Write a checkpoint file; it replaces an older one when it is complete.

    `training` is what the training wants back, a dict that JSON can hold. `preprocess`
    is for a model whose images are prepared in another way than usual. FileError,
    and nothing written, if a weight is NaN or infinite, or if the tokenizer makes rows
    that the model cannot read.

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
    state = {name: move(array, "numpy") for name, array in model.state_dict().items()}
    with file_errors(path, "not saved"):
        require_finite(state, "not saved")
        require_fit(tokenizer, model.config.text)
    settings = {
        "config": model.config.to_dict(),
        "tokenizer": tokenizer.to_json(),
        "training": training,
    }
    if preprocess is not None:
        settings[PREPROCESS] = image_settings(preprocess)
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
        config = CLIPConfig.from_dict(settings["config"])
        if activation is not None:
            config = config.with_activation(activation)
        tokenizer = tokenizer_from_json(settings["tokenizer"])
        require_fit(tokenizer, config.text)
        training = settings["training"]
        if training is not None and type(training) is not dict:
            raise FileError(f"its training is a {type(training).__name__}, not an object")
        # What is said is held against what is there before anything is made of it.
        stored = _by_present_names(_arrays_below(MODEL, arrays))
        require_shapes(stored, config)
        state = with_dtype(stored, "float32")
        require_finite(state)
        model = CLIP(config, None)
        model.load_state_dict(state, assign=True)
        preprocess = _read_preprocess(settings, config.vision.image_size)
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        training=training,
        optimizer_state=_arrays_below(OPTIMIZER, arrays),
        preprocess=preprocess,
    )


def _read_preprocess(settings: Mapping[str, Any], size: int) -> Preprocess | None:
    """How the images of a model are prepared; FileError for what makes no sense."""
    stated = settings.get(PREPROCESS)
    if stated is None:
        return None
    if not isinstance(stated, dict):
        raise FileError(f"its {PREPROCESS} is a {type(stated).__name__}, not an object")
    return parse_preprocess(stated, IMAGE_WORDS, size)


@contextlib.contextmanager
def previous_named(path: pathlib.Path) -> Iterator[None]:
    """Let an error about a run's last checkpoint name the one before it.

    A training goes on from the one before by itself, and says so. Here it is not taken
    in place of the last: an index or a converted model would look right, and be made of
    other weights than those that were asked for.
    """
    previous = path.with_name(PREVIOUS)
    try:
        yield
    except FileError as error:
        if path.name != CHECKPOINT or not previous.is_file():
            raise
        raise FileError(
            f"{error}. The checkpoint before it is {previous}: give its path to use that one", path
        ) from error


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


def _by_present_names(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model's arrays by their present names, in files of version 0.1, too.

    FileError if an array is there under both names.
    """
    renamed: dict[str, np.ndarray] = {}
    for name, array in stored.items():
        if name.startswith(OLD_VISION):
            name = VISION + name.removeprefix(OLD_VISION)
        if name in renamed:
            raise FileError(f"{name} is there twice, under its old name and its new one")
        renamed[name] = array
    return renamed

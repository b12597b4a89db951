"""How is a model opened, whoever has made it?

`load` finds out what a path means (`locating.py`) and opens it: a checkpoint made here
(`checkpoints.py`) or published weights (`published.py`), with the preparation of images
and the tokenizer that belong to them.
"""

import dataclasses
import pathlib
from typing import NamedTuple

from clip_np.data import Preprocess
from clip_np.encoders import ACTIVATIONS
from clip_np.files import File
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer, TokenizerProtocol
from clip_np.weights.checkpoints import previous_named, read_checkpoint
from clip_np.weights.locating import locate
from clip_np.weights.published import read_published
from clip_np.weights.vocabulary import find_tokenizer

DTYPES = ("float32", "float64")


class Loaded(NamedTuple):
    """A model for use, and what images and texts have to pass through before it."""

    model: CLIP
    preprocess: Preprocess
    tokenizer: TokenizerProtocol | MissingTokenizer


def load(
    path: File,
    backend: str = "numpy",
    activation: str | None = None,
    dtype: str = "float32",
    image_size: int | None = None,
) -> Loaded:
    """Open a model for use: (model, preprocess, tokenizer).

    `path` is anything in the table of `clip_np.weights`. For a run directory it means
    checkpoint.npz, the last state; the path of its best.npz means the state of the
    highest recall in validation. `activation` replaces the one that the files name.
    `dtype` is "float32" or "float64". `image_size` makes the model see images of
    another size than it was trained with, in pixels a side: what it learned for places
    in the image is resized (clip_np/encoders/position_grids.py). If the vocabulary is
    missing, the tokenizer raises when it is called. FileNotFoundError if there is no
    model, FileError for what is wrong in it, ValueError for arguments that it cannot
    follow. If what is wrong is a run's last state, the error names the one before.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"load: `activation` must be one of {ACTIVATIONS}, not {activation!r}")
    if dtype not in DTYPES:
        raise ValueError(f"load: `dtype` must be one of {DTYPES}, not {dtype!r}")
    file = locate(path)
    if file.suffix.lower() == ".npz":
        loaded = _load_checkpoint(file, activation)
    else:
        loaded = _load_published(file, activation, dtype)
    if image_size is not None:
        loaded = _with_image_size(loaded, image_size)
    loaded.model.astype(dtype)
    loaded.model.to(backend)
    loaded.model.eval()
    return loaded


def _with_image_size(loaded: Loaded, image_size: int) -> Loaded:
    """The model, changed to see images of that size, with their preparation.

    ValueError if it cannot see such images.
    """
    try:
        loaded.model.resize(image_size)
    except ValueError as error:
        raise ValueError(
            f"load: this model cannot see `image_size` {image_size}: {error}"
        ) from None
    return loaded._replace(preprocess=dataclasses.replace(loaded.preprocess, size=image_size))


def _load_checkpoint(file: pathlib.Path, activation: str | None) -> Loaded:
    """A checkpoint of this library, with the preparation that its training used."""
    with previous_named(file):
        checkpoint = read_checkpoint(file, activation)
    return Loaded(
        model=checkpoint.model, preprocess=checkpoint.prepare, tokenizer=checkpoint.tokenizer
    )


def _load_published(file: pathlib.Path, activation: str | None, dtype: str) -> Loaded:
    """Weights of another library, with the files next to them."""
    published = read_published(file, activation, dtype)
    tokenizer = find_tokenizer(file, published.model.config)
    return Loaded(model=published.model, preprocess=published.preprocess, tokenizer=tokenizer)

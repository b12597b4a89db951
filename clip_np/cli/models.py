"""Which of a command's arguments is the model, and which are its images?

The first one is the model, unless --model names it. Both of these mean the same:

    clip-np classify RUN cat.jpg dog.jpg --labels cat,dog
    clip-np classify cat.jpg dog.jpg --labels cat,dog --model RUN
"""

import argparse
import os
from typing import NamedTuple

from clip_np.data import Preprocess
from clip_np.evaluation import AnyTokenizer
from clip_np.model import CLIP
from clip_np.weights import CHECKPOINT, PREVIOUS, load


class LoadedModel(NamedTuple):
    """A model, where it was, and the arguments that remain."""

    path: str
    inputs: list[str]
    model: CLIP
    preprocess: Preprocess
    tokenizer: AnyTokenizer


def load_model(arguments: argparse.Namespace) -> LoadedModel:
    """Open the model that the arguments name; ValueError if nothing else is there."""
    inputs = [arguments.first, *arguments.inputs]
    path = arguments.model
    if path is None:
        path = inputs.pop(0)
    if not inputs:
        raise ValueError(f"no images given: {path} is taken for the model, images come after it")
    model, preprocess, tokenizer = load(
        path,
        arguments.backend or "numpy",
        activation=arguments.activation,
        image_size=arguments.image_size,
    )
    return LoadedModel(path, inputs, model, preprocess, tokenizer)


def is_run(path: str) -> bool:
    """Whether a path means a checkpoint of this library, and not published weights."""
    if os.path.isdir(path):
        return any(os.path.exists(os.path.join(path, name)) for name in (CHECKPOINT, PREVIOUS))
    return path.lower().endswith(".npz")

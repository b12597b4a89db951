"""What is this model, and what does it say about an image?

`clip-np info` reads a file of weights and says what is in it. `clip-np classify`
compares images with labels. With several labels, each image gets their probabilities;
with a single one the images are ranked by their cosine to it, since a softmax over one
label is always 1.
"""

import argparse
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.cli.models import load_model
from clip_np.cli.output import (
    SHEET_SIZE,
    LabelledFile,
    Sheet,
    draw_pictures,
    draw_sheet,
    print_labels,
    print_text,
    print_unreadable,
)
from clip_np.data import DataError, Preprocess
from clip_np.evaluation import (
    AnyTokenizer,
    embed_files,
    image_files,
    is_index,
    names_an_image,
    read_index,
    zero_shot_classifier,
)
from clip_np.files import shown
from clip_np.losses import match_probabilities
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer
from clip_np.training import saved_training
from clip_np.weights import find_tokenizer, locate, previous_named, read_checkpoint, read_published
from minigrad.nn import count_parameters

SHORT_TABLE = 5  # labels that are printed for each of several images
DEFAULT_PICTURE = "classify.png"
KEY_WIDTH = 14  # characters
Scores = dict[str, dict[str, float]]  # image file -> label -> score, best first


# --- clip-np info ---------------------------------------------------------------------


def info_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a model is: its file, its sizes, its tokenizer, its training steps.

    An index of images is no model; what it holds is said, too.
    """
    path = locate(arguments.model)
    description: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    if is_index(path):
        description |= _describe_index(path)
    elif path.suffix == ".npz":
        description |= _describe_checkpoint(path, arguments.activation)
    else:
        description |= _describe_weights(path, arguments.activation)
    for key, value in description.items():
        print_text(arguments, f"{key:<{KEY_WIDTH}}{shown(_readable(value))}")
    return description


def _describe_checkpoint(path: Path, activation: str | None) -> dict[str, Any]:
    """What a checkpoint of this library holds."""
    with previous_named(path):
        checkpoint = read_checkpoint(path, activation)
    description: dict[str, Any] = {"layout": "clip_np"}
    steps = saved_training(checkpoint, path).step
    if steps is not None:
        description["steps"] = steps
    return description | _describe_model(checkpoint.model, checkpoint.tokenizer)


def _describe_index(path: Path) -> dict[str, Any]:
    """What an index of images holds."""
    index = read_index(path)
    return {
        "layout": "an index of images: clip-np search asks it",
        "images": len(index),
        "unreadable": len(index.unreadable),
        "embed_dim": index.width,
        "model": index.model or "not named",
        "root": index.folder,
        "yours": "yes" if index.is_own else "not known: it may come from somebody else",
    }


def _describe_weights(path: Path, activation: str | None) -> dict[str, Any]:
    """What a file of published weights holds."""
    published = read_published(path, activation)
    tokenizer = find_tokenizer(path, published.model.config)
    description = {"layout": published.layout, "stored as": ", ".join(published.stored)}
    if published.activation_is_assumed:
        description["activation"] = "assumed, no file says it; --activation chooses another one"
    return description | _describe_model(published.model, tokenizer)


def _describe_model(model: CLIP, tokenizer: AnyTokenizer) -> dict[str, Any]:
    """The sizes of a model, its temperature, its tokenizer or what that lacks."""
    if isinstance(tokenizer, MissingTokenizer):
        vocabulary = tokenizer.message
    else:
        vocabulary = f"{model.config.text.vocab_size:,} pieces"
    sizes = model.config.to_dict()
    of_loss = {"temperature": math.exp(model.logit_scale.item())}
    if sizes.pop("logit_bias") is not None:
        of_loss["bias"] = model.logit_bias.item()
    return {"parameters": count_parameters(model), **sizes, **of_loss, "tokenizer": vocabulary}


def _readable(value: Any) -> str:
    """A value for people: numbers with separators, dictionaries as a list.

    >>> _readable(151277313), _readable({"width": 64, "layers": 3})
    ('151,277,313', 'width 64, layers 3')
    """
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, int | float):
        return f"{round(value, 4):,}"
    return str(value)


# --- clip-np classify -----------------------------------------------------------------


def classify_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say which label fits an image, or which images fit a sentence."""
    loaded = load_model(arguments)
    # Without --labels, the first input is the image or folder, and captions follow it.
    has_captions = arguments.labels is None
    images, captions = split_inputs(loaded.inputs) if has_captions else (loaded.inputs, [])
    labels = [label for text in arguments.labels or [] for label in read_labels(text)]
    labels = list(dict.fromkeys(captions + labels))
    if not labels:
        raise ValueError("no labels: write captions after the image, or --labels A,B,C")

    files = image_files(images)
    templates = arguments.template or ["{}"]
    classifier = zero_shot_classifier(loaded.model, loaded.tokenizer, labels, templates)  # (E, M)
    features = _readable_features(loaded.model, loaded.preprocess, files)
    cosines = np.stack(list(features.values())) @ classifier  # (N, M)
    readable = list(features)
    if len(labels) == 1:
        scores = rank_images(readable, labels[0], cosines[:, 0])
        sheet = _ranking_sheet(scores, labels[0])
    else:
        probabilities = match_probabilities(cosines, loaded.model.logit_scale.item())
        scores = rank_labels(readable, labels, probabilities)
        cosine_of = {file: dict(zip(labels, row.tolist())) for file, row in zip(readable, cosines)}
        sheet = _label_sheet(scores, cosine_of, len(labels))
    print_labels(arguments, sheet.files)
    if has_captions or arguments.picture:
        picture = arguments.picture or DEFAULT_PICTURE
        draw_pictures(
            arguments, lambda: [draw_sheet(sheet, picture)], is_asked=arguments.picture is not None
        )
    is_about_one_image = has_captions and len(images) == 1 and not os.path.isdir(images[0])
    return shortened(scores, is_about_one_image)


def split_inputs(inputs: list[str]) -> tuple[list[str], list[str]]:
    """The images and the captions among the inputs; the first one is an image.

    Others are images if they are files that look like one, or end like an image and
    have no space: a mistyped "cat.jpg" is no caption.

    >>> split_inputs(["a.png", "b.png", "a red square", "beside b.png"])
    (['a.png', 'b.png'], ['a red square', 'beside b.png'])
    """
    images, captions = inputs[:1], []
    for text in inputs[1:]:
        looks_like_image = Path(text).suffix != "" and names_an_image(text)
        if looks_like_image and (os.path.isfile(text) or " " not in text):
            images.append(text)
        else:
            captions.append(text)
    return images, captions


def read_labels(text: str) -> list[str]:
    """The labels of "A,B,C", or of the lines of a file if the text is "@FILE".

    >>> read_labels("red, a blue,,circle")
    ['red', 'a blue', 'circle']
    """
    if text.startswith("@"):
        labels = Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()
    else:
        labels = text.split(",")
    return [label.strip() for label in labels if label.strip()]


def _readable_features(
    model: CLIP, preprocess: Preprocess, files: list[str]
) -> dict[str, np.ndarray]:
    """The unit features (E,) of each readable file; the others are named on stderr."""
    features: dict[str, np.ndarray] = {}
    problems: list[DataError | str] = []
    for file, result in embed_files(model, preprocess, files):
        if isinstance(result, DataError):
            problems.append(result)
        else:
            features[file] = result
    print_unreadable(problems, len(files))
    return features


def rank_images(files: list[str], label: str, cosines: np.ndarray) -> Scores:
    """The files, nearest to the label first, each with its cosine; cosines (N,).

    >>> rank_images(["a.png", "b.png"], "a dog", np.array([0.25, 0.5]))
    {'b.png': {'a dog': 0.5}, 'a.png': {'a dog': 0.25}}
    """
    best = np.argsort(-cosines, kind="stable")
    return {files[row]: {label: float(cosines[row])} for row in best}


def rank_labels(files: list[str], labels: list[str], probabilities: np.ndarray) -> Scores:
    """For each file the labels, likeliest first; probabilities (N, M).

    >>> rank_labels(["a.png"], ["a cat", "a dog"], np.array([[0.25, 0.75]]))
    {'a.png': {'a dog': 0.75, 'a cat': 0.25}}
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")  # (N, M)
    return {
        file: {labels[column]: float(row[column]) for column in order}
        for file, row, order in zip(files, probabilities, best)
    }


def _ranking_sheet(scores: Scores, label: str) -> Sheet:
    """The images nearest to a label, with their cosines."""
    note = f"The best of {len(scores):,} images, and their cosines."
    best = list(scores.items())[:SHEET_SIZE]
    files = [LabelledFile(file, [(f"{cosine[label]:.3f}", file)]) for file, cosine in best]
    return Sheet(title=label, note=note, files=files)


def _label_sheet(scores: Scores, cosine_of: Scores, label_count: int) -> Sheet:
    """Each image with its likeliest labels, and if there are several, its name."""
    note = f"How likely each of {label_count} labels is, and its cosine."
    if len(scores) == 1:
        ((file, chances),) = scores.items()
        labels = _percentages(chances, cosine_of[file], SHEET_SIZE)
        return Sheet(title=Path(file).name, note=note, files=[LabelledFile(file, labels)])
    files = [
        LabelledFile(file, [("", file), *_percentages(chances, cosine_of[file], SHORT_TABLE)])
        for file, chances in scores.items()
    ]
    return Sheet(title=f"{len(scores):,} images", note=note, files=files)


def _percentages(
    chances: Mapping[str, float], cosines: Mapping[str, float], count: int
) -> list[tuple[str, str]]:
    """The first `count` labels: the probability as a mark, the words, the cosine."""
    return [
        (f"{chance:.1%}", f"{label} ({cosines[label]:.3f})")
        for label, chance in list(chances.items())[:count]
    ]


def shortened(scores: Scores, is_about_one_image: bool) -> dict[str, Any]:
    """The scores as JSON shows them, without the names that the question has fixed.

    A single label: image -> cosine. One image and its captions: caption -> probability.
    Anything else: image -> label -> probability.

    >>> shortened({"a.png": {"a dog": 0.5}, "b.png": {"a dog": 0.25}}, False)
    {'a.png': 0.5, 'b.png': 0.25}
    >>> shortened({"a.png": {"a dog": 0.75, "a cat": 0.25}}, True)
    {'a dog': 0.75, 'a cat': 0.25}
    """
    has_one_label = all(len(labels) == 1 for labels in scores.values())
    if has_one_label:
        return {file: next(iter(labels.values())) for file, labels in scores.items()}
    if is_about_one_image:
        ((_, labels),) = scores.items()
        return dict(labels)
    return dict(scores)

"""Chapter 39: what can one ask a trained model from a shell?

    clip-np info RUN                                  what it is
    clip-np classify RUN cat.jpg "a cat" "a dog"      which caption fits an image
    clip-np classify RUN FOLDER "a cat on a roof"     which images fit a sentence
    clip-np embed RUN FOLDER -o index.npz             see all images once ...
    clip-np search index.npz "a cat on a roof"        ... and find them at once
    clip-np convert RUN DIRECTORY                     write it for other libraries

RUN is anything that `clip_np.load` opens. Unreadable images are named on stderr and left out.
"""

import argparse
import math
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

import minigrad as mg
from clip_np.data import DataError, a_few, resize_and_crop
from clip_np.evaluation import (
    build_index,
    embed_files,
    image_files,
    pictures,
    read_index,
    search_index,
    zero_shot_classifier,
)
from clip_np.tokens import MissingTokenizer
from clip_np.weights import convert, find_tokenizer, load, locate, read_checkpoint, read_published
from minigrad.nn import count_parameters

SHOWN, SHOWN_SIZE = 20, 224  # images of a contact sheet, and their side in pixels
SEVERAL = 5  # labels shown for each of several images


def say(arguments: argparse.Namespace, text: str) -> None:
    """Print for people: to stderr where stdout is kept for JSON."""
    print(text, file=sys.stderr if arguments.json else sys.stdout, flush=True)


def draw(arguments: argparse.Namespace, make: Callable[[], list[pathlib.Path]]) -> None:
    """Draw, and say where; without matplotlib, say what to install."""
    try:
        say(arguments, "pictures: " + ", ".join(map(str, make())))
    except pictures.MissingMatplotlib as error:
        say(arguments, str(error))


def _opened(arguments: argparse.Namespace) -> tuple[str, list[str], tuple]:
    """The path of the model, the other arguments, and what `load` makes of the path."""
    inputs = [arguments.first, *arguments.inputs]
    path = arguments.model or inputs.pop(0)
    if not inputs:
        raise ValueError(f"no images given: {path} is taken for the model, images come after it")
    return path, inputs, load(path, arguments.backend or "numpy")


def _name_unreadable(causes: Sequence[Any], total: int) -> None:
    """List on stderr what was left out; DataError where that was all."""
    if len(causes) == total:
        raise DataError(f"none of {total} images is readable: {a_few(causes)}")
    for cause in causes:
        print(f"left out: {cause}", file=sys.stderr)


def _sheet(cells: Sequence[tuple[str, list[tuple[str, str]]]], *rest: Any) -> list[pathlib.Path]:
    """Draw image files above their labels; a grey square where there is none."""
    squares, labels = [], []
    for path, below in cells:
        found = pictures.picture_of(path)
        image = resize_and_crop(found or Image.new("RGB", (1, 1), "lightgrey"), SHOWN_SIZE)
        squares.append(np.asarray(image))
        labels.append(below if found else [*below, ("", "not found")])
    return [pictures.labelled_images(np.stack(squares), labels, *rest)]


def info_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a model is: its file, its sizes, its tokenizer, how long it was trained."""
    path = locate(arguments.model)
    result: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    if path.suffix == ".npz":
        kept = read_checkpoint(path)
        model, tokenizer, result["layout"] = kept.model, kept.tokenizer, "clip_np"
        result |= {"steps": kept.training["step"]} if kept.training else {}
    else:
        found = read_published(path)
        model, tokenizer = found.model, find_tokenizer(path, found.model.config)
        result |= {"layout": found.layout, "stored as": ", ".join(found.stored)}
    result["parameters"] = count_parameters(model)
    result |= model.config.to_dict() | {"temperature": math.exp(model.logit_scale.item())}
    known = f"{model.config.text.vocab_size:,} pieces"
    missing = isinstance(tokenizer, MissingTokenizer)
    result["tokenizer"] = tokenizer.message if missing else known
    for key, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {each}" for name, each in value.items())
        elif isinstance(value, (int, float)):
            value = f"{round(value, 4):,}"
        say(arguments, f"{key:<14}{value}")
    return result


def _labels(text: str) -> list[str]:
    """The labels of "A,B,C", or of the lines of a file where the text is "@FILE"."""
    lines = text.split(",")
    if text.startswith("@"):
        lines = pathlib.Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def classify_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say which label fits an image, or which images fit a sentence.

        clip-np classify MODEL IMAGE... --labels cat,dog --template "a photo of a {}"
        clip-np classify MODEL IMAGE "a cat" "a dog"
        clip-np classify MODEL FOLDER "a cat on a roof"

    Without --labels, what follows the first image (or folder) are captions to choose from. Several
    labels share 100 % for each image; for a single one, images are ranked by their cosine to it.
    --json: {image: {label: probability}}, of one image and captions {caption: probability}, of a
    single label {image: cosine}."""
    _, inputs, (model, preprocess, tokenizer) = _opened(arguments)
    captioned = arguments.labels is None
    labels = list(dict.fromkeys(inputs[1:] if captioned else _labels(arguments.labels)))
    if not labels:
        raise ValueError("no labels: write captions after the image, or --labels A,B,C")
    files = image_files(inputs[:1] if captioned else inputs)
    classifier = zero_shot_classifier(model, tokenizer, labels, arguments.template or ["{}"])
    features = dict(embed_files(model, preprocess, files))
    bad = [features.pop(file) for file in files if isinstance(features[file], DataError)]
    _name_unreadable(bad, len(files))
    cosines, files = np.stack(list(features.values())) @ classifier, list(features)  # (N, M)
    answer: dict[str, Any] = {}
    cells: list[tuple[str, list[tuple[str, str]]]] = []
    if len(labels) == 1:
        best = np.argsort(-cosines[:, 0], kind="stable")
        answer = {files[row]: float(cosines[row, 0]) for row in best}
        shown = list(answer.items())[:SHOWN]
        cells = [(file, [(f"{cosine:.3f}", file)]) for file, cosine in shown]
        title, note = labels[0], f"The best of {len(files):,} images, and their cosines."
    else:
        scale, several = math.exp(model.logit_scale.item()), len(files) > 1
        for file, chances in zip(files, mg.softmax(mg.tensor(scale * cosines)).numpy().tolist()):
            ranked = sorted(zip(labels, chances), key=lambda pair: -pair[1])
            answer[file] = dict(ranked)
            shown = ranked[: SEVERAL if several else SHOWN]
            marked = [(f"{chance:.1%}", label) for label, chance in shown]
            cells.append((file, [("", file), *marked] if several else marked))
        title = f"{len(files):,} images" if several else pathlib.Path(files[0]).name
        note = f"How likely each of {len(labels)} labels is."
    for _, below in cells:
        for mark, text in below:
            say(arguments, f"{mark:>8}  {text}" if mark else text)
    if captioned or arguments.picture:
        target = arguments.picture or "classify.png"
        draw(arguments, lambda: _sheet(cells[:SHOWN], target, title, note))
    single = captioned and len(labels) > 1 and not os.path.isdir(inputs[0])
    return answer[files[0]] if single else answer


def embed_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at images once and keep what the model sees, for clip-np search.

        clip-np embed MODEL FOLDER... -o index.npz

    The same command once more sees only what is new or changed; Ctrl-C saves first."""
    path, inputs, (model, preprocess, _) = _opened(arguments)
    try:
        index = build_index(arguments.index, inputs, model, preprocess, path)
    except KeyboardInterrupt:
        say(arguments, "stopped, all that was seen is saved; the same command goes on")
        raise
    bad = {file: cause for file, (_, _, cause) in index.files.items() if cause}
    _name_unreadable(list(bad.values()), len(index.files))
    say(arguments, f"{len(index.paths):,} images in {arguments.index}")
    return {"images": len(index.paths), "unreadable": bad}


def search_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find the images of an index that fit a sentence, or that resemble an image."""
    index = read_index(arguments.index)
    try:
        loaded = load(arguments.model or index.model, arguments.backend or "numpy")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --model PATH says where the model is") from error
    answer = dict(search_index(index, arguments.query, *loaded, arguments.k))
    cells = [(file, f"{cosine:.3f}") for file, cosine in answer.items()]
    here = os.path.join(os.getcwd(), "")
    say(arguments, "\n".join(f"{mark:>8}  {file.removeprefix(here)}" for file, mark in cells))
    about = arguments.query, f"The best of {len(index.paths):,} images, and their cosines."
    if arguments.html:
        say(arguments, f"page: {pictures.html_page(cells, arguments.html, *about)}")
    if arguments.png:
        labelled = [(file, [(mark, pathlib.Path(file).name)]) for file, mark in cells]
        draw(arguments, lambda: _sheet(labelled, arguments.png, *about))
    return answer


def convert_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a model in another layout: for Hugging Face's transformers, or under OpenAI's names.

        clip-np convert MODEL DIRECTORY
        clip-np convert MODEL FILE.safetensors --layout openai

    The tokenizer goes into the directory; a single file has no room for it."""
    convert(arguments.model, arguments.target, arguments.layout)
    say(arguments, f"written: {arguments.target}")
    return {"written": arguments.target}

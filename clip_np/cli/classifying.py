"""How well does a model name what images show, measured from a shell?

Three ways to name an image, all over the same list of classes and the same images:

    zero-shot             by sentences with the names of the classes; nothing is trained
    linear probe          by a matrix that is trained on labelled images
    nearest neighbours    by the classes of the most similar labelled images

The last two learn from the training split. All three are measured on the test split.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clip_np.cli.figures import as_json, print_figures
from clip_np.cli.output import draw_pictures, print_text
from clip_np.data import DataError, Pairs, Preprocess
from clip_np.evaluation import (
    NEIGHBOURS,
    TEMPLATES,
    AnyTokenizer,
    ClassList,
    Confusion,
    Measurement,
    classes_of,
    confusion_matrix,
    confusion_picture,
    embed_readable,
    is_follower,
    linear_probe,
    measure_classes,
    most_confused,
    nearest_neighbours,
    read_classes,
    read_templates,
    zero_shot_classifier,
)
from clip_np.files import shown
from clip_np.model import CLIP
from clip_np.training.communicator import Communicator

CLASS_OPTIONS = ("templates", "probe", "neighbours", "picture")


class PairsToMeasure(NamedTuple):
    """The pairs of one evaluation, and how they were chosen."""

    test: Pairs
    train: Pairs | None
    measured_on: str
    template: str | None  # the caption of a class, if the data or --template say one
    skip_bad: bool
    skipped_rows: Sequence[str]


class LabelledImages(NamedTuple):
    """The features of N images, and the numbers of their classes."""

    features: np.ndarray  # (N, E)
    labels: np.ndarray  # (N,)


def measure_naming(
    arguments: argparse.Namespace,
    model: CLIP,
    preprocess: Preprocess,
    tokenizer: AnyTokenizer,
    pairs: PairsToMeasure,
    comm: Communicator | None = None,
) -> dict[str, Any]:
    """Measure a model on the classes of labelled images, and print the figures.

    With comm, all ranks share the work, and rank 0 prints.
    """
    classes = _class_list(arguments, pairs)
    templates = _templates(arguments, pairs)
    train_pairs = _pairs_to_learn_from(pairs) if arguments.probe else None
    test = _labelled(model, preprocess, pairs.test, classes, skip_bad=pairs.skip_bad, comm=comm)
    train = None
    if train_pairs is not None:
        train = _labelled(
            model, preprocess, train_pairs, classes, skip_bad=pairs.skip_bad, comm=comm
        )
    classifier = zero_shot_classifier(model, tokenizer, classes.names, templates, comm=comm)
    if is_follower(comm):
        return {}
    scores = test.features @ classifier  # (N, C)
    counts: dict[str, float] = {"images": len(test.labels), "classes": len(classes.names)}
    measured = Measurement(counts, {}, {}).joined(measure_classes("zero_shot", scores, test.labels))
    if train is not None:
        measured = measured.joined(_measure_learned(arguments, train, test, len(classes.names)))

    matrix = confusion_matrix(test.labels, scores.argmax(axis=1), len(classes.names))
    confused = most_confused(matrix, classes.names)
    print_text(arguments, f"on {pairs.measured_on}, with {_count(templates, 'template')}:")
    print_figures(arguments, measured.figures, measured.chance, measured.intervals)
    _print_confused(arguments, confused)
    if len(test.labels) == 1:
        print_text(arguments, "1 image measured: says nothing")
    if arguments.picture is not None:
        title = f"Zero-shot: {len(classes.names):,} classes"
        draw_pictures(
            arguments,
            lambda: [confusion_picture(matrix, classes.names, arguments.picture, title)],
            is_asked=True,
        )
    return {**as_json(measured), "confused": [pair._asdict() for pair in confused]}


def _pairs_to_learn_from(pairs: PairsToMeasure) -> Pairs:
    """The training split; DataError if there is none."""
    if pairs.train is None:
        raise DataError(
            "`probe` learns from a training split, and the data have only "
            f"{pairs.measured_on}: leave it out, or add a training split"
        )
    return pairs.train


def _class_list(arguments: argparse.Namespace, pairs: PairsToMeasure) -> ClassList:
    """The classes of the file, or those that the images have."""
    if arguments.classes:
        return read_classes(arguments.classes)
    labels = [*pairs.test.captions, *(pairs.train.captions if pairs.train else ())]
    classes = classes_of(labels)
    if len(classes.names) < 2:
        raise DataError(f"all images have one label, {classes.names[0]!r}: nothing to tell apart")
    return classes


def _templates(arguments: argparse.Namespace, pairs: PairsToMeasure) -> Sequence[str]:
    """The sentences around the name of a class."""
    if arguments.templates is not None:
        if arguments.template is not None:
            raise ValueError("`templates` and `template` are both sentences: leave one out")
        return read_templates(arguments.templates)
    return TEMPLATES if pairs.template is None else [pairs.template]


def _labelled(
    model: CLIP,
    preprocess: Preprocess,
    pairs: Pairs,
    classes: ClassList,
    skip_bad: bool,
    comm: Communicator | None,
) -> LabelledImages:
    """Each image once, with its class. DataError if an image has two classes."""
    numbers = classes.numbers(pairs.captions, pairs.names)  # (N,)
    row_of: dict[str, int] = {}
    for row, name in enumerate(pairs.names):
        first = row_of.setdefault(name, row)
        if numbers[first] != numbers[row]:
            both = " and ".join(repr(classes.names[numbers[twin]]) for twin in (first, row))
            raise DataError(f"{name} has two labels, {both}: leave one of its rows out")
    features, readable = embed_readable(
        model, preprocess, pairs.select(list(row_of.values())), skip_bad=skip_bad, comm=comm
    )
    return LabelledImages(features, numbers[[row_of[name] for name in readable.names]])


def _measure_learned(
    arguments: argparse.Namespace, train: LabelledImages, test: LabelledImages, class_count: int
) -> Measurement:
    """The figures of a linear probe and of nearest neighbours."""
    k = NEIGHBOURS if arguments.neighbours is None else arguments.neighbours
    probe = linear_probe(train.features, train.labels, class_count)
    votes = nearest_neighbours(test.features, train.features, train.labels, class_count, k)
    print_text(
        arguments,
        f"learned from {len(train.labels):,} images: a linear probe with penalty "
        f"{probe.penalty:g}, and {min(k, len(train.labels)):,} nearest neighbours",
    )
    by_probe = measure_classes(
        "linear_probe", probe.scores(test.features), test.labels, train.labels
    )
    by_votes = measure_classes("nearest_neighbours", votes, test.labels, train.labels)
    return by_probe.joined(by_votes)


def _print_confused(arguments: argparse.Namespace, confused: Sequence[Confusion]) -> None:
    """List the most frequent mistakes."""
    if confused:
        print_text(arguments, "most often called by another name:")
    for pair in confused:
        line = f"    {pair.actual} called {pair.named}: {pair.mistakes:,} of {pair.images:,}"
        print_text(arguments, shown(line))


def _count(items: Sequence[str], word: str) -> str:
    """A number of things in words.

    >>> _count(["{}"], "template"), _count(["a {}", "my {}"], "template")
    ('1 template', '2 templates')
    """
    return f"{len(items)} {word}" + ("" if len(items) == 1 else "s")

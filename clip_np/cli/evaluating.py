"""How good is a model, on which data, and by which measure?

`clip-np evaluate` answers one of two questions:

    How well do images and captions find each other?    the default
    How well are images named?                          --classes or --label-column

The second is answered zero-shot, and with --probe also by what can be learned from
labelled images (classifying.py).

Which pairs are measured depends on the model. One that was trained on files is measured
on what was held out from it. For any other model all pairs are new. So where the data
name no test split, all of them are measured.
"""

import argparse
import warnings
from typing import Any, NamedTuple

from clip_np.cli.chosen import DATA_OPTIONS, chosen_options, refuse_options
from clip_np.cli.classifying import CLASS_OPTIONS, PairsToMeasure, measure_naming
from clip_np.cli.figures import print_figures, say_chance
from clip_np.cli.launch import EMBEDDING_DEADLINE, join_launch
from clip_np.cli.models import is_run
from clip_np.cli.output import print_text
from clip_np.data import DataWarning, Preprocess, a_few, is_shapes_split, open_dataset
from clip_np.evaluation import (
    CHOICES,
    AnyTokenizer,
    Measurement,
    embed_readable,
    embed_texts_over,
    fingerprint,
    is_follower,
    measure_pairs,
)
from clip_np.model import CLIP
from clip_np.training import (
    FilesTask,
    SavedTraining,
    ShapesTask,
    count_of_pairs,
    measure_shapes,
    read_run,
    require_alike,
    require_same_data,
)
from clip_np.training.communicator import Communicator
from clip_np.weights import load

CLASSES_BECOME_CAPTIONS = ".* become captions"  # a warning that is no news here
PROBED_SHARE = 0.5  # of the images, to learn from, where the data name no test split


class OpenedModel(NamedTuple):
    """A model, what belongs to it, and the data that it was trained on, if known."""

    model: CLIP
    preprocess: Preprocess
    tokenizer: AnyTokenizer
    source: dict[str, Any]


def evaluate_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a model on pairs or on classes."""
    asks_for_classes = arguments.classes is not None or arguments.label_column is not None
    if asks_for_classes:
        refuse_options(arguments, ["choices", "caption_column"], "not for classes")
        if not arguments.probe:
            refuse_options(arguments, ["neighbours"], "only with --probe")
        if arguments.neighbours is not None and arguments.neighbours < 1:
            raise ValueError(f"`neighbours` is {arguments.neighbours}, expected 1 or more")
    else:
        refuse_options(arguments, CLASS_OPTIONS, "only with --classes or --label-column")
    comm = join_launch(arguments, EMBEDDING_DEADLINE)
    opened = open_model(arguments)
    if comm is not None:
        require_alike(comm, "models", fingerprint(opened.model, opened.preprocess))
    if asks_for_classes:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", CLASSES_BECOME_CAPTIONS, DataWarning)
            pairs = _open_pairs(arguments, opened.source, comm, labelled=True)
        return measure_naming(
            arguments, opened.model, opened.preprocess, opened.tokenizer, pairs, comm
        )
    if is_about_shapes(arguments, opened.source):
        if is_follower(comm):
            return {}  # the shapes are too few to be shared
        measured, measured_on = _measure_shapes(arguments, opened)
    else:
        pairs = _open_pairs(arguments, opened.source, comm, labelled=False)
        measured, measured_on = _measure_pairs(arguments, opened, pairs, comm), pairs.measured_on
    if is_follower(comm):
        return {}
    print_text(arguments, f"on {measured_on}:")
    print_figures(arguments, measured.figures, measured.chance, measured.intervals)
    if measured.chance.get("recall_at_1") == 1:
        count = count_of_pairs(measured.figures["pairs"])
        print_text(arguments, f"{count} measured: says nothing")
    say_chance(arguments, measured.figures, measured.chance)
    return {
        **measured.figures,
        "chance": measured.chance,
        "intervals": {name: list(ends) for name, ends in measured.intervals.items()},
    }


def _say_skipped(arguments: argparse.Namespace, pairs: PairsToMeasure) -> None:
    """Say which rows of the data were left out, if any."""
    if pairs.skipped_rows:
        count = len(pairs.skipped_rows)
        print_text(arguments, f"rows that are left out: {count}: {a_few(pairs.skipped_rows)}")


def open_model(arguments: argparse.Namespace) -> OpenedModel:
    """The model that is measured, whoever made it."""
    backend = arguments.backend or "numpy"
    if not is_run(arguments.run):
        loaded = load(arguments.run, backend, activation=arguments.activation)
        return OpenedModel(loaded.model, loaded.preprocess, loaded.tokenizer, source={})
    checkpoint = read_run(arguments.run, arguments.activation)
    model = checkpoint.model
    model.to(backend)
    source = SavedTraining.of(checkpoint.training).source or {}
    return OpenedModel(model, checkpoint.prepare, checkpoint.tokenizer, source)


def is_about_shapes(arguments: argparse.Namespace, source: dict[str, Any]) -> bool:
    """Whether a model is measured on the task of the built-in shapes."""
    if source.get("task") != "shapes":
        return False
    if arguments.data is None:
        return True
    return not chosen_options(arguments, DATA_OPTIONS) and is_shapes_split(arguments.data)


def shapes_task(arguments: argparse.Namespace, source: dict[str, Any]) -> ShapesTask:
    """The task that a model of the built-in shapes is measured on."""
    if arguments.data is not None:
        return ShapesTask(test=arguments.data, training=False)
    refuse_options(arguments, DATA_OPTIONS, "only for --data")
    settings = {name: value for name, value in source.items() if name != "task"}
    return ShapesTask(training=False, **settings)


def _measure_shapes(arguments: argparse.Namespace, opened: OpenedModel) -> tuple[Measurement, str]:
    """The figures of the shapes task, and what they are about."""
    refuse_options(arguments, ["choices"], "the built-in shapes have their own questions")
    task = shapes_task(arguments, opened.source)
    return measure_shapes(opened.model, opened.tokenizer, task.splits), task.measured_on


def _measure_pairs(
    arguments: argparse.Namespace,
    opened: OpenedModel,
    pairs: PairsToMeasure,
    comm: Communicator | None,
) -> Measurement:
    """Retrieval and multiple choice over pairs from files."""
    image_features, readable = embed_readable(
        opened.model, opened.preprocess, pairs.test, pairs.skip_bad, comm
    )
    text_features = embed_texts_over(comm, opened.model, opened.tokenizer, readable.captions)
    choices = CHOICES if arguments.choices is None else arguments.choices
    measured = measure_pairs(
        image_features,
        text_features,
        readable.captions,
        image_names=readable.names,
        choices=choices,
    )
    if arguments.choices is not None and f"multiple_choice_{choices}" not in measured.figures:
        raise ValueError(
            f"`choices` is {choices}, and there are {measured.figures['distinct_captions']} "
            "distinct captions to choose from"
        )
    return measured


# --- which pairs ----------------------------------------------------------------------


def _open_pairs(
    arguments: argparse.Namespace, source: dict[str, Any], comm: Communicator | None, labelled: bool
) -> PairsToMeasure:
    """The pairs of --data, or those that the run's `source` names.

    labelled: read the labels of classes in place of captions. With comm, ValueError if
    not all ranks have the same pairs.
    """
    pairs = pairs_of_data(arguments, source, labelled)
    if comm is not None:
        require_same_data(comm, pairs.test)
        if pairs.train is not None:
            require_same_data(comm, pairs.train)
    if not is_follower(comm):
        _say_skipped(arguments, pairs)
    return pairs


def pairs_of_data(
    arguments: argparse.Namespace, source: dict[str, Any], labelled: bool
) -> PairsToMeasure:
    """The pairs of `_open_pairs`, as this rank sees them."""
    settings = chosen_options(arguments, DATA_OPTIONS)
    trained_on_files = source.get("task") == "files"
    if arguments.data is None:
        if not source:
            raise ValueError(f"{arguments.run}: names no data to measure on; pass --data PATH")
        if not trained_on_files:
            raise ValueError("the built-in shapes have no labels of files; pass --data PATH")
        # Classes of a run's own data may be put into another sentence.
        refused = [name for name in DATA_OPTIONS if not (labelled and name == "template")]
        refuse_options(arguments, refused, "only for --data")
        settings = {name: value for name, value in source.items() if name != "task"} | settings
        path = settings.pop("path")
    else:
        path = arguments.data
        if trained_on_files:
            # With the seed of the training, what it held out is held out again.
            settings["seed"] = source.get("seed", 0)
    template = settings.get("template")
    if labelled:
        settings.pop("template", None)  # the label alone is compared with the list
        if arguments.label_column is not None:
            settings["caption_column"] = arguments.label_column
    if trained_on_files or settings.get("streaming"):
        task = FilesTask(path, **settings)
        return PairsToMeasure(
            test=task.test,
            train=task.train,
            measured_on=task.measured_on,
            template=template,
            skip_bad=task.skip_bad,
            skipped_rows=task.skipped_rows,
        )
    needs_training = bool(chosen_options(arguments, ["probe"]))
    return _unseen_pairs(path, settings, template, needs_training)


def _unseen_pairs(
    path: str, settings: dict[str, Any], template: str | None, needs_training: bool
) -> PairsToMeasure:
    """The pairs of data that a model has not been trained on.

    They are the test split, or the validation split; where the data name neither, all
    pairs, or those that PROBED_SHARE leaves if some are needed to learn from.
    """
    settings = dict(settings)
    skip_bad = settings.pop("skip_bad", None) is not None
    skipped: list[str] = []
    splits = open_dataset(
        path, validation_fraction=0.0, skipped=skipped if skip_bad else None, **settings
    )
    if list(splits) == ["train"] and needs_training:
        # The rows that are left out are in `skipped` by now.
        splits = open_dataset(
            path, validation_fraction=PROBED_SHARE, skipped=[] if skip_bad else None, **settings
        )
    name = next(name for name in ("test", "validation", "train") if name in splits)
    test = splits[name]
    place = f"all of {path}" if name == "train" else f"the {name} split"
    return PairsToMeasure(
        test=test,
        train=splits.get("train") if name != "train" else None,
        measured_on=f"{place}, {count_of_pairs(len(test))}",
        template=template,
        skip_bad=skip_bad,
        skipped_rows=skipped,
    )

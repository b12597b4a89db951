"""How good is a model, on which data, and by which measure?

`clip-np evaluate` answers one of two questions:

    How well do images and captions find each other?    the default
    How well are images named?                          --classes or --label-column

The second is answered zero-shot, and with --probe also by what can be learned from
labelled images (classifying.py).

Which pairs are measured depends on the model. On the files that it was trained on, a
run is measured with what was held out from it, wherever they are now. Other data are
new to a model, all of them. So where they name no test split, all pairs are measured.
"""

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.cli.chosen import DATA_OPTIONS, chosen_options, refuse_options
from clip_np.cli.classifying import CLASS_OPTIONS, PairsToMeasure, measure_naming
from clip_np.cli.figures import as_json, print_measurement, say_chance
from clip_np.cli.launch import EMBEDDING_DEADLINE, join_launch
from clip_np.cli.models import is_run
from clip_np.cli.output import print_text
from clip_np.data import DataError, DataWarning, Preprocess, a_few, is_shapes_split, open_dataset
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
    holds_all_held_out,
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
    record: Mapping[str, Any] | None = None  # of the files: see data_record.py


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
            pairs = _open_pairs(arguments, opened, comm, labelled=True)
        return measure_naming(
            arguments, opened.model, opened.preprocess, opened.tokenizer, pairs, comm
        )
    if is_about_shapes(arguments, opened.source):
        if is_follower(comm):
            return {}  # the shapes are too few to be shared
        measured, measured_on = _measure_shapes(arguments, opened)
    else:
        pairs = _open_pairs(arguments, opened, comm, labelled=False)
        measured, measured_on = _measure_pairs(arguments, opened, pairs, comm), pairs.measured_on
    if is_follower(comm):
        return {}
    print_measurement(arguments, measured, measured_on)
    say_chance(arguments, measured)
    return as_json(measured)


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
    saved = SavedTraining.of(checkpoint.training)
    source = saved.source or {}
    return OpenedModel(model, checkpoint.prepare, checkpoint.tokenizer, source, saved.data)


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
    arguments: argparse.Namespace, opened: OpenedModel, comm: Communicator | None, labelled: bool
) -> PairsToMeasure:
    """The pairs of --data, or those that the run was trained on.

    labelled: read the labels of classes in place of captions. With comm, ValueError if
    not all ranks have the same pairs.
    """
    try:
        pairs = pairs_of_data(arguments, opened, labelled)
    except DataError as error:
        if arguments.label_column is None:
            raise
        # A column of labels is read as one of captions, but here it has another option.
        text = str(error).replace("`caption_column`", "`label_column`")
        text = text.replace("no caption column", "no label column")
        raise DataError(text) from error
    if comm is not None:
        require_same_data(comm, pairs.test)
        if pairs.train is not None:
            require_same_data(comm, pairs.train)
    if not is_follower(comm):
        _say_skipped(arguments, pairs)
    return pairs


def pairs_of_data(
    arguments: argparse.Namespace, opened: OpenedModel, labelled: bool
) -> PairsToMeasure:
    """The pairs of `_open_pairs`, as this rank sees them."""
    settings = chosen_options(arguments, DATA_OPTIONS)
    source = opened.source
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
    template = settings.get("template")
    if labelled:
        settings.pop("template", None)  # the label alone is compared with the list
        if arguments.label_column is not None:
            settings["caption_column"] = arguments.label_column
    is_the_runs = trained_on_files and (
        arguments.data is None or _may_be_the_runs(path, settings, opened)
    )
    if is_the_runs or settings.get("streaming"):
        if trained_on_files:
            # With the seed of the training, what it held out is held out again.
            settings["seed"] = source.get("seed", 0)
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


def _may_be_the_runs(path: str, settings: Mapping[str, Any], opened: OpenedModel) -> bool:
    """Whether a model may have been trained on pairs of the data at `path`.

    They are other data if they are in another place, lack images that the run held
    out, and have another number of pairs. Data that were moved, or have more images
    now, lack none; those that were renamed have as many pairs.
    """
    trained_on, here = (Path(place).resolve() for place in (opened.source["path"], path))
    is_one_place = here.is_relative_to(trained_on) or trained_on.is_relative_to(here)
    if is_one_place or opened.record is None or settings.get("streaming"):
        return True
    chosen = {**settings, "skipped": [] if settings.get("skip_bad") else None}
    chosen.pop("skip_bad", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # they are opened again
        splits = open_dataset(path, validation_fraction=0.0, **chosen)
    folder = Path(path).parent if here.is_file() else Path(path)
    pairs = sum(len(split) for split in splits.values())
    return pairs == sum(opened.record["pairs"].values()) or holds_all_held_out(
        splits, opened.record, str(folder)
    )


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

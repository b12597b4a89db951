"""How is a model trained from a shell?

`clip-np train` makes a *run*: a directory with the checkpoint, the metrics and the
pictures of one training. `clip-np train --resume` goes on with it; `clip-np evaluate`
and `clip-np plot` look at it again (evaluating.py, plotting.py).

An option that nobody chose is None. Then the settings of the task hold, or those of the
preset, or those that a resumed run was started with.
"""

import argparse
import dataclasses
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip_np.cli.chosen import DATA_OPTIONS, chosen_options, refuse_options
from clip_np.cli.figures import as_json, print_measurement, say_chance
from clip_np.cli.launch import join_launch
from clip_np.cli.messages import flags_of, name_flags
from clip_np.cli.output import draw_pictures, print_text
from clip_np.cli.reporting import write_report
from clip_np.cli.run_pictures import draw_run
from clip_np.data import IMAGE_SIZE, Augmentation
from clip_np.encoders import PRESETS
from clip_np.files import FileError, file_errors, shown
from clip_np.training import (
    SIGNALLED,
    FilesTask,
    RunDirectory,
    SavedTraining,
    ShapesTask,
    Task,
    Trainer,
    TrainingOptions,
    available_bytes,
    changes,
    choose_processes,
    count_of_pairs,
    end_on_signals,
    follow_rank_0,
    memory_message,
    memory_of_run,
    open_task,
    saved_training,
    write_description,
)
from clip_np.training.communicator import Communicator
from clip_np.weights import BEST, CHECKPOINT, PREVIOUS
from minigrad.nn import count_parameters

# Options by what they belong to, under the names that they have in Python.
NEW_RUN_OPTIONS = (
    *DATA_OPTIONS, "test", "preset", "vocab_size", "loss", "seed", "name", "out",
    "vision", "text", "text_weights", "init", "freeze", "layer_decay", "frozen_dtype",
)  # fmt: skip
RISKY_OPTIONS = (
    *("batch_size", "learning_rate", "warmup", "weight_decay", "label_smoothing", "augment"),
    *(field.name for field in dataclasses.fields(Augmentation)),
)
TRAINING_OPTIONS = tuple(field.name for field in dataclasses.fields(TrainingOptions))

SHOWN_SKIPPED = 5  # unreadable images that are named after a training


# --- clip-np train --------------------------------------------------------------------


def train_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a CLIP on shapes or on your own images, measure it, and draw pictures."""
    if arguments.out is not None:
        refuse_options(arguments, ["name"], "--out says where results go")
    if arguments.resume is None:
        refuse_options(arguments, ["changed_data"], "only with --resume")
    comm = join_launch(arguments, arguments.deadline or TrainingOptions.deadline)
    if comm is not None and comm.rank > 0:  # rank 0 writes and speaks
        return {"steps": follow_rank_0(comm)}
    is_new = arguments.resume is None
    files = RunDirectory(_new_directory(arguments) if is_new else arguments.resume)
    if not is_new:
        _require_run_directory(arguments)
    # From the reading of the checkpoint to the last picture.
    with end_on_signals(), files.locked():
        return _train_in(files, arguments, comm)


def _train_in(
    files: RunDirectory, arguments: argparse.Namespace, comm: Communicator | None
) -> dict[str, Any]:
    """Train in a directory that is locked."""
    if arguments.resume is None:
        trainer = _new_run(arguments, files, comm)
    else:
        trainer = _resumed_run(arguments, files, comm)
    _announce(arguments, trainer)
    first_step = trainer.step
    result: dict[str, Any] = trainer.run()
    if trainer.interrupted:
        _stop(arguments, trainer)
    rows = trainer.task.skipped_rows
    skipped = [*rows, *trainer.loader.skipped.values()]
    for problem in skipped[:SHOWN_SKIPPED]:
        print_text(arguments, f"skipped {problem}")
    if len(skipped) > SHOWN_SKIPPED:
        print_text(arguments, f"all {len(skipped):,} are in {shown(trainer.bad_samples.path)}")
    print_text(arguments, _pace(result, first_step))
    task = trainer.task
    measured = task.measure(trainer.model, trainer.tokenizer, trainer.loader.prepare)
    print_measurement(arguments, measured, task.measured_on)
    _say_which_is_best(arguments, trainer)
    draw_pictures(arguments, lambda: draw_run(trainer))
    write_description(trainer.directory, trainer.description | measured._asdict())
    print_text(arguments, f"report: {shown(write_report(trainer.directory))}")
    say_chance(arguments, measured)
    counts = {"skipped_rows": len(rows), "skipped_images": len(skipped) - len(rows)}
    return {**result, **counts, **as_json(measured)}


def _pace(result: Mapping[str, Any], first_step: int) -> str:
    """How many steps a run took, and how long that was, in words.

    first_step is the one at which it was resumed, or 0.

    >>> _pace({"steps": 30, "train_seconds": 143.4, "waited": 0.01}, first_step=0)
    '30 steps in 143 s, 1% of it waiting for images'
    >>> _pace({"steps": 30, "train_seconds": 143.4, "waited": 0.01}, first_step=20)
    '30 steps in 143 s; the last 10, taken now, waited for images 1% of their time'
    >>> _pace({"steps": 3, "train_seconds": 9.2, "waited": 0.0}, first_step=3)
    '3 steps in 9 s, none of them now: --steps, --seconds or --patience moves its end'
    """
    plural = "" if result["steps"] == 1 else "s"
    text = f"{result['steps']} step{plural} in {result['train_seconds']:.0f} s"
    taken = result["steps"] - first_step
    if taken == 0:
        return f"{text}, none of them now: --steps, --seconds or --patience moves its end"
    if first_step > 0:
        waited = f"{result['waited']:.0%}"
        return f"{text}; the last {taken}, taken now, waited for images {waited} of their time"
    return f"{text}, {result['waited']:.0%} of it waiting for images"


def _say_which_is_best(arguments: argparse.Namespace, trainer: Trainer) -> None:
    """Say which state did better in validation than the last one, if one did."""
    kept = trainer.best
    if kept.step is None or kept.score <= kept.last:
        return
    best = shlex.quote(str(trainer.directory / BEST))
    print_text(
        arguments,
        f"these are the figures of step {trainer.step}. In validation, step {kept.step} did "
        f"better: clip-np evaluate {best}",
    )


def _stop(arguments: argparse.Namespace, trainer: Trainer) -> None:
    """Say how to go on, and end the program as the signal asks."""
    if trainer.files.is_begun:
        command = f"clip-np train --resume {shlex.quote(str(trainer.directory))}"
        text = f"stopped at step {trainer.step}, all is saved; go on with:\n    {command}"
    else:
        text = "stopped before the first step; nothing was written"
    print_text(arguments, text)
    if trainer.stopped_by in (None, signal.SIGINT):
        raise KeyboardInterrupt
    raise SystemExit(SIGNALLED + int(trainer.stopped_by or 0))


def _new_directory(arguments: argparse.Namespace) -> Path:
    """Where a new run goes: --out, or a folder of its own below "runs"."""
    name = arguments.name or Path(arguments.data or "shapes").resolve().stem
    return Path(arguments.out or f"runs/{name}")


def _new_run(
    arguments: argparse.Namespace, files: RunDirectory, comm: Communicator | None
) -> Trainer:
    """A trainer at its first step."""
    options = chosen_options(arguments, TRAINING_OPTIONS)
    TrainingOptions.of({}, **options)  # mistakes in them show before the data is opened
    task = _open_data(arguments)
    if task.train is None:
        raise ValueError(f"{arguments.data}: holds a test split only, nothing to train on")
    chosen = options_of_new_run(task.settings, options, pairs=len(task.train))
    return Trainer(task, chosen, files, comm=comm)


def options_of_new_run(
    settings: Mapping[str, Any], choices: Mapping[str, Any], pairs: int | None = None
) -> TrainingOptions:
    """The options of a run of a task with these settings, on this machine.

    pairs is as in `choose_processes`.

    >>> options_of_new_run({"vision": "resnet"}, {"steps": 5}).processes  # a short run
    1
    """
    options = TrainingOptions.of(settings, **choices)
    if options.processes is None:
        options = dataclasses.replace(options, processes=choose_processes(options, pairs))
    return options


def _open_data(arguments: argparse.Namespace) -> Task:
    """The task of --data, or the built-in shapes."""
    seed = arguments.seed or 0
    if arguments.data is not None:
        refuse_options(arguments, ["test"], "only for the built-in shapes")
        return FilesTask(arguments.data, seed=seed, **chosen_options(arguments, DATA_OPTIONS))
    refuse_options(arguments, [*DATA_OPTIONS, "init"], "only for --data")
    size = PRESETS[arguments.preset or "tiny"].vision.image_size
    if size != IMAGE_SIZE:
        raise ValueError(
            f"--preset {arguments.preset} sees images of {size} pixels, the built-in shapes "
            f"have {IMAGE_SIZE}: take tiny or small, or pass --data"
        )
    return ShapesTask(seed=seed, test=arguments.test)


def _require_run_directory(arguments: argparse.Namespace) -> None:
    """Refuse a wrong --resume before anything is made or locked there."""
    refuse_options(arguments, NEW_RUN_OPTIONS, "a resumed run keeps its own")
    directory = Path(arguments.resume)
    if directory.is_file():  # the files next to it would be overwritten
        raise ValueError(f"--resume {directory}: expected a run directory, not a file in it")
    if not any((directory / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        raise FileNotFoundError(
            f"{directory}: no such checkpoint; a run directory holds {CHECKPOINT}"
        )


def _resumed_run(
    arguments: argparse.Namespace, files: RunDirectory, comm: Communicator | None
) -> Trainer:
    """A trainer at the step where an earlier one was stopped."""
    checkpoint = files.read()
    saved = saved_training(checkpoint, files.path)
    with file_errors(files.path, "no run to go on with"):
        saved.require_all()
    chosen = chosen_options(arguments, TRAINING_OPTIONS)
    options = TrainingOptions.of(saved.options or {}, **chosen)
    task = open_task(_source_to_go_on(arguments, saved.source or {}))
    _look_at_data(arguments, task, saved)
    if comm is not None and task.record != saved.data:
        raise ValueError(f"{files.path}: over several ranks a run goes on with the same data only")
    try:
        trainer = Trainer(task, options, files, checkpoint=checkpoint, comm=comm)
    except ValueError as error:
        raise FileError(f"{files.path}: {error}", files.path) from error
    before = TrainingOptions.of(saved.options or {})
    if (before.processes or 1) != trainer.options.processes:
        print_text(
            arguments,
            f"this run had {count_of(before.processes or 1)} and goes on with "
            f"{trainer.options.processes}: sums are taken in another order, so it will differ "
            "from a run that was not stopped, by rounding",
        )
    changed = [
        name for name in RISKY_OPTIONS if getattr(trainer.options, name) != getattr(before, name)
    ]
    if changed:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        kept = files.keep_copy()
        print_text(arguments, f"before {flags} changes the run, it is kept in {shown(kept)}")
    return trainer


def count_of(processes: int) -> str:
    """The number of processes in words."""
    return f"{processes} process" + ("es" if processes > 1 else "")


def _source_to_go_on(arguments: argparse.Namespace, source: dict[str, Any]) -> dict[str, Any]:
    """The source of a run's data, at its new place if --data names one."""
    if arguments.data is None:
        return source
    if source.get("task") != "files":
        raise ValueError("--data: this run was trained on the built-in shapes; leave it out")
    return {**source, "path": arguments.data}


def _look_at_data(arguments: argparse.Namespace, task: Task, saved: SavedTraining) -> None:
    """ValueError if the data is not that of the run, unless --changed-data is set."""
    if isinstance(task, ShapesTask):
        return
    if saved.data is None or task.record is None:
        if arguments.data is not None:
            print_text(
                arguments,
                f"this run did not save which data it was trained on; {shown(arguments.data)} is "
                "taken for the same",
            )
        return
    change = changes(saved.data, task.record)
    if change and not arguments.changed_data:
        raise ValueError(
            f"{arguments.resume}: the data has changed since the run began: {change}. "
            "`changed_data` goes on with it, and keeps held out what was held out"
        )
    if change:
        print_text(arguments, f"the data has changed ({change}); the same images are held out")
    if saved.data["held_out"] != task.record["held_out"]:
        task.keep_held_out(saved.data)


def _announce(arguments: argparse.Namespace, trainer: Trainer) -> None:
    """Print what is trained, on what, and where it goes."""
    pairs = trainer.task.train
    assert pairs is not None  # a trainer has pairs to train on
    amount = count_of_pairs(len(pairs))
    if not pairs.repeats:
        amount += " and those that the stream brings"
    parameters = trainer.model.parameters()
    weights = f"{count_parameters(trainer.model):,} weights"
    learning = sum(parameter.size for parameter in parameters if parameter.requires_grad)
    if learning < count_parameters(trainer.model):
        weights += f", of which {learning:,} learn"
    name = trainer.options.init or trainer.options.preset
    print_text(
        arguments, f"training {shown(name)}: {weights}, {amount}; results go to {trainer.directory}"
    )
    if trainer.start.rounding > 0:
        print_text(
            arguments,
            "the frozen weights are rounded to float16, by up to "
            f"{trainer.start.rounding:.2%} of the largest of their matrix",
        )
    if trainer.options.backend == "numpy":
        need = memory_of_run(trainer.model, trainer.tokenizer, pairs, trainer.options)
        message = memory_message(need, available_bytes())
        print_text(arguments, name_flags(message, flags_of(arguments.command_parser)))

"""How does somebody at a shell see the course of a run, or of several?

`clip-np plot RUN` draws the loss of one run and writes its report again. With several
runs it draws them into one picture. It also prints for every run how its options differ
from the others', and its best recall in validation, beside chance.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_np.cli.models import is_run
from clip_np.cli.output import draw_pictures, print_text
from clip_np.cli.reporting import write_report
from clip_np.evaluation import RunCurves, compare_runs, loss_curve, option_differences
from clip_np.files import shown
from clip_np.training import (
    METRICS,
    SavedTraining,
    TrainingOptions,
    read_description,
    read_metrics,
    read_run,
    score_of,
)
from clip_np.weights import locate

DEFAULT_PICTURE = "compare.png"
COMPARED_DATA = ("path", "task", "training_pairs", "validation_pairs")
"""What run.json says of the data that may differ between runs, besides the options."""


def plot_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw the loss of a run again, also while it is training, or compare runs."""
    if len(arguments.runs) == 1:
        if arguments.picture is not None:
            raise ValueError(
                f"`picture` is for several runs, got {arguments.runs[0]} alone: leave it out, the "
                "pictures of one run are in its directory"
            )
        return _plot_one(arguments, arguments.runs[0])
    runs = [_curves_of(name) for name in arguments.runs]
    result = _comparison(arguments, runs)
    picture = arguments.picture or DEFAULT_PICTURE
    draw_pictures(arguments, lambda: [compare_runs(runs, picture)], is_asked=True)
    return {"runs": result}


def _plot_one(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Draw the loss of a run into its directory, and write its report."""
    directory, options = _run_directory(name)
    entries = read_metrics(directory / METRICS)
    chosen = TrainingOptions.of(options)
    draw_pictures(
        arguments,
        lambda: [
            loss_curve(
                entries=entries,
                path=directory / "loss.png",
                batch_size=chosen.batch_size,
                loss=chosen.loss,
            )
        ],
        is_asked=True,
    )
    print_text(arguments, f"report: {shown(write_report(directory))}")
    return {"records": len(entries)}


def _run_directory(name: str) -> tuple[Path, dict[str, Any]]:
    """The directory of a run and its options. ValueError if it is none."""
    if not is_run(name):
        path = locate(name)  # there may be nothing at all
        raise ValueError(f"{path}: weights alone hold no losses; a run has them in {METRICS}")
    options = SavedTraining.of(read_run(name).training).options
    path = Path(name)
    directory = path if path.is_dir() else path.parent
    if options is None or not (directory / METRICS).is_file():
        raise ValueError(f"{name}: expected the directory of a run, with its {METRICS}")
    return directory, options


def _curves_of(name: str) -> RunCurves:
    """What is compared of a run."""
    directory, options = _run_directory(name)
    description = read_description(directory)
    # Options that are newer than the run have the values that it had without them.
    options = dataclasses.asdict(TrainingOptions.of(options))
    data = description.get("data", {})
    options |= {f"data: {key}": data[key] for key in COMPARED_DATA if key in data}
    return RunCurves(
        name=str(directory), entries=read_metrics(directory / METRICS), options=options
    )


def _comparison(arguments: argparse.Namespace, runs: Sequence[RunCurves]) -> list[dict[str, Any]]:
    """Print the runs below one another; returns what is printed, by name."""
    results = []
    for run, difference in zip(runs, option_differences([run.options for run in runs])):
        result: dict[str, Any] = {"run": run.name, "differs": difference, **_best(run.entries)}
        results.append(result)
        print_text(arguments, shown(f"{run.name}: {difference or 'the same options'}"))
        print_text(arguments, f"    {_in_words(result)}")
    return results


def _best(entries: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The highest recall in validation, beside chance, and how long the run was."""
    if not entries:
        return {"steps": 0}
    result: dict[str, Any] = {"steps": int(entries[-1]["step"])}
    validations = [entry for entry in entries if "validation_recall_at_1" in entry]
    if not validations:
        return result
    best = max(validations, key=score_of)
    result |= {"recall_at_1": best["validation_recall_at_1"], "at_step": int(best["step"])}
    if "validation_chance" in best:
        result["chance"] = best["validation_chance"]
    if "validation_pairs" in best:
        result["pairs"] = int(best["validation_pairs"])
    return result


def _in_words(result: Mapping[str, Any]) -> str:
    """The best validation of a run, in a sentence.

    >>> _in_words({"steps": 10, "recall_at_1": 0.25, "at_step": 5, "chance": 0.01})
    '10 steps; best recall at 1 0.25 at step 5   chance 0.01'
    """
    text = f"{result['steps']:,} steps"
    if "recall_at_1" not in result:
        return f"{text}; no validation"
    text += f"; best recall at 1 {result['recall_at_1']:.3g} at step {result['at_step']:,}"
    if "chance" in result:
        text += f"   chance {result['chance']:.3g}"
        text += ": says nothing" if result["chance"] == 1 else ""
    if "pairs" in result:
        text += f", {result['pairs']:,} pair{'' if result['pairs'] == 1 else 's'}"
    return text

"""Which of several runs went best, and what was different about it?

One picture has two charts: the validation loss over the steps, and the recall at 1 in
validation. The dashed lines are what a model scores that knows nothing. Runs that were
measured on different pairs have different ones, each in the colour of its run. If all
are the same, one grey line is enough.

The legend names a run by those of its options that differ between the runs. Options
that all runs share are left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clip_np.evaluation.curves import SAME_LEVEL, entry_column, step_range
from clip_np.evaluation.drawing import (
    BODY_SIZE,
    GREY,
    INK,
    LINE_HEIGHT,
    draw_text,
    new_figure,
    save,
    wrap,
)
from clip_np.files import File

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8b5a2b")
"""Okabe and Ito's colours, which people who see colours differently tell apart too."""
STYLES = ("-", ":", "-.")  # after the last colour, the next style begins
CHART_WIDTH, CHART_HEIGHT = 7.1, 2.7  # inches
CHART_GAP = 0.55  # inches between the charts
LABELS_WIDTH = 0.55  # inches to the left of the charts
KEY_WIDTH = 0.35  # inches, a line in the legend
LEGEND_DROP = 0.6  # inches between the charts and the legend
LEGEND_LINES = 3  # of one run
HEADROOM = 1.06  # height of a chart, in heights of its highest point
NOT_RECORDED = "not recorded"  # an option that other runs have


class RunCurves(NamedTuple):
    """What is compared of a run: its name, its metrics, and its options."""

    name: str
    entries: Sequence[Mapping[str, float]]  # as `read_metrics` gives them
    options: Mapping[str, Any]


class _Chart(NamedTuple):
    """What a chart shows: keys of the entries, and words."""

    values: str
    chance: str
    label: str


CHARTS = (
    _Chart("validation_loss", "validation_guessing", "validation loss (nats)"),
    _Chart("validation_recall_at_1", "validation_chance", "recall at 1 in validation"),
)


def option_differences(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run those of its options that not all runs share, in words.

    >>> runs = [{"loss": "clip", "seed": 0}, {"loss": "sigmoid", "seed": 0}]
    >>> option_differences(runs)
    ['loss clip', 'loss sigmoid']
    >>> option_differences([{"seed": 0}, {"seed": 1, "patience": 3}])
    ['seed 0, patience not recorded', 'seed 1, patience 3']
    """
    names = dict.fromkeys(name for run in options for name in run)  # in order, without repeats
    whole = [{name: run.get(name, NOT_RECORDED) for name in names} for run in options]
    differing = [name for name in names if any(run[name] != whole[0][name] for run in whole)]
    return [
        ", ".join(f"{name.replace('_', ' ')} {_word(run[name])}" for name in differing)
        for run in whole
    ]


def run_labels(runs: Sequence[RunCurves]) -> list[str]:
    """What the legend calls the runs: how they differ, and their names if they do not.

    >>> run_labels([RunCurves("a", [], {"seed": 0}), RunCurves("b", [], {"seed": 0})])
    ['a', 'b']
    >>> run_labels([RunCurves("a", [], {"seed": 0}), RunCurves("b", [], {"seed": 1})])
    ['seed 0', 'seed 1']
    """
    differences = option_differences([run.options for run in runs])
    if "" not in differences and len(set(differences)) == len(runs):
        return differences
    return [
        f"{run.name}: {difference}" if difference else run.name
        for run, difference in zip(runs, differences)
    ]


def compare_runs(runs: Sequence[RunCurves], path: File) -> Path:
    """Draw the validation curves of two runs or more, and return the path.

    ValueError for fewer runs, or if none of them was validated.
    """
    if len(runs) < 2:
        raise ValueError(f"compare_runs: expected two runs or more, got {len(runs)}")
    if not any(len(entry_column(run.entries, CHARTS[0].values)[0]) for run in runs):
        raise ValueError("compare_runs: none of the runs has a validation to compare")
    figure = new_figure()
    foot = 0.0
    for chart in CHARTS:
        _draw_chart(figure, runs, chart, foot=foot - CHART_HEIGHT)
        foot -= CHART_HEIGHT + CHART_GAP
    labels = [f"{label}: {_best(run)}" for label, run in zip(run_labels(runs), runs)]
    _draw_legend(figure, labels, top=foot + CHART_GAP - LEGEND_DROP)
    title = f"{len(runs)} runs"
    note = "Dashed: what a model scores that knows nothing."
    return save(figure, path, title, note, left=-LABELS_WIDTH, top=0.0)


def _draw_chart(figure: Any, runs: Sequence[RunCurves], chart: _Chart, foot: float) -> None:
    """Draw one value of all runs over the steps, its lower side at `foot`."""
    axes = figure.add_axes((0, foot, CHART_WIDTH, CHART_HEIGHT))
    tops, steps_of_all = [0.0], []  # with 0.0, a chart without values has a top, too
    for number, run in enumerate(runs):
        steps, values = entry_column(run.entries, chart.values)
        colour, style = _look(number)
        axes.plot(steps, values, style, color=colour, marker="o", markersize=3, linewidth=1.4)
        tops += values.tolist()
        steps_of_all.append(steps)
    levels = _draw_chances(axes, runs, chart)
    shown_steps = np.concatenate(steps_of_all)
    if len(shown_steps):
        axes.set_xlim(step_range(shown_steps, shown_steps[:0]))
    axes.set_ylim(0, HEADROOM * max([*tops, *levels]) or 1.0)
    axes.set_ylabel(chart.label, size=BODY_SIZE)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if chart is CHARTS[-1]:
        axes.set_xlabel("step", size=BODY_SIZE)
    axes.tick_params(labelsize=BODY_SIZE, colors=INK)
    axes.grid(color="#e4e4e4", linewidth=0.6)


def _draw_chances(axes: Any, runs: Sequence[RunCurves], chart: _Chart) -> list[float]:
    """Draw dashed lines at what guessing scores, and return their levels.

    One grey line if it is the same in all runs, and otherwise one in each run's colour.
    """
    level_of = {number: _level(run, chart.chance) for number, run in enumerate(runs)}
    known = {number: level for number, level in level_of.items() if level is not None}
    if not known:
        return []
    levels = list(known.values())
    if max(levels) - min(levels) <= SAME_LEVEL * max(levels):
        axes.axhline(levels[0], color=GREY, linestyle="--", linewidth=1)
        return levels
    for number, level in known.items():
        colour, _ = _look(number)
        axes.axhline(level, color=colour, linestyle="--", linewidth=1)
    return levels


def _draw_legend(figure: Any, labels: Sequence[str], top: float) -> None:
    """A line in the colour of each run with its label, one below the other."""
    for number, label in enumerate(labels):
        colour, style = _look(number)
        axes = figure.add_axes(
            (0, top - LINE_HEIGHT, KEY_WIDTH, LINE_HEIGHT), frameon=False, xticks=[], yticks=[]
        )
        axes.plot([0, 1], [0, 0], style, color=colour, linewidth=1.8)
        text = wrap(label, CHART_WIDTH - KEY_WIDTH, max_lines=LEGEND_LINES)
        draw_text(figure, KEY_WIDTH + 0.1, top, text, INK)
        top -= (text.count("\n") + 1) * LINE_HEIGHT + 0.06


def _look(number: int) -> tuple[str, str]:
    """The colour and the style of a run's lines."""
    style, colour = divmod(number, len(COLOURS))
    return COLOURS[colour], STYLES[style % len(STYLES)]


def _level(run: RunCurves, key: str) -> float | None:
    """What guessing scores in a run, the mean of its validations; None if not known."""
    _, values = entry_column(run.entries, key)
    return float(values.mean()) if len(values) else None


def _best(run: RunCurves) -> str:
    """The highest recall of a run, and its step, beside chance and how many pairs."""
    loss, recall = (chart.values for chart in CHARTS)
    validations = [entry for entry in run.entries if recall in entry]
    if not validations:
        return "no recall"
    # Of equal recalls the one with the lower loss, as best.npz is chosen.
    best = max(validations, key=lambda entry: (entry[recall], -entry.get(loss, np.inf)))
    text = f"best recall {best[recall]:.3f} at step {best['step']:,.0f}"
    level = _level(run, CHARTS[1].chance)
    _, pairs = entry_column(run.entries, "validation_pairs")
    if level is not None and len(pairs):
        plural = "" if pairs[-1] == 1 else "s"
        text += f" (chance {level:.3g}, {pairs[-1]:,.0f} pair{plural})"
    return text


def _word(value: Any) -> str:
    """An option's value in the legend.

    >>> _word(0.001), _word(None), _word(True), _word("light")
    ('0.001', 'none', 'yes', 'light')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

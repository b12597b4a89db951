"""How are figures printed so that nobody takes luck for knowledge?

A line holds the name of a figure, its value, what a model scores that knows nothing,
and the two values between which the figure may lie:

    recall at 1        0.39   chance 0.001   95 %: 0.361 to 0.418

If chance lies between these two, the line says so.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from clip_np.cli.output import print_text
from clip_np.evaluation import Interval, Measurement
from clip_np.evaluation.bootstrap import LEVEL
from clip_np.training import count_of_pairs

MOST_CHANCE = 0.1  # if guessing reaches this recall at 1, the pairs are too few
NAME_WIDTH = 36  # characters for the name of a figure


def print_figures(
    arguments: argparse.Namespace,
    figures: Mapping[str, Any],
    chances: Mapping[str, float],
    intervals: Mapping[str, Interval],
) -> None:
    """Print figures as a table, with chance and intervals where there are any."""
    for key, value in figures.items():
        line = f"    {key.replace('_', ' '):<{NAME_WIDTH}}{round(value, 3):>10g}"
        if key in chances:
            line += f"   chance {round(chances[key], 3):g}"
            line += ": says nothing" if chances[key] == 1 else ""
        if key in intervals and chances.get(key) != 1:
            line += _interval(intervals[key], chances.get(key))
        print_text(arguments, line)


def _interval(interval: Interval, chance: float | None) -> str:
    """The interval in words, and whether chance lies in it.

    >>> _interval(Interval(0.3, 0.5), chance=0.1)
    '   95 %: 0.3 to 0.5'
    >>> _interval(Interval(0.0, 0.2), chance=0.1)
    '   95 %: 0 to 0.2, as good as guessing'
    """
    text = f"   {LEVEL:.0%}".replace("%", " %")
    text += f": {round(interval.low, 3):g} to {round(interval.high, 3):g}"
    if chance is not None and interval.low <= chance <= interval.high:
        text += ", as good as guessing"
    return text


def print_measurement(
    arguments: argparse.Namespace, measured: Measurement, measured_on: str
) -> None:
    """Print a measurement of pairs, and what it is about."""
    print_text(arguments, f"on {measured_on}:")
    print_figures(arguments, measured.figures, measured.chance, measured.intervals)


def as_json(measured: Measurement) -> dict[str, Any]:
    """A measurement as a part of the result of a command.

    >>> intervals = {"top_1": Interval(0.3, 0.7)}
    >>> as_json(Measurement({"top_1": 0.5}, {"top_1": 0.1}, intervals))
    {'top_1': 0.5, 'chance': {'top_1': 0.1}, 'intervals': {'top_1': [0.3, 0.7]}}
    """
    intervals = {name: list(ends) for name, ends in measured.intervals.items()}
    return {**measured.figures, "chance": measured.chance, "intervals": intervals}


def say_chance(arguments: argparse.Namespace, measured: Measurement) -> None:
    """Say that there are too few pairs to judge a model by, if so."""
    chance = measured.chance.get("recall_at_1", 0.0)
    if chance == 1:
        count = count_of_pairs(measured.figures["pairs"])
        print_text(arguments, f"{count} measured: says nothing")
    elif chance >= MOST_CHANCE:
        print_text(
            arguments,
            f"too few pairs to judge by: guessing has a recall at 1 of {chance:.2g} on "
            f"{count_of_pairs(measured.figures['pairs'])}",
        )

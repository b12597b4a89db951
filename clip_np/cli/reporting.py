"""What does the report of a run contain?

report.html, in the run's directory: its figures beside chance, the curves of loss and
recall, the pictures, the settings, the data and the versions. It is written when a
training ends, and by `clip-np plot`, and is made from the files of the run alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clip_np.evaluation import Chart, Line, Picture, Table, run_page
from clip_np.evaluation.bootstrap import LEVEL
from clip_np.training import METRICS, PICTURES, REPORT, read_description, read_metrics, score_of

DRAWN_POINTS = 400  # of a training loss; a longer one is drawn as means
Entries = Sequence[Mapping[str, float]]


def write_report(directory: Path) -> Path:
    """Write the report of the run in `directory`, and return its path."""
    description = read_description(directory)
    entries = read_metrics(directory / METRICS) if (directory / METRICS).exists() else []
    figures = description.get("figures", {})
    data = description.get("data", {})
    parts: list[Table | Chart | Picture] = []
    if figures:
        title = f"Figures on {data.get('measured_on', 'held-out pairs')}"
        columns = ("", "value", "chance", f"{LEVEL:.0%} interval")
        parts.append(Table(title, columns, _figure_rows(description)))
    parts += training_charts(entries)
    for name in PICTURES:
        if name != "loss.png":  # the chart shows the same
            parts.append(Picture(Path(name).stem, directory / name))
    sections = {"options": "Settings", "init": "Begun with", "data": "Data", "versions": "Versions"}
    for section, title in sections.items():
        rows = [(name, _value(value)) for name, value in description.get(section, {}).items()]
        if rows:
            parts.append(Table(title, ("", ""), rows))
    return run_page(
        path=directory / REPORT,
        title=f"Training: {directory.resolve().name}",
        note=_note(entries),
        parts=parts,
    )


def _note(entries: Entries) -> str:
    """How far the run came, in a sentence."""
    if not entries:
        return "No steps were recorded."
    last = entries[-1]
    note = f"{last['step']:,.0f} steps in {last.get('seconds', 0):,.0f} seconds."
    validations = [entry for entry in entries if "validation_recall_at_1" in entry]
    if validations:
        best = max(validations, key=score_of)
        note += (
            f" Highest recall at 1 in validation: {best['validation_recall_at_1']:.3f} "
            f"at step {best['step']:,.0f}"
        )
        if "validation_chance" in best:
            pairs = best.get("validation_pairs", 0)
            note += f" (chance {best['validation_chance']:.3g}, pairs: {pairs:,.0f})"
        note += "."
    return note


def _figure_rows(description: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each figure: its name, its value, chance, and the interval."""
    chances, intervals = description.get("chance", {}), description.get("intervals", {})
    rows: list[tuple[str, ...]] = []
    for name, value in description["figures"].items():
        chance = chances.get(name)
        beside = "" if chance is None else _value(chance)
        ends = intervals.get(name)  # early runs have none
        between = " to ".join(map(_value, ends)) if isinstance(ends, list) else ""
        if chance == 1:
            beside, between = "1: says nothing", ""
        rows.append((name.replace("_", " "), _value(value), beside, between))
    return rows


def training_charts(entries: Entries) -> list[Chart]:
    """The curves of a run: its loss, and its recall in validation beside chance."""
    return [_loss_chart(entries), _recall_chart(entries)]


def _loss_chart(entries: Entries) -> Chart:
    return Chart(
        title="Loss",
        lines=[
            Line("training", _means(_points(entries, "loss"))),
            Line("validation", _points(entries, "validation_loss")),
            Line("knows nothing", _means(_points(entries, "guessing"))),
            Line("knows nothing, validation", _points(entries, "validation_guessing")),
        ],
    )


def _recall_chart(entries: Entries) -> Chart:
    return Chart(
        title="Recall at 1 in validation",
        lines=[
            Line("recall", _points(entries, "validation_recall_at_1")),
            Line("chance", _points(entries, "validation_chance")),
        ],
    )


def _points(entries: Entries, key: str) -> list[tuple[float, float]]:
    """The steps and values of the entries that have `key`."""
    return [(entry["step"], entry[key]) for entry in entries if key in entry]


def _means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most DRAWN_POINTS points: the means of neighbours."""
    size = -(-len(points) // DRAWN_POINTS) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _value(value: Any) -> str:
    """A value in words.

    >>> _value(0.123456), _value(None), _value(True), _value(1200)
    ('0.123', 'none', 'yes', '1,200')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

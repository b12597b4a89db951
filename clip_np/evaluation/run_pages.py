"""How can one hand a whole run to somebody else?

As one HTML file that needs no other, and no network: tables of figures and settings,
curves that are drawn as vector graphics (SVG), and pictures that are part of the page
as text (base64). It is written with or without matplotlib.

All words may come from files: names, captions, paths. On the page they are `shown` and
escaped, so that none of them is markup.
"""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clip_np.files import File, replace_file, shown

WIDTH, HEIGHT, MARGIN = 480, 230, 46  # of a chart, in its own units
COLOURS = ("#2a6fbb", "#d9792b", "#888888", "#c0a080")
END = 8  # between a chart and its right side
TICKS = 4  # lines across a chart

# Braces of the style sheet are doubled, since {title} and {note} are filled in.
HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: anywhere }}
h1 {{ margin-bottom: 0 }} h2 {{ margin: 2rem 0 0.5rem; font-size: 1.15rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: 0.2rem 0.6rem 0.2rem 0; border-bottom: 1px solid #8884 }}
td {{ vertical-align: top; font-variant-numeric: tabular-nums }}
th {{ white-space: nowrap }}
svg, img {{ width: 100%; height: auto; display: block }}
svg {{ max-width: 46rem }}
img {{ background: white; max-width: max-content }}
svg text {{ fill: currentColor; font-size: 12px }}
figcaption, small {{ opacity: 0.75 }} figure {{ margin: 0 }}
.key {{ display: inline-block; width: 1.2em; height: 0.25em; margin: 0 0.4em 0.2em 0 }}
figcaption span {{ margin-right: 1.2em; white-space: nowrap }}
</style>
<h1>{title}</h1>
<p>{note}</p>
"""
TAIL = "</html>\n"


class Table(NamedTuple):
    """Rows of words under a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Line(NamedTuple):
    """A line of a chart: its name, and points of a step and a value."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """Lines over the steps, from 0 up: at most as many as there are COLOURS.

    Points whose value is no finite number are left out.
    """

    title: str
    lines: Sequence[Line]


class Picture(NamedTuple):
    """A PNG file under a title."""

    title: str
    path: Path


def run_page(path: File, title: str, note: str, parts: Sequence[Table | Chart | Picture]) -> Path:
    """Write the page, and return its path. Pictures that are missing are left out."""
    page = HEAD.format(title=_escaped(title), note=_escaped(note))
    for part in parts:
        if isinstance(part, Table):
            page += _table(part)
        elif isinstance(part, Chart):
            page += _chart(part)
        elif part.path.is_file():
            page += _picture(part)
    with replace_file(path) as file:
        file.write((page + TAIL).encode("utf-8", "replace"))
    return Path(path)


def _escaped(text: str) -> str:
    """Words from anywhere as text of the page.

    >>> _escaped("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return html.escape(shown(text))


def _table(table: Table) -> str:
    head = "".join(f"<th>{_escaped(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>\n"
        for row in table.rows
    )
    return f"<h2>{_escaped(table.title)}</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n"


def _picture(picture: Picture) -> str:
    code = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    title = _escaped(picture.title)
    return f'<h2>{title}</h2>\n<img src="data:image/png;base64,{code}" alt="{title}">\n'


def _chart(chart: Chart) -> str:
    """A chart as SVG, in which y grows downwards. Lines without points are left out."""
    lines = [Line(line.name, _finite(line.points)) for line in chart.lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    last = max(step for line in lines for step, _ in line.points) or 1.0
    top = max(value for line in lines for _, value in line.points) or 1.0

    def place(step: float, value: float) -> str:
        x = MARGIN + (WIDTH - MARGIN - END) * step / last
        y = HEIGHT - MARGIN / 2 - (HEIGHT - MARGIN) * value / top
        return f"{x:.1f},{y:.1f}"

    marks, keys = "", ""
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        x, y = place(0, value).split(",")
        marks += f'<path d="M{x} {y}H{WIDTH - END}" stroke="#8884"/>'
        marks += f'<text x="{MARGIN - 6}" y="{y}" text-anchor="end">{value:.2g}</text>'
    for line, colour in zip(lines, COLOURS[: len(lines)], strict=True):
        points = " ".join(place(step, value) for step, value in line.points)
        marks += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        if len(line.points) == 1:
            x, y = points.split(",")
            marks += f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
        keys += f'<span><i class="key" style="background:{colour}"></i>{_escaped(line.name)}</span>'
    marks += f'<text x="{WIDTH - END}" y="{HEIGHT - 4}" text-anchor="end">step {last:,.0f}</text>'
    title = _escaped(chart.title)
    return (
        f"<h2>{title}</h2>\n<figure>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{marks}</svg>\n'
        f"<figcaption>{keys}</figcaption></figure>\n"
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points with a value. A single NaN would be the height of the whole chart."""
    return [(step, value) for step, value in points if math.isfinite(value)]

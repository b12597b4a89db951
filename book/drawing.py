"""What does the book look like on one page?

The files stand below each other in reading order. An arc leads from a file to each file
that it uses. In a book that can be read from the top, nearly all arcs lead up.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from book.graph import page_of

ROW = 19  # pixels from one line to the next
TEXT = 200  # for the names
WIDTH = 360  # of all, so that it fits a telephone


class Stop(NamedTuple):
    """A line of the map. link: where a click leads; heading: it has no arcs."""

    label: str
    link: str
    title: str
    heading: bool = False


def draw_map(stops: Sequence[Stop], arcs: Mapping[tuple[int, int], int], name: str) -> str:
    """The map as SVG.

    arcs: pairs of positions in `stops`, from the one that uses to the one that is used,
    with the thickness of the arc. name: what a screen reader calls it.

    >>> first = Stop(label="a.py", link="a.html", title="Why?")
    >>> second = Stop(label="b.py", link="b.html", title="How?")
    >>> svg = draw_map([first, second], {(1, 0): 1}, name="two files")
    >>> svg.count("<path"), svg.count("<a ")
    (1, 2)
    """
    height = ROW * (len(stops) + 1)
    lines = [
        f'<svg class="book-map" viewBox="0 0 {WIDTH} {height}" role="group" '
        f'aria-label="{html.escape(name)}">'
    ]
    lines += [_arc(user, used, width, len(stops)) for (user, used), width in arcs.items()]
    lines += [_line(number, stop) for number, stop in enumerate(stops)]
    return "\n".join([*lines, "</svg>"])


def _middle(number: int) -> float:
    """The height of a line's middle."""
    return ROW * (number + 0.5)


def _arc(user: int, used: int, width: int, count: int) -> str:
    """Half an ellipse. The longer the way, the farther out it swings."""
    reach = (WIDTH - TEXT - 12) * math.sqrt(abs(user - used) / count)
    top, bottom = sorted((_middle(user), _middle(used)))
    thickness = 1 + math.log2(width) / 2
    kind = "back" if used < user else "ahead"
    return (
        f'<path class="{kind}" data-user="{user}" data-used="{used}" '
        f'stroke-width="{thickness:.1f}" '
        f'd="M{TEXT} {top:.0f}A{reach:.0f} {(bottom - top) / 2:.0f} 0 0 1 {TEXT} {bottom:.0f}"/>'
    )


def _line(number: int, stop: Stop) -> str:
    kind = ' class="heading"' if stop.heading else f' data-stop="{number}"'
    anchor, x = ("start", 0) if stop.heading else ("end", TEXT - 6)
    return (
        f'<a href="{html.escape(stop.link)}"{kind}><title>{html.escape(stop.title)}</title>'
        f'<rect x="0" y="{ROW * number}" width="{TEXT}" height="{ROW}"/>'
        f'<text x="{x}" y="{_middle(number) + 4:.0f}" text-anchor="{anchor}">'
        f"{html.escape(stop.label)}</text></a>"
    )


def map_of_files(
    chapters: Sequence[tuple[str, str, Sequence[str]]],
    questions: Mapping[str, str],
    imports: Mapping[str, Sequence[str]],
) -> str:
    """The map of all files.

    chapters: title, page and modules of each. questions: what each module asks.
    imports: the modules that each uses.
    """
    stops: list[Stop] = []
    places: dict[str, int] = {}
    for title, page, modules in chapters:
        stops.append(Stop(title, f"{page}.html", title, heading=True))
        for module in modules:
            places[module] = len(stops)
            label = "/".join(module.split(".")[-2:])
            stops.append(Stop(label, f"{page_of(module)}.html", questions[module]))
    arcs = {
        (places[user], places[used]): 1
        for user, modules in imports.items()
        for used in modules
        if user in places and used in places
    }
    return draw_map(stops, arcs, name="The files in reading order, and which uses which")


def map_of_parts(
    parts: Sequence[tuple[str, str, str]], imports: Mapping[str, Sequence[str]]
) -> str:
    """The map of the parts. parts: the package of each, its page, its question."""
    packages = [package for package, _, _ in parts]
    stops = [Stop(package.replace(".", "/"), page, question) for package, page, question in parts]
    arcs: dict[tuple[int, int], int] = {}
    for user, modules in imports.items():
        for used in modules:
            first, second = _part(user, packages), _part(used, packages)
            if first is not None and second is not None and first != second:
                arcs[first, second] = arcs.get((first, second), 0) + 1
    return draw_map(stops, arcs, name="The parts, and which uses which")


def _part(module: str, packages: Sequence[str]) -> int | None:
    """The position of the longest package that a module is in."""
    inside = [name for name in packages if f"{module}.".startswith(f"{name}.")]
    return packages.index(max(inside, key=len)) if inside else None

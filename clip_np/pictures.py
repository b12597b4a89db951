"""Chapter 25: what does a trained model look like?

A number says how good a model is, a picture says what it has understood. Four of them:

- the loss over the steps, beside the loss ln N of a model that knows nothing and guesses
  evenly among the N pairs of its batch;
- the table of cosines between some images and their captions, whose diagonal should stand out
  (Radford et al. 2021, arXiv:2103.00020, figure 3, for a whole batch);
- test images, each with the captions that the model finds most fitting;
- where the class token looks: its attention over the patches, layer by layer (Dosovitskiy et
  al. 2021, arXiv:2010.11929, figure 7; Caron et al. 2021, arXiv:2104.14294, figure 1).

Every function takes plain arrays and lists and writes one PNG file. A page is laid out in
inches before it is drawn: captions are measured and broken into lines first, so the page is as
large as what stands on it, and nothing overlaps. Matplotlib's object-oriented interface is
used throughout, since pyplot keeps every open figure in global state.
"""

import bisect
import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from clip_np.safe_files import replace_file

DPI = 150
MAX_PIXELS = 100_000_000
FONT = "DejaVu Sans"  # comes with matplotlib, so pictures look the same on every system
BODY, TITLE = 8.0, 12.0  # sizes of type, in points
LEADING = 1.3  # distance of two lines, in sizes of type
MARGIN, GAP = 0.3, 0.3  # around a page and between the things on it, in inches
INK, GREY, BLUE, ORANGE = "#222222", "#6b6b6b", "#0072b2", "#d55e00"
RIGHT, WRONG = "#00704f", "#b3261e"


class MissingMatplotlib(RuntimeError):
    """Pictures need matplotlib, which is not installed."""


def _matplotlib() -> ModuleType:
    """Matplotlib with the parts that this chapter needs, or an error that says how to get it."""
    try:
        import matplotlib
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.font_manager
        import matplotlib.patches
    except ImportError as error:
        raise MissingMatplotlib(
            'drawing pictures needs matplotlib: pip install "minigrad-clip[examples]"'
        ) from error
    return matplotlib


def _drawable(text: str) -> str:
    """The text on one line, with a box for each character that the font lacks, as in emoji."""
    manager = _matplotlib().font_manager
    font = manager.get_font(manager.findfont(FONT))
    shown = []
    for character in " ".join(text.split()):
        if font.get_char_index(ord(character)):
            shown.append(character)
        elif unicodedata.category(character) not in ("Cc", "Cf", "Mn", "Me"):
            shown.append("□")
    return "".join(shown)


def _width(text: str, size: float) -> float:
    """How wide a drawable text is, in inches."""
    matplotlib = _matplotlib()
    font = matplotlib.font_manager.FontProperties(family=FONT, size=size)
    renderer = matplotlib.backends.backend_agg.RendererAgg(1, 1, DPI)
    return renderer.get_text_width_height_descent(text, font, False)[0] / DPI


def _wrap(text: str, width: float, limit: int, size: float = BODY) -> list[str]:
    """Lines no wider than `width` inches; what exceeds `limit` lines ends in an ellipsis."""
    rest, lines = _drawable(text), []
    while rest and len(lines) < limit:
        # No line holds 400 characters, and measuring fewer keeps endless captions cheap.
        lengths = range(1, min(len(rest), 400) + 1)
        cut = bisect.bisect_right(lengths, width, key=lambda end: _width(rest[:end], size))
        if cut < len(rest):
            space = rest.rfind(" ", 0, cut + 1)
            cut = space if space > 0 else max(cut, 1)
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest:
        last = lines[-1]
        while last and _width(last + "…", size) > width:
            last = last[:-1]
        lines[-1] = last.rstrip() + "…"
    return lines


def _height(lines: int, size: float = BODY) -> float:
    return lines * size * LEADING / 72


class _Page:
    """A white sheet under a title; positions are inches from its top left corner."""

    def __init__(self, title: str, note: str, width: float, height: float) -> None:
        """width and height: of the area below the heading, without margins, from `top` on."""
        matplotlib = _matplotlib()
        headings = [
            (_wrap(title, width, 3, TITLE), TITLE, INK),
            (_wrap(note, width, 5, BODY + 0.5), BODY + 0.5, GREY),
        ]
        self.top = MARGIN + sum(_height(len(lines), size) for lines, size, _ in headings) + 0.15
        self.width, self.height = width + 2 * MARGIN, self.top + height + MARGIN
        if self.width * self.height * DPI**2 > MAX_PIXELS:
            raise ValueError(
                f"the picture would have {self.width * DPI:.0f} x {self.height * DPI:.0f} pixels: "
                "pass fewer images"
            )
        size = (self.width, self.height)
        self.figure = matplotlib.figure.Figure(size, dpi=DPI, facecolor="white")
        self.canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(self.figure)
        y = MARGIN
        for lines, size, colour in headings:
            y = self.text(MARGIN, y, lines, colour, size)

    def text(
        self,
        x: float,
        y: float,
        lines: Sequence[str],
        colour: str = INK,
        size: float = BODY,
        align: str = "left",
    ) -> float:
        """Write lines below one another, the first one's top at y; returns where they end."""
        for line in lines:
            baseline = y + 0.8 * _height(1, size)
            self.figure.text(
                x / self.width,
                1 - baseline / self.height,
                line,
                color=colour,
                fontsize=size,
                family=FONT,
                ha=align,
                va="baseline",
                parse_math=False,
            )
            y += _height(1, size)
        return y

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """An empty coordinate system whose top left corner is at (x, y)."""
        left, bottom = x / self.width, 1 - (y + height) / self.height
        axes = self.figure.add_axes((left, bottom, width / self.width, height / self.height))
        axes.tick_params(labelsize=BODY, colors=INK, labelfontfamily=FONT)
        return axes

    def picture(self, image: np.ndarray, x: float, y: float, width: float, height: float) -> Any:
        """Show an image (H, W, 3), without axes, in a frame of its own; returns the axes."""
        axes = self.axes(x, y, width, height)
        axes.imshow(image, aspect="auto", interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=GREY, linewidth=0.6)
        return axes

    def save(self, path: str | os.PathLike) -> Path:
        """Write the page as a PNG file, whole or not at all."""
        with replace_file(path) as file:
            self.canvas.print_png(file)
        return Path(path)


def _check_images(name: str, images: np.ndarray, **others: int) -> None:
    """Refuse all but uint8 (B, H, W, 3) with B at least 1, and B of everything else."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise ValueError(
            f"{name}: images must be uint8 of shape (B, H, W, 3) with B at least 1, got "
            f"{images.dtype} {images.shape}"
        )
    for other, count in others.items():
        if count != len(images):
            raise ValueError(f"{name}: {len(images)} images but {count} {other}")


def _column(records: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (n,) in order and values (n,), finite ones only; of two for one step the later."""
    found = {record["step"]: record[key] for record in records if record.get(key) is not None}
    steps = np.array(sorted(found), np.float64)
    values = np.array([found[step] for step in sorted(found)], np.float64)
    return steps[np.isfinite(values)], values[np.isfinite(values)]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Means over a centred window, a 25th of the whole, that narrows towards both ends."""
    count = len(values)
    place = np.arange(count)
    reach = np.minimum(max(1, count // 50), np.minimum(place, count - 1 - place))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)


def _draw_losses(axes: Any, records: Sequence[Mapping[str, Any]], batch_size: int) -> None:
    """The upper panel of `loss_curve`."""
    steps, losses = _column(records, "loss")
    if not len(steps):
        raise ValueError(f"loss_curve: none of the {len(records)} records has a finite 'loss'")
    smooth, nothing = _smooth(losses), math.log(batch_size)
    dots = "." if len(steps) < 30 else ""
    axes.plot(steps, losses, color=BLUE, alpha=0.35, linewidth=0.6, marker=dots, label="training")
    axes.plot(steps, smooth, color=BLUE, linewidth=1.6, label="training, smoothed")
    highest = [nothing, smooth.max(), np.quantile(losses, 0.99)]
    checks, validation = _column(records, "validation_loss")
    if len(checks):
        axes.plot(checks, validation, "o", color=ORANGE, markersize=4, label="validation")
        highest.append(validation.max())
    label = f"knows nothing: ln {batch_size:,} = {nothing:.2f}"
    axes.axhline(nothing, color=GREY, linestyle="--", linewidth=1, label=label)
    axes.set_ylim(0, 1.06 * max(highest) or 1)
    axes.set_ylabel("loss (nats)", fontsize=BODY + 1, color=INK)


def loss_curve(
    records: Sequence[Mapping[str, Any]], path: str | os.PathLike, batch_size: int
) -> Path:
    """Draw a training run: loss above, temperature and learning rate below; returns the path.

    records: dicts with "step" and, where known, "loss", "validation_loss", "temperature" (the
    factor exp(logit_scale)), "learning_rate" and "samples_per_second". The vertical axis leaves
    out the highest hundredth of the losses if they would squeeze the rest. Raises ValueError
    where no loss is a finite number or a record has no step.
    """
    if batch_size < 1:
        raise ValueError(f"loss_curve: batch_size must be at least 1, got {batch_size}")
    for number, record in enumerate(records):
        if "step" not in record:
            raise ValueError(f"loss_curve: record {number} has no 'step': {record}")
    note = f"batches of {batch_size:,} pairs"
    speeds = _column(records, "samples_per_second")[1]
    if len(speeds):
        note += f", {np.median(speeds):,.0f} pairs per second (median)"
    losses = [record["loss"] for record in records if record.get("loss") is not None]
    lost = int((~np.isfinite(losses)).sum())
    if lost:
        note += f"; left out: {lost:,} steps whose loss is no finite number"
    page = _Page("Training", note, 8.4, 5.9)
    left, width = MARGIN + 0.6, 7.1
    upper = page.axes(left, page.top + 0.3, width, 3.0)
    _draw_losses(upper, records, batch_size)
    lower = page.axes(left, page.top + 3.7, width, 1.75)
    panels = (
        (lower, "temperature", "temperature exp(logit_scale)", BLUE, "-"),
        (lower.twinx(), "learning_rate", "learning rate", ORANGE, "--"),
    )
    for axes, key, label, colour, style in panels:
        steps, values = _column(records, key)
        dots = "." if len(steps) < 30 else ""
        axes.plot(steps, values, color=colour, linestyle=style, linewidth=1.4, marker=dots)
        axes.set_ylim(0, 1.1 * max(values, default=0) or 1)
        axes.set_ylabel(label, fontsize=BODY + 1, color=colour)
        axes.tick_params(labelsize=BODY, colors=colour)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lower.set_xlabel("step", fontsize=BODY + 1, color=INK)
    lower.tick_params(axis="x", colors=INK)
    upper.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=BODY)
    for axes in (upper, lower):
        axes.set_xlim(upper.get_xlim())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
    for axes in page.figure.axes:
        axes.spines["top"].set_visible(False)
    return page.save(path)


def _unit_rows(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def similarity_matrix(
    image_features: np.ndarray,
    text_features: np.ndarray,
    images: np.ndarray,
    captions: Sequence[str],
    path: str | os.PathLike,
) -> Path:
    """Draw the cosines of N images (columns) and their N captions (rows); returns the path.

    image_features and text_features (N, E) need not be normalised, images are uint8
    (N, H, W, 3). The pairs that belong together are framed. Raises ValueError for other shapes.
    """
    counts = {"image features": len(image_features), "text features": len(text_features)}
    _check_images("similarity_matrix", images, captions=len(captions), **counts)
    cosines = _unit_rows(text_features) @ _unit_rows(image_features).T  # (captions, images)
    count, cell, words, order = len(images), 0.56, 2.5, np.arange(len(images))
    found = [int((cosines.argmax(axis=axis) == order).sum()) for axis in (0, 1)]
    note = (
        f"Columns are images, rows captions; pairs that belong together are framed. {found[0]} of "
        f"{count} images are closest to their own caption, {found[1]} of {count} captions to "
        "their own image; an image's highest cosine is bold."
    )
    side, bar = count * cell, 0.15
    width = words + 0.1 + side + GAP + bar + 0.6
    page = _Page("Cosine of images and captions", note, width, cell + side)
    left, top = MARGIN + words + 0.1, page.top + cell
    axes = page.axes(left, top, side, side)
    shades = axes.imshow(cosines, cmap="Blues", aspect="auto")
    axes.axis("off")
    for row in range(count):
        for column in range(count):
            value = cosines[row, column]
            best = cosines[:, column].argmax() == row
            dark = shades.norm(value) > 0.55
            axes.text(
                column,
                row,
                f"{value:.2f}".replace("-", "−"),
                color="white" if dark else INK,
                fontsize=BODY,
                family=FONT,
                weight="bold" if best else "normal",
                ha="center",
                va="center",
            )
    for row, caption in enumerate(captions):
        frame = _matplotlib().patches.Rectangle((row - 0.5, row - 0.5), 1, 1, clip_on=False)
        frame.set(facecolor="none", edgecolor=ORANGE, linewidth=2)
        axes.add_patch(frame)
        page.picture(images[row], left + row * cell + 0.03, page.top, cell - 0.06, cell - 0.06)
        lines = _wrap(caption, words, 3)
        y = top + (row + 0.5) * cell - _height(len(lines)) / 2
        page.text(MARGIN + words, y, lines, align="right")
    scale = page.axes(left + side + GAP, top, bar, min(side, 3.0))
    page.figure.colorbar(shades, cax=scale).outline.set_visible(False)
    return page.save(path)


class _Answer(NamedTuple):
    """One caption under an image: lines of text with a mark before and a figure behind."""

    mark: str
    lines: list[str]
    percent: str
    colour: str


def _answers(choices: Sequence[str], scores: Sequence[float], truth: str, width: float) -> list:
    """What stands under one image of `caption_grid`."""
    answers = []
    for rank, (choice, score) in enumerate(zip(choices, scores)):
        if not 0 <= score <= 1:
            raise ValueError(f"caption_grid: scores must be probabilities, got {score}")
        right = choice == truth
        mark, colour = ("✓", RIGHT) if right else ("✗", WRONG)
        answers.append(_Answer(mark, _wrap(choice, width, 5), f"{score:.0%}", colour))
    if choices[0] != truth:
        answers.append(_Answer("", _wrap(f"true: {truth}", width, 5), "", GREY))
    return answers


def caption_grid(
    images: np.ndarray,
    captions: Sequence[str],
    choices: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float]],
    path: str | os.PathLike,
) -> Path:
    """Draw images with the captions that a model chose for each; returns the path.

    images: uint8 (B, H, W, 3); captions: the B true ones; choices: for each image its best
    captions, best first; scores: their probabilities, 0 to 1. A true caption is green with a
    check mark, others are red with a cross; where the first is wrong, the true one stands below.
    Raises ValueError for lists that do not belong together.
    """
    counts = {"lists of choices": len(choices), "lists of scores": len(scores)}
    _check_images("caption_grid", images, captions=len(captions), **counts)
    for row, (chosen, values) in enumerate(zip(choices, scores)):
        if len(chosen) != len(values) or len(chosen) == 0:
            raise ValueError(
                f"caption_grid: image {row} has {len(chosen)} choices and {len(values)} scores, "
                "expected as many of both and at least one"
            )
    columns, cell, before, behind = min(5, math.ceil(len(images) ** 0.5)), 2.2, 0.2, 0.42
    answers = [_answers(*row, cell - before - behind) for row in zip(choices, scores, captions)]
    tall = cell * images.shape[1] / images.shape[2]
    heights = []
    for low in range(0, len(images), columns):
        rows = answers[low : low + columns]
        heights.append(
            max(sum(_height(len(a.lines)) + 0.05 for a in cell_) for cell_ in rows) + tall + 0.06
        )
    width = columns * cell + (columns - 1) * GAP
    right = sum(chosen[0] == truth for chosen, truth in zip(choices, captions))
    note = f"first choice right for {right} of {len(images)} images"
    page = _Page("Captions chosen", note, max(width, 3), sum(heights) + GAP * (len(heights) - 1))
    y = page.top
    for row, height in enumerate(heights):
        for column, image in enumerate(images[row * columns : (row + 1) * columns]):
            mine = answers[row * columns + column]
            x = MARGIN + column * (cell + GAP)
            page.picture(image, x, y, cell, tall).spines[:].set(color=mine[0].colour, linewidth=2)
            below = y + tall + 0.06
            for answer in mine:
                page.text(x, below, [answer.mark], answer.colour)
                page.text(x + cell, below, [answer.percent], answer.colour, align="right")
                below = page.text(x + before, below, answer.lines, answer.colour) + 0.05
        y += height + GAP
    return page.save(path)


def attention_maps(
    images: np.ndarray,
    maps: np.ndarray,
    path: str | os.PathLike,
    captions: Sequence[str] | None = None,
) -> Path:
    """Draw where the class token looks, layer by layer, mean over heads; returns the path.

    images: uint8 (B, H, W, 3); maps: (layers, B, heads, T, T) as `CLIP.attention_maps` gives
    them, T = 1 + N with the N patches in a square grid. Raises ValueError for other shapes.
    """
    _check_images("attention_maps", images)
    maps = np.asarray(maps)
    grid = math.isqrt(max(maps.shape[-1] - 1, 0)) if maps.ndim else 0
    tokens = 1 + grid * grid
    if maps.ndim != 5 or 0 in maps.shape or grid == 0 or maps.shape[3:] != (tokens, tokens):
        raise ValueError(
            "attention_maps: maps must be (layers, B, heads, T, T) where T - 1 patches fill a "
            f"square grid (T = 5, 10, 17, ...), got {maps.shape}"
        )
    layers, count = maps.shape[:2]
    titles = [""] * len(images) if captions is None else captions
    _check_images("attention_maps", images, maps=count, captions=len(titles))
    looks = maps[:, :, :, 0, 1:].mean(axis=2).reshape(layers, count, grid, grid)  # (L, B, Gy, Gx)
    cell, gap = 1.25, 0.1
    tall = cell * images.shape[1] / images.shape[2]
    width = max((layers + 1) * (cell + gap) - gap, 4.5)
    lines = [_wrap(title, width, 3) for title in titles]
    heights = [_height(len(title)) + tall + 0.25 for title in lines]
    note = (
        f"Attention of the class token to the {grid} x {grid} patches, mean over "
        f"{maps.shape[2]} heads. Every map has its own scale, from 0 to the highest share that "
        "one patch gets, printed below it."
    )
    page = _Page("Where the class token looks", note, width, 0.25 + sum(heights) + 0.45)
    for layer in range(layers + 1):
        x = MARGIN + layer * (cell + gap) + cell / 2
        page.text(x, page.top, [f"layer {layer}" if layer else "image"], GREY, align="center")
    y = page.top + 0.2
    for row, image in enumerate(images):
        y = page.text(MARGIN, y, lines[row])
        page.picture(image, MARGIN, y, cell, tall)
        for layer in range(layers):
            x = MARGIN + (layer + 1) * (cell + gap)
            axes = page.picture(image, x, y, cell, tall)
            look = looks[layer, row]
            extent = (*axes.get_xlim(), *axes.get_ylim())
            shades = axes.imshow(
                look,
                cmap="inferno",
                vmin=0,
                alpha=0.65,
                extent=extent,
                aspect="auto",
                interpolation="nearest",
            )
            page.text(x + cell / 2, y + tall + 0.03, [f"{look.max():.1%}"], GREY, align="center")
        y += tall + 0.25
    return page.save(path)

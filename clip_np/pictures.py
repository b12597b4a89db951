"""Chapter 28: what does a trained model look like?

A number says how good a model is; a picture says what it has understood. Four of them:

- the loss over the steps, beside the loss ln N of a model that guesses evenly among N pairs;
- the cosines between some images and their captions, whose diagonal should stand out (Radford
  et al. 2021, arXiv:2103.00020, figure 1);
- test images, each with the captions that the model finds most fitting;
- where the class token looks: its attention over the patches, layer by layer (Dosovitskiy et
  al. 2021, arXiv:2010.11929, figure 6; Caron et al. 2021, arXiv:2104.14294, figure 1).

Every function writes one PNG file, whole or not at all. Pages are laid out in inches: captions
are measured and broken into lines before anything is drawn, so that nothing overlaps.
"""

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from clip_np.model import similarity_logits
from clip_np.safe_files import replace_file
from minigrad.backend import Array

Texts = Sequence[str]
File = str | Path
DPI = 150
FONT = "DejaVu Sans"  # comes with matplotlib, so pictures look the same on every system
BODY, TITLE, LEADING = 8.0, 12.0, 1.3  # sizes of type in points; distance of lines, in sizes
MARGIN = GAP = 0.3  # around a page and between the things on it, in inches
INK, GREY, BLUE, ORANGE = "#222222", "#6b6b6b", "#0072b2", "#d55e00"
RIGHT, WRONG, YELLOW = "#00704f", "#b3261e", (255, 217, 26)


class MissingMatplotlib(RuntimeError):
    """Pictures need matplotlib, which is not installed."""


def _matplotlib() -> Any:
    """Matplotlib without pyplot, whose state is global, or an error that says how to get it."""
    try:
        import matplotlib
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.font_manager
    except ImportError as error:
        advice = 'pictures need matplotlib: pip install "minigrad-clip[examples]"'
        raise MissingMatplotlib(advice) from error
    return matplotlib


def _drawable(text: str) -> str:
    """The text on one line, with a box for each character that the font lacks, as some emoji."""
    manager = _matplotlib().font_manager
    font = manager.get_font(manager.findfont(FONT))
    visible = [c for c in " ".join(text.split()) if unicodedata.category(c) not in ("Cc", "Cf")]
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in visible)


def _width(text: str, size: float) -> float:
    """How wide a drawable text is, in inches."""
    font = _matplotlib().font_manager.FontProperties(family=FONT, size=size)
    renderer = _matplotlib().backends.backend_agg.RendererAgg(1, 1, DPI)
    return renderer.get_text_width_height_descent(text, font, False)[0] / DPI


def _height(lines: Texts, size: float = BODY) -> float:
    return len(lines) * size * LEADING / 72


def _wrap(text: str, width: float, limit: int, size: float = BODY) -> list[str]:
    """Lines no wider than `width` inches; what exceeds `limit` lines ends in an ellipsis."""
    rest, lines = _drawable(text), []
    while rest and len(lines) < limit:
        # A line ends after 400 characters, so that endless captions are not measured to the end.
        lengths = range(1, min(len(rest), 400) + 1)
        cut = bisect_right(lengths, width, key=lambda end, rest=rest: _width(rest[:end], size))
        if cut < len(rest):
            cut = max(rest.rfind(" ", 0, cut + 1), 0) or max(cut, 1)
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest:
        while lines[-1] and _width(lines[-1] + "…", size) > width:
            lines[-1] = lines[-1][:-1].rstrip()
        lines[-1] += "…"
    return lines or [""]


class _Page:
    """A white sheet under a heading; positions are inches from its top left corner."""

    def __init__(self, title: str, note: str, width: float, height: float) -> None:
        """width and height are those of the area below the heading, which begins at `top`."""
        matplotlib, small = _matplotlib(), BODY + 0.5
        notes = _wrap(note, width, 6, small)
        self.top = MARGIN + _height([title], TITLE) + _height(notes, small) + 0.15
        self.width, self.height = width + 2 * MARGIN, self.top + height + MARGIN
        if self.width * self.height * DPI**2 > 1e8:
            raise ValueError("a picture of over 100 million pixels: pass fewer items")
        self.figure = matplotlib.figure.Figure((self.width, self.height), dpi=DPI)
        self.canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(self.figure)
        below = self.text(MARGIN, MARGIN, [title], INK, size=TITLE)
        self.text(MARGIN, below, notes, GREY, size=small)

    def text(self, x: float, y: float, lines: Texts, colour: str, **style: Any) -> float:
        """Write lines below one another, the first one's top at y; returns where they end."""
        style = {"color": colour, "size": BODY, "family": FONT, "parse_math": False} | style
        for line in lines:
            step = _height([line], style["size"])  # a fifth of it for descenders
            self.figure.text(x / self.width, 1 - (y + 0.8 * step) / self.height, line, **style)
            y += step
        return y

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """An empty coordinate system whose top left corner is at (x, y)."""
        left, bottom = x / self.width, 1 - (y + height) / self.height
        axes = self.figure.add_axes((left, bottom, width / self.width, height / self.height))
        axes.tick_params(labelsize=BODY, colors=INK)
        return axes

    def image(self, pixels: Array, x: float, y: float, width: float, height: float) -> Any:
        """Show an image (H, W, 3) in a thin frame; returns its axes."""
        axes = self.axes(x, y, width, height)
        axes.imshow(pixels, aspect="auto", interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=GREY, linewidth=0.6)
        return axes

    def save(self, path: File) -> Path:
        with replace_file(path) as file:
            self.canvas.print_png(file)
        return Path(path)


def _check(name: str, images: Array, others: Mapping[str, int]) -> None:
    """Refuse all but uint8 (B, H, W, 3) with B at least 1, and B of everything else."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        found = f"{images.dtype} {images.shape}"
        raise ValueError(f"{name}: images must be uint8 (B > 0, H, W, 3), got {found}")
    for other, count in others.items():
        if count != len(images):
            raise ValueError(f"{name}: {len(images)} images but {count} {other}")


def _column(records: Sequence[Mapping], key: str) -> tuple[Array, Array]:
    """Steps (n,) in order and finite values (n,); of several for one step the last."""
    found = {record["step"]: record[key] for record in records if record.get(key) is not None}
    table = np.array(sorted(found.items()), np.float64).reshape(-1, 2)  # (n, 2)
    return tuple(table[np.isfinite(table[:, 1])].T)


def _plot(axes: Any, records: Sequence[Mapping], key: str, colour: str, style: str) -> None:
    """One line of the lower panel of `loss_curve`, with an axis in its colour."""
    steps, values = _column(records, key)
    label = key.replace("_", " ") + ("" if len(steps) else " (not recorded)")
    if len(steps) == 0:
        axes.set_yticks([])
    axes.plot(steps, values, style, color=colour, marker="." if len(steps) < 30 else "")
    axes.set_ylim(0, 1.1 * max(values, default=0) or 1)
    axes.set_ylabel(label, size=BODY, color=colour)
    axes.tick_params("y", labelsize=BODY, colors=colour)
    axes.yaxis.set_major_formatter("{x:g}")


def loss_curve(records: Sequence[Mapping], path: File, batch_size: int) -> Path:
    """Draw a training run: loss above, temperature and learning rate below; returns the path.

    records: dicts with "step" and, where known, "loss", "validation_loss", "temperature" (the
    factor exp(logit_scale)), "learning_rate" and "samples_per_second". The loss axis ends where
    a hundredth of the losses at most lies above it. ValueError if none is a finite number.
    """
    if batch_size < 1:
        raise ValueError(f"loss_curve: batch_size must be at least 1, got {batch_size}")
    if not all("step" in record for record in records):
        raise ValueError("loss_curve: every record must have a 'step'")
    note = f"batches of {batch_size:,} pairs; temperature is exp(logit_scale)"
    speeds = _column(records, "samples_per_second")[1]
    note += f"; {np.median(speeds):,.0f} pairs per second (median)" if len(speeds) else ""
    lost = sum(not math.isfinite(record.get("loss") or 0) for record in records)
    note += f"; {lost:,} losses are not finite" if lost else ""
    steps, losses = _column(records, "loss")
    if len(steps) == 0:
        raise ValueError(f"loss_curve: none of {len(records)} records has a finite 'loss'")
    # A mean over a 25th of the whole around each value, over fewer values at the ends.
    window, nothing = np.ones(2 * (len(steps) // 50) + 1), math.log(batch_size)
    smooth = np.convolve(losses, window, "same") / np.convolve(0 * losses + 1, window, "same")
    checks, validation = _column(records, "validation_loss")
    page = _Page("Training", note, 8.4, 5.85)
    upper = page.axes(MARGIN + 0.6, page.top + 0.25, 7.1, 3.1)
    lower = page.axes(MARGIN + 0.6, page.top + 3.7, 7.1, 1.75)
    thin = {"linewidth": 0.6, "marker": "." if len(steps) < 30 else "", "alpha": 0.4}
    upper.plot(steps, losses, color=BLUE, label="training", **thin)
    upper.plot(steps, smooth, color=BLUE, label="training, smoothed")
    if len(checks):
        upper.plot(checks, validation, "o", color=ORANGE, markersize=4, label="validation")
    label = f"knows nothing: ln {batch_size:,} = {nothing:.2f}"
    upper.axhline(nothing, color=GREY, linestyle="--", linewidth=1, label=label)
    upper.set_ylim(0, 1.06 * max(nothing, *smooth, *validation, np.quantile(losses, 0.99)) or 1)
    upper.set_ylabel("loss (nats)", size=BODY, color=INK)
    upper.legend(ncols=4, frameon=False, fontsize=BODY, loc="lower right", bbox_to_anchor=(1, 1))
    _plot(lower, records, "temperature", BLUE, "-")
    _plot(lower.twinx(), records, "learning_rate", ORANGE, "--")
    lower.set_xlabel("step", size=BODY, color=INK)
    for axes in (upper, lower):
        axes.set_xlim(upper.get_xlim())
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(color="#e4e4e4", linewidth=0.6)
    return page.save(path)


def similarity_matrix(
    image_features: Array, text_features: Array, images: Array, captions: Texts, path: File
) -> Path:
    """Draw the cosines of N images (columns) and their N captions (rows); returns the path.

    Features (N, E) of any length, images uint8 (N, H, W, 3). ValueError for other shapes and NaN.
    """
    counts = {"captions": len(captions), "text features": len(text_features)}
    _check("similarity_matrix", images, counts | {"image features": len(image_features)})
    features = (mg.tensor(np.asarray(f, np.float32)) for f in (image_features, text_features))
    cosines = similarity_logits(*features, mg.tensor(0.0)).numpy().T  # (captions, images)
    if not np.isfinite(cosines).all():
        raise ValueError("similarity_matrix: the features hold a NaN or an infinity")
    count, cell, words = len(images), 0.56, 2.5
    found = [(cosines.argmax(axis) == np.arange(count)).sum() for axis in (0, 1)]
    note = (
        f"Pairs that belong together are framed, an image's highest cosine is bold. {found[0]} of "
        f"{count} images find their own caption, {found[1]} of {count} captions their own image."
    )
    side = count * cell
    page = _Page("Cosines of images and captions", note, words + side + 1.25, cell + side)
    left, top = MARGIN + words + 0.1, page.top + cell
    axes = page.axes(left, top, side, side)
    shades = axes.imshow(cosines, cmap="Blues", aspect="auto")
    axes.axis("off")
    for (row, column), value in np.ndenumerate(cosines):
        colour = "white" if shades.norm(value) > 0.65 else INK
        weight = "bold" if row == cosines[:, column].argmax() else "normal"
        x, y = left + (column + 0.5) * cell, top + (row + 0.5) * cell - _height("1") / 2
        number = [f"{value:z.2f}".replace("-", "−")]
        page.text(x, y, number, colour, ha="center", weight=weight)
    frames = {"markersize": cell * 72, "fillstyle": "none", "markeredgewidth": 2}
    axes.plot(range(count), range(count), "s", color=ORANGE, clip_on=False, **frames)
    for row, caption in enumerate(captions):
        page.image(images[row], left + row * cell + 0.03, page.top, cell - 0.06, cell - 0.06)
        lines = _wrap(caption, words, 3)
        y = top + (row + 0.5) * cell - _height(lines) / 2
        page.text(MARGIN + words, y, lines, INK, ha="right")
    scale = page.axes(left + side + GAP, top, 0.15, min(side, 3.0))
    page.figure.colorbar(shades, cax=scale).outline.set_visible(False)
    return page.save(path)


def _answers(choices: Texts, scores: Sequence[float], truth: str, width: float) -> list[tuple]:
    """What stands under an image of `caption_grid`: mark, lines, percentage and colour."""
    if len(choices) != len(scores) or len(choices) == 0:
        raise ValueError(f"caption_grid: {len(choices)} choices but {len(scores)} scores")
    answers = []
    for choice, score in zip(choices, scores):
        if not 0 <= score <= 1:
            raise ValueError(f"caption_grid: scores must be probabilities, got {score}")
        mark, colour = ("✓", RIGHT) if choice == truth else ("✗", WRONG)
        answers.append((mark, _wrap(choice, width, 5), f"{score:.0%}", colour))
    if choices[0] != truth:
        answers.append(("", _wrap(f"true: {truth}", width, 5), "", GREY))
    return answers


def caption_grid(
    images: Array, captions: Texts, choices: Sequence[Texts], scores: Sequence[Any], path: File
) -> Path:
    """Draw images with the captions that a model chose for each; returns the path.

    images: uint8 (B, H, W, 3); captions: the B true ones; choices: for each image its best ones,
    best first; scores: their probabilities. The true caption is green with a check mark, others
    are red; where the first is wrong, the true one stands below. ValueError for other shapes.
    """
    counts = {"captions": len(captions), "lists of scores": len(scores)}
    _check("caption_grid", images, counts | {"lists of choices": len(choices)})
    cell, indent, figures = 2.2, 0.2, 0.42  # the width of a cell, of marks, of percentages
    answers = [_answers(*each, cell - indent - figures) for each in zip(choices, scores, captions)]
    rows = math.ceil(len(images) / min(6, math.ceil((1.6 * len(images)) ** 0.5)))
    columns = math.ceil(len(images) / rows)
    tall = cell * images.shape[1] / images.shape[2] + 0.06
    texts = [sum(_height(lines) + 0.05 for _, lines, _, _ in answer) for answer in answers]
    heights = [tall + max(texts[row * columns : (row + 1) * columns]) for row in range(rows)]
    right = sum(chosen[0] == truth for chosen, truth in zip(choices, captions))
    note = f"First choice right for {right} of {len(images)} images. Percentages are probabilities."
    area = (columns * (cell + GAP) - GAP, sum(heights) + GAP * (rows - 1))
    page = _Page("Captions chosen by the model", note, max(area[0], 3.0), area[1])
    for place, (image, answer) in enumerate(zip(images, answers)):
        row, column = divmod(place, columns)
        x, y = MARGIN + column * (cell + GAP), page.top + sum(heights[:row]) + GAP * row
        frame = page.image(image, x, y, cell, tall - 0.06).spines[:]
        frame.set(color=answer[0][3], linewidth=2)
        y += tall
        for mark, lines, percentage, colour in answer:
            page.text(x, y, [mark], colour)
            page.text(x + cell, y, [percentage], colour, ha="right")
            y = page.text(x + indent, y, lines, colour) + 0.05
    return page.save(path)


def attention_maps(images: Array, maps: Array, path: File, captions: Texts | None = None) -> Path:
    """Draw where the class token looks, layer by layer, mean over heads; returns the path.

    images: uint8 (B, H, W, 3); maps: (layers, B, heads, T, T) as `CLIP.attention_maps` gives
    them, T = 1 + N with the N patches in a square grid. Raises ValueError for other shapes.
    """
    grid = math.isqrt(max(maps.shape[-1] - 1, 0)) if maps.ndim == 5 else 0
    if grid == 0 or 0 in maps.shape or maps.shape[3:] != (1 + grid * grid, 1 + grid * grid):
        expected = "(layers, B, heads, T, T), T - 1 patches in a square grid (T = 5, 10, 17, ...)"
        raise ValueError(f"attention_maps: maps must be {expected}, got {maps.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("attention_maps: the maps hold a NaN or an infinity")
    layers, count, heads = maps.shape[:3]
    texts = count if captions is None else len(captions)
    _check("attention_maps", images, {"maps": count, "captions": texts})
    looks = maps[:, :, :, 0, 1:].mean(axis=2).reshape(layers, count, grid, grid)  # (L, B, Gy, Gx)
    cell, step = 1.25, 1.35
    down, across = (np.arange(size) * grid // size for size in images.shape[1:3])  # pixel -> patch
    tall, width = cell * images.shape[1] / images.shape[2], max((layers + 1) * step - 0.1, 4.5)
    lines = [_wrap(caption, width, 3) for caption in captions] if captions else [[]] * count
    note = (
        f"Attention of the class token to the {grid} × {grid} patches, mean over {heads} heads. "
        "No yellow is 0, full yellow the share printed below each map."
    )
    height = 0.2 + sum(map(_height, lines)) + count * (tall + 0.3)
    page = _Page("Where the class token looks", note, width, height)
    for layer in range(layers + 1):
        x = MARGIN + layer * step + cell / 2
        page.text(x, page.top, [f"layer {layer}" if layer else "image"], GREY, ha="center")
    y = page.top + 0.2
    for row, image in enumerate(images):
        y = page.text(MARGIN, y, lines[row], INK) + 0.05
        page.image(image, MARGIN, y, cell, tall)
        for layer in range(layers):
            look, x = looks[layer, row], MARGIN + (layer + 1) * step
            opacity = 0.7 * look[down][:, across, None] / max(look.max(), 1e-12)  # (H, W, 1)
            veiled = opacity * YELLOW + (1 - opacity) * (0.5 * image + 25)
            page.image(veiled.astype(np.uint8), x, y, cell, tall)
            page.text(x + cell / 2, y + tall + 0.03, [f"{look.max():.1%}"], GREY, ha="center")
        y += tall + 0.25
    return page.save(path)

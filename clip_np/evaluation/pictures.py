"""Chapter 31: what does a trained model look like?

A number says how good a model is; a picture says what it has understood:

- the loss over the steps, beside the loss ln N of a model that guesses evenly among N pairs;
- cosines of images and captions (Radford et al. 2021, arXiv:2103.00020, figure 1);
- images, each with the captions that the model finds most fitting, or best for one sentence;
- where the class token looks, layer by layer (Dosovitskiy et al. 2021, arXiv:2010.11929, figure 6).

Every function writes one PNG file, whole or not at all, cropped to what was drawn, and returns
its path; ValueError says which shapes do not fit. `html_page` needs no matplotlib.
"""

import base64
import html
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minigrad as mg
from clip_np.data import opened
from clip_np.files import replace_file
from clip_np.losses import similarity_logits
from minigrad.backend import Array

Texts = Sequence[str]
File = str | Path
# Comes with matplotlib, so pictures look the same on every system. Its letters are 0.602 of its
# size wide, all of them: how many fit into a width is known without drawing.
FONT, LETTER = "DejaVu Sans Mono", 0.602
DPI, BODY, TITLE, GAP, LINE = 150, 8.0, 12.0, 0.3, 0.134  # type in points, the rest in inches
INK, GREY, BLUE, ORANGE = "#222222", "#6b6b6b", "#0072b2", "#d55e00"
RIGHT, WRONG, YELLOW = "#00704f", "#b3261e", (255, 217, 26)
THUMBNAIL = 256  # pixels of the longer side on an HTML page
HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }}
body {{ max-width: 74rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }}
main {{ display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)) }}
a {{ color: inherit; text-decoration: none }}
img, i {{ display: grid; place-items: center; background: #8882 }}
img, i {{ width: 100%; aspect-ratio: 1; object-fit: contain }}
small {{ display: block; opacity: 0.7 }}
</style>
<h1>{0}</h1>
<p>{1}</p>
<main>
"""


class MissingMatplotlib(RuntimeError):
    """Pictures need matplotlib, which is not installed."""


def _matplotlib() -> Any:
    try:  # without pyplot, whose state is global
        import matplotlib.figure
        import matplotlib.font_manager
    except ImportError as error:
        advice = 'pictures need matplotlib: pip install "minigrad-clip[examples]"'
        raise MissingMatplotlib(advice) from error
    return matplotlib


def _wrap(text: str, width: float, limit: int) -> str:
    """At most `limit` lines no wider than `width` inches; boxes for what the font lacks."""
    manager = _matplotlib().font_manager
    font = manager.get_font(manager.findfont(FONT))
    text = "".join(c if font.get_char_index(ord(c)) else "□" for c in " ".join(text.split()))
    columns = int(width * 72 / (LETTER * BODY))
    return "\n".join(textwrap.wrap(text, columns, max_lines=limit, placeholder="…"))


def _text(figure: Any, x: float, y: float, text: str, colour: str, **style: Any) -> None:
    usual = {"color": colour, "size": BODY, "family": FONT, "parse_math": False, "va": "top"}
    figure.text(x, y, text, **usual | style)


def _image(figure: Any, pixels: Array, x: float, y: float, width: float, colour: str) -> None:
    """Show an image (H, W, 3) in a frame, its lower left corner at (x, y)."""
    height = width * pixels.shape[0] / pixels.shape[1]
    axes = figure.add_axes((x, y, width, height), xticks=[], yticks=[])
    axes.imshow(pixels, aspect="auto", interpolation="antialiased")
    axes.spines[:].set(color=colour, linewidth=1.5)


def _save(figure: Any, path: File, title: str, note: str, left: float, top: float) -> Path:
    """Write the figure under a heading that begins at `left` and ends a little above `top`."""
    title = _wrap(title, 6.5 * BODY / TITLE, 2)
    _text(figure, left, top + 0.5, title, INK, size=TITLE, va="bottom")
    _text(figure, left, top + 0.45, _wrap(note, 6.5, 2), GREY)
    with replace_file(path) as file:
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.3)
    return Path(path)


def _gallery(path: File, title: str, note: str, cells: list, columns: int, width: float) -> Path:
    """Draw cells in rows: (image, colour of its frame, texts below); a text: (mark, words, ink)."""
    figure = _matplotlib().figure.Figure((1, 1), dpi=DPI)
    tall = width * cells[0][0].shape[0] / cells[0][0].shape[1]
    texts = [
        [(mark, _wrap(words, width - 0.55 * bool(mark), 5), ink) for mark, words, ink in below]
        for _, _, below in cells
    ]
    heights = [[LINE * (words.count("\n") + 1.4) for _, words, _ in below] for below in texts]
    step = tall + GAP + max(map(sum, heights))
    for place, (image, frame, _) in enumerate(cells):
        x, y = place % columns * (width + GAP), -(place // columns) * step - tall
        _image(figure, image, x, y, width, frame)
        for (mark, words, ink), height in zip(texts[place], heights[place]):
            _text(figure, x, y - 0.06, mark, ink)
            _text(figure, x + 0.55 * bool(mark), y - 0.06, words, ink)
            y -= height
    return _save(figure, path, title, note, 0, 0)


def _check(images: Array, **others: Sequence) -> None:
    """Refuse all but uint8 images (B > 0, H, W, 3) and B of everything else."""
    counts = {name: len(other) for name, other in others.items()}
    proper = images.dtype == np.uint8 and images.shape[3:] == (3,) and images.size > 0
    if not proper or {*counts.values()} != {len(images)}:
        counts = f"{images.dtype} {images.shape}, {counts}"
        raise ValueError(f"needed: uint8 images (B > 0, H, W, 3), B of the rest; got {counts}")


def _column(records: Sequence[Mapping], key: str) -> tuple[Array, Array]:
    """Steps (n,) in order and values (n,); of several for one step the last."""
    found = {record["step"]: record[key] for record in records if record.get(key) is not None}
    return tuple(np.array(sorted(found.items()), np.float64).reshape(-1, 2).T)  # (2, n)


def loss_curve(records: Sequence[Mapping], path: File, batch_size: int) -> Path:
    """Draw the loss of a training run in batches of `batch_size`. records: "step", "loss" and
    perhaps "validation_loss"; ValueError without a loss."""
    steps, losses = _column(records, "loss")
    if len(steps) == 0:
        raise ValueError(f"loss_curve: none of {len(records)} records has a 'loss'")
    # A mean over a 25th of the whole around each value, over fewer values at the ends.
    window, nothing = np.ones(2 * (len(steps) // 50) + 1), math.log(batch_size)
    smooth = np.convolve(losses, window, "same") / np.convolve(0 * losses + 1, window, "same")
    checks, validation = _column(records, "validation_loss")
    note = f"batches of N = {batch_size:,} pairs"
    if len(checks):
        best = validation.argmin()
        note += f"; lowest validation loss {validation[best]:.3f} at step {checks[best]:,.0f}"
    figure = _matplotlib().figure.Figure((1, 1), dpi=DPI)
    axes = figure.add_axes((0, 0, 7.1, 3.6))
    axes.plot(steps, losses, color=BLUE, label="training", linewidth=0.6, alpha=0.4)
    axes.plot(steps, smooth, color=BLUE, label="training, smoothed")
    axes.plot(checks, validation, "o-", color=ORANGE, markersize=4, label="validation")
    axes.axhline(nothing, color=GREY, ls="--", lw=1, label=f"knows nothing: ln N = {nothing:.2f}")
    axes.set_ylim(0, 1.06 * max(nothing, *smooth, *validation, np.quantile(losses, 0.99)))
    axes.legend(ncols=4, frameon=False, fontsize=BODY, loc="lower right", bbox_to_anchor=(1, 1))
    axes.set_ylabel("loss (nats)", size=BODY)
    axes.set_xlabel("step", size=BODY)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(labelsize=BODY, colors=INK)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    return _save(figure, path, "Training", note, -0.5, 3.8)


def similarity_matrix(
    image_features: Array, text_features: Array, images: Array, captions: Texts, path: File
) -> Path:
    """Draw the cosines of N images (columns) and their N captions (rows): features (N, E) of any
    length, images uint8 (N, H, W, 3)."""
    _check(images, captions=captions, image_features=image_features, text_features=text_features)
    features = (mg.tensor(np.asarray(f, np.float32)) for f in (image_features, text_features))
    cosines = similarity_logits(*features, mg.tensor(0.0)).numpy().T  # (captions, images)
    count, cell, own = len(images), 0.56, np.arange(len(images))  # the side of a cell in inches
    side, best = count * cell, cosines.argmax(axis=0)  # best: (N,) the caption nearest an image
    found = [(near == own).sum() for near in (best, cosines.argmax(axis=1))]
    note = f"Framed: pairs; bold: an image's highest cosine. {found[0]} of {count} images find "
    note += f"their own caption, {found[1]} of {count} captions their own image."
    figure = _matplotlib().figure.Figure((1, 1), dpi=DPI)
    axes = figure.add_axes((0, -side, side, side), frameon=False, xticks=[], yticks=[])
    shades = axes.imshow(cosines, cmap="Blues", aspect="auto")
    axes.plot(own, own, "s", ms=cell * 72, mfc="none", mec=ORANGE, mew=2, clip_on=False)
    for (row, column), value in np.ndenumerate(cosines):
        style = {"weight": "bold" if row == best[column] else "normal", "ha": "center"}
        style |= {"color": "white" if shades.norm(value) > 0.65 else INK, "size": BODY}
        axes.text(column, row, f"{value:z.2f}".replace("-", "−"), va="center", **style)
    for row, (image, text) in enumerate(zip(images, captions)):
        _image(figure, image, row * cell + 0.03, 0.05, cell - 0.06, GREY)
        _text(figure, -0.1, -(row + 0.5) * cell, _wrap(text, 2.5, 3), INK, ha="right", va="center")
    return _save(figure, path, "Cosines of images and captions", note, -2.6, cell)


def labelled_images(
    images: Array, labels: Sequence[Sequence[tuple[str, str]]], path: File, title: str, note: str
) -> Path:
    """Draw images, uint8 (B, H, W, 3), under a title, each above its labels: pairs of a short mark
    and a text, such as ("71%", "a dog")."""
    _check(images, labels=labels)
    inked = ([(mark, words, INK) for mark, words in below] for below in labels)
    cells = [(image, GREY, below) for image, below in zip(images, inked)]
    return _gallery(path, title, note, cells, 5, 2.2)


def caption_grid(
    images: Array, captions: Texts, choices: Sequence[Texts], scores: Sequence[Any], path: File
) -> Path:
    """Draw images, uint8 (B, H, W, 3), with the captions that a model chose for each: B true
    captions, drawn green; choices for each image, best first, and scores, their probabilities."""
    _check(images, captions=captions, choices=choices, scores=scores)
    if [*map(len, choices)] != [*map(len, scores)] or 0 in map(len, choices):
        raise ValueError("caption_grid: every image needs a choice, every choice a score")
    cells = []
    for image, truth, chosen, shares in zip(images, captions, choices, scores):
        texts = []
        for choice, share in zip(chosen, shares):
            mark, ink = ("✓", RIGHT) if choice == truth else ("✗", WRONG)
            texts.append((f"{mark} {share:.0%}", choice, ink))
        texts += [("true", truth, GREY)] if chosen[0] != truth else []
        cells.append((image, texts[0][2], texts))
    right = sum(frame == RIGHT for _, frame, _ in cells)
    note = f"First choice right for {right} of {len(images)} images. Percentages are probabilities."
    return _gallery(path, "Captions chosen by the model", note, cells, 5, 2.2)


def attention_maps(images: Array, maps: Array, path: File, captions: Texts) -> Path:
    """Draw where the class token looks in images, uint8 (B, H, W, 3), layer by layer, mean over
    heads. maps: (layers, B, heads, T, T) as `CLIP.attention_maps` gives them, T = 1 + N with the N
    patches in a square grid."""
    grid = math.isqrt(max(maps.shape[-1] - 1, 0)) if maps.ndim == 5 else 0
    if maps.size == 0 or grid == 0 or maps.shape[3:] != (1 + grid * grid, 1 + grid * grid):
        expected = "(layers, B, heads, T, T), T - 1 patches in a square grid"
        raise ValueError(f"attention_maps: maps must be {expected}, got {maps.shape}")
    layers, count, heads = maps.shape[:3]
    _check(images, maps=maps[0], captions=captions)
    looks = maps[:, :, :, 0, 1:].mean(axis=2).reshape(layers, count, grid, grid)  # (L, B, Gy, Gx)
    down, across = (np.arange(size) * grid // size for size in images.shape[1:3])  # pixel -> patch
    cells = []
    for row, (image, caption) in enumerate(zip(images, captions)):
        cells.append((image, GREY, [("", caption, INK)]))
        for layer, look in enumerate(looks[:, row], start=1):
            opacity = 0.7 * look[down][:, across, None] / max(look.max(), 1e-12)  # (H, W, 1)
            veiled = opacity * YELLOW + (1 - opacity) * (0.5 * image + 25)
            share = f"layer {layer}: {look.max():.1%}"
            cells.append((veiled.astype(np.uint8), GREY, [("", share, GREY)]))
    note = f"Attention of the class token to {grid} × {grid} patches, mean over {heads} heads. "
    note += "No yellow is 0, full yellow the share printed below each map."
    return _gallery(path, "Where the class token looks", note, cells, layers + 1, 1.35)


def picture_of(path: str) -> Image.Image | None:
    """The RGB image in a file, None where it cannot be read."""
    found = opened(Path(path), path, skip_bad=True)
    return found if isinstance(found, Image.Image) else None


def html_page(files: Sequence[tuple[str, str]], path: File, title: str, note: str) -> Path:
    """Write a page that needs no other file: for each (absolute path of an image, its mark), a
    small copy of the image that links to it, or "not found"."""
    page = HEAD.format(html.escape(title), html.escape(note))
    for name, mark in files:
        shown, image, data = "<i>not found</i>", picture_of(name), io.BytesIO()
        if image is not None:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.save(data, "JPEG", quality=90)
            code = base64.b64encode(data.getvalue()).decode("ascii")
            shown = f'<img src="data:image/jpeg;base64,{code}" alt="">'
        link, text = html.escape(Path(name).as_uri()), html.escape(name).replace("/", "/<wbr>")
        page += f'<a href="{link}">{shown}<b>{mark}</b><small>{text}</small></a>\n'
    with replace_file(path) as file:
        file.write(f"{page}</main></html>\n".encode("utf-8", "replace"))
    return Path(path)

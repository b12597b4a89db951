"""How does a page hold a whole model's answers, and let nobody else's program run?

The page is one file: a skeleton (explorer.html), the style (explorer.css), the scripts,
and the numbers as JSON. A browser opens it from the disk. Two things are true of it:

*It asks nobody.* A Content-Security-Policy in the page's head forbids the browser all
that is not in the file: no address is fetched, no form is sent.

*Words stay words.* Captions and file names come from strangers. In Python they are
`shown`, and in the JSON every "<", ">" and "&" is written as an escape, so that no
caption ends the block that it stands in. The scripts put words on the page as text and
never as HTML. If all of that failed, the policy would still stop a stranger's script:
it names the SHA-256 of the one script that may run.

W3C, "Content Security Policy Level 3", section 2.3.1 (hash sources).
"""

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.evaluation.exploring.attention import pack_shares
from clip_np.evaluation.exploring.exploration import Exploration
from clip_np.evaluation.exploring.nearest import Neighbours
from clip_np.evaluation.exploring.projection import Plane
from clip_np.evaluation.run_pages import Chart
from clip_np.files import File, replace_file, shown

SCRIPTS = (
    "elements.js",
    "choice.js",
    "matrix.js",
    "nearest.js",
    "map.js",
    "attention.js",
    "words.js",
    "curves.js",
)
"""They run in this order: later ones use what earlier ones have made."""

DIGITS = 4  # of a cosine or a coordinate, behind the point
MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # as JSON may write them
POLICY = (
    "default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)


def explorer_page(
    path: File, exploration: Exploration, title: str, note: str, charts: Sequence[Chart]
) -> Path:
    """Write the page, and return its path. `charts` are the curves of the training."""
    folder = files(__package__)
    style = folder.joinpath("explorer.css").read_text(encoding="utf-8")
    scripts = [folder.joinpath("scripts", name).read_text(encoding="utf-8") for name in SCRIPTS]
    script = "\n".join(scripts)
    page = (
        folder.joinpath("explorer.html")
        .read_text(encoding="utf-8")
        .format(
            policy=POLICY.format(style=_hash_source(style), script=_hash_source(script)),
            title=html.escape(shown(title)),
            note=html.escape(shown(note)),
            style=style,
            data=_json_block(_page_data(exploration, charts)),
            script=script,
        )
    )
    with replace_file(path) as file:
        file.write(page.encode("utf-8", "replace"))
    return Path(path)


def _hash_source(text: str) -> str:
    """How a policy names a script or a style that is part of the page."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _json_block(data: dict[str, Any]) -> str:
    """JSON that holds no markup. ValueError for a NaN, which JSON does not know.

    >>> _json_block({"caption": "</script><b>é"})
    '{"caption":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e\\\\u00e9"}'
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character, escape in MARKUP.items():
        text = text.replace(character, escape)
    return text


def _page_data(exploration: Exploration, charts: Sequence[Chart]) -> dict[str, Any]:
    """What the scripts read. Words are `shown`."""
    seen = exploration
    looks = seen.image_attention
    return {
        "names": [shown(name) for name in seen.names],
        "thumbnails": seen.thumbnails,
        "captions": [shown(caption) for caption in seen.captions],
        "captionOf": seen.caption_of.tolist(),
        "cosines": _rounded(seen.cosines),
        "captionRanks": seen.caption_ranks.tolist(),
        "imageRanks": seen.image_ranks.tolist(),
        "nearest": {
            "image": {
                "captions": _neighbours(seen.image_to_captions),
                "images": _neighbours(seen.image_to_images),
            },
            "caption": {
                "captions": _neighbours(seen.caption_to_captions),
                "images": _neighbours(seen.caption_to_images),
            },
        },
        "planes": {"centred": _plane(seen.centred), "together": _plane(seen.together)},
        "gap": round(seen.gap, DIGITS),
        "recall": seen.recall_at_1,
        "chance": seen.chance,
        "imageAttention": {
            "kind": looks.kind,
            "shape": list(looks.shares.shape),
            "shares": pack_shares(looks.shares),
            "rollout": None if looks.rollout is None else pack_shares(looks.rollout),
        },
        "textAttention": [
            {
                "words": [shown(word) for word in caption.words],
                "read": caption.read,
                "shape": list(caption.shares.shape),
                "shares": pack_shares(caption.shares),
            }
            for caption in seen.text_attention
        ],
        "charts": [_chart(chart) for chart in charts],
    }


def _rounded(numbers: np.ndarray) -> list[Any]:
    """Numbers with DIGITS digits behind the point, as nested lists."""
    rounded: list[Any] = numbers.astype(np.float64).round(DIGITS).tolist()
    return rounded


def _neighbours(neighbours: Neighbours) -> dict[str, Any]:
    return {"rows": neighbours.rows.tolist(), "cosines": _rounded(neighbours.cosines)}


def _plane(plane: Plane) -> dict[str, Any]:
    return {
        "images": _rounded(plane.images),
        "captions": _rounded(plane.captions),
        "share": round(plane.share, DIGITS),
    }


def _chart(chart: Chart) -> dict[str, Any]:
    """A chart whose lines have a point. Points without a finite value are left out."""
    points = {
        line.name: [[step, value] for step, value in line.points if math.isfinite(value)]
        for line in chart.lines
    }
    lines = [{"name": shown(name), "points": kept} for name, kept in points.items() if kept]
    return {"title": shown(chart.title), "lines": lines}

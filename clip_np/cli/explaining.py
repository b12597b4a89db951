"""Where in an image does a model see what a text says, asked from a shell?

`clip-np explain` opens a picture upright, as a person sees it, computes the maps of all
methods that the model offers, and draws them side by side. The model sees the square
in the middle of the picture. Points are printed in pixels of the whole picture.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clip_np.cli.models import load_model
from clip_np.cli.output import SHEET_PIXELS, draw_pictures, print_text
from clip_np.data import opened, resize_and_crop
from clip_np.evaluation import Explanation, explain, explanation_picture
from clip_np.evaluation.explaining import RECOMMENDED, Point, centre, strongest
from clip_np.files import shown

DEFAULT_PICTURE = "explain.png"


def explain_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw where in an image the model sees what a text says."""
    loaded = load_model(arguments)
    path, *texts = loaded.inputs
    texts = list(dict.fromkeys(texts))
    if not texts:
        raise ValueError('no text: write what may be in the image after it, as in "a cat"')
    image = opened(Path(path), path)  # upright and RGB
    explanations = explain(loaded.model, loaded.tokenizer, loaded.preprocess(image), texts)
    for explanation in explanations:
        print_text(arguments, _summary(explanation, image))
    square = np.asarray(resize_and_crop(image, max(SHEET_PIXELS, loaded.preprocess.size)))
    target = arguments.picture or DEFAULT_PICTURE
    draw_pictures(
        arguments,
        lambda: [explanation_picture(square, explanations, target, title=Path(path).name)],
        is_asked=arguments.picture is not None,
    )
    return {
        "size": list(image.size),
        "texts": {
            explanation.text: {
                "cosine": explanation.cosine,
                "maps": {
                    name: {
                        "centre": in_pixels(centre(values), image),
                        "strongest": in_pixels(strongest(values), image),
                        "largest": float(values.max()),
                    }
                    for name, values in explanation.maps.items()
                },
            }
            for explanation in explanations
        },
    }


def in_pixels(point: Point | None, image: Image.Image) -> list[float] | None:
    """A point of the square in the middle of an image, in pixels of the image.

    >>> in_pixels(Point(x=0.0, y=0.5), Image.new("RGB", (300, 100)))
    [100.0, 50.0]
    """
    if point is None:
        return None
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    return [round(left + point.x * side, 1), round(top + point.y * side, 1)]


def _summary(explanation: Explanation, image: Image.Image) -> str:
    """A line for people: the cosine, and where the recommended map has its centre."""
    point = in_pixels(centre(explanation.maps[RECOMMENDED]), image)
    if point is None:
        where = "no part of the image speaks for it"
    else:
        lost = explanation.maps[RECOMMENDED].max()
        where = f"around x {point[0]:.0f}, y {point[1]:.0f}; hidden, it loses {lost:.3f}"
    return f"{explanation.cosine:8.3f}  {shown(explanation.text)}: {where}"

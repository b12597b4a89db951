"""Does a map's centre lie on the shape that the text names?

python -m benchmarks.looking_inside --model runs/shapes

Scenes with two shapes of different classes are drawn. A text names one of them, the
first or the second by chance: "a small red ring". Where a map's centre lies within that
shape's radius of its middle, it is a hit. Next to it stands how often the centre is
nearer to the named shape than to the other one: a map that looks at both shapes alike,
or at neither, is right in half of the scenes.

Printed are both shares for each method, and one JSON line.
"""

import argparse
import json
from typing import NamedTuple

import numpy as np

import clip_np
from clip_np.data import to_model_input
from clip_np.data.drawing import CHUNK, draw_details, render
from clip_np.data.scenes import (
    ALL_LABELS,
    CLASSES,
    IMAGE_SIZE,
    POSITIONS,
    SIZES,
    Scenes,
    draw_scenes,
)
from clip_np.evaluation.explaining import METHODS, centre

DRAWN = 2000  # scenes from which those with two shapes are taken


class NamedShapes(NamedTuple):
    """n scenes, and one of the two shapes in each, named by a text."""

    images: np.ndarray  # (n, 32, 32, 3)
    texts: list[str]
    middles: np.ndarray  # (n, 2) of the named shape, x and y in pixels
    radii: np.ndarray  # (n,) of the named shape, in pixels
    others: np.ndarray  # (n, 2), the middle of the other shape


def scenes_with_two(count: int, rng: np.random.Generator) -> Scenes:
    """Scenes with two shapes of different classes."""
    scenes = draw_scenes(DRAWN, rng, ALL_LABELS)
    has_two = (scenes.layouts >= len(POSITIONS)) & (scenes.labels[:, 0] != scenes.labels[:, 1])
    return scenes.rows(np.flatnonzero(has_two)[:count])


def draw(count: int, seed: int) -> NamedShapes:
    """Draw the scenes and name a shape in each."""
    rng = np.random.default_rng(seed)
    scenes = scenes_with_two(count, rng)
    images, middles, radii = [], [], []
    for start in range(0, count, CHUNK):
        chunk = scenes.rows(slice(start, start + CHUNK))
        # A generator of the same seed draws the same details again.
        details = draw_details(chunk, np.random.default_rng([seed, start]))
        images.append(render(chunk, np.random.default_rng([seed, start])))
        middles.append(details.centres)
        radii.append(details.radii)
    named = rng.integers(0, 2, count)
    rows = np.arange(count)
    sizes = np.array(list(SIZES))[scenes.sizes[rows, named]]
    classes = np.array(CLASSES)[scenes.labels[rows, named]]
    both = np.concatenate(middles)  # (n, 2, 2)
    return NamedShapes(
        images=np.concatenate(images),
        texts=[f"a {size} {name}" for size, name in zip(sizes, classes)],
        middles=both[rows, named],
        radii=np.concatenate(radii)[rows, named],
        others=both[rows, 1 - named],
    )


def measure(model: clip_np.CLIP, tokenizer: clip_np.Tokenizer, shapes: NamedShapes) -> dict:
    """For each method: the shares of hits, and of centres nearer to the named shape."""
    hits: dict[str, list[bool]] = {name: [] for name in METHODS}
    nearer: dict[str, list[bool]] = {name: [] for name in METHODS}
    for row, image in enumerate(to_model_input(shapes.images)):
        (explanation,) = clip_np.explain(model, tokenizer, image, [shapes.texts[row]])
        for name, values in explanation.maps.items():
            point = centre(values)
            if point is None:
                hits[name].append(False)
                nearer[name].append(False)
                continue
            middle = IMAGE_SIZE * np.array([point.x, point.y])
            distance = np.linalg.norm(middle - shapes.middles[row])
            hits[name].append(bool(distance <= shapes.radii[row]))
            nearer[name].append(bool(distance < np.linalg.norm(middle - shapes.others[row])))
    return {
        name: {"on the shape": np.mean(hits[name]), "nearer to it": np.mean(nearer[name])}
        for name in METHODS
        if hits[name]
    }


def main() -> None:
    """Measure a model and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", metavar="RUN", required=True, help="a run on the shapes")
    parser.add_argument("--count", metavar="N", type=int, default=200, help="scenes (200)")
    parser.add_argument("--seed", metavar="N", type=int, default=5, help="of the scenes (5)")
    arguments = parser.parse_args()
    model, _, tokenizer = clip_np.load(arguments.model)
    shares = measure(model, tokenizer, draw(arguments.count, arguments.seed))
    for name, row in shares.items():
        print(f"{name:<20}" + "".join(f"{key} {share:6.1%}   " for key, share in row.items()))
    print(json.dumps(shares))


if __name__ == "__main__":
    main()

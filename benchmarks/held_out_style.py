"""Does a model know a thing again that is drawn in a style it never saw?

The emoji come in two styles, noto and fluent. A model trains on one of them and is
tested on both:

    held-out style    pictures of the other style whose captions the training had
    in style          test pictures of its own style: things and skin tones that are new

    python -m benchmarks.held_out_style emoji/parquet shift=3 zoom=0.1 --steps 1500

Options of the training follow as name=value. All runs take the same number of steps.
So a busy machine changes the time of a run, and not its figures.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.data import Pairs, load_images, open_dataset
from clip_np.evaluation import pairs_report
from clip_np.training import FilesTask, Trainer, TrainingOptions

STYLES = ("noto", "fluent")
GALLERY = 1000  # pictures of the held-out style, at most
FIGURES = ("recall_at_1", "recall_at_5", "recall_at_10", "multiple_choice_3")


def of_style(path: str, style: str) -> dict[str, Pairs]:
    """The pairs of one style by split, "train" and "test"."""
    captions = open_dataset(path, caption_column="text_EN")
    styles = open_dataset(path, caption_column="style")
    return {
        split: pairs.select(np.flatnonzero(np.array(styles[split].captions) == style))
        for split, pairs in captions.items()
    }


def other_style(path: str, style: str, known: set[str]) -> Pairs:
    """At most GALLERY pictures of `style` whose captions are `known`, drawn once."""
    pairs = of_style(path, style)["train"]
    rows = [row for row, caption in enumerate(pairs.captions) if caption in known]
    return pairs.select(np.random.default_rng(0).permutation(rows)[:GALLERY])


def figures(trainer: Trainer, pairs: Pairs) -> dict[str, float]:
    """The recalls of some pairs, rounded."""
    images, pairs = load_images(pairs, trainer.model.config.vision.image_size)
    report = pairs_report(trainer.model, trainer.tokenizer, images, pairs.captions, pairs.names)
    return {name: round(value, 4) for name, value in report.items() if name in FIGURES}


def measure(path: str, style: str, choices: dict[str, Any]) -> dict[str, Any]:
    """Train on one style; the figures of the other one, and of new things in style."""
    task = FilesTask(path)
    seen_style = of_style(path, style)
    task.train, task.validation = seen_style["train"], None
    (held_out,) = (other for other in STYLES if other != style)
    test = other_style(path, held_out, known=set(seen_style["train"].captions))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(task, TrainingOptions.of(task.settings, **choices), Path(folder))
        started = time.process_time()
        seconds = trainer.run()["train_seconds"]
        processor = time.process_time() - started
    return {
        "train_on": style,
        "options": choices,
        "held_out_style": figures(trainer, test),
        "in_style": figures(trainer, seen_style["test"]),
        "seconds": seconds,
        "processor_seconds": round(processor, 1),
    }


def option(text: str) -> tuple[str, Any]:
    """An option of the training.

    >>> option("shift=3"), option("augment=light")
    (('shift', 3), ('augment', 'light'))
    """
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the folder with the emoji's parquet files")
    parser.add_argument("options", nargs="*", type=option, help="shift=3 zoom=0.1 ...")
    parser.add_argument("--train-on", choices=STYLES, default="noto")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    choices = {"steps": arguments.steps, "seed": arguments.seed, **dict(arguments.options)}
    print(json.dumps(measure(arguments.data, arguments.train_on, choices)), flush=True)


if __name__ == "__main__":
    main()

"""How does somebody at a shell get a page on which a model can be clicked?

`clip-np explore RUN` takes images that the model was not trained on, the same as
`clip-np evaluate` measures, and writes what it makes of them to one HTML file. The
curves of the training are on it too, if RUN is the directory of a run.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.cli.evaluating import (
    OpenedModel,
    is_about_shapes,
    open_model,
    pairs_of_data,
    shapes_task,
)
from clip_np.cli.models import is_run
from clip_np.cli.output import print_text
from clip_np.cli.reporting import training_charts
from clip_np.data import Pairs
from clip_np.evaluation import Chart
from clip_np.evaluation.exploring import Exploration, explore, explorer_page
from clip_np.files import refuse_to_replace, shown
from clip_np.training import METRICS, read_metrics
from clip_np.weights import BEST, CHECKPOINT

DEFAULT_PAGE = "explore.html"
DEFAULT_IMAGES = 64
MEGABYTE = 1e6


class PairsToShow(NamedTuple):
    """The pairs to choose images from, and what they are, in words."""

    pairs: Pairs
    measured_on: str
    skip_bad: bool


def explore_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a page of a model's answers to test images."""
    run = Path(arguments.run)
    read = [run, *(run / name for name in (CHECKPOINT, BEST, METRICS))]
    refuse_to_replace(arguments.out or DEFAULT_PAGE, inputs=read)
    opened = open_model(arguments)
    test = _test_pairs(arguments, opened)
    count = DEFAULT_IMAGES if arguments.images is None else arguments.images
    exploration = explore(
        model=opened.model,
        preprocess=opened.preprocess,
        tokenizer=opened.tokenizer,
        pairs=test.pairs,
        count=count,
        skip_bad=test.skip_bad,
    )
    images, captions = exploration.cosines.shape
    path = explorer_page(
        path=arguments.out or DEFAULT_PAGE,
        exploration=exploration,
        title=f"Explorer: {Path(arguments.run).resolve().name}",
        note=f"{images} images and {captions} captions from {test.measured_on}.",
        charts=_charts(arguments.run),
    )
    size = path.stat().st_size
    print_text(arguments, f"page: {shown(path)}, {size / MEGABYTE:.2f} MB; open it in a browser")
    without = _without_attention(exploration)
    if without:
        print_text(arguments, without)
    return {"page": str(path), "bytes": size, "images": images, "captions": captions}


def _test_pairs(arguments: argparse.Namespace, opened: OpenedModel) -> PairsToShow:
    """The pairs that `clip-np evaluate` would measure the model on."""
    if is_about_shapes(arguments, opened.source):
        task = shapes_task(arguments, opened.source)
        split = task.splits["all"]
        pairs = Pairs.from_arrays(split.images, split.captions)
        return PairsToShow(pairs, task.measured_on, skip_bad=False)
    chosen = pairs_of_data(arguments, opened, labelled=False)
    return PairsToShow(chosen.test, chosen.measured_on, chosen.skip_bad)


def _charts(run: str) -> list[Chart]:
    """The curves of a run, or none for a model that has no log."""
    path = Path(run)
    log = (path if path.is_dir() else path.parent) / METRICS
    if not is_run(run) or not log.is_file():
        return []
    return training_charts(read_metrics(log))


def _without_attention(exploration: Exploration) -> str:
    """Which images and captions have no attention on the page, in words, if any."""
    images, captions = exploration.cosines.shape
    shown_images = len(exploration.image_attention.shares)
    shown_captions = len(exploration.text_attention)
    if shown_images == images and shown_captions == captions:
        return ""
    return (
        f"to keep the page small, attention is shown for the first {shown_images} images and "
        f"{shown_captions} captions"
    )

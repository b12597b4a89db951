"""How long does training wait for its images?

    python -m benchmarks.loading
    python -m benchmarks.loading --seconds 15 --augment light

50,000 JPEG files of 500 x 375 pixels are made in a temporary folder: DRAWN pictures,
each under many names. They are loaded at 224 pixels, with 0, 1 and 2 worker processes
that take turns, and nothing is kept from one epoch for the next. Three kinds of work
use the batches:

    nothing       the pace of the loader alone
    small step    a model of 4 blocks of width 64, on patches of 32 pixels
    large step    the preset "tutorial", but with patches of 32 pixels

Printed are images a second, and the share of the time that the steps waited. The first
batches, for which the processes are started, do not count.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from clip_np import CLIP
from clip_np.data import AUGMENTATIONS, Batch, BatchLoader, Pairs
from clip_np.data.decoding_worker import SLOTS
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.losses import loss_for
from clip_np.training import TrainingStep
from minigrad.optim import AdamW
from minigrad.threads import available_cores

DRAWN = 1000  # pictures: 25 MB, so that all of them stay in the memory of the system
NAMES = 50_000
PICTURE = (500, 375)
QUALITY = 90  # as cameras and web sites have it; about 50 kB a file
SIZE = 224
BATCH = 32
WORKERS = (0, 1, 2)
SMALL = CLIPConfig(
    embed_dim=64,
    vision=VisionConfig(image_size=SIZE, patch_size=32, width=64, layers=4, heads=4),
    text=TextConfig(vocab_size=514, context_length=16, width=64, layers=4, heads=4),
)
TUTORIAL = PRESETS["tutorial"]
LARGE = replace(
    TUTORIAL,
    vision=replace(TUTORIAL.vision, patch_size=32),
    text=replace(TUTORIAL.text, vocab_size=SMALL.text.vocab_size),
)
Work = Callable[[Batch], object]


def draw(path: Path, rng: np.random.Generator) -> None:
    """A picture with areas, edges and grain: its file is as large as a photograph's."""
    rough = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(rough).resize(PICTURE, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        corner = rng.integers(0, PICTURE, 2)
        end = corner + rng.integers(10, 200, 2)
        pen.ellipse([*corner.tolist(), *end.tolist()], fill=tuple(rng.integers(0, 256, 3).tolist()))
    grain = rng.normal(0.0, 6.0, (PICTURE[1], PICTURE[0], 1))
    pixels = (np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=QUALITY)


def pairs_in(folder: Path) -> Pairs:
    """NAMES files of DRAWN pictures: hard links."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05}.jpg" for number in range(NAMES)]
    for number, path in enumerate(paths):
        if number < DRAWN:
            draw(path, rng)
        else:
            os.link(paths[number % DRAWN], path)
    captions = [f"picture {number}" for number in range(NAMES)]
    return Pairs(captions, [str(path) for path in paths], None, paths)


def training(config: CLIPConfig) -> Work:
    """Steps of a model, on captions that are random ids."""
    model = CLIP(config, np.random.default_rng(0))
    step = TrainingStep(
        model=model,
        optimizer=AdamW(model.parameters(), lr=1e-4),
        loss=loss_for(model, "clip"),
        shards=1,
        workers=available_cores(),
        max_norm=1.0,
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, config.text.vocab_size, (BATCH, config.text.context_length))
    return lambda batch: step(batch.images, tokens, None)


class Run:
    """A loader with so many workers, and what uses its batches."""

    def __init__(self, pairs: Pairs, work: Work, workers: int, augment: str) -> None:
        self.work = work
        self.loader = BatchLoader(
            pairs,
            size=SIZE,
            batch_size=BATCH,
            seed=0,
            augmentation=AUGMENTATIONS[augment],
            data_workers=workers,
        )
        self.loader.kept.repeats = False  # as of a set that has no room
        self.step = 0
        self.images = 0
        self.seconds = 0.0
        self.waited = 0.0

    def go_on(self, seconds: float) -> None:
        """Use batches for so long. Those made during the start do not count."""
        batches: Iterator[Batch] = self.loader.batches(self.step, 10**9)
        for _ in range(SLOTS + self.loader.threads + 2):
            self.work(next(batches))
            self.step += 1
        waited = self.loader.wait_seconds
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            batch = next(batches)
            self.work(batch)
            self.step += 1
            self.images += len(batch.images)
        self.seconds += time.perf_counter() - started
        self.waited += self.loader.wait_seconds - waited
        batches.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each")
    parser.add_argument("--augment", default="none", choices=list(AUGMENTATIONS))
    parser.add_argument("--work", nargs="*", default=["nothing", "small step", "large step"])
    arguments = parser.parse_args()
    works: dict[str, Callable[[], Work]] = {
        "nothing": lambda: lambda batch: None,
        "small step": lambda: training(SMALL),
        "large step": lambda: training(LARGE),
    }
    print("| work | data workers | images a second | waited |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        pairs = pairs_in(Path(folder))
        for name in arguments.work:
            work = works[name]()
            runs = [Run(pairs, work, workers, arguments.augment) for workers in WORKERS]
            for _ in range(arguments.rounds):
                for run in runs:
                    run.go_on(arguments.seconds)
            for workers, run in zip(WORKERS, runs):
                pace = run.images / run.seconds
                share = run.waited / run.seconds
                print(f"| {name} | {workers} | {pace:.0f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()

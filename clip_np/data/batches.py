"""How do files become batches while the model computes?

A training step needs a batch of images as numbers. Decoding and resizing them takes
time, and the model would have to wait. So `BatchLoader` prepares the next few batches
while the model computes with the current one, in threads or in worker processes:

    pairs of a step --> squares (resized, uint8) --> augment --> normalise --> Batch
       one thread        threads or processes, a few batches ahead             the model

The batch of step s depends on the seed and on s alone. A run that resumes at step 5,000
sees what the uninterrupted run would have seen, and the number of threads or processes
changes nothing.

When are processes worth it? `choose_data_workers` says.
"""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, Protocol
from warnings import warn

import numpy as np

from clip_np.data.augmentation import AUGMENTATIONS, Augmentation
from clip_np.data.errors import DataError, a_few
from clip_np.data.kept_squares import KeptSquares, has_room
from clip_np.data.making import Recipe, Square, is_square, load_square, vary
from clip_np.data.pairs import Pairs
from clip_np.data.preprocessing import Preprocess, to_model_input, training_preprocess
from clip_np.data.worker_processes import WorkerError, WorkerProcesses
from minigrad.backend import Array, move
from minigrad.threads import available_cores, map_ahead
from minigrad.uploads import Uploads

SPARE_BATCHES = 2
"""Batches that are ready or in line, beyond those that are being made. They keep the
model busy while one batch takes longer than others."""
READING_THREADS = min(32, available_cores() + 4)
"""Threads of `load_images`: more than cores, because they also wait for the disk."""
SQUARES_AHEAD = 4 * READING_THREADS  # so that no thread waits for the slowest
BAR_SECONDS = 1.0
"""Loading that takes longer than this shows a progress bar."""


def choose_data_workers(pairs: Pairs, size: int, cores: int) -> int:
    """How many processes should decode these images, if nobody has chosen?

    0 if all images will be kept, because they are decoded once. Otherwise one for two
    cores, since the model computes on all cores (docs/figures.md, "How fast: loading").

    >>> pairs = Pairs.from_arrays(np.zeros((6, 8, 8, 3), np.uint8), list("abcdef"))
    >>> choose_data_workers(pairs, size=8, cores=8)
    0
    """
    will_be_kept = pairs.repeats and has_room(len(pairs), size)
    return 0 if will_be_kept else max(1, cores // 2)


class Batch(NamedTuple):
    """What one training step needs of B pairs."""

    images: Array  # (B, 3, size, size) float32, normalised, on the loader's backend
    captions: list[str]
    names: list[str]


class Maker(Protocol):
    """Makes batches; its `make` is called by `threads` threads at once."""

    threads: int
    failure: WorkerError | None  # what ends the run, before its batch is due

    def make(self, step: int, pairs: Pairs) -> tuple[np.ndarray, list[str], list[str]]:
        """Images as of `Recipe.finish`, captions and names of the readable pairs."""

    def stop(self) -> None:
        """Let no batch be finished any more: nobody wants them."""

    def close(self) -> None:
        """Release what was used, after the last `make` has returned."""


class InThisProcess:
    """Makes batches in the threads that call it; the fast twin is `WorkerProcesses`."""

    def __init__(self, threads: int, recipe: Recipe, kept: KeptSquares) -> None:
        self.threads = threads
        self.recipe = recipe
        self.kept = kept
        self.failure: WorkerError | None = None
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Cut the batches short that are being made."""
        self._stopping.set()

    def close(self) -> None:
        """There is nothing to release."""

    def make(self, step: int, pairs: Pairs) -> tuple[np.ndarray, list[str], list[str]]:
        """Images as of `Recipe.finish`, captions and names of the readable pairs."""
        squares = []
        # After `stop` nobody wants the batch, so no more images are decoded.
        for row in range(len(pairs)):
            if not self._stopping.is_set():
                squares.append(self._square(pairs, row))
        varied = vary(step, squares, pairs.captions, pairs.tags, self.recipe)
        names = [pairs.names[row] for row in varied.rows]
        return self.recipe.finish(varied.images), varied.captions, names

    def _square(self, pairs: Pairs, row: int) -> Square:
        """Image `row` as `load_square` returns it; kept if there is room."""
        name = pairs.names[row]
        square = self.kept.get(name)
        if square is None:
            square = load_square(
                pairs.sources[row], name, self.recipe.preprocess, self.recipe.skip_bad
            )
            self.kept.keep(name, square)
        return square


@dataclass(eq=False)
class BatchLoader:
    """Batches of augmented pairs, prepared while the model computes.

    - size: width and height of the images in pixels.
    - batch_size: pairs in a batch; at most len(pairs) takes effect.
    - augmentation: how much they are varied. tag_probability: see `extra_words`.
    - skip_bad: leave unreadable images out. `skipped` maps their names to the causes.
    - data_workers: processes that decode; 0: `threads` threads of this one decode;
      None: as `choose_data_workers` says.
    - preprocess: how images are prepared; None means `training_preprocess(size)`. They
      become RGB and upright before they are resized, whatever it says about that.
    - part: (p, n) makes part p of each batch that is cut into n; (0, 1) is all of it.
    - backend: where the images go. A GPU gets a quarter of the bytes, uint8, while it
      computes (minigrad/uploads.py), and normalises them itself.

    `wait_seconds` is the time that the caller has spent waiting for batches so far.

    >>> pairs = Pairs.from_arrays(np.zeros((6, 8, 8, 3), np.uint8), list("abcdef"))
    >>> loader = BatchLoader(
    ...     pairs, size=8, batch_size=4, seed=0, augmentation=Augmentation(shift=1)
    ... )
    >>> for batch in loader.batches(start_step=0, stop_step=2):
    ...     print(batch.images.shape, batch.captions)
    (4, 3, 8, 8) ['b', 'e', 'd', 'a']
    (4, 3, 8, 8) ['a', 'f', 'e', 'b']
    """

    pairs: Pairs
    size: int
    batch_size: int
    seed: int
    augmentation: Augmentation = AUGMENTATIONS["none"]
    tag_probability: float = 0.0
    skip_bad: bool = False
    data_workers: int | None = 0
    threads: int = 2
    preprocess: Preprocess | None = None
    part: tuple[int, int] = (0, 1)
    backend: str = "numpy"

    def __post_init__(self) -> None:
        if len(self.pairs) == 0:
            raise DataError("there are no image-caption pairs to make batches of")
        self.batch_size = min(self.batch_size, len(self.pairs))
        self.prepare = self.preprocess or training_preprocess(self.size)
        if self.data_workers is None:
            self.data_workers = choose_data_workers(self.pairs, self.size, available_cores())
        self.wait_seconds = 0.0
        self.kept = KeptSquares(self.size, self.pairs.repeats)

    @property
    def skipped(self) -> dict[str, str]:
        """The unreadable images that were left out, and why."""
        return self.kept.unreadable

    def batches(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        """The batches of steps start_step .. stop_step - 1, in order.

        Closing the iterator, or leaving its loop in any way, ends the threads and
        processes. Raises DataError for an unreadable image, or with skip_bad for a
        batch that has no readable one, and WorkerError if a process dies.
        """
        chosen = self.pairs.batches(self.batch_size, self.seed, start_step, stop_step)
        # A stream must be read in order, so a single thread takes the pairs of the
        # steps.
        reader = ThreadPoolExecutor(1)
        send = self._sender()
        maker = self._start_maker()

        def make(step_and_pairs: tuple[int, Future[Pairs]]) -> Batch:
            step, pairs = step_and_pairs
            images, captions, names = maker.make(step, self._rows_of_part(pairs.result()))
            return Batch(images=images, captions=captions, names=names)

        steps = ((step, reader.submit(next, chosen)) for step in range(start_step, stop_step))
        made = map_ahead(make, steps, maker.threads, maker.threads + SPARE_BATCHES)
        try:
            for _ in range(start_step, stop_step):
                started = perf_counter()
                batch = next(made)
                self.wait_seconds += perf_counter() - started
                if maker.failure is not None:
                    raise maker.failure
                yield batch if send is None else batch._replace(images=send(batch.images))
        finally:
            maker.stop()
            reader.shutdown(cancel_futures=True)
            made.close()
            maker.close()

    def _start_maker(self) -> Maker:
        """What makes the batches: processes if there are any, otherwise threads."""
        which, parts = self.part
        seed = self.seed
        if parts > 1:  # otherwise row i of all parts would be varied alike
            seed = int(np.random.SeedSequence([self.seed, which]).generate_state(1)[0])
        recipe = Recipe(
            preprocess=self.prepare,
            seed=seed,
            augmentation=self.augmentation,
            tag_probability=self.tag_probability,
            skip_bad=self.skip_bad,
            normalise=self.backend == "numpy",
        )
        if not self.data_workers:
            return InThisProcess(self.threads, recipe, self.kept)
        return WorkerProcesses(self.data_workers, recipe, self.batch_size, self.kept)

    def _sender(self) -> Callable[[np.ndarray], Array] | None:
        """What brings the images of a batch, uint8, to a GPU as a model sees them."""
        if self.backend == "numpy":
            return None
        upload = Uploads(self.backend)
        mean, std = (
            move(np.array(colour, np.float32), self.backend)
            for colour in (self.prepare.mean, self.prepare.std)
        )

        def send(images: np.ndarray) -> Array:
            return to_model_input(upload(images), mean, std)

        return send

    def _rows_of_part(self, pairs: Pairs) -> Pairs:
        """The rows of a batch that belong to `part`."""
        which, parts = self.part
        if parts == 1:
            return pairs
        start, stop = (len(pairs) * bound // parts for bound in (which, which + 1))
        return pairs.select(list(range(start, stop)))


def load_images(
    pairs: Pairs, size: int, skip_bad: bool = False, preprocess: Preprocess | None = None
) -> tuple[np.ndarray, Pairs]:
    """All images as uint8 (N, size, size, 3), and their pairs.

    With skip_bad, only the readable images and their pairs. preprocess is as in
    `BatchLoader`.

    Raises DataError for an unreadable image, or with skip_bad only if all are
    unreadable. Some unreadable images make a warning that names them.

    >>> pairs = Pairs.from_arrays(np.zeros((2, 10, 6, 3), np.uint8), ["a cat", "a dog"])
    >>> images, same_pairs = load_images(pairs, size=4)
    >>> images.shape
    (2, 4, 4, 3)
    """
    from tqdm import tqdm  # here, since it takes 20 ms

    prepare = preprocess or training_preprocess(size)

    def load(row: int) -> Square:
        return load_square(pairs.sources[row], pairs.names[row], prepare, skip_bad)

    loading = map_ahead(load, range(len(pairs)), READING_THREADS, SQUARES_AHEAD)
    squares = list(tqdm(loading, "images", len(pairs), delay=BAR_SECONDS))
    readable = {row: square for row, square in enumerate(squares) if is_square(square)}
    causes = [square for square in squares if not is_square(square)]
    if not readable:
        raise DataError(f"none of the {len(pairs)} images is readable: {a_few(causes)}")
    if causes:
        warn(f"{len(causes)} unreadable images are left out: {a_few(causes)}", stacklevel=2)
    images = np.stack(list(readable.values()))  # (N, size, size, 3)
    return images, pairs.select(list(readable))

"""How do files become batches while the model computes?

A training step needs a batch of images as numbers. Decoding and resizing them takes
time, and the model would have to wait. So `BatchLoader` prepares the next few batches
in threads, while the model computes with the current one:

    pairs of a step --> squares (resized, uint8) --> augment --> normalise --> Batch
       one thread           several threads, a few batches ahead               the model

The batch of step s depends on the seed and on s alone. A run that resumes at step 5,000
sees what the uninterrupted run would have seen, and the number of threads changes
nothing.
"""

import functools
import itertools
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, TypeGuard
from warnings import warn

import numpy as np
from PIL import Image

from clip_np.data.augmentation import AUGMENTATIONS, Augmentation, augment, augment_caption
from clip_np.data.errors import DataError, a_few
from clip_np.data.images import opened, to_rgb
from clip_np.data.pairs import Pairs
from clip_np.data.preprocessing import Preprocess, training_preprocess
from clip_np.data.random_streams import AUGMENTATION_STREAM
from minigrad.threads import available_cores, map_ahead

CACHE_BYTES = 512 * 2**20
"""Decoded squares that a loader keeps: 512 MiB, 174,762 images of 32 x 32 pixels."""
SPARE_BATCHES = 2
"""Batches that are ready or in line, beyond those that the threads are making. They
keep the model busy while one batch takes longer than others."""
READING_THREADS = min(32, available_cores() + 4)
"""Threads of `load_images`: more than cores, because they also wait for the disk."""
SQUARES_AHEAD = 4 * READING_THREADS  # so that no thread waits for the slowest
BAR_SECONDS = 1.0
"""Loading that takes longer than this shows a progress bar."""


class Batch(NamedTuple):
    """What one training step needs of B pairs."""

    images: np.ndarray  # (B, 3, size, size) float32, normalised
    captions: list[str]
    names: list[str]


@dataclass(eq=False)
class BatchLoader:
    """Batches of augmented pairs, prepared by threads while the model computes.

    - size: width and height of the images in pixels.
    - batch_size: pairs in a batch; at most len(pairs) takes effect.
    - augmentation: how much they are varied. tag_probability: see `extra_words`.
    - skip_bad: leave unreadable images out. `skipped` maps their names to the causes.
    - workers: threads that decode.
    - preprocess: how images are prepared; None means `training_preprocess(size)`. They
      become RGB and upright before they are resized, whatever it says about that.

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
    workers: int = 2
    preprocess: Preprocess | None = None

    def __post_init__(self) -> None:
        if len(self.pairs) == 0:
            raise DataError("there are no image-caption pairs to make batches of")
        self.batch_size = min(self.batch_size, len(self.pairs))
        self.prepare = self.preprocess or training_preprocess(self.size)
        self.skipped: dict[str, str] = {}
        self.wait_seconds = 0.0
        self._squares: dict[str, np.ndarray | DataError] = {}

    def batches(self, start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        """The batches of steps start_step .. stop_step - 1, in order.

        Closing the iterator, or leaving its loop in any way, ends the threads. Raises
        DataError for an unreadable image, or with skip_bad for a batch that has no
        readable one.
        """
        stopping = threading.Event()
        chosen = self.pairs.batches(self.batch_size, self.seed, start_step, stop_step)
        # A stream must be read in order, so a single thread takes the pairs of the
        # steps.
        reader = ThreadPoolExecutor(1)

        def make(step_and_pairs: tuple[int, Future[Pairs]]) -> Batch:
            step, pairs = step_and_pairs
            return self._make_batch(step, pairs.result(), stopping)

        steps = ((step, reader.submit(next, chosen)) for step in range(start_step, stop_step))
        ahead = self.workers + SPARE_BATCHES
        made = map_ahead(make, steps, self.workers, ahead)
        try:
            for _ in range(start_step, stop_step):
                started = perf_counter()
                batch = next(made)
                self.wait_seconds += perf_counter() - started
                yield batch
        finally:
            stopping.set()  # nobody wants the rest of the batches that are being made
            reader.shutdown(cancel_futures=True)
            made.close()

    def _make_batch(self, step: int, pairs: Pairs, stopping: threading.Event) -> Batch:
        """The batch of one step, made in a thread, cut short once `stopping` is set."""
        squares = {}
        for row in range(len(pairs)):
            if not stopping.is_set():
                squares[row] = self._square(pairs, row)
        readable = {row: square for row, square in squares.items() if is_square(square)}
        if not readable:
            causes = list(squares.values())
            raise DataError(f"step {step}: no image is readable: {a_few(causes)}")
        rng = np.random.default_rng([self.seed, AUGMENTATION_STREAM, step])
        pairs = pairs.select(list(readable))
        images = np.stack(list(readable.values()))  # (B, size, size, 3)
        images = augment(images, rng, self.augmentation)
        captions = [
            augment_caption(caption, tags, rng, self.augmentation, self.tag_probability)
            for caption, tags in zip(pairs.captions, pairs.tags or itertools.repeat(None))
        ]
        return Batch(
            images=self.prepare.normalise(images), captions=captions, names=list(pairs.names)
        )

    def _square(self, pairs: Pairs, row: int) -> np.ndarray | DataError:
        """Image `row` as `load_square` returns it; kept if there is room."""
        name = pairs.names[row]
        if name in self._squares:
            return self._squares[name]
        square = load_square(pairs, self.prepare, self.skip_bad, row)
        if isinstance(square, DataError):
            self.skipped[name] = str(square)
        kept_bytes = len(self._squares) * self.size**2 * 3
        if self.pairs.repeats and kept_bytes < CACHE_BYTES:
            self._squares[name] = square
        return square


def load_square(
    pairs: Pairs, preprocess: Preprocess, skip_bad: bool, row: int
) -> np.ndarray | DataError:
    """Image `row`, RGB and resized to the square: uint8 (size, size, 3).

    Raises DataError if it cannot be read, or with `skip_bad` returns it.
    """

    def square(image: Image.Image) -> np.ndarray:
        return np.asarray(preprocess.square(to_rgb(image)))

    size = preprocess.size

    source = pairs.sources[row]
    if isinstance(source, np.ndarray) and source.shape[:2] == (size, size):
        return source
    return opened(source, pairs.names[row], square, skip_bad)


def is_square(square: np.ndarray | DataError) -> TypeGuard[np.ndarray]:
    """Whether `load_square` returned an image, and not an error."""
    return isinstance(square, np.ndarray)


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
    load = functools.partial(load_square, pairs, prepare, skip_bad)
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

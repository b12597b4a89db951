"""Chapter 26: how do files become batches while the model computes?

A model wants float arrays of one size; files hold pictures of any size. Between them lie
*geometry* (resize the shorter side to n pixels, cut out the centre square), *variation* (stretch
and shift each square, add words to its caption, a little and at random, so that a small set lasts
longer) and *normalisation* (CLIP's mean and standard deviation per colour;
Radford et al. 2021, arXiv:2103.00020). `BatchLoader` does this in threads, a few batches ahead of
the model. The batch of step s depends on the seed and s alone: a run that resumes at step 5,000
sees what the uninterrupted run would have seen.
"""

import functools
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import NamedTuple
from warnings import warn

import numpy as np
from PIL import Image
from tqdm import tqdm

from clip_np.data.pairs import DataError, Pairs, a_few, opened, to_rgb

Colour = tuple[float, float, float]
MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
STD: Colour = (0.26862954, 0.26130258, 0.27577711)
CACHE_BYTES = 512 * 2**20  # decoded squares that a loader keeps
BAR_SECONDS = 1.0  # loading that takes longer shows a bar


@dataclass(frozen=True)
class Preprocess:
    """Callable: PIL image -> float32 (3, size, size), normalised, as a CLIP model expects it."""

    size: int
    convert_first: bool = False  # become RGB (and upright) before resizing, not after the crop
    mean: Colour = MEAN
    std: Colour = STD

    def __call__(self, image: Image.Image) -> np.ndarray:
        if not isinstance(image, Image.Image):
            raise TypeError(f"expected a PIL image (PIL.Image.open), got {type(image).__name__}")
        square = resize_and_crop(to_rgb(image) if self.convert_first else image, self.size)
        pixels = np.asarray(square.convert("RGB"))[np.newaxis]  # (1, size, size, 3)
        return to_model_input(pixels, self.mean, self.std)[0]


# The pipelines of the published models and of the models trained here, both called with a size.
preprocess = Preprocess
training_preprocess = functools.partial(Preprocess, convert_first=True)


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels (bicubic) and cut out the centre square."""
    width, height = (int(size * side / min(image.size)) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def load_square(pairs: Pairs, size: int, skip_bad: bool, row: int) -> np.ndarray | DataError:
    """Image `row` as uint8 (size, size, 3). An error is raised, or with `skip_bad` returned."""

    def square(image: Image.Image) -> np.ndarray:
        return np.asarray(resize_and_crop(to_rgb(image), size))

    source = pairs.sources[row]
    if isinstance(source, np.ndarray) and source.shape[:2] == (size, size):
        return source
    return opened(source, pairs.names[row], square, skip_bad)


def to_model_input(images: np.ndarray, mean: Colour = MEAN, std: Colour = STD) -> np.ndarray:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), less the mean of each colour and over its std."""
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")  # (B, 3, H, W)
    pixels /= 255
    pixels -= np.array(mean, np.float32)[:, np.newaxis, np.newaxis]
    pixels /= np.array(std, np.float32)[:, np.newaxis, np.newaxis]
    return pixels


def augment(
    images: np.ndarray, rng: np.random.Generator, shift: int, zoom: float = 0.0
) -> np.ndarray:
    """Vary each image of a batch on its own: uint8 (B, H, W, 3) -> the same shape and dtype. Each
    is stretched by factors from exp(-zoom) to exp(zoom), one for each axis, and moves by at most
    `shift` whole pixels both ways; edge pixels fill the gap."""
    if shift == zoom == 0:
        return images
    batch, height, width, _ = images.shape
    scale = np.exp(rng.uniform(-zoom, zoom, size=(2, batch, 1)))
    offset = rng.integers(-shift, shift + 1, size=(2, batch, 1))
    # Where each row and each column of the new image is taken from: (B, H) and (B, W).
    rows, columns = (
        np.rint((np.arange(n) - (n - 1) / 2) / scale[i] + (n - 1) / 2 + offset[i])
        .clip(0, n - 1)
        .astype(np.int64)
        for i, n in enumerate((height, width))
    )
    which = np.arange(batch)[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)


def extra_words(caption: str, tags: str, rng: np.random.Generator, probability: float = 0.3) -> str:
    """With this probability, `caption` and one to three of its `tags` (words or phrases separated
    by commas), joined by ", ", but none that occurs in the caption."""
    if rng.random() >= probability:
        return caption
    phrases = dict.fromkeys(tag.strip() for tag in tags.split(","))
    new = [phrase for phrase in phrases if phrase.lower() not in caption.lower()]
    return ", ".join([caption, *rng.permutation(new)[: rng.integers(1, 4)]])


class Batch(NamedTuple):
    """images: float32 (B, 3, size, size), normalised; captions and names: B texts."""

    images: np.ndarray
    captions: list[str]
    names: list[str]


@dataclass(eq=False)
class BatchLoader:
    """Batches of augmented pairs, prepared by threads while the model computes.

    size: side of the images in pixels. batch_size: at most len(pairs) takes effect. shift, zoom:
    see `augment`; tag_probability: see `extra_words`. skip_bad: leave unreadable images out, and
    put their names and the causes into `skipped`. `wait_seconds`: how long the consumer waited."""

    pairs: Pairs
    size: int
    batch_size: int
    seed: int
    shift: int
    zoom: float
    tag_probability: float
    skip_bad: bool = False
    workers: int = 2

    def __post_init__(self) -> None:
        if len(self.pairs) == 0:
            raise DataError("there are no image-caption pairs to make batches of")
        self.batch_size = min(self.batch_size, len(self.pairs))
        self.skipped: dict[str, str] = {}
        self.wait_seconds = 0.0
        self._squares: dict[str, np.ndarray | DataError] = {}

    def batches(self, start_step: int, stop_step: int) -> Iterator[Batch]:
        """The batches of steps start_step .. stop_step - 1, in order.

        Closing the iterator, or leaving its loop in any way, ends the threads. Raises DataError
        for an unreadable image (with skip_bad: for a batch that has no readable one)."""
        stopping = threading.Event()
        source = self.pairs.batches(self.batch_size, self.seed, start_step, stop_step)
        # One thread takes pairs from the source, in the order of the steps; others decode them.
        reader = ThreadPoolExecutor(1, thread_name_prefix="clip-read")
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="clip-batch")
        # Lazy: a batch is handed to the pool when islice takes it, so few exist at a time.
        futures = (
            pool.submit(self._make, step, reader.submit(next, source), stopping)
            for step in range(start_step, stop_step)
        )
        try:
            pending = deque(islice(futures, self.workers + 2))
            while pending:
                started = perf_counter()
                batch = pending.popleft().result()
                self.wait_seconds += perf_counter() - started
                pending.extend(islice(futures, 1))
                yield batch
        finally:
            stopping.set()
            reader.shutdown(cancel_futures=True)
            pool.shutdown(cancel_futures=True)

    def _make(self, step: int, source: Future, stopping: threading.Event) -> Batch:
        """The batch of one step, in a worker thread; nobody wants it once `stopping`."""
        pairs = source.result()
        rows = range(len(pairs))
        squares = [self._square(pairs, row) for row in rows if not stopping.is_set()]
        kept = [row for row, square in enumerate(squares) if isinstance(square, np.ndarray)]
        if not kept:
            raise DataError(f"step {step}: no image is readable: {a_few(squares)}")
        rng, chosen = np.random.default_rng([self.seed, 2, step]), pairs.select(kept)
        images = np.stack([squares[row] for row in kept])  # (B, size, size, 3)
        images, captions = augment(images, rng, self.shift, self.zoom), chosen.captions
        if chosen.tags is not None:
            tagged = zip(captions, chosen.tags)
            captions = [extra_words(*pair, rng, self.tag_probability) for pair in tagged]
        return Batch(to_model_input(images), captions, chosen.names)

    def _square(self, pairs: Pairs, row: int) -> np.ndarray | DataError:
        """Image `row` as `load_square` gives it, now or when it was first asked for."""
        name = pairs.names[row]
        if name in self._squares:
            return self._squares[name]
        square = load_square(pairs, self.size, self.skip_bad, row)
        if isinstance(square, DataError):
            self.skipped[name] = str(square)
        if self.pairs.repeats and len(self._squares) * self.size**2 * 3 < CACHE_BYTES:
            self._squares[name] = square
        return square


def load_images(pairs: Pairs, size: int, skip_bad: bool = False) -> tuple[np.ndarray, Pairs]:
    """All images as uint8 (N, size, size, 3), and their pairs: with skip_bad, the readable ones.
    DataError for an unreadable image, but with skip_bad only where all are."""
    load = functools.partial(load_square, pairs, size, skip_bad)
    with ThreadPoolExecutor(thread_name_prefix="clip-load") as pool:
        loading = pool.map(load, range(len(pairs)))  # an error cancels what has not begun
        squares = list(tqdm(loading, "images", len(pairs), delay=BAR_SECONDS))
    rows = [row for row, square in enumerate(squares) if isinstance(square, np.ndarray)]
    causes = [square for square in squares if isinstance(square, DataError)]
    if not rows:
        raise DataError(f"none of the {len(pairs)} images is readable: {a_few(causes)}")
    if causes:
        warn(f"{len(causes)} unreadable images are left out: {a_few(causes)}", stacklevel=2)
    return np.stack([squares[row] for row in rows]), pairs.select(rows)  # (N, size, size, 3)

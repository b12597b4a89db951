"""Chapter 21: how do files become batches while the model computes?

A model wants float arrays of one size; files hold pictures of any size. Between them lie three
steps. *Geometry*: the shorter side is resized to n pixels and the centre n x n square cut out
(`resize_and_crop`). *Variation*: in training every square is shifted, its colours changed and
some words added to its caption, a little and at random, so that a small set lasts longer
(`augment`, `extra_words`). *Normalisation*: CLIP's mean and standard deviation per colour
(`to_model_input`; Radford et al. 2021, arXiv:2103.00020, and its published code).

`BatchLoader` does all of this in threads, a few batches ahead of the model. The batch of step s
depends on the seed and s alone: a training run that resumes at step 5,000 sees what the
uninterrupted run would have seen, whatever the number of threads.
"""

import math
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple
from warnings import warn

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from tqdm import tqdm

from clip_np.readers import DataError, a_few, to_rgb

if TYPE_CHECKING:
    from clip_np.data import Pairs

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)
CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Preprocess:
    """Callable: PIL image -> float32 (3, size, size), normalised, as a CLIP model expects it.

    convert_first: become RGB before resizing (and upright), rather than after the crop.
    """

    size: int
    convert_first: bool

    def __call__(self, image: Image.Image) -> np.ndarray:
        if not isinstance(image, Image.Image):
            raise TypeError(f"expected a PIL image (PIL.Image.open), got {type(image).__name__}")
        square = resize_and_crop(to_rgb(image) if self.convert_first else image, self.size)
        pixels = np.asarray(square.convert("RGB"))[np.newaxis]  # (1, size, size, 3)
        return to_model_input(pixels)[0]


def preprocess(size: int) -> Preprocess:
    """The pipeline of the published models: RGB last (palettes are not interpolated), no EXIF."""
    return Preprocess(size, convert_first=False)


def training_preprocess(size: int) -> Preprocess:
    """The pipeline of models trained here: the same geometry, but RGB and upright first."""
    return Preprocess(size, convert_first=True)


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels (bicubic) and cut out the centre square.

    Raises DataError for an image so elongated that the resized one would not fit in memory.
    """
    width, height = image.size
    shorter = min(width, height)
    width, height = int(size * width / shorter), int(size * height / shorter)
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise DataError(f"{image.width}x{image.height} pixels are too elongated: crop the image")
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def load_square(pairs: "Pairs", row: int, size: int) -> np.ndarray:
    """Image `row` as uint8 (size, size, 3). Raises DataError naming the file."""
    image = pairs.open_image(row)
    try:
        return np.asarray(resize_and_crop(image, size))
    except DataError as error:
        raise DataError(f"{pairs.names[row]}: {error}") from error


def to_model_input(images: np.ndarray) -> np.ndarray:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), with CLIP's mean taken off and over its std."""
    channels_first = images.transpose(0, 3, 1, 2)  # (B, 3, H, W)
    pixels = np.ascontiguousarray(channels_first).astype(np.float32)
    pixels /= 255
    pixels -= MEAN[:, np.newaxis, np.newaxis]
    pixels /= STD[:, np.newaxis, np.newaxis]
    return pixels


def augment(
    images: np.ndarray, rng: np.random.Generator, shift: int, colour_jitter: float
) -> np.ndarray:
    """Vary each image of a batch on its own: uint8 (B, H, W, 3) -> the same shape and dtype.

    Each moves by at most `shift` whole pixels both ways (its edge pixels fill the gap). Factors
    from 1 - colour_jitter .. 1 + colour_jitter change brightness, contrast and saturation.
    """
    batch, height, width, _ = images.shape
    if shift:
        padding = ((0, 0), (shift, shift), (shift, shift), (0, 0))
        padded = np.pad(images, padding, mode="edge")  # (B, H + 2 shift, W + 2 shift, 3)
        windows = sliding_window_view(padded, (height, width), axis=(1, 2))
        down, right = rng.integers(0, 2 * shift + 1, size=(2, batch))  # (B,) each
        images = windows[np.arange(batch), down, right].transpose(0, 2, 3, 1)  # (B, H, W, 3)
    if colour_jitter:
        factors = rng.uniform(1 - colour_jitter, 1 + colour_jitter, size=(3, batch, 1, 1, 1))
        images = _change_colours(images, *factors.astype(np.float32))
    return images


def _change_colours(
    images: np.ndarray, brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray
) -> np.ndarray:
    """Change colours by factors (B, 1, 1, 1) each; images are uint8 (B, H, W, 3).

    Saturation s blends a pixel x with its grey g, s x + (1 - s) g. Contrast c blends the result
    with the image's mean grey m, and brightness b multiplies all. Blending with grey changes no
    grey, so the three are one linear map:  b c s x + b (c (1 - s) g + (1 - c) m).
    """
    channels_first = images.transpose(0, 3, 1, 2)  # (B, 3, H, W)
    colours = np.ascontiguousarray(channels_first).astype(np.float32)
    red, green, blue = np.split(colours, 3, axis=1)  # (B, 1, H, W) each
    grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    mean = grey.mean(axis=(2, 3), keepdims=True)  # (B, 1, 1, 1)
    colours *= brightness * contrast * saturation
    grey *= brightness * contrast * (1 - saturation)
    grey += brightness * (1 - contrast) * mean + np.float32(0.5)  # so that uint8 rounds
    colours += grey
    np.clip(colours, 0, 255, out=colours)
    return colours.astype(np.uint8).transpose(0, 2, 3, 1)  # (B, H, W, 3)


def extra_words(caption: str, tags: str, rng: np.random.Generator, probability: float = 0.3) -> str:
    """With this probability, `caption` and one to three of its `tags`, joined by ", ".

    tags: words or phrases separated by commas. Those that the caption has already are left out.
    """
    if rng.random() >= probability:
        return caption
    said = _as_words(caption)
    phrases = dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip())
    new = [phrase for phrase in phrases if _as_words(phrase) not in said]
    chosen = rng.permutation(len(new))[: rng.integers(1, 4)]
    return ", ".join([caption, *(new[index] for index in chosen)])


def _as_words(text: str) -> str:
    """The words of `text` in lower case between blanks, so that `in` compares whole words."""
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


class Batch(NamedTuple):
    """images: float32 (B, 3, size, size), normalised; captions: B texts; rows: int64 (B,)."""

    images: np.ndarray
    captions: list[str]
    rows: np.ndarray


def rows_of_steps(
    length: int, batch_size: int, seed: int, start_step: int, stop_step: int
) -> Iterator[np.ndarray]:
    """The rows (batch_size,) of each step: full batches cut from one shuffled epoch after another.

    A batch that straddles two epochs must not hold a row twice (in the loss, an image's own
    caption would count as a wrong one), so rows that end the old epoch are moved back in the
    new one. Thus an epoch depends on the one before it; but a new chain begins wherever an
    epoch begins with a batch, every `period` epochs.
    """
    period = batch_size // math.gcd(length, batch_size)
    first_epoch = start_step * batch_size // length // period * period
    skip = start_step * batch_size - first_epoch * length
    left = np.empty(0, dtype=np.int64)  # rows from the next batch on
    epochs = count(first_epoch)
    for _ in range(start_step, stop_step):
        while len(left) < skip + batch_size:
            tail = left[len(left) - len(left) % batch_size :]
            skip -= len(left) - len(tail)
            shuffled = np.random.default_rng([seed, 1, next(epochs)]).permutation(length)
            head = shuffled[~np.isin(shuffled, tail)][: (batch_size - len(tail)) % batch_size]
            rest = shuffled[~np.isin(shuffled, head)]
            left = np.concatenate([tail, head, rest])
        yield left[skip : skip + batch_size]
        left, skip = left[skip + batch_size :], 0


@dataclass(eq=False)
class BatchLoader:
    """Batches of augmented pairs, prepared by threads while the model computes.

    size: side of the images in pixels. batch_size: lowered to len(pairs) where it exceeds it.
    shift, colour_jitter: see `augment`. tag_probability: see `extra_words`. Squares are kept
    after they were first decoded where the whole split fits in 512 MiB.

    skip_bad: leave an unreadable image out of its batch, and put its name and the cause into
    `skipped`; otherwise it raises DataError. `wait_seconds` adds up how long the consumer
    waited for batches: much of it means that loading, not computing, sets the pace.
    """

    pairs: "Pairs"
    size: int
    batch_size: int
    seed: int
    shift: int
    colour_jitter: float
    tag_probability: float
    skip_bad: bool = False
    workers: int = 2
    skipped: dict[str, str] = field(default_factory=dict, init=False)
    wait_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if len(self.pairs) == 0:
            raise DataError("there are no image-caption pairs to make batches of")
        for name in ("size", "batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        self.batch_size = min(self.batch_size, len(self.pairs))
        fits = len(self.pairs) * self.size**2 * 3 <= CACHE_BYTES
        shape = (len(self.pairs) if fits else 0, self.size, self.size, 3)
        self._squares = np.empty(shape, dtype=np.uint8)
        self._decoded = np.zeros(len(self._squares), dtype=bool)

    def batches(self, start_step: int, stop_step: int) -> Iterator[Batch]:
        """The batches of steps start_step .. stop_step - 1, in order.

        Closing the iterator, or leaving its loop in any way, ends the threads. Raises DataError
        for an unreadable image (with skip_bad: for a batch that has no readable one).
        """
        stopping = threading.Event()
        rows = rows_of_steps(len(self.pairs), self.batch_size, self.seed, start_step, stop_step)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="clip-batch")
        # Lazy: a batch is handed to the pool when islice takes it, so few exist at a time.
        futures = (
            pool.submit(self._make, step, step_rows, stopping)
            for step, step_rows in enumerate(rows, start_step)
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
            pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, step: int, rows: np.ndarray, stopping: threading.Event) -> Batch | None:
        """The batch of one step, in a worker thread; None where it is no longer wanted."""
        squares, kept = [], []
        for row in rows.tolist():
            if stopping.is_set():
                return None
            square = self._square(row)
            if square is not None:
                squares.append(square)
                kept.append(row)
        if not kept:
            names = a_few([self.pairs.names[row] for row in rows])
            raise DataError(f"step {step}: none of its {len(rows)} images is readable: {names}")
        rng = np.random.default_rng([self.seed, 2, step])
        images = augment(np.stack(squares), rng, self.shift, self.colour_jitter)
        captions = [self.pairs.captions[row] for row in kept]
        if self.pairs.tags is not None:
            tags = [self.pairs.tags[row] for row in kept]
            chance = self.tag_probability
            captions = [extra_words(*both, rng, chance) for both in zip(captions, tags)]
        return Batch(to_model_input(images), captions, np.array(kept, dtype=np.int64))

    def _square(self, row: int) -> np.ndarray | None:
        """Image `row` as uint8 (size, size, 3), decoded or remembered; None where skipped."""
        keep = len(self._squares) > 0
        if keep and self._decoded[row]:
            return self._squares[row]
        if self.pairs.names[row] in self.skipped:
            return None
        try:
            square = load_square(self.pairs, row, self.size)
        except DataError as error:
            if not self.skip_bad:
                raise
            name = self.pairs.names[row]
            self.skipped[name] = str(error).removeprefix(f"{name}: ")
            return None
        if keep:
            # Two threads may do this for the same row at once: both write the same pixels.
            self._squares[row] = square
            self._decoded[row] = True
        return square


def load_images(
    pairs: "Pairs", size: int, skip_bad: bool = False, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """All images as uint8 (N, size, size, 3), and the rows int64 (N,) they come from.

    Raises DataError for an unreadable image. skip_bad: leave it out, with a warning that names
    a few; then N is less than len(pairs), and at least 1. progress: show a bar.
    """
    images = np.empty((len(pairs), size, size, 3), dtype=np.uint8)
    causes: dict[int, str] = {}

    def load(first: int) -> int:
        rows = range(first, min(first + 16, len(pairs)))
        for row in rows:
            try:
                images[row] = load_square(pairs, row, size)
            except DataError as error:
                if not skip_bad:
                    raise
                causes[row] = str(error)
        return len(rows)

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="clip-load")
    try:
        with tqdm(desc="images", total=len(pairs), disable=not progress) as bar:
            for loaded in pool.map(load, range(0, len(pairs), 16)):
                bar.update(loaded)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if not causes:
        return images, np.arange(len(pairs))
    skipped = f"{len(causes)} of {len(pairs)} images are unreadable: {a_few(list(causes.values()))}"
    if len(causes) == len(pairs):
        raise DataError(skipped)
    warn(f"{skipped}. They are left out.", stacklevel=2)
    kept = np.setdiff1d(np.arange(len(pairs)), list(causes))
    return images[kept], kept

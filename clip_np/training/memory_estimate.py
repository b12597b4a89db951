"""How much memory will a training need?

Five things take nearly all of it, in bytes:

    weights        4 for each, 2 for those that are stored as float16
    gradients      4 for each weight that learns
    moments        8 for each weight that learns: AdamW keeps two means
    activations    what the way forward leaves behind for the way back
    batches        images that are ready, and decoded squares that are kept

Activations depend on the encoder, and are the one part that nobody can read off the
sizes. So they are measured: one sample, then three samples, pass through the encoder
and back, and `tracemalloc` counts the bytes at the peak. The difference is that of two
samples, in which gradients and other things that do not grow with the batch cancel. A
frozen encoder has no way back. It needs what one layer needs.

With `shards` above the number of threads, a step keeps the activations of one piece for
each thread; otherwise those of the whole batch (batch_gradient.py). In the first case
each thread also gathers gradients of its own, for one encoder after the other. The walk
back hands over the gradients of a piece when it is through, so that there are two sets
for each thread: the sum of the pieces before, and the newest piece's. `tracemalloc`
confirms it: for ViT-B/32 in 8 pieces on 2 threads the peak beyond weights and moments
is 2.07 GiB, of which 1.30 lie in the arenas of the threads (minigrad/memory.py).

While a checkpoint is written, there are copies of weights and moments, and there are no
activations. The larger of the two counts. Python, NumPy and the libraries are not
counted (about 100 MiB), nor is what the allocator keeps for later.
"""

import itertools
import math
import os
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.data import CACHE_BYTES, Pairs
from clip_np.encoders import Encoder, is_frozen
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.options import TrainingOptions
from minigrad.half import HalfParameter
from minigrad.memory import Arena, using
from minigrad.nn import Parameter
from minigrad.threads import blas_threads, count_workers

MIB, GIB = 2**20, 2**30
FLOAT_BYTES = 4
HALF_BYTES = 2
MOMENTS = 2  # of AdamW
READY_BATCHES = 4
"""Batches that the loader has ready or in the making: two and two (batches.py)."""

FEW, MORE = 1, 3
"""Samples of the two measurements."""

MEASURED_CAPTIONS = 1000
"""Captions whose mean length is that of a usual one."""


class MemoryNeed(NamedTuple):
    """What a training needs, in bytes, by what needs it.

    >>> need = MemoryNeed(
    ...     weights=600, gradients=600, moments=1200, activations=5000, batches=30
    ... )
    >>> need.step, need.saving, need.total
    (7430, 3630, 7430)
    """

    weights: int
    gradients: int
    moments: int
    activations: int
    batches: int

    @property
    def step(self) -> int:
        """While a step is taken."""
        return sum(self)

    @property
    def saving(self) -> int:
        """While a checkpoint is written, from copies of weights and moments."""
        return 2 * (self.weights + self.moments) + self.batches

    @property
    def total(self) -> int:
        """The larger of the two."""
        return max(self.step, self.saving)

    def __str__(self) -> str:
        unit, name = (GIB, "GiB") if self.total >= GIB else (MIB, "MiB")
        parts = ", ".join(f"{part} {value / unit:.2f}" for part, value in self._asdict().items())
        return f"{self.total / unit:.2f} {name} ({parts})"


def memory_need(
    model: CLIP,
    batch_size: int,
    shards: int,
    workers: int,
    caption_length: int,
    kept_bytes: int = 0,
) -> MemoryNeed:
    """What a training of this model needs.

    caption_length is that of a usual caption in tokens, kept_bytes what the loader
    keeps of decoded images. The model computes with a few samples, and stays as it is.

    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> sizes = {"workers": 1, "caption_length": 8}
    >>> whole = memory_need(model, batch_size=64, shards=1, **sizes)
    >>> parts = memory_need(model, batch_size=64, shards=8, **sizes)
    >>> 7 < whole.activations / parts.activations < 9
    True
    """
    parameters = model.parameters()
    learning = sum(parameter.size for parameter in parameters if parameter.requires_grad)
    config = model.config
    size = config.vision.image_size
    inputs = {
        "vision": np.zeros((MORE, 3, size, size), np.float32),
        "text": _captions(model, caption_length),
    }
    recomputed = shards > workers
    piece = -(-batch_size // shards) * workers if recomputed else batch_size  # rounded up
    activations = 0  # of all threads
    for name, encoder in model.encoders.items():
        of_a_sample = activation_bytes(encoder, inputs[name])
        # A thread that turns from one encoder to the other has the buffers of both.
        activations += of_a_sample * min(piece, batch_size)
    sizes = [
        0 if is_frozen(encoder) else sum(parameter.size for parameter in encoder.parameters())
        for encoder in model.encoders.values()
    ]
    gradients = learning  # with one piece, each encoder is in one thread
    if recomputed:
        gradients = max(learning, _gathered_gradients(sizes, workers))
    elif shards > 1:  # those of every thread but one wait until they are added up
        gradients += (workers - 1) * max(sizes)
    batch_bytes = batch_size * 3 * size**2 * FLOAT_BYTES
    return MemoryNeed(
        weights=sum(_stored_bytes(parameter) for parameter in parameters),
        gradients=gradients * FLOAT_BYTES,
        moments=learning * FLOAT_BYTES * MOMENTS,
        activations=activations,
        batches=READY_BATCHES * batch_bytes + kept_bytes,
    )


def _gathered_gradients(sizes: list[int], workers: int) -> int:
    """How many gradients there are at most, if each thread has several pieces.

    sizes are those of the encoders, in the order in which a thread turns to them. With
    W threads, sizes a and then b, the most there is at once is

        W a             of the last piece, complete only at the end of its way back
        W a or a        of the pieces before, of each thread, or all added up
        (W - 1) b or W b    of the threads that have turned to the next encoder
    """
    most = finished = 0
    for size, following in itertools.pairwise([*sizes, 0]):
        before_the_last = workers * size + (workers - 1) * following
        after_the_last = size + workers * following
        most = max(most, finished + workers * size + max(before_the_last, after_the_last))
        finished += size
    return most


def memory_of_run(
    model: CLIP, tokenizer: TokenizerProtocol, pairs: Pairs, options: TrainingOptions
) -> MemoryNeed:
    """`memory_need` for a run with these options, on these pairs."""
    some = list(pairs.captions[:MEASURED_CAPTIONS])
    size = model.config.vision.image_size
    batch_size = min(options.batch_size, len(pairs))
    return memory_need(
        model=model,
        batch_size=batch_size,
        shards=min(options.shards, batch_size),
        workers=count_workers(model.logit_scale.data, options.workers),
        caption_length=math.ceil(tokenizer.lengths(some).mean()),
        kept_bytes=min(CACHE_BYTES, len(pairs) * 3 * size**2) if pairs.repeats else 0,
    )


def _captions(model: CLIP, length: int) -> np.ndarray:
    """Rows of token ids of this length, (MORE, length)."""
    config = model.config.text
    length = max(2, min(length, config.context_length))
    tokens = np.ones((MORE, length), np.int64)
    end = config.eos_token_id if config.eos_token_id is not None else config.vocab_size - 1
    tokens[:, -1] = end
    return tokens


def _stored_bytes(parameter: Parameter) -> int:
    """What a parameter takes while nobody uses it."""
    is_half = isinstance(parameter, HalfParameter)
    return parameter.size * (HALF_BYTES if is_half else FLOAT_BYTES)


def activation_bytes(encoder: Encoder, inputs: np.ndarray) -> int:
    """What one of three samples needs on the way forward and back, measured.

    Buffers, such as the running means of batch norms, are put back.
    """
    return max(0, _peak(encoder, inputs[:MORE]) - _peak(encoder, inputs[:FEW])) // (MORE - FEW)


def _peak(encoder: Encoder, inputs: np.ndarray) -> int:
    """The most bytes that are there at once on the way forward and back."""
    buffers = {id(buffer): (buffer, buffer.data.copy()) for buffer in _buffers(encoder)}
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        with using(Arena()), blas_threads(1):
            features = encoder(inputs)
            if features.requires_grad:
                parameters = [p for p in encoder.parameters() if p.requires_grad]
                root = (features, np.ones(features.shape, np.float32))
                mg.backward_into([root], parameters, _forget)
                del root
            del features
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
        for buffer, data in buffers.values():
            buffer.data = data
    return peak - before


def _forget(position: int, gradient: np.ndarray) -> None:
    """What becomes of a gradient that nobody wants."""


def _buffers(encoder: Encoder) -> list:
    named = getattr(encoder, "named_buffers", None)
    return [] if named is None else [buffer for _, buffer in named()]


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """The memory that programs may still take on this machine; None if unknown.

    Linux says it in /proc/meminfo. Elsewhere the whole memory stands for it, if the
    system names that.

    >>> (available_bytes() or 2**40) > 2**20
    True
    """
    try:
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, and systems without the names
        return None


def memory_message(need: MemoryNeed, available: int | None) -> str:
    """What is said before a run starts.

    >>> need = MemoryNeed(
    ...     weights=GIB, gradients=GIB, moments=2 * GIB, activations=0, batches=0
    ... )
    >>> memory_message(need, available=8 * GIB)
    'needs about 6.00 GiB (weights 1.00, ...) of the 8.00 GiB that are free'
    >>> need = need._replace(weights=0, gradients=0, moments=0, batches=3 * MIB)
    >>> memory_message(need, available=None)
    'needs about 3.00 MiB (weights 0.00, ... batches 3.00)'
    """
    message = f"needs about {need}"
    if available is None:
        return message
    message += f" of the {available / GIB:.2f} GiB that are free"
    if need.total > available:
        message += (
            ": that is more than there is. Less is needed with more `shards`, a smaller "
            "`batch_size`, or an encoder that `freeze` names"
        )
    return message

"""How does every core help to encode a batch, if nothing has to be learned from it?

Samples do not meet inside most encoders. So the batch is cut into as many chunks as
there are cores. A thread for each chunk encodes it, and the features are put together
again. With two cores:

    images (B, 3, S, S)  ->  B/2 images  ->  features (B/2, E)  ->  features (B, E)
                             B/2 images  ->  features (B/2, E)

This works because NumPy lets other threads run while it computes. Each thread keeps the
memory of its intermediate results in a separate arena (minigrad/memory.py) and uses one
thread of BLAS.

An encoder whose samples do meet, such as a ResNet that is not in `eval` mode, encodes
the whole batch. While operations are recorded, the batch stays whole, too, because a
tape belongs to one thread. A training step shares out its work in another way
(clip_np/training).
"""

import contextlib
from itertools import pairwise

import numpy as np

import minigrad as mg
from clip_np.encoders.protocol import Encoder
from minigrad.backend import Array
from minigrad.memory import Arena, using
from minigrad.recording import is_recording
from minigrad.threads import blas_threads, count_workers, parallel_map


def encode_on_all_cores(
    encoder: Encoder, inputs: Array | mg.Tensor, workers: int | None = None
) -> mg.Tensor:
    """encoder(inputs), shared among the cores if no tape is recorded: -> (B, E).

    workers: how many cores there are; None means those of this process. With 1, another
    process may use the others, so BLAS has one thread, too.
    """
    weights = encoder.parameters()[0].data
    pieces = min(count_workers(weights, workers), len(inputs))
    if is_recording() or pieces < 2 or encoder.mixes_samples():
        with blas_threads(workers) if workers else contextlib.nullcontext():
            return encoder(inputs)

    def encode(chunk: slice) -> Array:
        with using(Arena()):
            return encoder(inputs[chunk]).data

    bounds = np.linspace(0, len(inputs), pieces + 1).astype(int).tolist()
    chunks = [slice(start, stop) for start, stop in pairwise(bounds)]
    with blas_threads(1):
        features = parallel_map(encode, chunks, pieces)
    return mg.tensor(np.concatenate(features))  # (B, E)

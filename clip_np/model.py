"""Chapter 19: how do images and captions learn to meet?

CLIP is two encoders and one loss. Each encoder gives a vector; vectors are scaled to length 1,
so that their product is the cosine of the angle between them. In a batch of N pairs there are
N^2 such cosines, of which N belong together. Read each row of the table as a multiple choice,
"which caption belongs to this image?", and each column likewise:

    S = exp(logit_scale) * I T^T                            (N, N)
    loss = (cross_entropy(rows of S, 0..N-1) + cross_entropy(columns of S, 0..N-1)) / 2

The factor exp(logit_scale) is learned; a cosine lies in [-1, 1], and a softmax over such numbers
could never be sure of anything. It starts at 1/0.07 and is held below 100. A model that knows
nothing has a loss of ln N. The gradient is what one would guess: dL/dS = (row softmax +
column softmax - 2 * identity) / 2N.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020, figure 3; van den Oord et al. 2018, arXiv:1807.03748 (InfoNCE).
"""

import math
from itertools import pairwise

import numpy as np

import minigrad as mg
from clip_np.encoders import CLIPConfig, TextTransformer, VisionTransformer
from clip_np.losses import MAX_LOGIT_SCALE, similarity_logits
from minigrad.backend import Array, array_module
from minigrad.memory import Arena, using
from minigrad.nn import Module, Parameter
from minigrad.tensor import is_recording
from minigrad.threads import available_cores, blas_threads, parallel_map


class CLIP(Module):
    """Both encoders and the temperature; `rng` draws the initial numbers (None: to be loaded)."""

    def __init__(self, config: CLIPConfig, rng: np.random.Generator | None) -> None:
        self.config = config
        self.vision = VisionTransformer(config.vision, config.embed_dim, rng)
        self.text = TextTransformer(config.text, config.embed_dim, rng)
        self.logit_scale = Parameter(np.asarray(math.log(1.0 / 0.07), np.float32))
        self.arenas: list[Arena] = []  # memory that the training step uses again

    def encode_image(self, images: Array | mg.Tensor) -> mg.Tensor:
        """Images (B, 3, S, S) -> features (B, embed_dim), not normalised."""
        return _on_all_cores(self.vision, images)

    def encode_text(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """Token ids (B, T) -> features (B, embed_dim), not normalised."""
        return _on_all_cores(self.text, tokens)

    def forward(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor
    ) -> tuple[mg.Tensor, mg.Tensor]:
        """logits_per_image (images, captions) and its transpose logits_per_text."""
        features = self.encode_image(images), self.encode_text(tokens)
        logits = similarity_logits(*features, self.logit_scale)
        return logits, logits.T

    def attention_maps(self, images: Array | mg.Tensor) -> mg.Tensor:
        """How the image's tokens look at each other: (layers, B, heads, T, T)."""
        return self.vision.attention_maps(images)

    def clamp_temperature(self) -> None:
        """Hold logit_scale within [0, ln 100], as published; called after every step."""
        scale = self.logit_scale.data
        array_module(scale).clip(scale, 0.0, MAX_LOGIT_SCALE, out=scale)


def _on_all_cores(encoder: Module, inputs: Array | mg.Tensor) -> mg.Tensor:
    """encoder(inputs); without a tape, each core of a CPU takes a part of the batch."""
    workers = min(available_cores(), len(inputs))
    on_host = isinstance(encoder.parameters()[0].data, np.ndarray)
    if is_recording() or workers < 2 or not on_host:
        return encoder(inputs)
    bounds = np.linspace(0, len(inputs), workers + 1).astype(int).tolist()

    def encode(part: slice) -> Array:
        with using(Arena()):
            return encoder(inputs[part]).data

    with blas_threads(1):
        parts = parallel_map(encode, [slice(*ends) for ends in pairwise(bounds)], workers)
    return mg.tensor(np.concatenate(parts))  # (B, E)

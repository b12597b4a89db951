"""How do images and captions learn to meet?

CLIP is two encoders and one loss. Each encoder turns its input into a vector of the
same width:

    images    (B, 3, S, S)  ->  vision  ->  (B, E)
    captions  (B, T)        ->  text    ->  (B, E)

Training moves the vector of an image towards the vector of its caption, and away from
the vectors of the other captions in the batch (clip_np/losses). Nothing else
connects the encoders. After training, the product of two vectors says how well a
caption fits an image. So a class is a caption, and a search is a matrix product.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, figure 1.
"""

import dataclasses
from typing import Any, Self

import numpy as np

import minigrad as mg
from clip_np.encoders import CLIPConfig, Encoder, build_encoders, encode_on_all_cores, is_frozen
from clip_np.losses import INITIAL_LOGIT_SCALE, INITIAL_SIGMOID_LOGIT_SCALE, similarity_logits
from minigrad.backend import Array
from minigrad.nn import Module, Parameter


class CLIP(Module):
    """Both encoders and the temperature.

    A model for the sigmoid loss also has logit_bias. It exists only if the
    configuration names one.

    rng draws the initial weights. With None they are left unfilled, for weights that
    are loaded next.
    """

    def __init__(self, config: CLIPConfig, rng: np.random.Generator | None) -> None:
        self.config = config
        encoders = build_encoders(config, rng)
        self.vision: Any = encoders["vision"]
        self.text: Any = encoders["text"]
        has_bias = config.logit_bias is not None
        scale = INITIAL_SIGMOID_LOGIT_SCALE if has_bias else INITIAL_LOGIT_SCALE
        self.logit_scale = Parameter(np.asarray(scale, np.float32))
        if has_bias:
            self.logit_bias = Parameter(np.asarray(config.logit_bias, np.float32))

    @property
    def encoders(self) -> dict[str, Encoder]:
        """Both encoders by name."""
        return {"vision": self.vision, "text": self.text}

    def encode_image(self, images: Array | mg.Tensor) -> mg.Tensor:
        """Images (B, 3, S, S) -> features (B, embed_dim), not normalised."""
        return encode_on_all_cores(self.vision, images)

    def encode_text(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """Token ids (B, T) -> features (B, embed_dim), not normalised."""
        return encode_on_all_cores(self.text, tokens)

    def freeze(self, encoder: str) -> None:
        """Let this encoder, "vision" or "text", keep its weights from now on.

        Its parameters require no gradient, so a training step makes no graph for it.
        And it stays in `eval` mode, in which batch norms do not learn either.

        >>> from clip_np.encoders import PRESETS
        >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
        >>> model.freeze("vision")
        >>> model.train().vision.training, model.text.training
        (False, True)
        """
        for parameter in self.encoders[encoder].parameters():
            parameter.requires_grad = False
        self.train(self.training)

    def train(self, on: bool = True) -> Self:
        """As `Module.train`, but a frozen encoder stays in `eval` mode."""
        super().train(on)
        for encoder in (self.vision, self.text):
            if is_frozen(encoder):
                encoder.eval()
        return self

    def forward(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor
    ) -> tuple[mg.Tensor, mg.Tensor]:
        """logits_per_image (images, captions) and its transpose, logits_per_text.

        They are cosines times the temperature, for a softmax over captions or images.
        With the sigmoid loss, a pair belongs together with the probability
        `mg.sigmoid(logits + model.logit_bias)`.
        """
        image_features = self.encode_image(images)
        text_features = self.encode_text(tokens)
        logits = similarity_logits(image_features, text_features, self.logit_scale)
        return logits, logits.T

    def resize(self, image_size: int) -> None:
        """See images of another size from now on, in pixels a side.

        What the vision encoder learned for places in the image is resized with them
        (clip_np/encoders/position_grids.py). Call it before an optimizer is made.
        ValueError for a size that the encoder cannot have.
        """
        self.vision.resize(image_size)
        self.config = dataclasses.replace(self.config, vision=self.vision.config)

    def attention_maps(self, images: Array | mg.Tensor) -> mg.Tensor:
        """How the tokens of an image look at each other: (layers, B, heads, T, T).

        T = 1 + N: the token that is read comes first, then the N patches, row by row.
        A ResNet has the map of its attention pool alone, in which only the mean token
        asks: (1, B, heads, 1, T). So `maps[:, :, :, 0, 1:]` is, for both, how much the
        token that is read looks at the N patches.
        """
        return self.vision.attention_maps(images)

    def text_attention_maps(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """How the tokens of captions look at each other: (layers, B, heads, T, T).

        Row i of a map is what token i takes from each token. It sums to 1.

        >>> from clip_np.encoders import PRESETS
        >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
        >>> maps = model.text_attention_maps(np.array([[512, 72, 73, 513]]))
        >>> maps.shape, maps.numpy().sum(axis=-1).round(5).min() == 1
        ((3, 1, 4, 4, 4), np.True_)
        """
        return self.text.attention_maps(tokens)

"""Which encoder does a configuration describe?

A configuration has a `kind`. The two tables here map kinds to encoders. A new kind of
encoder is a new file with a class as in protocol.py, a configuration, and a line in one
of these tables:

    class NewEncoder(Module):
        def __init__(self, config, embed_dim, rng): ...   parameters drawn from rng
        def shapes(config, embed_dim): ...                static: their names and shapes
        def forward(self, inputs): ...                    the features (B, embed_dim)
        def lengths(self, inputs): ...
        def cost(self, length): ...
        def resize(self, image_size): ...                 a vision encoder: other images

clip_np/weights/sizes.py has such a table, too: it reads the sizes of a published model
from its arrays.
"""

from typing import Any

import numpy as np

from clip_np.encoders.bert import BertEncoder
from clip_np.encoders.config import CLIPConfig
from clip_np.encoders.protocol import Encoder
from clip_np.encoders.resnet import ResNet
from clip_np.encoders.text import TextTransformer
from clip_np.encoders.vit import VisionTransformer

VISION_ENCODERS: dict[str, Any] = {"vit": VisionTransformer, "resnet": ResNet}
TEXT_ENCODERS: dict[str, Any] = {"gpt": TextTransformer, "bert": BertEncoder}
"""The kind of an encoder -> its class."""


def encoder_classes(config: CLIPConfig) -> dict[str, Any]:
    """The classes of both encoders by name, "vision" and "text".

    >>> from clip_np.encoders import PRESETS
    >>> encoder_classes(PRESETS["tiny"])["text"].__name__
    'TextTransformer'
    """
    return {"vision": VISION_ENCODERS[config.vision.kind], "text": TEXT_ENCODERS[config.text.kind]}


def build_encoders(config: CLIPConfig, rng: np.random.Generator | None) -> dict[str, Encoder]:
    """Both encoders by name, with weights drawn from rng, the vision encoder's first.

    With None for rng the weights are left unfilled.

    >>> from clip_np.encoders import PRESETS
    >>> encoders = build_encoders(PRESETS["tiny"], np.random.default_rng(0))
    >>> encoders["vision"](np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 64)
    """
    return {
        name: encoder(getattr(config, name), config.embed_dim, rng)
        for name, encoder in encoder_classes(config).items()
    }

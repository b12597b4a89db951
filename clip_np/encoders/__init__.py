"""A batch becomes vectors: the encoders of images and of captions.

    images    (B, 3, S, S)  ->  VisionTransformer or ResNet  ->  features (B, E)
    captions  (B, T) ids    ->  TextTransformer              ->  features (B, E)

A configuration says which kind they are of and how large they are; PRESETS holds the
usual ones, and kinds.py has the table of kinds. The two transformers are stacks of the
same block (transformer.py). They read one row of its result (pooled.py). A ResNet is a
stack of convolutions (resnet.py). `BertEncoder` is another text encoder, in which
tokens see those after them, too (bert.py). `Encoder` is what the
rest of the program needs to know of them. Their names are ENCODERS, "vision" and
"text". Features are not normalised.

>>> import numpy as np
>>> config = PRESETS["tiny"]
>>> rng = np.random.default_rng(0)
>>> vision = VisionTransformer(config.vision, config.embed_dim, rng)
>>> vision(np.zeros((2, 3, 32, 32), np.float32)).shape
(2, 64)
"""

from clip_np.encoders.all_cores import encode_on_all_cores
from clip_np.encoders.bert import BertEncoder, PostNormBlock
from clip_np.encoders.config import (
    ACTIVATIONS,
    ENCODERS,
    HEAD_WIDTH,
    TEXT_KINDS,
    VISION_KINDS,
    AnyVisionConfig,
    CLIPConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionConfig,
)
from clip_np.encoders.kinds import TEXT_ENCODERS, VISION_ENCODERS, build_encoders, encoder_classes
from clip_np.encoders.pooled import pooled_block, pooled_transformer
from clip_np.encoders.presets import PRESETS, choose_encoders, has_vision_encoder
from clip_np.encoders.protocol import Encoder, is_frozen
from clip_np.encoders.resnet import AttentionPool, Bottleneck, ResNet
from clip_np.encoders.sentences import SentenceEncoder
from clip_np.encoders.shapes import ParameterShape
from clip_np.encoders.text import TextTransformer
from clip_np.encoders.transformer import (
    MLP,
    Block,
    InitialSpread,
    MultiHeadAttention,
    Transformer,
    openai_spread,
)
from clip_np.encoders.vit import VisionTransformer

__all__ = [
    "ACTIVATIONS",
    "ENCODERS",
    "HEAD_WIDTH",
    "MLP",
    "PRESETS",
    "TEXT_ENCODERS",
    "TEXT_KINDS",
    "VISION_ENCODERS",
    "VISION_KINDS",
    "AnyVisionConfig",
    "AttentionPool",
    "BertEncoder",
    "Block",
    "Bottleneck",
    "CLIPConfig",
    "Encoder",
    "InitialSpread",
    "MultiHeadAttention",
    "ParameterShape",
    "PostNormBlock",
    "ResNet",
    "ResNetConfig",
    "SentenceEncoder",
    "TextConfig",
    "TextTransformer",
    "Transformer",
    "TransformerConfig",
    "VisionConfig",
    "VisionTransformer",
    "build_encoders",
    "choose_encoders",
    "encode_on_all_cores",
    "encoder_classes",
    "has_vision_encoder",
    "is_frozen",
    "openai_spread",
    "pooled_block",
    "pooled_transformer",
]

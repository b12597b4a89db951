"""encoders."""

from clip_np.encoders.config import (
    ACTIVATIONS,
    HEAD_WIDTH,
    PRESETS,
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from clip_np.encoders.text import TextTransformer
from clip_np.encoders.transformer import MLP, Block, MultiHeadAttention, Transformer
from clip_np.encoders.vit import VisionTransformer

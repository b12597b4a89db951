"""encoders."""

from clip_np.encoders.all_cores import encode_on_all_cores
from clip_np.encoders.config import (
    ACTIVATIONS,
    HEAD_WIDTH,
    PRESETS,
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from clip_np.encoders.protocol import Encoder
from clip_np.encoders.text import TextTransformer
from clip_np.encoders.transformer import MLP, Block, MultiHeadAttention, Transformer
from clip_np.encoders.vit import VisionTransformer

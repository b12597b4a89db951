"""A small model that was not trained, and pairs for its explorer."""

import json
import re
from typing import NamedTuple

import numpy as np

from clip_np import CLIP, CLIPConfig, TextConfig, VisionConfig
from clip_np.data import Pairs, Preprocess, shapes, training_preprocess
from clip_np.encoders import ResNetConfig
from clip_np.evaluation import AnyTokenizer
from clip_np.tokens import Tokenizer, WordPieceTokenizer

VISIONS = {
    "vit": VisionConfig(image_size=32, patch_size=8, width=16, layers=2, heads=2),
    "resnet": ResNetConfig(image_size=32, width=8, layers=(1, 1), heads=2),
}
TEXTS = {
    "gpt": {"layers": 2, "heads": 2},
    "bert-mean": {"layers": 2, "heads": 2, "kind": "bert", "pooling": "mean"},
    "bert-cls": {"layers": 2, "heads": 2, "kind": "bert", "pooling": "cls"},
}


class Small(NamedTuple):
    """What `explore` gets."""

    model: CLIP
    preprocess: Preprocess
    tokenizer: AnyTokenizer
    pairs: Pairs


def small(vision: str = "vit", text: str = "gpt", count: int = 9) -> Small:
    """A model of random weights, and drawings of shapes."""
    images, captions = shapes.training_pairs(count, np.random.default_rng(0))
    kind = WordPieceTokenizer if text.startswith("bert") else Tokenizer
    tokenizer = kind.train(captions, vocab_size=560)
    config = CLIPConfig(
        embed_dim=12,
        vision=VISIONS[vision],
        text=TextConfig(tokenizer.vocab_size, tokenizer.context_length, width=16, **TEXTS[text]),
    ).for_tokenizer(tokenizer)
    model = CLIP(config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for parameter in model.parameters():  # so that attention is not even
        parameter.data[...] += rng.normal(0.0, 0.2, parameter.shape)
    pairs = Pairs.from_arrays(images, captions)
    return Small(model, training_preprocess(32), tokenizer, pairs)


def data_of_page(text: str) -> dict:
    """The numbers and words in a page's JSON."""
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert block is not None
    data: dict = json.loads(block[1])
    return data

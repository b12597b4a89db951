"""What is measured: model sizes and batches, the same for every side."""

from dataclasses import dataclass, replace

import numpy as np

from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig, choose_encoders


@dataclass(frozen=True)
class Setting:
    """A model, and a batch of pairs with captions of shortest..longest tokens."""

    config: CLIPConfig
    batch: int
    shortest: int
    longest: int
    train: bool = True
    shards: int = 1  # pieces of the batch that are in memory one after the other (ours only)

    def data(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Images (B, 3, S, S) of noise; ids (B, T): words, an end token, zeros."""
        rng = np.random.default_rng(seed)
        size, text = self.config.vision.image_size, self.config.text
        images = rng.standard_normal((self.batch, 3, size, size), dtype=np.float32)
        tokens = rng.integers(1, text.vocab_size - 1, (self.batch, text.context_length))
        lengths = rng.integers(self.shortest, self.longest + 1, self.batch)
        tokens[np.arange(self.batch), lengths - 1] = text.vocab_size - 1
        tokens[np.arange(text.context_length) >= lengths[:, None]] = 0
        return images, tokens


def _square(size: int, patch: int, width: int, vocabulary: int, context: int) -> CLIPConfig:
    """Two encoders of one width, with 4 blocks and 4 heads each."""
    return CLIPConfig(
        embed_dim=width,
        vision=VisionConfig(image_size=size, patch_size=patch, width=width, layers=4, heads=4),
        text=TextConfig(
            vocab_size=vocabulary, context_length=context, width=width, layers=4, heads=4
        ),
    )


def _tiny(vision: str | None = None) -> CLIPConfig:
    """The model of examples/train_tiny.py, with the tokenizer that it learns."""
    config = choose_encoders("tiny", vision=vision)
    return replace(config, text=replace(config.text, vocab_size=599, context_length=12))


def _setting(config: CLIPConfig, batch: int, train: bool = True) -> Setting:
    """Captions from half of the context to all of it."""
    context = config.text.context_length
    return Setting(config, batch, shortest=context // 2, longest=context, train=train)


SETTINGS = {
    "micro": _setting(_square(size=32, patch=8, width=64, vocabulary=500, context=16), batch=64),
    "base32": _setting(_square(size=32, patch=4, width=128, vocabulary=512, context=32), batch=128),
    "tiny": Setting(_tiny(), batch=160, shortest=9, longest=12),
    "tutorial": _setting(PRESETS["tutorial"], batch=32),
    "ViT-B/32": _setting(PRESETS["ViT-B/32"], batch=8),
    "ViT-B/32-short": Setting(PRESETS["ViT-B/32"], batch=8, shortest=8, longest=23),
    "RN50": _setting(PRESETS["RN50"], batch=8),
    "resnet-tiny": Setting(_tiny("resnet"), batch=128, shortest=9, longest=12),
    "ViT-B/32-inference": _setting(PRESETS["ViT-B/32"], batch=16, train=False),
}


def resized(setting: Setting, quantity: str, value: int) -> Setting:
    """The setting with another batch, image size in pixels or context length."""
    if quantity == "batch":
        return replace(setting, batch=value)
    config = setting.config
    if quantity == "image":
        vision = replace(config.vision, image_size=value)
        return replace(setting, config=replace(config, vision=vision))
    text = replace(config.text, context_length=value)
    return replace(setting, config=replace(config, text=text), shortest=value // 2, longest=value)

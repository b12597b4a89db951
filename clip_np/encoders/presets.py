"""Which sizes does a CLIP usually have?

PRESETS names the sizes used in this project and the sizes of the published models. A
training run may replace one of a preset's encoders by another kind of the same size:
`choose_encoders` does this, from the two tables OTHER_..._ENCODERS.

Radford et al. 2021, arXiv:2103.00020, tables 19 and 20.
"""

import dataclasses
from collections.abc import Collection, Sequence

from clip_np.encoders.config import (
    TEXT_KINDS,
    VISION_KINDS,
    AnyVisionConfig,
    CLIPConfig,
    ResNetConfig,
    TextConfig,
    VisionConfig,
)
from clip_np.tokens import PUBLISHED_CONTEXT_LENGTH, PUBLISHED_VOCABULARY_SIZE
from clip_np.tokens.ids import SMALLEST_VOCABULARY_SIZE

GPT2_VOCABULARY_SIZE = 50_257  # Radford et al. 2019, section 2.3

# The text encoders that the published models of each size share.
BASE_TEXT = TextConfig(
    vocab_size=PUBLISHED_VOCABULARY_SIZE,
    context_length=PUBLISHED_CONTEXT_LENGTH,
    width=512,
    layers=12,
    heads=8,
)
MIDDLE_TEXT = TextConfig(
    vocab_size=PUBLISHED_VOCABULARY_SIZE,
    context_length=PUBLISHED_CONTEXT_LENGTH,
    width=640,
    layers=12,
    heads=10,
)
LARGE_TEXT = TextConfig(
    vocab_size=PUBLISHED_VOCABULARY_SIZE,
    context_length=PUBLISHED_CONTEXT_LENGTH,
    width=768,
    layers=12,
    heads=12,
)

PRESETS: dict[str, CLIPConfig] = {
    "tiny": CLIPConfig(
        embed_dim=64,
        vision=VisionConfig(image_size=32, patch_size=8, width=64, layers=3, heads=4),
        text=TextConfig(
            vocab_size=SMALLEST_VOCABULARY_SIZE,
            context_length=PUBLISHED_CONTEXT_LENGTH,
            width=64,
            layers=3,
            heads=4,
        ),
    ),
    "small": CLIPConfig(
        embed_dim=128,
        vision=VisionConfig(image_size=32, patch_size=8, width=128, layers=3, heads=4),
        text=TextConfig(
            vocab_size=SMALLEST_VOCABULARY_SIZE,
            context_length=PUBLISHED_CONTEXT_LENGTH,
            width=128,
            layers=2,
            heads=4,
        ),
    ),
    "tutorial": CLIPConfig(
        embed_dim=256,
        vision=VisionConfig(image_size=224, patch_size=16, width=512, layers=3, heads=4),
        text=TextConfig(
            vocab_size=GPT2_VOCABULARY_SIZE, context_length=16, width=256, layers=3, heads=4
        ),
    ),
    "ViT-B/32": CLIPConfig(
        embed_dim=512,
        vision=VisionConfig(image_size=224, patch_size=32, width=768, layers=12, heads=12),
        text=BASE_TEXT,
    ),
    "ViT-B/16": CLIPConfig(
        embed_dim=512,
        vision=VisionConfig(image_size=224, patch_size=16, width=768, layers=12, heads=12),
        text=BASE_TEXT,
    ),
    "ViT-L/14": CLIPConfig(
        embed_dim=768,
        vision=VisionConfig(image_size=224, patch_size=14, width=1024, layers=24, heads=16),
        text=LARGE_TEXT,
    ),
    "ViT-L/14@336px": CLIPConfig(
        embed_dim=768,
        vision=VisionConfig(image_size=336, patch_size=14, width=1024, layers=24, heads=16),
        text=LARGE_TEXT,
    ),
    "RN50": CLIPConfig(
        embed_dim=1024, vision=ResNetConfig(image_size=224, width=64), text=BASE_TEXT
    ),
    "RN101": CLIPConfig(
        embed_dim=512,
        vision=ResNetConfig(image_size=224, width=64, layers=(3, 4, 23, 3)),
        text=BASE_TEXT,
    ),
    "RN50x4": CLIPConfig(
        embed_dim=640,
        vision=ResNetConfig(image_size=288, width=80, layers=(4, 6, 10, 6)),
        text=MIDDLE_TEXT,
    ),
}


def as_bert(text: TextConfig) -> TextConfig:
    """A BERT with the sizes of another text encoder.

    >>> as_bert(PRESETS["tiny"].text).width
    64
    """
    return TextConfig(
        kind="bert",
        vocab_size=text.vocab_size,
        context_length=text.context_length,
        width=text.width,
        layers=text.layers,
        heads=text.heads,
    )


# An image of 32 pixels has room for two stages. They leave 4 x 4 positions, as many as
# the vision transformer of the same preset has patches.
OTHER_VISION_ENCODERS: dict[str, dict[str, AnyVisionConfig]] = {
    "resnet": {
        "tiny": ResNetConfig(image_size=32, width=16, layers=(1, 1), heads=4),
        "small": ResNetConfig(image_size=32, width=32, layers=(1, 1), heads=4),
    }
}
OTHER_TEXT_ENCODERS: dict[str, dict[str, TextConfig]] = {
    "bert": {preset: as_bert(PRESETS[preset].text) for preset in ("tiny", "small")}
}
"""Kind of encoder -> preset -> the encoder that can take the place of the preset's."""


def choose_encoders(preset: str, vision: str | None = None, text: str | None = None) -> CLIPConfig:
    """The preset, with encoders of other kinds where they are asked for.

    `vision` is one of VISION_KINDS, `text` one of TEXT_KINDS; None keeps the preset's.
    ValueError if the preset has no encoder of this kind.

    >>> choose_encoders("tiny", vision="vit") == PRESETS["tiny"]
    True
    """
    config = PRESETS[preset]
    if vision is not None and vision != config.vision.kind:
        visions = OTHER_VISION_ENCODERS.get(vision, {})
        _require_preset("vision", vision, VISION_KINDS, preset, visions)
        config = dataclasses.replace(config, vision=visions[preset])
    if text is not None and text != config.text.kind:
        texts = OTHER_TEXT_ENCODERS.get(text, {})
        _require_preset("text", text, TEXT_KINDS, preset, texts)
        config = dataclasses.replace(config, text=texts[preset])
    return config


def has_vision_encoder(preset: str, vision: str) -> bool:
    """Whether the preset's vision encoder can be one of this kind.

    >>> has_vision_encoder("small", "resnet"), has_vision_encoder("ViT-B/32", "resnet")
    (True, False)
    """
    return vision == PRESETS[preset].vision.kind or preset in OTHER_VISION_ENCODERS.get(vision, {})


def _require_preset(
    name: str, kind: str, kinds: Sequence[str], preset: str, presets: Collection[str]
) -> None:
    """ValueError unless the kind exists and the preset is one of those that have it."""
    if kind not in kinds:
        raise ValueError(f"`{name}` must be one of {', '.join(kinds)}, got {kind!r}")
    if preset not in presets:
        raise ValueError(
            f"preset {preset!r} has no {name} encoder of kind {kind!r}; "
            f"these presets have one: {', '.join(presets)}"
        )

"""Chapter 15: which numbers define a CLIP?

A model is described by three small records: the size of the image encoder, that of the text
encoder, and the width of the space in which the two meet. PRESETS names the sizes used in
this project and those of the published models (Radford et al. 2021, arXiv:2103.00020, table
20). A preset's vocabulary and context length are replaced by those of the tokenizer it is
trained with: `config.for_tokenizer(tokenizer)`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIVATIONS = ("quick_gelu", "gelu")
HEAD_WIDTH = 64  # of the published models: heads = width / 64


def _check_sizes(config: Any) -> None:
    """ValueError unless every whole number of the record is positive."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_size = field.type is int or field.name == "mlp_width"
        if is_size and (type(value) is not int or value < 1):
            owner = type(config).__name__
            raise ValueError(f"{owner}: {field.name} must be a positive integer, got {value!r}")


def _complete(config: Any) -> None:
    """Fill in mlp_width; ValueError for sizes that no encoder can have."""
    if config.mlp_width is None:
        object.__setattr__(config, "mlp_width", 4 * config.width)
    _check_sizes(config)
    name = type(config).__name__
    if config.width % config.heads:
        raise ValueError(f"{name}: width {config.width} is no multiple of {config.heads} heads")
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"{name}: activation {config.activation!r} is none of {ACTIVATIONS}")
    end = getattr(config, "eos_token_id", None)
    if end is not None and type(end) is not int:
        raise ValueError(f"{name}: eos_token_id must be None or an integer, got {end!r}")


@dataclass(frozen=True)
class VisionConfig:
    """A vision transformer: image_size and patch_size in pixels; mlp_width None is 4 * width."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int | None = None
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        _complete(self)
        if self.image_size % self.patch_size:
            sizes = f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            raise ValueError(f"VisionConfig: {sizes}")

    @property
    def n_tokens(self) -> int:
        """How many tokens an image becomes: its patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True)
class TextConfig:
    """A causal text transformer. eos_token_id None: the end token is each row's highest id."""

    vocab_size: int
    context_length: int
    width: int
    layers: int
    heads: int
    mlp_width: int | None = None
    activation: str = "quick_gelu"
    eos_token_id: int | None = None

    __post_init__ = _complete


@dataclass(frozen=True)
class CLIPConfig:
    """Both encoders and embed_dim, the width of the space in which they meet."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig

    __post_init__ = _check_sizes

    def for_tokenizer(self, tokenizer: Any) -> "CLIPConfig":
        """The same sizes with the tokenizer's vocabulary and context length."""
        known = {name: getattr(tokenizer, name) for name in ("vocab_size", "context_length")}
        return dataclasses.replace(self, text=dataclasses.replace(self.text, **known))

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and numbers, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "CLIPConfig":
        """The inverse of `to_dict`; ValueError for missing, unknown or impossible entries."""
        try:
            towers = VisionConfig(**record["vision"]), TextConfig(**record["text"])
            return cls(record["embed_dim"], *towers)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a model configuration: {error}") from None


# Until a trained tokenizer is known, the vocabulary of one that spells all words in bytes.
_BYTES, _PUBLISHED = (514, 77), (49408, 77)


def _preset(embed_dim: int, vision: tuple[int, ...], text: tuple[int, ...]) -> CLIPConfig:
    return CLIPConfig(embed_dim, VisionConfig(*vision), TextConfig(*text))


# name: embed_dim, (image_size, patch_size, width, layers, heads),
#       (vocab_size, context_length, width, layers, heads)
PRESETS: dict[str, CLIPConfig] = {
    "tiny": _preset(64, (32, 8, 64, 3, 4), (*_BYTES, 64, 3, 4)),
    "small": _preset(128, (32, 8, 128, 3, 4), (*_BYTES, 128, 2, 4)),
    "tutorial": _preset(256, (224, 16, 512, 3, 4), (50257, 16, 256, 3, 4)),
    "ViT-B/32": _preset(512, (224, 32, 768, 12, 12), (*_PUBLISHED, 512, 12, 8)),
    "ViT-B/16": _preset(512, (224, 16, 768, 12, 12), (*_PUBLISHED, 512, 12, 8)),
    "ViT-L/14": _preset(768, (224, 14, 1024, 24, 16), (*_PUBLISHED, 768, 12, 12)),
    "ViT-L/14@336px": _preset(768, (336, 14, 1024, 24, 16), (*_PUBLISHED, 768, 12, 12)),
}

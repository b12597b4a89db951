"""Which numbers define a CLIP?

A model is described by three small configurations: the sizes of the vision encoder, the
sizes of the text encoder, and the width of the space in which the two meet. They are
checked when they are made and never change afterwards.

PRESETS names the sizes used in this project and the sizes of the published models
(Radford et al. 2021, arXiv:2103.00020, table 20). A model is trained with the
vocabulary of its tokenizer: `config.for_tokenizer(tokenizer)` puts it in place of the
preset's vocabulary.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clip_np.tokens import PUBLISHED_CONTEXT_LENGTH, PUBLISHED_VOCABULARY_SIZE, Tokenizer
from clip_np.tokens.ids import SMALLEST_VOCABULARY_SIZE

ENCODERS = ("vision", "text")  # the names of the two encoders everywhere
ACTIVATIONS = ("quick_gelu", "gelu")
HEAD_WIDTH = 64  # numbers in one attention head of the published models: heads = width / 64
MLP_RATIO = 4  # the usual width of a block's perceptron, in widths of the block
GPT2_VOCABULARY_SIZE = 50_257  # Radford et al. 2019, section 2.3


@dataclass(frozen=True)
class VisionConfig:
    """A vision transformer; image_size and patch_size are in pixels.

    >>> config = VisionConfig(224, patch_size=32, width=768, layers=12, heads=12)
    >>> config.mlp_width
    3072
    >>> config.n_tokens  # 7 x 7 patches and the class token
    50
    """

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int = None  # type: ignore[assignment]  # `_fill_mlp_width` replaces it
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        _check_positive(self, "image_size", "patch_size", "width", "layers", "heads")
        _fill_mlp_width(self)
        _check_transformer(self)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"VisionConfig: image_size {self.image_size} is not a multiple of "
                f"patch_size {self.patch_size}"
            )

    @property
    def n_tokens(self) -> int:
        """How many tokens an image becomes: its patches and the class token."""
        patches_a_side = self.image_size // self.patch_size
        return patches_a_side**2 + 1


@dataclass(frozen=True)
class TextConfig:
    """A text transformer in which a token sees itself and those before it.

    eos_token_id is the id of the end token. None means that the end token is the
    highest id of each caption, as in OpenAI's vocabulary.
    """

    vocab_size: int
    context_length: int
    width: int
    layers: int
    heads: int
    mlp_width: int = None  # type: ignore[assignment]  # `_fill_mlp_width` replaces it
    activation: str = "quick_gelu"
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "vocab_size", "context_length", "width", "layers", "heads")
        _fill_mlp_width(self)
        _check_transformer(self)
        end = self.eos_token_id
        if end is not None and not (type(end) is int and 0 <= end < self.vocab_size):
            raise ValueError(
                f"TextConfig: eos_token_id must be None or one of the {self.vocab_size} ids, "
                f"got {end!r}"
            )


TransformerConfig = VisionConfig | TextConfig
"""Whatever has a width, layers, heads, an mlp_width and an activation."""


@dataclass(frozen=True)
class CLIPConfig:
    """Both encoders and embed_dim, the width of the space in which they meet."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig

    def __post_init__(self) -> None:
        _check_positive(self, "embed_dim")

    def for_tokenizer(self, tokenizer: Tokenizer) -> Self:
        """The same sizes with the tokenizer's vocabulary and context length."""
        text = dataclasses.replace(
            self.text, vocab_size=tokenizer.vocab_size, context_length=tokenizer.context_length
        )
        return dataclasses.replace(self, text=text)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and numbers, for JSON.

        >>> PRESETS["tiny"].to_dict()["vision"]["mlp_width"]
        256
        """
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        ValueError for missing, unknown or impossible settings.

        >>> CLIPConfig.from_dict(PRESETS["tiny"].to_dict()) == PRESETS["tiny"]
        True
        """
        try:
            return cls(
                embed_dim=settings["embed_dim"],
                vision=VisionConfig(**settings["vision"]),
                text=TextConfig(**settings["text"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a model configuration: {error}") from None


def _fill_mlp_width(config: TransformerConfig) -> None:
    """Set mlp_width to MLP_RATIO * width if it was not passed.

    A default that depends on another field is only known once all fields are set. The
    class is frozen, so the assignment goes past its __setattr__. Afterwards mlp_width
    is always an int.
    """
    if config.mlp_width is None:
        object.__setattr__(config, "mlp_width", MLP_RATIO * config.width)


def _check_positive(config: TransformerConfig | CLIPConfig, *names: str) -> None:
    """ValueError unless the named sizes are positive whole numbers."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise ValueError(
                f"{type(config).__name__}: {name} must be a positive integer, got {value!r}"
            )


def _check_transformer(config: TransformerConfig) -> None:
    """ValueError for sizes that no transformer can have."""
    _check_positive(config, "mlp_width")
    name = type(config).__name__
    if config.width % config.heads:
        raise ValueError(f"{name}: width {config.width} is not a multiple of {config.heads} heads")
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"{name}: activation {config.activation!r} is none of {ACTIVATIONS}")


# The text encoders that the published models of each size share.
BASE_TEXT = TextConfig(
    vocab_size=PUBLISHED_VOCABULARY_SIZE,
    context_length=PUBLISHED_CONTEXT_LENGTH,
    width=512,
    layers=12,
    heads=8,
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
}

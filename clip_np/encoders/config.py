"""Which numbers define a CLIP?

A model is described by three small configurations: the sizes of the vision encoder, the
sizes of the text encoder, and the width of the space in which the two meet. They are
checked when they are made and never change afterwards.

There is more than one kind of encoder. Each kind has a name, `kind`, by which files
and the command line ask for it. kinds.py builds the encoder that a configuration
describes, and presets.py has the usual sizes. A model is trained with the vocabulary of
its tokenizer: `config.for_tokenizer(tokenizer)` puts it in place of the preset's
vocabulary.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from clip_np.tokens import TokenizerProtocol

ENCODERS = ("vision", "text")  # the names of the two encoders everywhere
TEXT_KINDS = ("gpt", "bert")  # the kinds of text encoders, the usual one first
ACTIVATIONS = ("quick_gelu", "gelu")
HEAD_WIDTH = 64  # numbers in one attention head of the published models: heads = width / 64
MLP_RATIO = 4  # the usual width of a block's perceptron, in widths of the block
EXPANSION = 4  # the width of what leaves a bottleneck, in widths of the bottleneck
MOST_STAGES = 8  # of a ResNet: the images of a ninth would have a thousand pixels a side
STEM_REDUCTION = 4  # pixels along a side that are one position behind the stem of a ResNet
POOLINGS = ("mean", "cls")  # how BERT's rows become one: their mean, or the first one

TEXT_DEFAULTS: dict[str, dict[str, Any]] = {
    "gpt": {"activation": "quick_gelu"},
    "bert": {
        "activation": "gelu",
        "pooling": "mean",
        "n_segments": 2,
        "pad_token_id": 0,
        "norm_eps": 1e-12,
    },
}
"""The kind of a text encoder -> settings that hold if nobody chooses.

GPT's is OpenAI's. BERT's are those of its published files (Devlin et al. 2018), except
pooling: the mean of the tokens is what Reimers and Gurevych 2019, arXiv:1908.10084,
measured to be best. Settings that a kind does not list here, it does not have."""


@dataclass(frozen=True)
class VisionConfig:
    """A vision transformer; image_size and patch_size are in pixels.

    >>> config = VisionConfig(224, patch_size=32, width=768, layers=12, heads=12)
    >>> config.mlp_width
    3072
    >>> config.n_tokens  # 7 x 7 patches and the class token
    50
    """

    kind: ClassVar[str] = "vit"
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
class ResNetConfig:
    """A residual network of convolutions; image_size is in pixels.

    layers has the number of bottlenecks in each stage. width is that of the first
    stage's bottlenecks; each stage doubles it, and halves the sides of the image. So
    four stages make a position of 32 x 32 pixels, and features_width is 32 * width.
    heads are those of the attention pool. None means heads of HEAD_WIDTH numbers.

    >>> config = ResNetConfig(224, width=64)
    >>> config.layers, config.features_width, config.heads
    ((3, 4, 6, 3), 2048, 32)
    >>> config.n_tokens  # 7 x 7 positions and their mean
    50
    """

    kind: ClassVar[str] = "resnet"
    image_size: int
    width: int
    layers: tuple[int, ...] = (3, 4, 6, 3)
    heads: int = None  # type: ignore[assignment]  # `__post_init__` replaces it

    def __post_init__(self) -> None:
        _check_positive(self, "image_size", "width")
        self._check_layers()
        if self.width % 2:
            raise ValueError(f"ResNetConfig: width {self.width} must be even: the stem halves it")
        if self.heads is None:
            object.__setattr__(self, "heads", max(self.features_width // HEAD_WIDTH, 1))
        _check_positive(self, "heads")
        if self.features_width % self.heads:
            raise ValueError(
                f"ResNetConfig: {self.features_width} features (width {self.width}, "
                f"{len(self.layers)} stages) are not a multiple of {self.heads} heads"
            )
        if self.image_size % self.reduction:
            raise ValueError(
                f"ResNetConfig: image_size {self.image_size} is not a multiple of "
                f"{self.reduction}, to which {len(self.layers)} stages reduce a side"
            )

    def _check_layers(self) -> None:
        """Make a tuple of layers, a list in files. ValueError for anything else."""
        layers = self.layers
        is_sequence = isinstance(layers, list | tuple)
        if not is_sequence or not all(type(depth) is int and depth > 0 for depth in layers):
            raise ValueError(
                "ResNetConfig: layers must be the numbers of bottlenecks in the stages, such as "
                f"(3, 4, 6, 3), got {layers!r}"
            )
        if not 1 <= len(layers) <= MOST_STAGES:
            raise ValueError(
                f"ResNetConfig: layers must name 1 to {MOST_STAGES} stages, got {len(layers)}"
            )
        object.__setattr__(self, "layers", tuple(layers))

    @property
    def features_width(self) -> int:
        """How many numbers the last stage makes for each position."""
        return self.width * EXPANSION * 2 ** (len(self.layers) - 1)

    @property
    def reduction(self) -> int:
        """How many pixels along a side become one position."""
        return STEM_REDUCTION * 2 ** (len(self.layers) - 1)

    @property
    def n_tokens(self) -> int:
        """How many tokens the attention pool sees: the positions and their mean."""
        return (self.image_size // self.reduction) ** 2 + 1


@dataclass(frozen=True)
class TextConfig:
    """A text transformer: of kind "gpt" (text.py) or "bert" (bert.py).

    mlp_width is 4 * width, and activation that of TEXT_DEFAULTS, if they are not named.

    For "gpt" alone: eos_token_id is the id of the end token. None means that the end
    token is the highest id of each caption, as in OpenAI's vocabulary.

    For "bert" alone, None elsewhere: pooling is one of POOLINGS; n_segments is the
    number of rows that tell a first sentence from a second one; pad_token_id fills a
    row after its last token; norm_eps is added to variances in layer norms.

    >>> config = TextConfig(100, 8, width=16, layers=1, heads=2, kind="bert")
    >>> config.activation, config.pooling, config.n_segments
    ('gelu', 'mean', 2)
    """

    vocab_size: int
    context_length: int
    width: int
    layers: int
    heads: int
    mlp_width: int = None  # type: ignore[assignment]  # `_fill_mlp_width` replaces it
    activation: str = None  # type: ignore[assignment]  # replaced by TEXT_DEFAULTS
    eos_token_id: int | None = None
    kind: str = "gpt"
    pooling: str | None = None
    n_segments: int | None = None
    pad_token_id: int | None = None
    norm_eps: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in TEXT_KINDS:
            raise ValueError(f"TextConfig: kind must be one of {TEXT_KINDS}, got {self.kind!r}")
        _check_positive(self, "vocab_size", "context_length", "width", "layers", "heads")
        _fill_mlp_width(self)
        for name, default in TEXT_DEFAULTS[self.kind].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)  # as in `_fill_mlp_width`
        _check_transformer(self)
        for name in BERT_ONLY if self.kind != "bert" else ("eos_token_id",):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"TextConfig: an encoder of kind {self.kind!r} has no {name}, "
                    f"got {getattr(self, name)!r}"
                )
        _check_token_id(self, "eos_token_id")
        if self.kind == "bert":
            _check_bert(self)


BERT_ONLY = ("pooling", "n_segments", "pad_token_id", "norm_eps")
"""Settings that encoders of other kinds do not have."""


AnyVisionConfig = VisionConfig | ResNetConfig

VISION_CONFIGS: dict[str, type[AnyVisionConfig]] = {
    VisionConfig.kind: VisionConfig,
    ResNetConfig.kind: ResNetConfig,
}
"""The kind of a vision encoder -> its configuration. The first one is the usual one."""

VISION_KINDS = tuple(VISION_CONFIGS)

TransformerConfig = VisionConfig | TextConfig
"""Whatever has a width, layers, heads, an mlp_width and an activation."""


@dataclass(frozen=True)
class CLIPConfig:
    """Both encoders and embed_dim, the width of the space in which they meet.

    logit_bias is where the bias of the sigmoid loss starts, for instance -10. None, as
    for the contrastive loss, means that the model has no bias.
    """

    embed_dim: int
    vision: AnyVisionConfig
    text: TextConfig
    logit_bias: float | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "embed_dim")
        bias = self.logit_bias
        if bias is not None and not (type(bias) in (int, float) and math.isfinite(bias)):
            raise ValueError(f"CLIPConfig: logit_bias must be None or a number, got {bias!r}")

    def for_tokenizer(self, tokenizer: TokenizerProtocol) -> Self:
        """The same sizes with the tokenizer's vocabulary and context length."""
        text = dataclasses.replace(
            self.text, vocab_size=tokenizer.vocab_size, context_length=tokenizer.context_length
        )
        if text.pad_token_id is not None:
            text = dataclasses.replace(text, pad_token_id=tokenizer.pad_token_id)
        return dataclasses.replace(self, text=text)

    def with_activation(self, activation: str) -> Self:
        """The same sizes with another activation in all encoders that have a choice.

        >>> from clip_np.encoders import PRESETS
        >>> PRESETS["tiny"].with_activation("gelu").text.activation
        'gelu'
        """
        changed = {}
        for encoder in ENCODERS:
            config = getattr(self, encoder)
            if "activation" in {field.name for field in dataclasses.fields(config)}:
                changed[encoder] = dataclasses.replace(config, activation=activation)
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, for JSON.

        >>> from clip_np.encoders import PRESETS
        >>> PRESETS["tiny"].to_dict()["vision"]["mlp_width"]
        256
        """
        settings = dataclasses.asdict(self, dict_factory=_plain_dict)
        settings["vision"]["kind"] = self.vision.kind  # a constant of the class, not a field
        for name in BERT_ONLY if self.text.kind != "bert" else ():
            del settings["text"][name]
        return settings

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Encoders without a "kind" are the first of their list, as in files of version
        0.1. ValueError for missing, unknown or impossible settings.

        >>> from clip_np.encoders import PRESETS
        >>> CLIPConfig.from_dict(PRESETS["tiny"].to_dict()) == PRESETS["tiny"]
        True
        """
        try:
            vision = dict(settings["vision"])
            kind = vision.pop("kind", VISION_KINDS[0])
            if kind not in VISION_CONFIGS:
                raise ValueError(f"a vision encoder is one of {VISION_KINDS}, got {kind!r}")
            return cls(
                embed_dim=settings["embed_dim"],
                vision=VISION_CONFIGS[kind](**vision),
                text=TextConfig(**settings["text"]),
                logit_bias=settings.get("logit_bias"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a model configuration: {error}") from None


def _plain_dict(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict with lists in place of tuples, as JSON gives them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in items}


def _fill_mlp_width(config: TransformerConfig) -> None:
    """Set mlp_width to MLP_RATIO * width if it was not passed.

    A default that depends on another field is only known once all fields are set. The
    class is frozen, so the assignment goes past its __setattr__. Afterwards mlp_width
    is always an int.
    """
    if config.mlp_width is None:
        object.__setattr__(config, "mlp_width", MLP_RATIO * config.width)


def _check_positive(config: TransformerConfig | ResNetConfig | CLIPConfig, *names: str) -> None:
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


def _check_token_id(config: TextConfig, name: str) -> None:
    """ValueError unless the setting is None or an id of the vocabulary."""
    token_id = getattr(config, name)
    if token_id is not None and not (type(token_id) is int and 0 <= token_id < config.vocab_size):
        raise ValueError(
            f"TextConfig: {name} must be None or one of the {config.vocab_size} ids, "
            f"got {token_id!r}"
        )


def _check_bert(config: TextConfig) -> None:
    """ValueError for settings that no BERT can have."""
    _check_positive(config, "n_segments")
    _check_token_id(config, "pad_token_id")
    if config.pooling not in POOLINGS:
        raise ValueError(f"TextConfig: pooling must be one of {POOLINGS}, got {config.pooling!r}")
    if type(config.norm_eps) is not float or not 0 < config.norm_eps < 1:
        raise ValueError(
            f"TextConfig: norm_eps must be a float between 0 and 1, got {config.norm_eps!r}"
        )

"""How much of a model's configuration is written in its shapes?

Nearly all of it. With arrays by their paths in our model:

    vision.conv1.weight            (W, 3*P*P)      width, patch size
    vision.positional_embedding    (1 + n*n, W)    image size n * P
    vision.proj                    (W, E)          embed_dim
    text.token_embedding.weight    (V, W)          vocabulary, width
    text.positional_embedding      (T, W)          context length
    ...resblocks.i.mlp.c_fc.bias   (M,)            layers (how many i), mlp_width

A ResNet is read from the weights of its convolutions in the same way.

The number of heads, the activation and the end token are not. A configuration file may
say them; if none does, they are as in OpenAI's models. A configuration must not
contradict the shapes in anything.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from clip_np.encoders import HEAD_WIDTH, CLIPConfig
from clip_np.encoders.config import MOST_STAGES, STEM_REDUCTION
from clip_np.files import FileError
from clip_np.losses import INITIAL_LOGIT_BIAS
from clip_np.weights.layouts import CLASS_TOKEN, CONVOLUTION, Arrays, patch_size_of

# How many heads the published ViT-H, ViT-g and ViT-bigG have, by width: their heads are
# wider than 64.
WIDE_HEADS = {("vision", 1280): 16, ("vision", 1408): 16, ("vision", 1664): 16}


def infer_config(state: Arrays, stated: Mapping[str, Any] | None = None) -> CLIPConfig:
    """The configuration of a model's state.

    `stated`, in the form of `CLIPConfig.to_dict` with gaps, says what shapes cannot.
    FileError if it contradicts the arrays; KeyError and others if arrays are missing.

    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.model import CLIP
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> heads = {"vision": {"heads": 4}, "text": {"heads": 4}}
    >>> infer_config(model.state_dict(), heads) == PRESETS["tiny"]
    True
    """
    stated = stated or {}
    sizes = read_sizes(state)
    _check_agreement(stated, sizes)
    for encoder, readers in (("vision", VISION_READERS), ("text", TEXT_READERS)):
        sizes[encoder] = {**stated.get(encoder, {}), **sizes[encoder]}
        if "heads" not in sizes[encoder] and readers[sizes[encoder]["kind"]].names_heads:
            sizes[encoder]["heads"] = _usual_heads(encoder, sizes[encoder]["width"])
    sizes["logit_bias"] = stated.get("logit_bias")
    if "logit_bias" in state and sizes["logit_bias"] is None:
        sizes["logit_bias"] = INITIAL_LOGIT_BIAS
    return CLIPConfig.from_dict(sizes)


def read_sizes(state: Arrays) -> dict[str, Any]:
    """What the shapes of the arrays say, in the form of `CLIPConfig.to_dict`.

    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.model import CLIP
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> read_sizes(model.state_dict())["vision"]
    {'kind': 'vit', 'image_size': 32, 'patch_size': 8, ... 'mlp_width': 256}
    """
    vision_kind = _kind_of(state, "vision", VISION_READERS)
    text_kind = _kind_of(state, "text", TEXT_READERS)
    vision, embed_dim = VISION_READERS[vision_kind].read(state)
    text, _ = TEXT_READERS[text_kind].read(state)
    return {"embed_dim": embed_dim, "vision": vision, "text": text}


class Sizes(NamedTuple):
    """The sizes of one encoder, as settings, and the width of its features."""

    settings: dict[str, Any]
    embed_dim: int


class SizeReader(NamedTuple):
    """How the sizes of encoders of one kind are read.

    signature: a path that all encoders of this kind have, and no others. names_heads:
    whether their configuration has to say the number of heads.
    """

    signature: str
    read: Callable[[Arrays], Sizes]
    names_heads: bool = True


def _kind_of(state: Arrays, encoder: str, readers: Mapping[str, SizeReader]) -> str:
    """The kind of an encoder, by the signature among its arrays.

    FileError if there is none.
    """
    for kind, reader in readers.items():
        if reader.signature in state:
            return kind
    expected = " or ".join(reader.signature for reader in readers.values())
    raise FileError(f"it has no {encoder} encoder that is known here: expected {expected}")


def read_vit_sizes(state: Arrays) -> Sizes:
    """The sizes of a vision transformer."""
    width, _ = state[CONVOLUTION].shape  # (W, 3*P*P)
    patch_size = patch_size_of(state[CONVOLUTION])
    n_patches = len(state["vision.positional_embedding"]) - 1  # one is for the class token
    settings = {
        "kind": "vit",
        "image_size": math.isqrt(n_patches) * patch_size,
        "patch_size": patch_size,
        "width": width,
        **_block_sizes(state, "vision"),
    }
    return Sizes(settings=settings, embed_dim=state["vision.proj"].shape[1])  # (W, E)


def read_resnet_sizes(state: Arrays) -> Sizes:
    """The sizes of a ResNet: its depth from the names, its image from the positions."""
    embed_dim, _ = state["vision.attnpool.c_proj.weight"].shape  # (E, D)
    n_positions = len(state["vision.attnpool.positional_embedding"]) - 1  # one is their mean
    depths = [_count_below(state, f"vision.layer{k}.") for k in range(1, MOST_STAGES + 1)]
    layers = [depth for depth in depths if depth > 0]
    reduction = STEM_REDUCTION * 2 ** (len(layers) - 1)  # pixels a side that make a position
    settings = {
        "kind": "resnet",
        "image_size": math.isqrt(n_positions) * reduction,
        "width": len(state["vision.conv3.weight"]),
        "layers": layers,
    }
    return Sizes(settings=settings, embed_dim=embed_dim)


def _count_below(state: Arrays, prefix: str) -> int:
    """How many different numbers follow a beginning of paths."""
    return len(
        {path.removeprefix(prefix).split(".")[0] for path in state if path.startswith(prefix)}
    )


def read_gpt_sizes(state: Arrays) -> Sizes:
    """The sizes of a text transformer."""
    vocab_size, width = state["text.token_embedding.weight"].shape  # (V, W)
    settings = {
        "kind": "gpt",
        "vocab_size": vocab_size,
        "context_length": len(state["text.positional_embedding"]),
        "width": width,
        **_block_sizes(state, "text"),
    }
    return Sizes(settings=settings, embed_dim=state["text.text_projection"].shape[1])  # (W, E)


def read_bert_sizes(state: Arrays) -> Sizes:
    """The sizes of a BERT as text encoder."""
    gpt = read_gpt_sizes(state)  # all that both have
    settings = {**gpt.settings, "kind": "bert", "n_segments": len(state["text.segment_embedding"])}
    return Sizes(settings=settings, embed_dim=gpt.embed_dim)


def _block_sizes(state: Arrays, encoder: str) -> dict[str, int]:
    """How many blocks an encoder has, and the width of their perceptrons."""
    blocks = f"{encoder}.transformer.resblocks."
    return {
        "layers": _count_below(state, blocks),
        "mlp_width": len(state[f"{blocks}0.mlp.c_fc.bias"]),
    }


VISION_READERS = {
    "vit": SizeReader(signature=CLASS_TOKEN, read=read_vit_sizes),
    "resnet": SizeReader(
        signature="vision.attnpool.positional_embedding", read=read_resnet_sizes, names_heads=False
    ),
}
TEXT_READERS = {
    "gpt": SizeReader(signature="text.ln_final.weight", read=read_gpt_sizes),
    "bert": SizeReader(signature="text.segment_embedding", read=read_bert_sizes),
}
"""The kind of an encoder -> how its sizes are read from shapes."""


def _usual_heads(encoder: str, width: int) -> int:
    """How many heads a published encoder of this width has.

    FileError if none is known."""
    if (encoder, width) in WIDE_HEADS:
        return WIDE_HEADS[encoder, width]
    if width % HEAD_WIDTH:
        raise FileError(
            f"the number of heads is unknown for width {width}; add a config.json that names it"
        )
    return width // HEAD_WIDTH


def _check_agreement(stated: Mapping[str, Any], sizes: Mapping[str, Any], prefix: str = "") -> None:
    """FileError if `stated` says something else than the shapes, at any depth."""
    for key, value in sizes.items():
        if isinstance(value, dict):
            _check_agreement(stated.get(key, {}), value, f"{key} ")
        elif stated.get(key, value) != value:
            raise FileError(
                f"by its configuration {prefix}{key} is {stated[key]!r}, but {value} in the weights"
            )

"""How does open_clip describe a CLIP?

A model is a folder:

    open_clip_model.safetensors    the weights under OpenAI's names
                                   (or open_clip_pytorch_model.bin)
    open_clip_config.json          {"model_cfg": sizes, "preprocess_cfg": images}

open_clip has many kinds of model that the code here does not. They show in words of the
configuration that are not known here, and are refused.
https://github.com/mlfoundations/open_clip
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from clip_np.encoders import HEAD_WIDTH
from clip_np.files import FileError, file_errors, read_json
from clip_np.weights.configuration import UNFIT, Configuration, Dialect, Settings
from clip_np.weights.preprocessing import Words, require_size

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # better first
CONFIG = "open_clip_config.json"

# The words of an encoder's configuration that the models here can follow.
SAME_AS_OURS = {
    "image_size",
    "patch_size",
    "vocab_size",
    "context_length",
    "width",
    "layers",
    "heads",
}
KNOWN = SAME_AS_OURS | {"head_width", "mlp_ratio"}
# What the library assumes.
MLP_RATIO = 4.0
TEXT_HEADS = 8
RESNET_WIDENING = 32  # the width of the features, in widths of the stem


def read_configuration(folder: pathlib.Path) -> Configuration:
    """What open_clip_config.json tells of a model."""
    path = folder / CONFIG
    settings = read_json(path)
    with file_errors(path, UNFIT):
        return Configuration(
            sizes=parse_sizes(settings["model_cfg"]),
            images=settings.get("preprocess_cfg", {}),
            words=IMAGE_WORDS,
            source=path,
        )


def squashes(settings: Mapping[str, Any], size: int) -> bool:
    """Whether "preprocess_cfg" squashes images; FileError if it pads them.

    >>> squashes({"size": 224, "resize_mode": "shortest"}, size=224)
    False
    """
    require_size("size", settings.get("size", size), size)
    mode = settings.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise FileError(f"the settings ask for resize_mode {mode!r}, which is not known here")
    return mode == "squash"


IMAGE_WORDS = Words(
    mean="mean", std="std", squashes=squashes, required={"interpolation": "bicubic", "mode": "RGB"}
)


def parse_sizes(settings: Settings) -> Settings:
    """What "model_cfg" says of the model: `CLIPConfig.to_dict` with gaps.

    FileError for what the models here cannot follow.

    >>> encoder = {"width": 96, "layers": 2, "head_width": 32}
    >>> model = {"embed_dim": 24, "vision_cfg": encoder, "text_cfg": encoder}
    >>> parse_sizes(model)["vision"]
    {'activation': 'gelu', 'heads': 3, 'mlp_width': 384, 'layers': 2, 'width': 96}
    """
    activation = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    sizes: Settings = {word: settings[word] for word in ("embed_dim",) if word in settings}
    if settings.get("init_logit_bias") is not None:
        sizes["logit_bias"] = settings["init_logit_bias"]
    for encoder in ("vision", "text"):
        part = settings.get(f"{encoder}_cfg") or {}
        unknown = [word for word in part if part[word] and word not in KNOWN]
        if unknown:
            raise FileError(f"{encoder}_cfg asks for {', '.join(unknown)}, which is not known here")
        sizes[encoder] = _in_our_words(encoder, part, activation)
        known = {word for word in SAME_AS_OURS & part.keys() if part[word] is not None}
        sizes[encoder] |= {word: part[word] for word in sorted(known)}
    return sizes


def _in_our_words(encoder: str, part: Settings, activation: str) -> Settings:
    """What is called by other words here; the rest is `SAME_AS_OURS`.

    The layers of a ResNet are a list: the depths of its four stages.
    """
    head_width = part.get("head_width", HEAD_WIDTH)
    if isinstance(part.get("layers"), list):
        return {"kind": "resnet", "heads": RESNET_WIDENING * part["width"] // head_width}
    sizes: Settings = {"activation": activation}
    if "width" in part:  # if not, the shapes show it
        width = part["width"]
        sizes["heads"] = width // head_width if encoder == "vision" else TEXT_HEADS
        sizes["mlp_width"] = int(width * part.get("mlp_ratio", MLP_RATIO))
    return sizes


DIALECT = Dialect(weights=WEIGHTS, config=CONFIG, read=read_configuration)

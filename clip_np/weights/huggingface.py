"""How does Hugging Face's library transformers describe a CLIP?

A model is a folder:

    model.safetensors            the weights (or pytorch_model.bin, or either in parts)
    config.json                  the sizes of the model
    preprocessor_config.json     how an image is prepared (since version 5:
                                 a part of processor_config.json)
    vocab.json, merges.txt       the tokenizer (clip_np/tokens)

This file knows the words of sizes, and image_words.py those about images.
https://github.com/huggingface/transformers/tree/main/src/transformers/models/clip
"""

import pathlib
import re
from typing import ClassVar

import numpy as np

from clip_np.encoders import CLIPConfig
from clip_np.files import FileError, file_errors, read_json
from clip_np.tokens import START_AND_END
from clip_np.weights.configuration import UNFIT, Configuration, Dialect, Settings
from clip_np.weights.image_words import IMAGE_WORDS, read_image_settings
from clip_np.weights.layouts import Arrays, Layout

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the better one first
CONFIG = "config.json"
MODEL_TYPE = "clip"

# Words of config.json -> fields of VisionConfig and TextConfig.
BOTH_ENCODERS = {
    "hidden_size": "width",
    "intermediate_size": "mlp_width",
    "hidden_act": "activation",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
}
WORDS = {
    "vision": BOTH_ENCODERS | {"image_size": "image_size", "patch_size": "patch_size"},
    "text": BOTH_ENCODERS
    | {
        "vocab_size": "vocab_size",
        "max_position_embeddings": "context_length",
        "eos_token_id": "eos_token_id",
    },
}
# What the library assumes if config.json does not say.
DEFAULT_HEADS = {"vision": 12, "text": 8}
DEFAULT_ACTIVATION = "quick_gelu"
# A word of this project, for models of the sigmoid loss. The library's CLIPModel has no
# bias, and says that it leaves the array of this name out. Cosines and softmaxes are
# the same without it.
LOGIT_BIAS = "logit_bias"
LAYER_NORM_EPS = 1e-5  # of the published models and of those here; config.json may differ
# An eos_token_id of 2 is a mistake in the first configurations, which the library keeps
# alive: it means that the end token is the highest id in each row.
HIGHEST_ID = 2


class HuggingFaceLayout(Layout):
    """The names of transformers' files, and three forms that are different here.

    The projections are transposed, and queries, keys and values are three matrices
    (W, W) in place of one (3*W, W).

    >>> HuggingFaceLayout().name_of("vision.transformer.resblocks.0.ln_1.bias")
    'vision_model.encoder.layers.0.layer_norm1.bias'
    >>> HuggingFaceLayout().path_of("text_projection.weight")
    'text.text_projection'
    """

    signature = "vision_model.embeddings.patch_embedding.weight"
    replacements = (
        ("vision.transformer.resblocks.", "vision_model.encoder.layers."),
        ("text.transformer.resblocks.", "text_model.encoder.layers."),
        (".attn.", ".self_attn."),
        (".ln_1.", ".layer_norm1."),
        (".ln_2.", ".layer_norm2."),
        (".mlp.c_fc.", ".mlp.fc1."),
        (".mlp.c_proj.", ".mlp.fc2."),
        ("vision.conv1.", "vision_model.embeddings.patch_embedding."),
        ("vision.class_embedding", "vision_model.embeddings.class_embedding"),
        ("vision.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        ("vision.ln_pre.", "vision_model.pre_layrnorm."),  # spelled so in the library
        ("vision.ln_post.", "vision_model.post_layernorm."),
        ("vision.proj", "visual_projection.weight"),
        ("text.token_embedding.", "text_model.embeddings.token_embedding."),
        ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("text.ln_final.", "text_model.final_layer_norm."),
        ("text.text_projection", "text_projection.weight"),
    )
    kinds: ClassVar = {"vision": ("vit",), "text": ("gpt",)}
    transposed = ("vision.proj", "text.text_projection")

    def form_to_ours(self, path: str, name: str, array: np.ndarray) -> np.ndarray:
        """One array in our form."""
        if path in self.transposed:
            return array.T  # (E, W) -> (W, E)
        return super().form_to_ours(path, name, array)

    def form_from_ours(self, path: str, array: np.ndarray) -> np.ndarray:
        """One array in the library's form."""
        if path in self.transposed:
            return array.T  # (W, E) -> (E, W)
        return super().form_from_ours(path, array)

    def to_ours(self, arrays: Arrays) -> Arrays:
        """As `Layout.to_ours`; KeyError if one of a block's q, k and v is missing."""
        return join_projections(super().to_ours(arrays))

    def from_ours(self, state: Arrays) -> Arrays:
        """As `Layout.from_ours`."""
        return super().from_ours(split_projections(state))


def split_projections(state: Arrays) -> Arrays:
    """The state with every in_proj (3*W, ...) as q_proj, k_proj and v_proj (W, ...).

    >>> state = {"block.attn.in_proj.bias": np.arange(6)}
    >>> split_projections(state)["block.attn.k_proj.bias"]
    array([2, 3])
    """
    split: Arrays = {}
    for path, array in state.items():
        if ".in_proj." in path:
            for letter, part in zip("qkv", np.split(array, 3)):
                split[path.replace(".in_proj.", f".{letter}_proj.")] = part
        else:
            split[path] = array
    return split


def join_projections(state: Arrays) -> Arrays:
    """The inverse of `split_projections`.

    FileError if the three have different shapes, KeyError if one of them is missing.

    >>> parts = {f"block.attn.{letter}_proj.bias": np.ones(2) for letter in "qkv"}
    >>> {path: array.shape for path, array in join_projections(parts).items()}
    {'block.attn.in_proj.bias': (6,)}
    """
    rest: Arrays = {}
    joined_paths: dict[str, None] = {}  # a dict, because it keeps the order
    for path, array in state.items():
        joined_path = re.sub(r"\.attn\.[qkv]_proj\.", ".attn.in_proj.", path)
        if joined_path == path:
            rest[path] = array
        else:
            joined_paths[joined_path] = None
    for joined_path in joined_paths:
        parts = [state[joined_path.replace(".in_proj.", f".{letter}_proj.")] for letter in "qkv"]
        if len({part.shape for part in parts}) > 1:
            raise FileError(f"q, k and v of {joined_path} have different shapes")
        if joined_path in rest:
            raise FileError(f"{joined_path} is there twice, whole and in three parts")
        rest[joined_path] = np.concatenate(parts)  # (3*W, W) or (3*W,)
    return rest


def is_clip(folder: pathlib.Path) -> bool:
    """Whether the folder's config.json is a CLIP's; FileError if it is damaged."""
    return read_json(folder / CONFIG).get("model_type") == MODEL_TYPE


def read_configuration(folder: pathlib.Path) -> Configuration:
    """What config.json says of a model, and what the files next to it say of images."""
    with file_errors(folder / CONFIG, UNFIT):
        sizes = parse_sizes(read_json(folder / CONFIG))
    images = read_image_settings(folder)
    return Configuration(
        sizes=sizes, images=images.settings, words=IMAGE_WORDS, source=images.source
    )


def parse_sizes(settings: Settings) -> Settings:
    """What config.json says of the model: `CLIPConfig.to_dict` with gaps.

    FileError for what the models here cannot follow.

    >>> sizes = {"hidden_size": 64, "num_attention_heads": 4}
    >>> config = {"projection_dim": 20, "vision_config": sizes, "text_config": {}}
    >>> parse_sizes(config)["vision"]
    {'width': 64, 'heads': 4, 'activation': 'quick_gelu'}
    """
    model_type = settings.get("model_type", MODEL_TYPE)
    if model_type != MODEL_TYPE:
        hint = "; load_bert opens it, without images" if model_type == "bert" else ""
        raise FileError(f"a model of type {model_type!r}, expected {MODEL_TYPE!r}{hint}")
    if not settings.keys() & {"model_type", *(f"{encoder}_config" for encoder in WORDS)}:
        raise FileError("it describes neither a vision encoder nor a text encoder")
    sizes: Settings = {}
    if "projection_dim" in settings:
        sizes["embed_dim"] = settings["projection_dim"]
    if settings.get(LOGIT_BIAS) is not None:
        sizes["logit_bias"] = settings[LOGIT_BIAS]
    for encoder, words in WORDS.items():
        # Early files have a second form of the same, which wins.
        older = settings.get(f"{encoder}_config_dict") or {}
        part = {**(settings.get(f"{encoder}_config") or {}), **older}
        eps = part.get("layer_norm_eps", LAYER_NORM_EPS)
        if eps != LAYER_NORM_EPS:
            raise FileError(f"{encoder} layer_norm_eps is {eps}, not {LAYER_NORM_EPS}")
        sizes[encoder] = {field: part[word] for word, field in words.items() if word in part}
        sizes[encoder].setdefault("heads", DEFAULT_HEADS[encoder])
        sizes[encoder].setdefault("activation", DEFAULT_ACTIVATION)
    if sizes["text"].get("eos_token_id") == HIGHEST_ID:
        sizes["text"]["eos_token_id"] = None
    return sizes


def model_settings(config: CLIPConfig, dtype: np.dtype) -> Settings:
    """The contents of config.json: the inverse of `parse_sizes`."""
    settings: Settings = {
        "architectures": ["CLIPModel"],
        "model_type": MODEL_TYPE,
        "projection_dim": config.embed_dim,
        "dtype": str(dtype),
    }
    if config.logit_bias is not None:
        settings[LOGIT_BIAS] = config.logit_bias
    encoders = {"vision": config.vision, "text": config.text}
    for encoder, words in WORDS.items():
        sizes: Settings = {word: getattr(encoders[encoder], field) for word, field in words.items()}
        sizes["model_type"] = f"clip_{encoder}_model"
        sizes["projection_dim"] = config.embed_dim
        settings[f"{encoder}_config"] = sizes
    text = settings["text_config"]
    if text["eos_token_id"] is None:
        text["eos_token_id"] = HIGHEST_ID
    text["bos_token_id"] = config.text.vocab_size - START_AND_END  # the last two ids
    text["pad_token_id"] = 0
    return settings


DIALECT = Dialect(weights=WEIGHTS, config=CONFIG, read=read_configuration)

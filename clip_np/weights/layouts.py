"""Chapter 36: how do the published models come in, and how do ours go out?

The same CLIP is on offer in several files, which differ in nothing but names and packing:

    here                      OpenAI, open_clip               Hugging Face transformers
    visual.conv1.weight       the same, (W, 3, P, P)          vision_model.embeddings.patch_...
    text.positional_embedding positional_embedding            text_model.embeddings.position_...
    ...attn.in_proj.weight    ...attn.in_proj_weight          ...self_attn.{q,k,v}_proj.weight
    visual.proj               the same                        visual_projection.weight, transposed

So a layout is a list of replacements in names, read one way to load and the other way to save.
Which layout a file has shows in its names, and nearly all of the architecture in its shapes. What
shapes cannot show is the number of heads (a 64th of the width in OpenAI's models) and the
activation (quick_gelu in OpenAI's); a configuration file beside the weights says it, and must not
contradict the shapes in anything.

Radford et al. 2021, arXiv:2103.00020, for the models; the names are those of
https://github.com/openai/CLIP and https://github.com/huggingface/transformers.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_np.encoders import CLIPConfig
from clip_np.files import FileError
from minigrad.backend import move
from minigrad.nn import Module

Arrays = dict[str, np.ndarray]  # by name
# Ours -> theirs, applied one after the other. Hugging Face has q, k, v in place of in_proj.
NAMES = {
    "openai": (("vision.", "visual."), ("text.", ""), (".in_proj.", ".in_proj_")),
    "hf": (
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
        ("vision.ln_pre.", "vision_model.pre_layrnorm."),  # their spelling
        ("vision.ln_post.", "vision_model.post_layernorm."),
        ("vision.proj", "visual_projection.weight"),
        ("text.token_embedding.", "text_model.embeddings.token_embedding."),
        ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("text.ln_final.", "text_model.final_layer_norm."),
        ("text.text_projection", "text_projection.weight"),
    ),
}
TRANSPOSED = ("vision.proj", "text.text_projection")  # for Hugging Face
# Numbers that files hold beside the weights.
IGNORED = re.compile(r"(.*\.)?(position_ids|attn_mask|input_resolution|context_length|vocab_size)")
FOREIGN = {  # what a name of a model that is none of these begins with -> what it is
    "visual.layer1.": "a ResNet as image encoder",
    "visual.trunk.": "an image encoder of the timm library",
    "text.transformer.embeddings.": "a text encoder of the transformers library",
    "visual.attn_pool.": "attention pooling",
}
HEAD_WIDTH = 64
HEADS = {("vision", 1280): 16, ("vision", 1408): 16, ("vision", 1664): 16}  # ViT-H, g and bigG


def export_arrays(model: Module, layout: str = "openai", grad: bool = False) -> Arrays:
    """Every parameter, or its gradient, under the names and with the shapes of a layout, "openai"
    or "hf", on the host: views where it is there. Left out are gradients that do not exist."""
    if layout not in NAMES:
        raise ValueError(f"export_arrays: layout {layout!r} is none of {', '.join(NAMES)}")
    arrays = {}
    for path, parameter in model.named_parameters():
        data = parameter.grad if grad else parameter.data
        if data is None:
            continue
        name, array = path, move(data, "numpy")
        for ours, theirs in NAMES[layout]:
            name = name.replace(ours, theirs)
        if path == "vision.conv1.weight":
            side = math.isqrt(array.shape[1] // 3)
            array = array.reshape(-1, 3, side, side)  # (W, 3, P, P)
        if layout == "hf" and path in TRANSPOSED:
            array = array.T  # (E, W)
        if layout == "hf" and ".in_proj." in name:
            for letter, part in zip("qkv", np.split(array, 3)):  # (W, W) or (W,) each
                arrays[name.replace(".in_proj.", f".{letter}_proj.")] = part
        else:
            arrays[name] = array
    return arrays


def layout_of(arrays: Arrays) -> str:
    """The layout that the names belong to; FileError where it is none of CLIP's."""
    if "vision_model.embeddings.patch_embedding.weight" in arrays:
        return "hf"
    for name in arrays:
        for beginning, what in FOREIGN.items():
            if name.startswith(beginning):
                raise FileError(f"it has {what} ({name})")
    if "visual.conv1.weight" in arrays:
        return "openai"
    some = ", ".join(list(arrays)[:3])
    raise FileError(f"it holds no CLIP with a vision transformer: its names are {some} ...")


def to_ours(arrays: Arrays, layout: str) -> Arrays:
    """Arrays of a layout as those of a model's state. FileError for a name twice, numbers without
    fractions, patches that are no squares in three colours, and q, k, v of different shapes;
    KeyError where one of the three is missing."""
    state: Arrays = {}
    for name, array in arrays.items():
        if IGNORED.fullmatch(name):
            continue
        if array.dtype.kind != "f":
            raise FileError(f"{name} holds {array.dtype}, not floating-point numbers")
        path = name
        for ours, theirs in NAMES[layout]:
            path = path.replace(theirs, ours) if theirs else path
        # open_clip writes the text encoder with or without "text." in front, OpenAI without.
        if not path.startswith(("vision.", "text.")) and path != "logit_scale":
            path = f"text.{path}"
        if path in state:
            raise FileError(f"{name} is there twice under two names")
        if layout == "hf" and path in TRANSPOSED:
            array = array.T  # (W, E)
        elif path == "logit_scale" and array.size == 1:
            array = array.reshape(())  # () in place of open_clip's (1,)
        elif path == "vision.conv1.weight":
            if array.ndim != 4 or array.shape[1] != 3 or array.shape[2] != array.shape[3]:
                raise FileError(f"{name} {array.shape} must be (W, 3, P, P)")
            array = array.reshape(len(array), -1)  # (W, 3*P*P)
        state[path] = array
    separate = [path for path in state if re.search(r"\.attn\.[qkv]_proj\.", path)]
    for path in dict.fromkeys(re.sub(r"\.[qkv]_proj\.", ".in_proj.", path) for path in separate):
        parts = [state.pop(path.replace(".in_proj.", f".{letter}_proj.")) for letter in "qkv"]
        if len({part.shape for part in parts}) > 1:
            raise FileError(f"q, k and v of {path} have different shapes")
        state[path] = np.concatenate(parts)  # (3*W, W) or (3*W,)
    return state


def infer_config(state: Arrays, given: Mapping[str, Any] | None = None) -> CLIPConfig:
    """The configuration of a state as `to_ours` gives it. What shapes cannot show is taken from
    `given`, a record like that of `CLIPConfig.to_dict` with gaps, or else is as in OpenAI's models.
    FileError where `given` contradicts the arrays, KeyError and others where some are missing."""
    record, given = _sizes(state), given or {}
    _check_agreement(given, record)
    for part in ("vision", "text"):
        sizes = record[part] = {**given.get(part, {}), **record[part]}
        width = sizes["width"]
        if "heads" not in sizes and width % HEAD_WIDTH:
            raise FileError(f"how many heads a width of {width} has, a config.json must say")
        sizes.setdefault("heads", HEADS.get((part, width), width // HEAD_WIDTH))
    return CLIPConfig.from_dict(record)


def _sizes(state: Arrays) -> dict[str, Any]:
    """All that the shapes of a model's arrays say."""
    width, numbers = state["vision.conv1.weight"].shape  # (W, 3*P*P)
    patch = math.isqrt(numbers // 3)
    vocab_size, text_width = state["text.token_embedding.weight"].shape
    grid = math.isqrt(len(state["vision.positional_embedding"]) - 1)
    vision = {"image_size": grid * patch, "patch_size": patch, "width": width}
    context_length = len(state["text.positional_embedding"])
    text = {"vocab_size": vocab_size, "context_length": context_length, "width": text_width}
    for tower, sizes in (("vision", vision), ("text", text)):
        block = f"{tower}.transformer.resblocks."
        sizes["layers"] = len({name.split(".")[3] for name in state if name.startswith(block)})
        sizes["mlp_width"] = len(state[f"{block}0.mlp.c_fc.bias"])
    return {"embed_dim": state["vision.proj"].shape[1], "vision": vision, "text": text}


def _check_agreement(given: Mapping[str, Any], found: Mapping[str, Any], part: str = "") -> None:
    """FileError where `given` says something else than `found`, at any depth."""
    for key, value in found.items():
        if isinstance(value, dict):
            _check_agreement(given.get(key, {}), value, f"{key} ")
        elif given.get(key, value) != value:
            contradiction = f"{part}{key} is {given[key]!r}, but {value} in the weights"
            raise FileError(f"by its configuration {contradiction}")

"""Chapter 37: how do the published models come in, and how do ours go out?

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

from clip_np.config import CLIPConfig
from clip_np.safe_files import FileError
from minigrad.backend import Array, move
from minigrad.nn import Module

# Ours -> theirs, applied one after the other; {} stands for q, k and v, cut out of in_proj.
NAMES = {
    "openai": (("text.", ""), (".in_proj.", ".in_proj_")),
    "hf": (
        ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
        ("text.transformer.resblocks.", "text_model.encoder.layers."),
        (".attn.in_proj.", ".self_attn.{}_proj."),
        (".attn.out_proj.", ".self_attn.out_proj."),
        (".ln_1.", ".layer_norm1."),
        (".ln_2.", ".layer_norm2."),
        (".mlp.c_fc.", ".mlp.fc1."),
        (".mlp.c_proj.", ".mlp.fc2."),
        ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
        ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
        ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        ("visual.ln_pre.", "vision_model.pre_layrnorm."),  # their spelling
        ("visual.ln_post.", "vision_model.post_layernorm."),
        ("visual.proj", "visual_projection.weight"),
        ("text.token_embedding.", "text_model.embeddings.token_embedding."),
        ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("text.ln_final.", "text_model.final_layer_norm."),
        ("text.text_projection", "text_projection.weight"),
    ),
}
# Numbers that files hold beside the weights.
IGNORED = re.compile(r"(.*\.)?(position_ids|attn_mask|input_resolution|context_length|vocab_size)")
FOREIGN = {  # what a name of a model that is none of these begins with -> what it is
    "visual.layer1.": "a ResNet as image encoder",
    "visual.trunk.": "an image encoder of the timm library",
    "text.transformer.embeddings.": "a text encoder of the transformers library",
    "visual.attn_pool.": "attention pooling",
}
HEAD_WIDTH, WIDE = 64, {1280: 16, 1408: 16, 1664: 16}  # heads of open_clip's ViT-H, g and bigG


def export_arrays(
    model: Module, layout: str = "openai", grad: bool = False
) -> dict[str, np.ndarray]:
    """Every parameter, or its gradient, under the names and with the shapes of a layout, "openai"
    or "hf", on the host: views where it is there. Left out are gradients that do not exist."""
    if layout not in NAMES:
        raise ValueError(f"export_arrays: layout {layout!r} is none of {', '.join(NAMES)}")
    arrays = {}
    for path, parameter in model.named_parameters():
        data = parameter.grad if grad else parameter.data
        if data is not None:
            arrays |= _to_theirs(path, move(data, "numpy"), layout)
    return arrays


def _to_theirs(path: str, array: np.ndarray, layout: str) -> dict[str, np.ndarray]:
    """One of our arrays as one of theirs, or as three."""
    name = path
    for ours, theirs in NAMES[layout]:
        name = name.replace(ours, theirs)
    if path == "visual.conv1.weight":
        side = math.isqrt(array.shape[1] // 3)
        array = array.reshape(-1, 3, side, side)  # (W, 3, P, P)
    if layout == "hf" and path in ("visual.proj", "text.text_projection"):
        array = array.T  # (E, W)
    if "{}" in name:
        return {name.format(letter): part for letter, part in zip("qkv", np.split(array, 3))}
    return {name: array}


def layout_of(arrays: Mapping[str, Array], where: str) -> str:
    """The layout that the names belong to; FileError where it is none of CLIP's."""
    if "vision_model.embeddings.patch_embedding.weight" in arrays:
        return "hf"
    for name in arrays:
        for beginning, what in FOREIGN.items():
            if name.startswith(beginning):
                raise FileError(f"{where} has {what} ({name}), which cannot be read here")
    if "visual.conv1.weight" in arrays:
        return "openai"
    some = ", ".join(list(arrays)[:3])
    raise FileError(f"{where} holds no CLIP with a vision transformer: its names are {some} ...")


def to_ours(arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Arrays in either layout as those of a model's state, (W, 3, P, P) still in four dimensions.
    FileError for names of no layout, incomplete q, k, v, or a NaN or infinity."""
    layout = layout_of(arrays, where)
    state: dict[str, np.ndarray] = {}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if IGNORED.fullmatch(name):
            continue
        path, letter = _our_name(name, layout)
        if path in state or letter in parts.get(path, ()):
            raise FileError(f"{where}: {name} is there twice under two names")
        if letter:
            parts.setdefault(path, {})[letter] = array
        elif path in ("visual.proj", "text.text_projection") and layout == "hf":
            state[path] = array.T  # (W, E)
        elif path == "logit_scale" and array.size == 1:
            state[path] = array.reshape(())  # () in place of open_clip's (1,)
        else:
            state[path] = array
    for path, found in parts.items():
        try:
            state[path] = np.concatenate([found[letter] for letter in "qkv"])  # (3*W, W) or (3*W,)
        except (KeyError, ValueError) as error:
            raise FileError(f"{where}: q, k and v of {path} do not fit ({error})") from None
    return state


def _our_name(name: str, layout: str) -> tuple[str, str]:
    """Our name for one of theirs, and which of q, k, v it is, or ""."""
    letter = ""
    if layout == "hf":
        match = re.fullmatch(r"(.*\.self_attn\.)([qkv])(_proj\..*)", name)
        if match:
            name, letter = f"{match[1]}{{}}{match[3]}", match[2]
        for ours, theirs in NAMES["hf"]:
            name = name.replace(theirs, ours)
        return name, letter
    # open_clip writes the text encoder with or without "text." in front.
    if not name.startswith(("visual.", "text.")) and name != "logit_scale":
        name = "text." + name
    return name.replace(".in_proj_", ".in_proj."), letter


def infer_config(
    state: Mapping[str, np.ndarray], where: str, given: Mapping[str, Any] | None = None
) -> CLIPConfig:
    """The configuration of a state as `to_ours` gives it. What shapes cannot show is taken from
    `given`, a record like that of `CLIPConfig.to_dict` with gaps, or else is as in OpenAI's models.
    FileError where arrays are missing, or `given` contradicts them."""
    try:
        record = _sizes(state)
        given = given or {}
        _check_agreement(given, record)
        for part in ("vision", "text"):
            record[part] = {**given.get(part, {}), **record[part]}
            if "heads" not in record[part]:
                record[part]["heads"] = _usual_heads(part, record[part]["width"])
        return CLIPConfig.from_dict(record)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise FileError(f"{where}: not a CLIP that can be read here: {error}") from None


def _sizes(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """All that the shapes of a model's arrays say."""
    width, _, patch, _ = state["visual.conv1.weight"].shape
    vocab_size, text_width = state["text.token_embedding.weight"].shape
    grid = math.isqrt(len(state["visual.positional_embedding"]) - 1)
    vision = {"image_size": grid * patch, "patch_size": patch, "width": width}
    context_length = len(state["text.positional_embedding"])
    text = {"vocab_size": vocab_size, "context_length": context_length, "width": text_width}
    for tower, sizes in (("visual", vision), ("text", text)):
        block = f"{tower}.transformer.resblocks."
        sizes["layers"] = len({name.split(".")[3] for name in state if name.startswith(block)})
        sizes["mlp_width"] = len(state[f"{block}0.mlp.c_fc.bias"])
    return {"embed_dim": state["visual.proj"].shape[1], "vision": vision, "text": text}


def _check_agreement(given: Mapping[str, Any], found: Mapping[str, Any], part: str = "") -> None:
    """ValueError where `given` says something else than `found`, at any depth."""
    for key, value in found.items():
        if isinstance(value, dict):
            _check_agreement(given.get(key, {}), value, f"{key} ")
        elif given.get(key, value) != value:
            contradiction = f"{part}{key} is {given[key]!r}, but {value} in the weights"
            raise ValueError(f"by its configuration {contradiction}")


def _usual_heads(part: str, width: int) -> int:
    """The number of heads that published models of this width have."""
    if part == "vision" and width in WIDE:
        return WIDE[width]
    if width % HEAD_WIDTH:
        raise ValueError(f"how many heads a width of {width} has, a config.json must say")
    return width // HEAD_WIDTH

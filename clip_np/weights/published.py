"""Chapter 37: how is a model opened, whoever has made it?

`load` takes what people have, and finds out what it is:

    a run directory, a checkpoint             made here (clip_np/checkpoints.py)
    a directory with config.json              Hugging Face: model.safetensors, one or in shards, or
                                              pytorch_model.bin; vocabulary and preprocessing beside
    a directory with open_clip_config.json    open_clip's form of the same
    .safetensors, .pt, .pth, .bin             weights alone: OpenAI's archives and state dicts,
                                              open_clip's checkpoints, Hugging Face's files
    owner/name                                the same directories on the hub, where the library
                                              huggingface_hub is installed

Weights that are 32-bit numbers in the file are not copied: the file is mapped into memory. (But for
Hugging Face's queries, keys and values, which are one matrix here.) `save_pretrained` writes the
second form.
"""

import json
import math
import os
import pathlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from clip_np.data import STD, Preprocess, training_preprocess
from clip_np.encoders import ACTIVATIONS, CLIPConfig
from clip_np.files import (
    File,
    FileError,
    file_errors,
    parse_json,
    read_json,
    read_safetensors,
    read_torch_state,
    require_finite,
    write_json,
    write_safetensors,
)
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer, Tokenizer, find_vocabulary
from clip_np.weights.checkpoints import CHECKPOINT, read_checkpoint
from clip_np.weights.layouts import export_arrays, infer_config, layout_of, to_ours

Record = dict[str, Any]
DTYPES = ("float32", "float64")
UNFIT = "not a CLIP that can be read here"
# What files of weights are called, the best first; one in parts has an index, NAME.index.json.
HUGGING_FACE = ("model.safetensors", "pytorch_model.bin")
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
STANDARD = HUGGING_FACE + OPEN_CLIP  # names of which what lies beside belongs to the weights
CONFIG, OPEN_CLIP_CONFIG, INDEX = "config.json", "open_clip_config.json", ".index.json"
SMALL_FILES = ["*.json", "merges.txt"]  # of a model on the hub, beside its weights
PREPROCESSING = "preprocessor_config.json"
PUBLISHED_SIZE = 49408
NOTE = "clip_np"  # in a .safetensors file: its model's configuration and preprocessing
# Hugging Face's words -> ours.
WORDS = {"hidden_size": "width", "intermediate_size": "mlp_width", "hidden_act": "activation"}
WORDS |= {"num_hidden_layers": "layers", "num_attention_heads": "heads"}
VISION_WORDS = WORDS | {"image_size": "image_size", "patch_size": "patch_size"}
TEXT_WORDS = WORDS | {"vocab_size": "vocab_size", "max_position_embeddings": "context_length"}
TEXT_WORDS |= {"eos_token_id": "eos_token_id"}
HIGHEST_ID = 2  # as Hugging Face's eos_token_id: the end token is the highest id of each row
# The fields of open_clip's configurations that the models here can follow.
OPEN_CLIP_WORDS = {"image_size", "patch_size", "vocab_size", "context_length", "width", "layers"}
OPEN_CLIP_WORDS |= {"heads", "head_width", "mlp_ratio"}
BICUBIC = 3  # Pillow's number for it
# What configurations may say of the preprocessing beside the size and the colours.
USUAL = {"resample": BICUBIC, "interpolation": "bicubic", "resize_mode": "shortest"}
USUAL |= {f"do_{step}": True for step in ("resize", "center_crop", "rescale", "normalize")}


@dataclass
class Published:
    """Published weights: their layout, the types of numbers that they were found in (float32 for
    bfloat16, which NumPy has not), the model, and the preprocessing of images that it wants."""

    layout: str
    stored: list[str]
    model: CLIP
    preprocess: Preprocess


def load(
    path: File, backend: str = "numpy", activation: str | None = None, dtype: str = "float32"
) -> tuple[CLIP, Preprocess, Tokenizer | MissingTokenizer]:
    """Open a model for use: (model, preprocess, tokenizer), from what the chapter's head lists.

    Of a run directory this opens checkpoint.npz, the last state; pass the path of its best.npz for
    that of the lowest validation loss. activation replaces the one that the files name; dtype is
    "float32" or "float64". A tokenizer whose vocabulary is not found raises when it is called.
    Raises FileNotFoundError, or FileError for what is wrong in the files."""
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"load: activation must be one of {ACTIVATIONS}, not {activation!r}")
    if dtype not in DTYPES:
        raise ValueError(f"load: dtype must be one of {DTYPES}, not {dtype!r}")
    path = locate(path)
    if path.suffix.lower() == ".npz":
        kept = read_checkpoint(path, activation)
        model, tokenizer = kept.model.astype(dtype), kept.tokenizer
        preprocess = training_preprocess(model.config.vision.image_size)
    else:
        found = read_published(path, activation, dtype)
        model, preprocess = found.model, found.preprocess
        tokenizer = find_tokenizer(path, model.config)
    return model.to(backend).eval(), preprocess, tokenizer


def locate(path: File) -> pathlib.Path:
    """The file of weights that `path` means: itself, the one in a directory, or one on the hub."""
    place = pathlib.Path(path)
    if not place.exists() and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(path)):
        place = _download(str(path))
    if not place.exists():
        raise FileNotFoundError(f"{path}: no such file or directory")
    if place.is_file():
        return place
    names = (CHECKPOINT, *_weights_of(place))
    for file in (place / f"{name}{ending}" for name in names for ending in ("", INDEX)):
        if file.is_file():
            return file
    raise FileNotFoundError(f"{path}: holds no model; looked for {', '.join(names)}")


def _weights_of(folder: pathlib.Path) -> tuple[str, ...]:
    """What the weights in a folder may be called. Where both configurations are, config.json is
    often that of the image encoder alone, for another library."""
    names, config = (*HUGGING_FACE, *OPEN_CLIP), folder / CONFIG
    if (folder / OPEN_CLIP_CONFIG).exists():
        is_clip = config.exists() and read_json(config).get("model_type") == "clip"
        names = names if is_clip else OPEN_CLIP
    return names


def _download(name: str) -> pathlib.Path:
    """The directory of a model of the hub, in the library's cache; its errors are its own."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        advice = 'to look for it on the hub: pip install "minigrad-clip[hub]"'
        raise ImportError(f"{name} is not here; {advice}") from error
    folder = pathlib.Path(snapshot_download(name, allow_patterns=SMALL_FILES))
    for weights in _weights_of(folder):
        parts = "*".join(os.path.splitext(weights))  # of one in parts: model-00001-of-00002
        snapshot_download(name, allow_patterns=[parts])
        if any(folder.glob(parts)):
            break
    return folder


def find_tokenizer(path: pathlib.Path, config: CLIPConfig) -> Tokenizer | MissingTokenizer:
    """The tokenizer beside a file of weights, or where none is, the published one; a stand-in where
    its vocabulary has not the size of the model's. FileError for a damaged vocabulary, unless the
    name of the weights is no standard one: it may then be another model's."""
    size, folder, tokenizer = config.text.vocab_size, path.parent, None
    wanted = f"a vocabulary of {size:,} pieces: vocab.json and merges.txt, or tokenizer.json"
    cause = f"the texts of this model need {wanted}, beside its weights in {folder}"
    if find_vocabulary(folder).exists():
        try:
            tokenizer = Tokenizer.load(folder)
            cause += f"; the one there has {tokenizer.vocab_size:,}"
        except FileError as error:
            if path.name.removesuffix(INDEX) in STANDARD:
                raise
            cause += f"; {error}"
    elif size == PUBLISHED_SIZE:
        try:
            tokenizer = Tokenizer.published()
        except FileNotFoundError as error:
            cause += f"; {error}"
    if tokenizer is None or tokenizer.vocab_size != size:
        return MissingTokenizer(cause)
    tokenizer.context_length = config.text.context_length
    return tokenizer


def read_published(
    path: pathlib.Path, activation: str | None = None, dtype: str = "float32"
) -> Published:
    """Read a file of weights and the configuration beside it, if there is one, which is believed
    in what the weights do not show. FileError for whatever is wrong in either."""
    arrays, notes = _read_arrays(path)
    with file_errors(path, UNFIT):
        given, images, source = _configuration(path, parse_json(notes.get(NOTE, "{}")))
        if activation is not None:
            for part in ("vision", "text"):
                given[part] = {**given.get(part, {}), "activation": activation}
        layout = layout_of(arrays)
        state = to_ours(arrays, layout)
        stored = sorted({str(array.dtype) for array in state.values()})
        model = CLIP(infer_config(state, given), None)
        with np.errstate(over="ignore"):  # a number too large for the type becomes infinite
            # A copy is made only of numbers of another type.
            state = {name: np.asarray(array, dtype) for name, array in state.items()}
        require_finite(state)
        model.load_state_dict(state, assign=True)
    with file_errors(source, UNFIT):
        preprocess = _preprocess(images, model.config.vision.image_size)
    return Published(layout, stored, model, preprocess)


def _configuration(path: pathlib.Path, note: Record) -> tuple[Record, Record, pathlib.Path]:
    """What the note in a file of weights, or else the files beside it, say of the model and of the
    images, and which of the files says the latter. FileError for what cannot be followed."""
    name = path.name.removesuffix(INDEX)
    beside = path.with_name(OPEN_CLIP_CONFIG if name in OPEN_CLIP else CONFIG)
    if note or not beside.exists():
        return note.get("config", {}), note.get("preprocess", {}), path
    record, more = read_json(beside), path.with_name(PREPROCESSING)
    with file_errors(beside, UNFIT):
        if name in OPEN_CLIP:
            return _open_clip_sizes(record["model_cfg"]), record.get("preprocess_cfg", {}), beside
        if name not in STANDARD and record.get("model_type") != "clip":
            return {}, {}, path  # of another model, which lies in the same folder
        images = read_json(more) if more.exists() else {}
        return _hugging_face_sizes(record), images, more


def _read_arrays(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, or of all files that an index names, and a safetensors file's notes."""
    match path.suffix.lower():
        case ".safetensors":
            return read_safetensors(path)
        case ".pt" | ".pth" | ".bin":
            return read_torch_state(path), {}
        case ".json":
            arrays: dict[str, np.ndarray] = {}
            with file_errors(path, "no index of weights"):
                for shard in sorted(set(read_json(path)["weight_map"].values())):
                    if pathlib.PurePath(shard).name != shard or shard.endswith(".json"):
                        raise FileError(f"{shard!r} is not the name of a file beside it")
                    arrays |= _read_arrays(path.with_name(shard))[0]
            return arrays, {}
    raise FileError(f"{path}: weights are read from .safetensors, .pt, .pth, .bin and .npz files")


def _hugging_face_sizes(record: Record) -> Record:
    """What config.json says of the model, with gaps, in the form of `CLIPConfig.to_dict`.
    FileError for what the models here cannot follow."""
    if record.get("model_type", "clip") != "clip":
        raise FileError(f"a model of type {record['model_type']!r}, expected 'clip'")
    sizes: Record = {"embed_dim": record["projection_dim"]}
    for part, words, heads in (("vision", VISION_WORDS, 12), ("text", TEXT_WORDS, 8)):
        told = {**record[f"{part}_config"], **(record.get(f"{part}_config_dict") or {})}
        if told.get("layer_norm_eps", 1e-5) != 1e-5:
            raise FileError(f"{part} layer_norm_eps is {told['layer_norm_eps']}, not 1e-5")
        sizes[part] = {ours: told[word] for word, ours in words.items() if word in told}
        sizes[part].setdefault("heads", heads)  # what the library takes them for
    if sizes["text"].get("eos_token_id") == HIGHEST_ID:
        sizes["text"]["eos_token_id"] = None
    return sizes


def _open_clip_sizes(model: Record) -> Record:
    """The same of the model in open_clip_config.json."""
    sizes: Record = {"embed_dim": model["embed_dim"]}
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    for part in ("vision", "text"):
        told = model[f"{part}_cfg"]
        unknown = [name for name in told if told[name] and name not in OPEN_CLIP_WORDS]
        if unknown:
            raise FileError(f"{part}_cfg asks for {', '.join(unknown)}, which is not known here")
        known = {name: told[name] for name in OPEN_CLIP_WORDS & told.keys()}
        heads = told["width"] // known.pop("head_width", 64)
        mlp_width = int(told["width"] * known.pop("mlp_ratio", 4.0))
        sizes[part] = {"heads": heads, "mlp_width": mlp_width, "activation": activation} | known
    return sizes


def _preprocess(record: Record, size: int) -> Preprocess:
    """What a record of either library says of images; FileError for another way than CLIP's."""
    for word, usual in USUAL.items():
        if record.get(word, usual) != usual:
            raise FileError(f"images are to be prepared with {word} {record[word]!r}")
    for word in ("size", "crop_size"):
        sizes = record.get(word, size)
        for side in sizes.values() if isinstance(sizes, dict) else (sizes,):
            if side not in (size, [size, size]):
                raise FileError(f"images are to have {word} {sizes!r}, the model sees {size}")
    colours: Record = {}
    for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
        if (told := record.get(theirs, record.get(ours))) is not None:
            colours[ours] = red, green, blue = tuple(map(float, told))
            if not all(map(math.isfinite, (red, green, blue))):
                raise FileError(f"{ours} of the colours must be finite, not {told}")
    if min(colours.get("std", STD)) <= 0:
        raise FileError(f"std of the colours must be positive, not {colours['std']}")
    return Preprocess(size, convert_first=record.get("convert_first") is True, **colours)


def _preprocess_record(preprocess: Preprocess) -> Record:
    """The same in Hugging Face's words, and one of ours."""
    size = preprocess.size
    record: Record = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    record |= {"image_mean": preprocess.mean, "image_std": preprocess.std, "resample": BICUBIC}
    return record | {"convert_first": preprocess.convert_first}


def save_pretrained(
    model: CLIP,
    directory: File,
    tokenizer: Tokenizer | MissingTokenizer | None = None,
    preprocess: Preprocess | None = None,
) -> None:
    """Write the files that Hugging Face's CLIPModel, CLIPTokenizer and CLIPImageProcessor open:
    weights, configurations and, where there is one, the tokenizer. `preprocess` None is that of the
    published models. Each file takes the place of an older one when it is complete."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write_weights(model, directory / "model.safetensors", "hf", {"format": "pt"})
    config, end = model.config, model.config.text.eos_token_id
    record: Record = {"architectures": ["CLIPModel"], "model_type": "clip"}
    record |= {"projection_dim": config.embed_dim, "dtype": str(model.logit_scale.dtype)}
    for part, words in (("vision", VISION_WORDS), ("text", TEXT_WORDS)):
        told = {word: getattr(getattr(config, part), ours) for word, ours in words.items()}
        told |= {"model_type": f"clip_{part}_model", "projection_dim": config.embed_dim}
        record[f"{part}_config"] = told
    record["text_config"] |= {"eos_token_id": HIGHEST_ID if end is None else end}
    record["text_config"] |= {"bos_token_id": config.text.vocab_size - 2, "pad_token_id": 0}
    write_json(directory / CONFIG, record)
    record = {"image_processor_type": "CLIPImageProcessor"}
    record |= _preprocess_record(preprocess or Preprocess(config.vision.image_size))
    write_json(directory / PREPROCESSING, record)
    if isinstance(tokenizer, Tokenizer):
        tokenizer.save_huggingface(directory)


def convert(source: File, target: File, layout: str = "hf") -> None:
    """Write any model that `load` opens as a Hugging Face directory ("hf"), or as one .safetensors
    file under OpenAI's names ("openai"), in which a note keeps what shapes do not show, but for the
    tokenizer."""
    if layout == "openai" and pathlib.Path(target).suffix != ".safetensors":
        raise ValueError(f"convert: the name of the file, {target}, must end in .safetensors")
    model, preprocess, tokenizer = load(source)
    if layout == "hf":
        save_pretrained(model, target, tokenizer, preprocess)
    else:
        note = {"config": model.config.to_dict(), "preprocess": _preprocess_record(preprocess)}
        _write_weights(model, target, layout, {NOTE: json.dumps(note)})


def _write_weights(model: CLIP, path: File, layout: str, notes: dict[str, str]) -> None:
    """FileError, and nothing written, where a weight is NaN or infinite."""
    arrays = export_arrays(model, layout)
    with file_errors(path, "not saved"):
        require_finite(arrays, "not saved")
    write_safetensors(path, arrays, notes)

"""How does a model go out, so that other libraries can open it?

`save_pretrained` writes a folder for Hugging Face's transformers: weights, settings and
tokenizer. `convert` opens any model and writes such a folder, or a single file under
OpenAI's names. That file has a note in its metadata with what shapes do not show.
"""

import json
import pathlib

from clip_np.data import Preprocess
from clip_np.files import (
    File,
    file_errors,
    make_folder,
    replace_together,
    require_finite,
    write_json,
    write_safetensors,
)
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer, Tokenizer, TokenizerProtocol
from clip_np.weights import huggingface, image_words
from clip_np.weights.companions import NOTE, OBSOLETE
from clip_np.weights.known_layouts import LAYOUTS, export_arrays
from clip_np.weights.layouts import Arrays
from clip_np.weights.loading import load


def save_pretrained(
    model: CLIP,
    directory: File,
    tokenizer: TokenizerProtocol | MissingTokenizer | None = None,
    preprocess: Preprocess | None = None,
) -> None:
    """Write a folder that Hugging Face's CLIPModel, CLIPTokenizer and processor open.

    `preprocess` None means the preparation of the published models. Without a
    tokenizer, no tokenizer files are written. The files replace older ones all
    together: whenever the program is stopped, `load` opens the old model or the new
    one. FileError, and nothing written, if a weight is NaN or infinite. ValueError if
    Hugging Face's CLIP has no such encoder.

    >>> import tempfile
    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(model, folder)
    ...     print(sorted(path.name for path in pathlib.Path(folder).iterdir()))
    ...     load(folder).model.config == model.config
    ['config.json', 'model.safetensors', 'preprocessor_config.json']
    True
    """
    LAYOUTS["hf"].require_kinds("hf", model.config)
    directory = pathlib.Path(directory)
    preprocess = preprocess or Preprocess(model.config.vision.image_size)
    arrays = _finite_arrays(model, directory / huggingface.WEIGHTS[0], layout="hf")
    settings = huggingface.model_settings(model.config, model.logit_scale.dtype)
    make_folder(directory)
    with replace_together(directory, OBSOLETE) as new:
        write_safetensors(new / huggingface.WEIGHTS[0], arrays, {"format": "pt"})
        write_json(new / huggingface.CONFIG, settings)
        write_json(new / image_words.PREPROCESSING, image_words.processor_settings(preprocess))
        if isinstance(tokenizer, Tokenizer):
            tokenizer.save_huggingface(new)


def convert(source: File, target: File, layout: str = "hf", activation: str | None = None) -> None:
    """Write any model that `load` opens in another layout.

    "hf" writes the folder of `save_pretrained`; "openai" one .safetensors file under
    OpenAI's names, which has no room for a tokenizer. `activation` replaces the one
    that the source names. ValueError for another name of that file, FileError for what
    is wrong in the source.

    >>> import tempfile
    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(model, folder)
    ...     convert(folder, f"{folder}/a.safetensors", layout="openai")
    ...     load(f"{folder}/a.safetensors").model.config == model.config
    True
    """
    if layout == "openai" and pathlib.Path(target).suffix != ".safetensors":
        raise ValueError(f"convert: the name of `target`, {target}, must end in .safetensors")
    model, preprocess, tokenizer = load(source, activation=activation)
    if layout == "hf":
        save_pretrained(model, target, tokenizer=tokenizer, preprocess=preprocess)
        return
    note = {"config": model.config.to_dict(), "preprocess": image_words.image_settings(preprocess)}
    arrays = _finite_arrays(model, target, layout)
    write_safetensors(target, arrays, {NOTE: json.dumps(note)})


def _finite_arrays(model: CLIP, path: File, layout: str) -> Arrays:
    """The parameters in a layout; FileError, naming `path`, if one is not finite."""
    arrays = export_arrays(model, layout)
    with file_errors(path, "not saved"):
        require_finite(arrays, "not saved")
    return arrays

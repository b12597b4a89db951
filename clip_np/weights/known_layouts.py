"""Which library do the names of a file's arrays come from?

Every layout has an array that no other one has, its signature. Models of other kinds
are recognised by what some of their names begin with, so that the message can say what
they are. This is the table to which a new layout is added.
"""

from collections.abc import Iterable

from clip_np.data import a_few
from clip_np.files import FileError
from clip_np.model import CLIP
from clip_np.weights.huggingface import HuggingFaceLayout
from clip_np.weights.layouts import Arrays, Layout
from clip_np.weights.openai import OpenAILayout
from minigrad.backend import move

LAYOUTS: dict[str, Layout] = {"openai": OpenAILayout(), "hf": HuggingFaceLayout()}

# What the names in files of other models begin with, and what those models have.
OTHER_MODELS = {
    "visual.trunk.": "a vision encoder of the timm library",
    "text.transformer.embeddings.": "a text encoder of the transformers library",
    "text_model.embeddings.word_embeddings.": "a BERT as text encoder",
    "visual.attn_pool.": "attention pooling",
}


def recognise_layout(names: Iterable[str]) -> str:
    """The layout of an array file by its names; FileError if it is none of CLIP's.

    >>> recognise_layout(["visual.conv1.weight", "visual.proj"])
    'openai'
    """
    names = list(names)
    for name in names:
        for beginning, description in OTHER_MODELS.items():
            if name.startswith(beginning):
                raise FileError(f"it has {description} ({name})")
    for key, layout in LAYOUTS.items():
        if layout.signature in names:
            return key
    raise FileError(f"it holds no CLIP: its names are {a_few(names)}")


def export_arrays(model: CLIP, layout: str = "openai", grad: bool = False) -> Arrays:
    """All that a model keeps, with the names and shapes of a layout, on the host.

    `layout` is "openai" or "hf". With `grad`, gradients take the place of parameters,
    and parameters without one are left out, as are buffers. The arrays are views, if
    the model is on the host: whoever writes to them changes the model. ValueError for
    another layout, or one that lacks an encoder of the model.

    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.model import CLIP
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> export_arrays(model, "openai")["visual.conv1.weight"].shape
    (64, 3, 8, 8)
    >>> export_arrays(model, "hf")["visual_projection.weight"].shape
    (64, 64)
    """
    if layout not in LAYOUTS:
        raise ValueError(f"export_arrays: `layout` {layout!r} is none of {', '.join(LAYOUTS)}")
    LAYOUTS[layout].require_kinds(layout, model.config)
    state: Arrays = {}
    for path, parameter in model.named_parameters():
        array = parameter.grad if grad else parameter.data
        if array is not None:
            state[path] = move(array, "numpy")
    if not grad:
        state |= {path: move(buffer.data, "numpy") for path, buffer in model.named_buffers()}
    return LAYOUTS[layout].from_ours(state)

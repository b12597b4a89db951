"""Whose names do the arrays of a file have?

Every layout has an array that no other one has, its signature. Models of other kinds
are recognised by what some of their names begin with, so that the message can say what
they are. This is the table to which a new layout is added.
"""

from collections.abc import Iterable

from clip_np.files import FileError
from clip_np.weights.huggingface import HuggingFaceLayout
from clip_np.weights.layouts import Arrays, Layout, first_names
from clip_np.weights.openai import OpenAILayout
from minigrad.backend import move
from minigrad.nn import Module

LAYOUTS: dict[str, Layout] = {"openai": OpenAILayout(), "hf": HuggingFaceLayout()}

# What the names in files of other kinds of model begin with, and what those models
# have.
OTHER_MODELS = {
    "visual.layer1.": "a ResNet as image encoder",
    "visual.trunk.": "an image encoder of the timm library",
    "text.transformer.embeddings.": "a text encoder of the transformers library",
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
    raise FileError(
        f"it holds no CLIP with a vision transformer: its names are {first_names(names)}"
    )


def export_arrays(model: Module, layout: str = "openai", grad: bool = False) -> Arrays:
    """Every parameter under the names and with the shapes of a layout, on the host.

    `layout` is "openai" or "hf". With `grad`, gradients take the place of parameters,
    and parameters without one are left out. The arrays are views, if the model is on
    the host: whoever writes to them changes the model.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"export_arrays: `layout` {layout!r} is none of {', '.join(LAYOUTS)}")
    state: Arrays = {}
    for path, parameter in model.named_parameters():
        array = parameter.grad if grad else parameter.data
        if array is not None:
            state[path] = move(array, "numpy")
    return LAYOUTS[layout].from_ours(state)

"""Which dialect does a file speak?

A layout shows in the names of the arrays: each has an array that no other has. A
configuration shows in the name of the file: model.safetensors belongs to Hugging Face's
config.json, and open_clip_model.safetensors to open_clip_config.json, in the same
folder.
"""

import pathlib
from collections.abc import Iterable

from clip_np.files import FileError, parse_json
from clip_np.weights import huggingface, open_clip
from clip_np.weights.configuration import Configuration
from clip_np.weights.layouts import Arrays, Layout, first_names
from clip_np.weights.openai import OpenAILayout
from minigrad.backend import move
from minigrad.nn import Module

LAYOUTS: dict[str, Layout] = {"openai": OpenAILayout(), "hf": huggingface.HuggingFaceLayout()}

# What the names in files of other kinds of model begin with, and what those models
# have.
OTHER_MODELS = {
    "visual.layer1.": "a ResNet as image encoder",
    "visual.trunk.": "an image encoder of the timm library",
    "text.transformer.embeddings.": "a text encoder of the transformers library",
    "visual.attn_pool.": "attention pooling",
}

INDEX = ".index.json"  # of weights in parts: model.safetensors.index.json names the files
# In the metadata of a .safetensors file that `convert` wrote: its model's configuration
# and preparation of images, as JSON. It takes the place of files next to it.
NOTE = "clip_np"

# Names of files of weights, the best first. A file with one of these names belongs to
# the other files in its folder: configuration and vocabulary. A file with another name
# may have been put into the folder of another model.
STANDARD_NAMES = huggingface.WEIGHTS + open_clip.WEIGHTS


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


def has_standard_name(path: pathlib.Path) -> bool:
    """Whether the other files in the folder belong to this file of weights.

    >>> has_standard_name(pathlib.Path("run", "model.safetensors.index.json"))
    True
    """
    return path.name.removesuffix(INDEX) in STANDARD_NAMES


def names_of_weights(folder: pathlib.Path) -> tuple[str, ...]:
    """How the weights in a folder may be called, the best first.

    In a folder with both configurations, config.json is often that of the image encoder
    alone, for another library. Then only open_clip's weights count.
    """
    if (folder / open_clip.CONFIG).exists():
        has_config = (folder / huggingface.CONFIG).exists()
        if not (has_config and huggingface.is_clip(folder)):
            return open_clip.WEIGHTS
    return STANDARD_NAMES


def find_configuration(path: pathlib.Path, metadata: dict[str, str]) -> Configuration:
    """What is said of the model in a file of weights: in its metadata or next to it.

    FileError for what cannot be followed.
    """
    note = parse_json(metadata.get(NOTE, "{}"))
    nothing = Configuration(sizes={}, images={}, words=huggingface.IMAGE_WORDS, source=path)
    if note:
        return nothing._replace(sizes=note.get("config", {}), images=note.get("preprocess", {}))
    folder = path.parent
    if path.name.removesuffix(INDEX) in open_clip.WEIGHTS:
        has_config = (folder / open_clip.CONFIG).exists()
        return open_clip.read_configuration(folder) if has_config else nothing
    if not (folder / huggingface.CONFIG).exists():
        return nothing
    # Next to weights with a name of their own, config.json may be that of another model.
    is_for_weights = has_standard_name(path) or huggingface.is_clip(folder)
    return huggingface.read_configuration(folder) if is_for_weights else nothing


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

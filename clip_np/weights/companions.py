"""Which files in a folder belong together?

Weights come with a configuration, the settings for images and a vocabulary, in files
next to them. The name of the weights shows which library they are for:

    model.safetensors, pytorch_model.bin      config.json, preprocessor_config.json
    open_clip_model.safetensors and so on     open_clip_config.json

A file of weights with another name, as people download and rename it, may lie in the
folder of another model. So what lies next to it counts only if it is a CLIP's.
"""

import pathlib

from clip_np.files import parse_json
from clip_np.tokens import HUGGINGFACE_LEFTOVERS
from clip_np.weights import huggingface, open_clip
from clip_np.weights.configuration import Configuration
from clip_np.weights.image_words import IMAGE_WORDS, PREPROCESSING, PROCESSING

INDEX = ".index.json"  # of weights in parts: model.safetensors.index.json names the files
# In the metadata of a .safetensors file that `convert` wrote: its model's configuration
# and preparation of images, as JSON. It takes the place of files next to it.
NOTE = "clip_np"

# The libraries that have files of their own, and the names of their weights. A file of
# such a name belongs to the other files in its folder. The best name comes first.
DIALECTS = (huggingface.DIALECT, open_clip.DIALECT)
STANDARD_NAMES = tuple(name for dialect in DIALECTS for name in dialect.weights)


# What transformers would read in place of the vocabulary and of the preparation of
# images that are written here.
OBSOLETE = {"vocab.json": HUGGINGFACE_LEFTOVERS, PREPROCESSING: (PROCESSING,)}


def has_standard_name(path: pathlib.Path) -> bool:
    """Whether the other files in the folder belong to this file of weights.

    >>> has_standard_name(pathlib.Path("run", "model.safetensors.index.json"))
    True
    """
    return path.name.removesuffix(INDEX) in STANDARD_NAMES


def names_of_weights(folder: pathlib.Path) -> tuple[str, ...]:
    """How the weights in a folder may be called, the best first.

    In a folder with both configurations, config.json often describes the vision encoder
    alone, for another library. Then only open_clip's weights count.

    >>> names_of_weights(pathlib.Path("a folder without configurations"))[0]
    'model.safetensors'
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
    nothing = Configuration(sizes={}, images={}, words=IMAGE_WORDS, source=path)
    if note:
        return nothing._replace(sizes=note.get("config", {}), images=note.get("preprocess", {}))
    folder = path.parent
    for dialect in DIALECTS:
        if path.name.removesuffix(INDEX) in dialect.weights:
            has_config = (folder / dialect.config).exists()
            return dialect.read(folder) if has_config else nothing
    # Next to weights with another name, config.json may belong to another model.
    if (folder / huggingface.CONFIG).exists() and huggingface.is_clip(folder):
        return huggingface.read_configuration(folder)
    if (folder / open_clip.CONFIG).exists():
        return open_clip.read_configuration(folder)
    return nothing

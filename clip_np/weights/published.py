"""How does a file of published weights become a model?

    read_arrays          -> names and arrays, as they are in the file
    unwrap_names         -> the names without what other programs put around them
    find_configuration   -> what the files next to it say
    recognise_layout     -> which library's names these are
    Layout.to_ours       -> the state of a model: our paths, our forms
    infer_config         -> the sizes, from shapes and configuration
    require_shapes       -> the same names and shapes as a model of these sizes
    CLIP                 -> a model with these arrays as parameters

Arrays of the wanted type are not copied: the file is mapped into memory, and a
parameter is a view of it. (Hugging Face's queries, keys and values are copied, because
they are one matrix here.)
"""

import pathlib
import warnings
from dataclasses import dataclass

import numpy as np

from clip_np.data import Preprocess
from clip_np.encoders import ENCODERS, CLIPConfig
from clip_np.files import file_errors, require_finite, with_dtype
from clip_np.model import CLIP
from clip_np.weights.companions import find_configuration
from clip_np.weights.configuration import UNFIT, Settings
from clip_np.weights.known_layouts import LAYOUTS, recognise_layout
from clip_np.weights.layouts import Arrays
from clip_np.weights.preprocessing import parse_preprocess
from clip_np.weights.reading import read_arrays, require_own_bytes
from clip_np.weights.shapes import require_shapes
from clip_np.weights.sizes import infer_config
from clip_np.weights.wrappers import unwrap_names

# An array that OpenAI's own archives have, in which the activation is quick_gelu.
OPENAI_ARCHIVE = "input_resolution"


class AssumedActivation(UserWarning):
    """A model's activation is a guess. The wrong one makes its answers worse."""


@dataclass
class Published:
    """Published weights.

    layout: "openai" or "hf". stored: the types of numbers in the file, sorted (float32
    stands for bfloat16, which NumPy lacks). activation_is_assumed: whether nothing says
    which activation the model has. preprocess: what the model does to images.
    """

    layout: str
    stored: list[str]
    activation_is_assumed: bool
    model: CLIP
    preprocess: Preprocess


def read_published(
    path: pathlib.Path, activation: str | None = None, dtype: str = "float32"
) -> Published:
    """Read a file of weights and the configuration next to it, if there is one.

    The configuration is believed in what the shapes do not show. `activation` replaces
    the one that the files name. If neither says it, a warning tells which one was
    assumed. FileError for whatever is wrong in the files.
    """
    arrays, metadata = read_arrays(path)
    with file_errors(path, UNFIT):
        require_own_bytes(arrays, path)
        arrays = unwrap_names(arrays)
        configuration = find_configuration(path, metadata)
        layout = recognise_layout(arrays)
        state = LAYOUTS[layout].to_ours(arrays)
        stored = sorted({str(array.dtype) for array in state.values()})
        config = infer_config(state, configuration.sizes)
        if activation is not None:
            config = config.with_activation(activation)
        model = _build_model(config, state, dtype)
    is_stated = activation is not None or _states_activation(configuration.sizes)
    is_assumed = not (is_stated or OPENAI_ARCHIVE in arrays)
    if is_assumed:
        warnings.warn(
            f"{path}: nothing says which activation the model has; assumed "
            f"{model.config.text.activation}, OpenAI's. Most models of open_clip have gelu: "
            'pass `activation` "gelu" if this is one of them, or "quick_gelu" to confirm',
            AssumedActivation,
            stacklevel=2,
        )
    with file_errors(configuration.source, UNFIT):
        image_size = model.config.vision.image_size
        preprocess = parse_preprocess(configuration.images, configuration.words, image_size)
    return Published(
        layout=layout,
        stored=stored,
        activation_is_assumed=is_assumed,
        model=model,
        preprocess=preprocess,
    )


def _states_activation(sizes: Settings) -> bool:
    """Whether the sizes name the activation of an encoder."""
    return any("activation" in sizes.get(encoder, {}) for encoder in ENCODERS)


def _build_model(config: CLIPConfig, state: Arrays, dtype: str) -> CLIP:
    """A model with this state, copied only if the numbers are of another type."""
    require_shapes(state, config)
    with np.errstate(over="ignore"):  # a number too large for the type becomes infinite
        state = with_dtype(state, dtype)
    require_finite(state)
    model = CLIP(config, None)
    model.load_state_dict(state, assign=True)
    return model

"""What is a layout, and how is one translated into another?

The same CLIP is on offer in several files, which differ in names and packing only:

    here                      OpenAI, open_clip        Hugging Face
    vision.ln_pre.bias        visual.ln_pre.bias       vision_model.pre_layrnorm.bias
    text.ln_final.bias        ln_final.bias            text_model.final_layer_norm.bias
    ...attn.in_proj.weight    ...attn.in_proj_weight   ...self_attn.{q,k,v}_proj.weight
    vision.proj (W, E)        visual.proj (W, E)       visual_projection.weight (E, W)

So a layout is a list of replacements in names, read one way to load and the other way
to save, and a few arrays that change their form. It may know some kinds of encoders
only. In this part of the program a *name*
is what a file calls an array, and a *path* is what our model calls it.

A new layout is a new file with a subclass of `Layout`, and a line in
`known_layouts.py`.
"""

import math
import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from clip_np.encoders import CLIPConfig
from clip_np.files import FileError

Arrays = dict[str, np.ndarray]

# Numbers that files hold next to the weights: constants, and sizes of the model.
NOT_WEIGHTS = re.compile(
    r"(.*\.)?(position_ids|attn_mask|input_resolution|context_length|vocab_size)"
)
# Counters of batch norms: the only whole numbers that belong to a model.
WHOLE_NUMBERS = re.compile(r"(.*\.)?num_batches_tracked")
CONVOLUTION = "vision.conv1.weight"
CLASS_TOKEN = "vision.class_embedding"  # vision transformers have it, and nothing else does
# The parameters of the losses, which have one name everywhere. Models of the sigmoid
# loss have both.
OF_LOSSES = ("logit_scale", "logit_bias")

# What to do with a kind of encoder that a layout has no names for.
WITHOUT_NAMES = {
    "resnet": (
        "take another one (`layout` 'openai' has ResNets), or train a model that can be converted "
        "(`vision` 'vit')"
    ),
    "bert": (
        "keep the model as a checkpoint (save_checkpoint), which `load` opens, or train one that "
        "can be converted (`text` 'gpt')"
    ),
}


class Layout:
    """Names and forms of the arrays in a file; this base class has what all share.

    signature: an array that every file of this layout has, and no file of another one.
    replacements: pairs (in paths, in names), applied one after the other. kinds: the
    kinds of encoders that have names in this layout, by encoder.
    """

    signature: str
    replacements: tuple[tuple[str, str], ...]
    kinds: ClassVar[Mapping[str, tuple[str, ...]]]

    def require_kinds(self, name: str, config: CLIPConfig) -> None:
        """ValueError if an encoder of the model has no names in the layout `name`."""
        for encoder, kinds in self.kinds.items():
            kind = getattr(config, encoder).kind
            if kind not in kinds:
                raise ValueError(
                    f"`layout` {name!r} has no names for a {encoder} encoder of kind "
                    f"{kind!r}, only for {', '.join(kinds)}; {WITHOUT_NAMES[kind]}"
                )

    def name_of(self, path: str) -> str:
        """What a file calls the array that our model calls `path`."""
        for in_path, in_name in self.replacements:
            path = path.replace(in_path, in_name)
        return path

    def path_of(self, name: str) -> str:
        """What our model calls the array that a file calls `name`."""
        for in_path, in_name in self.replacements:
            # Replacing "" would match everywhere. OpenAILayout.path_of puts "text."
            # back.
            if in_name:
                name = name.replace(in_name, in_path)
        return name

    def to_ours(self, arrays: Arrays) -> Arrays:
        """The arrays of a file as the state of a model, whatever is missing in it.

        FileError for numbers without fractions, an array that is there under two
        names, and patches that are not squares in three colours.
        """
        state: Arrays = {}
        for name, array in arrays.items():
            if NOT_WEIGHTS.fullmatch(name):
                continue
            if array.dtype.kind != "f" and not WHOLE_NUMBERS.fullmatch(name):
                raise FileError(f"{name} holds {array.dtype}, not floating-point numbers")
            path = self.path_of(name)
            if path in state:
                raise FileError(f"{name} is there twice under two names")
            state[path] = self.form_to_ours(path, name, array)
        if CLASS_TOKEN in state and CONVOLUTION in state:
            name = self.name_of(CONVOLUTION)
            state[CONVOLUTION] = flatten_patches(name, state[CONVOLUTION])
        return state

    def from_ours(self, state: Arrays) -> Arrays:
        """A model's arrays, or some of them, as a file has them; no copies."""
        return {
            self.name_of(path): self.form_from_ours(path, array) for path, array in state.items()
        }

    def form_to_ours(self, path: str, name: str, array: np.ndarray) -> np.ndarray:
        """One array in our form; a layout with other forms extends this method."""
        if path in OF_LOSSES and array.size == 1:
            return array.reshape(())  # open_clip's are (1,) at times
        return array

    def form_from_ours(self, path: str, array: np.ndarray) -> np.ndarray:
        """One array in the file's form: the inverse of `form_to_ours`."""
        # The first convolution of a ResNet has kept its four dimensions.
        return unflatten_patches(array) if path == CONVOLUTION and array.ndim == 2 else array


def flatten_patches(name: str, array: np.ndarray) -> np.ndarray:
    """A convolution's weights (W, 3, P, P) as those of a linear layer (W, 3*P*P).

    The stride of this convolution is the size of its patches, so it is a linear layer
    that sees one patch. FileError if the patches are not squares in three
    colours.

    >>> flatten_patches("conv1", np.zeros((64, 3, 8, 8))).shape
    (64, 192)
    """
    if array.ndim != 4 or array.shape[1] != 3 or array.shape[2] != array.shape[3]:
        raise FileError(f"{name} {array.shape} must be (W, 3, P, P)")
    return array.reshape(len(array), -1)  # (W, 3*P*P)


def unflatten_patches(array: np.ndarray) -> np.ndarray:
    """The inverse of `flatten_patches`.

    >>> unflatten_patches(np.zeros((64, 192))).shape
    (64, 3, 8, 8)
    """
    side = patch_size_of(array)
    return array.reshape(-1, 3, side, side)  # (W, 3, P, P)


def patch_size_of(convolution: np.ndarray) -> int:
    """P of weights (W, 3*P*P): how many pixels a patch is wide.

    >>> patch_size_of(np.zeros((64, 192)))
    8
    """
    return math.isqrt(convolution.shape[1] // 3)

"""What do other programs put around the names of a model's arrays?

A program that trains a model often wraps it in an object of its own, and saves the
wrapper. Every name then has the wrapper's name in front, or in the middle:

    module.visual.conv1.weight            PyTorch's DataParallel
    _orig_mod.visual.conv1.weight         torch.compile, of the whole model
    visual._orig_mod.conv1.weight         torch.compile, of one encoder
    model.visual.conv1.weight             Lightning, and many people's own classes
    base_model.model.visual.conv1.weight  PEFT

So two things are taken away: the words that only wrappers use, wherever they stand, and
whatever all names have in front. No layout of CLIP has a beginning that all of its
names share, because `logit_scale` stands alone.
"""

from collections.abc import Sequence

from clip_np.files import FileError
from clip_np.weights.layouts import Arrays

# What wrappers of PyTorch call the model in them. No model calls its layers so.
WRAPPERS = {
    "module",  # DataParallel, DistributedDataParallel
    "_orig_mod",  # torch.compile
    "_fsdp_wrapped_module",  # FullyShardedDataParallel
    "_checkpoint_wrapped_module",  # activation checkpointing
    "_forward_module",  # Lightning's Fabric
}


def unwrap_names(arrays: Arrays) -> Arrays:
    """The same arrays, under the names that they have in the model itself.

    FileError if two names become one.

    >>> import numpy as np
    >>> one = np.ones(1)
    >>> list(unwrap_names({"net.logit_scale": one, "net.visual.module.proj": one}))
    ['logit_scale', 'visual.proj']
    """
    names = [_without_wrappers(name) for name in arrays]
    # A single array shares everything with itself.
    start = len(_shared_beginning(names)) if len(names) > 1 else 0
    unwrapped: Arrays = {}
    for name, array in zip(names, arrays.values()):
        if name[start:] in unwrapped:
            raise FileError(f"{name[start:]} is there twice, with wrappers around it and without")
        unwrapped[name[start:]] = array
    return unwrapped


def _without_wrappers(name: str) -> str:
    """The name without the parts in WRAPPERS, but at least its last part.

    >>> _without_wrappers("module.visual._orig_mod.proj")
    'visual.proj'
    """
    *parts, last = name.split(".")
    return ".".join([*(part for part in parts if part not in WRAPPERS), last])


def _shared_beginning(names: Sequence[str]) -> str:
    """The longest beginning, up to a dot, that all names have; their last parts stay.

    >>> _shared_beginning(["model.clip.a.b", "model.clip.c"])
    'model.clip.'
    >>> _shared_beginning(["a.b"])
    'a.'
    """
    split_names = [name.split(".")[:-1] for name in names]
    shared = []
    for parts in zip(*split_names):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared)

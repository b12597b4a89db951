"""Are the numbers of a model still such that it can learn?

A weight that is NaN, infinite or huge spoils whatever it meets. Nothing is learned from
then on, and a checkpoint of such a model is worth nothing. It happens when the learning
rate is too high. And the optimizer's moments can be spoiled while all weights are
finite: a square of 1e20 is infinite in float32, and a weight over an infinite moment
never moves again.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from clip_np.model import CLIP
from minigrad.backend import Array, array_module, move
from minigrad.optim import Optimizer

LARGEST_WEIGHT = 1e6
"""No trained model comes near it: the published ones stay below 100.

float32 has 7 digits. Next to a weight of 1e6 those of usual size, 0.1, are rounding
errors.
"""

Key = str | tuple[int, int]
"""The name of a weight, or the numbers of a group of the optimizer and its moment."""


def fault_of(model: CLIP, optimizer: Optimizer) -> str | None:
    """What is wrong with weights, buffers or moments, or None if nothing is.

    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = Optimizer(model.parameters(), lr=0.1, weight_decay=0.0)
    >>> fault_of(model, optimizer)
    >>> model.vision.proj.data[0, 0] = 1e30
    >>> fault_of(model, optimizer)
    'vision.proj holds 1e+30, too large for a weight'
    """
    sizes = largest_values(model, optimizer)
    xp = array_module(next(iter(sizes.values())))
    values = move(xp.stack(list(sizes.values())), "numpy").tolist()
    return fault_in(dict(zip(sizes, values)), model, optimizer)


def largest_values(model: CLIP, optimizer: Optimizer) -> dict[Key, Array]:
    """The largest absolute value of each weight, buffer and moment, 0-d.

    It is NaN if there is one. Frozen weights cannot change, and are left out. Buffers
    of whole numbers are left out: they count steps. The values are where the model is.
    On a GPU, whoever reads them waits for it.
    """
    arrays: dict[Key, Array] = {
        name: parameter.data
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    arrays |= {
        name: buffer.data for name, buffer in model.named_buffers() if buffer.dtype.kind == "f"
    }
    for group, moments in enumerate(optimizer.moments):
        arrays |= {(group, number): moment for number, moment in enumerate(moments)}
    xp = array_module(model.logit_scale.data)
    return {key: xp.maximum(array.max(), -array.min()) for key, array in arrays.items()}


def fault_in(sizes: Mapping[Key, float], model: CLIP, optimizer: Optimizer) -> str | None:
    """What `fault_of` says, given the numbers of `largest_values`."""
    for key, size in sizes.items():
        if not math.isfinite(size):
            name = key if isinstance(key, str) else _moment_name(key, model, optimizer)
            return f"{name} holds a NaN or an infinity"
        if isinstance(key, str) and size > LARGEST_WEIGHT:
            return f"{key} holds {size:.3g}, too large for a weight"
    return None


def _moment_name(key: tuple[int, int], model: CLIP, optimizer: Optimizer) -> str:
    """What a spoiled moment is called in a message."""
    group, number = key
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = optimizer.groups[group]["params"]
    names = [name_of.get(id(parameter), "a parameter") for parameter in parameters]
    sizes = [parameter.size for parameter in parameters]
    return f"the optimizer's moment of {_owner(optimizer.moments[group][number], names, sizes)}"


def _owner(moment: Array, names: Sequence[str], sizes: Sequence[int]) -> str:
    """The parameter to which the first spoiled number of a group's moment belongs."""
    spoiled = np.flatnonzero(~np.isfinite(move(moment, "numpy").reshape(-1)))
    ends = np.cumsum(sizes)
    position = int(np.searchsorted(ends, spoiled[0], side="right"))
    return names[min(position, len(names) - 1)]

"""Are the numbers of a model still such that it can learn?

A weight that is NaN, infinite or huge spoils whatever it meets. Nothing is learned from
then on, and a checkpoint of such a model is worth nothing. It happens when the learning
rate is too high. And the optimizer's moments can be spoiled while all weights are
finite: a square of 1e20 is infinite in float32, and a weight over an infinite moment
never moves again.
"""

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


def fault_of(model: CLIP, optimizer: Optimizer) -> str | None:
    """What is wrong with the weights or the moments, or None if nothing is.

    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = Optimizer(model.parameters(), lr=0.1, weight_decay=0.0)
    >>> fault_of(model, optimizer)
    >>> model.vision.proj.data[0, 0] = 1e30
    >>> fault_of(model, optimizer)
    'vision.proj holds 1e+30, too large for a weight'
    """
    weights = {name: parameter.data for name, parameter in model.named_parameters()}
    for name, size in _largest(weights).items():
        if not np.isfinite(size):
            return f"{name} holds a NaN or an infinity"
        if size > LARGEST_WEIGHT:
            return f"{name} holds {size:.3g}, too large for a weight"
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    for group, moments in zip(optimizer.groups, optimizer.moments):
        names = [name_of.get(id(parameter), "a parameter") for parameter in group["params"]]
        sizes = [parameter.size for parameter in group["params"]]
        for moment in moments:
            if not np.isfinite(_largest({"moment": moment})["moment"]):
                return (
                    f"the optimizer's moment of {_owner(moment, names, sizes)} holds a NaN or "
                    "an infinity"
                )
    return None


def _largest(arrays: Mapping[str, Array]) -> dict[str, float]:
    """The largest absolute value in each array; NaN if there is one."""
    if not arrays:
        return {}
    xp = array_module(next(iter(arrays.values())))
    # A GPU is waited for once, at the end.
    sizes = [xp.maximum(array.max(), -array.min()) for array in arrays.values()]
    return dict(zip(arrays, move(xp.stack(sizes), "numpy").tolist()))


def _owner(moment: Array, names: Sequence[str], sizes: Sequence[int]) -> str:
    """The parameter to which the first spoiled number of a group's moment belongs."""
    spoiled = np.flatnonzero(~np.isfinite(move(moment, "numpy").reshape(-1)))
    ends = np.cumsum(sizes)
    position = int(np.searchsorted(ends, spoiled[0], side="right"))
    return names[min(position, len(names) - 1)]

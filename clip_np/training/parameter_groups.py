"""Which parameters learn, and how fast is each layer?

All parameters that require a gradient learn, which leaves a frozen encoder out. In a
model that was trained before, the first layers know what most images and texts have in
common, and the last ones what the old task was about. So the last layers have more to
unlearn. With *layer-wise decay* d a layer's learning rate is d times that of the layer
behind it. In an encoder of L layers,

    depth 0         the embeddings              rate lr d^(L + 1)
    depth i         block i = 1 .. L            rate lr d^(L + 1 - i)
    depth L + 1     the last norm, projection   rate lr

A ResNet has four stages or fewer in place of blocks. Its stem, the convolutions in
front of them, has depth 0, and its attention pooling depth L + 1.

The temperature, and an encoder that is new, learn at the rate lr. The optimizer keeps
the factor of a group by itself ("lr_factor"), so that the schedule sets one rate.

Clark et al. 2020, "ELECTRA", arXiv:2003.10555; Dong et al. 2022, "CLIP Itself is a
Strong Fine-tuner", arXiv:2212.06138 (for CLIP, with d from 0.6 to 0.75).
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from clip_np.encoders import ENCODERS
from clip_np.model import CLIP

BLOCK = re.compile(r"resblocks\.(\d+)\.")  # of a transformer, counted from 0
STAGE = re.compile(r"layer(\d+)\.")  # of a ResNet, counted from 1
LAST = ("ln_post.", "proj", "ln_final.", "text_projection", "attnpool.")
"""How the names of what stands behind all blocks begin."""


def parameter_groups(
    model: CLIP, layer_decay: float = 1.0, new_encoders: Collection[str] = ()
) -> Sequence[Any]:
    """What an optimizer is made with: the trained parameters, in groups if needed.

    new_encoders are those, "vision" or "text", that have nothing to keep.

    >>> import numpy as np
    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> model.freeze("vision")
    >>> groups = parameter_groups(model, layer_decay=0.5)
    >>> sorted({group["lr_factor"] for group in groups})  # 3 blocks
    [0.0625, 0.125, 0.25, 0.5, 1.0]
    """
    trained = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if layer_decay == 1.0:
        return list(trained.values())
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    distances = layer_distances(list(trained), new_encoders)
    for name, parameter in trained.items():
        factor = layer_decay ** distances[name]
        is_matrix = parameter.ndim >= 2  # as in minigrad/optim.py: only these decay
        group = groups.setdefault((factor, is_matrix), {"params": [], "lr_factor": factor})
        group["params"].append(parameter)
        if not is_matrix:
            group["weight_decay"] = 0.0
    return list(groups.values())


def layer_distances(names: Sequence[str], new_encoders: Collection[str] = ()) -> dict[str, int]:
    """How many layers stand behind the one that each parameter belongs to, by name.

    >>> layer_distances(["text.resblocks.0.ln_1.bias", "text.ln_final.bias"])
    {'text.resblocks.0.ln_1.bias': 1, 'text.ln_final.bias': 0}
    """
    distances = dict.fromkeys(names, 0)
    for encoder in ENCODERS:
        if encoder in new_encoders:
            continue
        inside = [name for name in names if name.startswith(f"{encoder}.")]
        depths = {name: _depth(name.removeprefix(f"{encoder}.")) for name in inside}
        last = 1 + max((depth for depth in depths.values() if depth is not None), default=0)
        distances |= {name: 0 if depth is None else last - depth for name, depth in depths.items()}
    return distances


def _depth(path: str) -> int | None:
    """The depth of a parameter in its encoder; None means L + 1, behind all blocks."""
    if block := BLOCK.search(path):
        return int(block[1]) + 1
    if stage := STAGE.match(path):
        return int(stage[1])
    return None if path.startswith(LAST) else 0

"""How are the weights in a PyTorch file read, without PyTorch and without risk?

Three files share the work, and this one puts them together:

    torch_archive.py     the zip archive: which bytes are the pickle, which are numbers
    pickle_machine.py    the pickle: dicts, lists and names, and nothing runs
    torch_tensors.py     the names: storages, and tensors as views of them

What comes out is a tree of dicts and lists with arrays in it. `read_torch_state` makes
one dict of it, because weights are arrays with names.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.pickle_machine import StandIn, run_pickle
from clip_np.files.torch_archive import PICKLE, read_entries
from clip_np.files.torch_tensors import TorchNames

# The keys under which people put the weights, if they save more than weights. If there
# are several, the first one counts: the weights themselves come before their averages.
STATE_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network"),
    *("weights", "params", "clip"),
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema"),
)
DEEPEST_STATE = 8  # such dicts in each other, {"model": {"state_dict": ...}}
# A dict that contains itself has no end, and a tree of shared dicts can have 2^60
# leaves. Both stop at these limits. The largest published CLIP has fewer than 2,000
# names.
NAMES_LIMIT = 100_000
NAME_LENGTH_LIMIT = 300  # characters


def read_torch(path: File) -> Any:
    """What a .pt, .pth or .bin file holds: dicts, lists, numbers, text, arrays.

    Arrays are views of the file, mapped copy-on-write; bfloat16 becomes float32.
    TorchScript's modules are dicts of their attributes. FileError if the file is
    damaged or asks for anything else. Dicts and lists may contain themselves: whoever
    walks through them needs a limit.
    """
    with file_errors(path, "damaged, or not a PyTorch file"):
        entries = read_entries(path)
        return run_pickle(entries[PICKLE].tobytes(), TorchNames(entries))


def read_torch_state(path: File) -> dict[str, np.ndarray]:
    """The arrays in a PyTorch file by dotted name, as "visual.conv1.weight".

    If there is a dict under one of `STATE_KEYS`, only that one is searched. FileError
    as for `read_torch`, for a file without arrays, and for an object that is no array
    among the weights.
    """
    tree = _find_state(read_torch(path))
    arrays: dict[str, np.ndarray] = {}
    with file_errors(path, "holds no weights that can be read"):
        for name, array in _named_arrays(tree):
            if name in arrays:
                raise FileError(f"holds two arrays named {name!r}")
            arrays[name] = array
        if not arrays or "" in arrays:
            raise FileError("holds no arrays that have names")
    return arrays


def _find_state(tree: Any) -> Any:
    """The part that holds the weights: the dict under the usual keys, or all of it."""
    for _ in range(DEEPEST_STATE):
        if type(tree) is not dict:
            break
        inner = [tree[key] for key in STATE_KEYS if type(tree.get(key)) is dict]
        if not inner:
            break
        tree = inner[0]
    return tree


def _named_arrays(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays in a tree of dicts, with the keys on the way to each joined by dots.

    A list of what is still to be looked at takes the place of recursion, which a deep
    tree would exhaust.
    """
    waiting = [("", tree)]
    names_seen = 0
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, np.ndarray):
            yield prefix, value
        elif isinstance(value, StandIn):
            kind = value.name[:NAME_LENGTH_LIMIT]
            raise FileError(
                f"holds {prefix + ', ' if prefix else ''}an object of the class {kind!r}, "
                'among its weights; save the model\'s `state_dict()`, under the key "state_dict" '
                "if there is more to save"
            )
        elif isinstance(value, dict):
            names_seen += 1 + len(value)
            keys = [key for key in value if type(key) is str]
            longest = max((len(prefix) + len(key) for key in keys), default=0)
            if names_seen > NAMES_LIMIT or longest > NAME_LENGTH_LIMIT:
                raise FileError("has too many names, too long ones, or a dict in itself")
            for key in reversed(keys):  # the last one in is the first one out
                waiting.append((f"{prefix}.{key}" if prefix else key, value[key]))

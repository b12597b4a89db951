"""Which options did somebody choose, and which of them make no sense here?

An option that nobody chose is None. So a command knows what was left open, and fills it
in from the run or the task.
"""

import argparse
from collections.abc import Iterable
from typing import Any

# Options of the data, under the names that they have in Python.
DATA_OPTIONS = (
    "image_column",
    "caption_column",
    "split",
    "streaming",
    "allow_outside",
    "template",
    "skip_bad",
)


def chosen_options(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named options that are set.

    >>> chosen_options(argparse.Namespace(seed=3, split=None), ["seed", "split"])
    {'seed': 3}
    """
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def refuse_options(arguments: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """ValueError if one of the named options is set: it would have no effect.

    >>> refuse_options(argparse.Namespace(split="a"), ["split"], "only for --data")
    Traceback (most recent call last):
    ValueError: --split: only for --data; leave it out
    """
    flags = ["--" + name.replace("_", "-") for name in chosen_options(arguments, names)]
    if flags:
        raise ValueError(f"{', '.join(flags)}: {reason}; leave it out")

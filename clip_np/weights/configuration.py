"""What is known of a published model besides its arrays?

Shapes show nearly all of an architecture. They do not show the number of heads, the
activation, the end token and how images are prepared. That is in a note inside the file
or in configuration files next to it; each dialect (`huggingface.py`, `open_clip.py`)
makes a `Configuration` of what it finds.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from clip_np.weights.preprocessing import Words

Settings = dict[str, Any]  # the contents of a JSON object
UNFIT = "not a CLIP that can be read here"  # the problem that messages name


class Configuration(NamedTuple):
    """What files say of a model.

    sizes: in the form of `CLIPConfig.to_dict`, with gaps. images: how to prepare them,
    in `words`. source: the file that says so, for messages.
    """

    sizes: Settings
    images: Settings
    words: Words
    source: pathlib.Path


class Dialect(NamedTuple):
    """How a library's files are called, and how its configuration is read.

    weights: names of files of weights, the best first. config: the name of the
    configuration in the same folder. read: makes a Configuration of a folder with one.
    """

    weights: tuple[str, ...]
    config: str
    read: Callable[[pathlib.Path], Configuration]

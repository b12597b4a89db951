"""How does a name such as openai/clip-vit-base-patch32 become a folder?

The library huggingface_hub downloads the files of a model into a cache and returns the
folder; files that are there already are not loaded again. Models often come in several
forms, each some gigabytes. So the small files come first, and then only the best form
of the weights. https://huggingface.co/docs/huggingface_hub
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from clip_np.data import HUB_NAME

SMALL_FILES = ["*.json", "merges.txt"]  # configurations and vocabularies


def is_hub_name(path: str) -> bool:
    """Whether this could be the name of a model on the hub: owner/name.

    >>> is_hub_name("openai/clip-vit-base-patch32"), is_hub_name("../runs/a")
    (True, False)
    """
    return HUB_NAME.fullmatch(path) is not None


def download_small_files(name: str) -> pathlib.Path:
    """Download configurations and vocabularies; the folder of the model in the cache.

    ImportError if the library is not installed. Its own errors pass through.
    """
    return _download(name, SMALL_FILES)


def download_weights(name: str, file_names: Iterable[str]) -> None:
    """Download the weights under the first of these file names that the model has."""
    for file_name in file_names:
        # Weights in parts are called model-00001-of-00002.safetensors and so on.
        stem, _, suffix = file_name.rpartition(".")
        pattern = f"{stem}*.{suffix}"
        folder = _download(name, [pattern])
        if any(folder.glob(pattern)):
            return


def _download(name: str, patterns: Sequence[str]) -> pathlib.Path:
    """The folder of a model, after the files of these patterns were downloaded."""
    return pathlib.Path(_library(name).snapshot_download(name, allow_patterns=list(patterns)))


def _library(name: str) -> Any:
    """The module huggingface_hub; ImportError that says what to install."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f'{name} is not here; to look for it on the hub: pip install "minigrad-clip[hub]"'
        ) from error
    return huggingface_hub

"""How does a name such as openai/clip-vit-base-patch32 become a folder?

The library huggingface_hub downloads the files of a model into a cache and returns the
folder; files that are there already are not loaded again. Models often come in several
forms, each some gigabytes. So the small files come first, and then only the best form
of the weights. A mistyped path may look like a name, so the hub is asked once, briefly,
before anything is downloaded (clip_np/data/hub_names.py).

https://huggingface.co/docs/huggingface_hub
"""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clip_np.data import HUB_NAME, ask_hub, near

SMALL_FILES = ["*.json", "merges.txt"]  # configurations and vocabularies


def is_hub_name(path: str) -> bool:
    """Whether this could be the name of a model on the hub: owner/name.

    >>> is_hub_name("openai/clip-vit-base-patch32"), is_hub_name("../runs/a")
    (True, False)
    """
    return HUB_NAME.fullmatch(path) is not None


def fetch(name: str, names_of_weights: Callable[[pathlib.Path], Iterable[str]]) -> pathlib.Path:
    """The folder of a model of the hub, downloaded or from the cache.

    names_of_weights: the names that weights may have, best first, for the folder with
    the configurations. FileNotFoundError if there is no such model, or if the hub
    cannot be asked and the cache has none; ImportError if the library is not installed.
    """
    library = _library(name)
    failure = ask_hub(library, "model", name)
    if failure is not None:
        return _from_cache(library, name, failure)
    folder = _download(library, name, SMALL_FILES)
    _download_weights(library, name, names_of_weights(folder))
    return folder


def _from_cache(library: Any, name: str, failure: Exception) -> pathlib.Path:
    """The folder of a model that was downloaded before."""
    try:
        return pathlib.Path(library.snapshot_download(name, local_files_only=True))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{name} is not here{near(name)}, and the hub did not answer "
            f"({type(failure).__name__}: {failure}). Where there is a network, download the files "
            f"of huggingface.co/{name}: config.json, the weights and the vocabulary; then give "
            "their folder"
        ) from error


def _download_weights(library: Any, name: str, file_names: Iterable[str]) -> None:
    """Download the weights under the first of these file names that the model has."""
    for file_name in file_names:
        # Weights in parts are called model-00001-of-00002.safetensors and so on.
        stem, _, suffix = file_name.rpartition(".")
        pattern = f"{stem}*.{suffix}"
        folder = _download(library, name, [pattern])
        if any(folder.glob(pattern)):
            return


def _download(library: Any, name: str, patterns: Sequence[str]) -> pathlib.Path:
    """The folder of a model, after the files of these patterns were downloaded."""
    return pathlib.Path(library.snapshot_download(name, allow_patterns=list(patterns)))


def _library(name: str) -> Any:
    """The module huggingface_hub; ImportError that says what to install."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f'{name} is not here; to look for it on the hub: pip install "minigrad-clip[hub]"'
        ) from error
    return huggingface_hub

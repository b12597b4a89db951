"""Which file does a path mean?

People give what they have at hand:

    a file           itself
    a folder         checkpoint.npz, or weights under a standard name, the best first,
                     or the only file of weights in it
    openai/clip-...  the model of that name on the hub, if there is no such folder
"""

import pathlib

from clip_np.data import a_few
from clip_np.files import File, finish_replacing
from clip_np.weights import hub
from clip_np.weights.checkpoints import CHECKPOINT, PREVIOUS
from clip_np.weights.companions import INDEX, OBSOLETE, names_of_weights
from clip_np.weights.reading import WEIGHT_SUFFIXES


def locate(path: File) -> pathlib.Path:
    """The file of weights that `path` means, downloaded if it is on the hub.

    If a `save_pretrained` into this folder was stopped half-way, it is finished first.
    FileNotFoundError if there is no model.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, "pytorch_model.bin").touch()
    ...     pathlib.Path(folder, "model.safetensors").touch()
    ...     locate(folder).name
    'model.safetensors'
    """
    folder = pathlib.Path(path)
    if not folder.exists() and hub.is_hub_name(str(path)):
        folder = hub.fetch(str(path), names_of_weights)
    finish_replacing(folder if folder.is_dir() else folder.parent, OBSOLETE)
    if not folder.exists():
        raise FileNotFoundError(f"{path}: no such file or directory")
    if folder.is_file():
        return folder
    names = (CHECKPOINT, *names_of_weights(folder))
    for name in names:
        for candidate in (folder / name, folder / f"{name}{INDEX}"):
            if candidate.is_file():
                return candidate
    others = sorted(file for file in folder.iterdir() if file.suffix.lower() in WEIGHT_SUFFIXES)
    if len(others) == 1:
        return others[0]
    if others:
        raise FileNotFoundError(
            f"{path}: holds several files of weights, {a_few([file.name for file in others])}; "
            "give the path of one of them"
        )
    previous = folder / PREVIOUS
    hint = f"; {previous} is the state before: give its path" if previous.is_file() else ""
    raise FileNotFoundError(
        f"{path}: holds no model; looked for {', '.join(names)}, and for a single file of weights"
        f"{hint}"
    )

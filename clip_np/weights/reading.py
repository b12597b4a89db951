"""How are the arrays of a model read, in whatever kind of file?

The ending of the name says which kind it is. A large model may come in parts, with an
index that says which array is in which file:

    model.safetensors.index.json
    {"weight_map": {"logit_scale": "model-1.safetensors", ...}}
"""

import pathlib

from clip_np.files import FileError, file_errors, read_json, read_safetensors, read_torch_state
from clip_np.weights.layouts import Arrays

# Suffixes of weights of other libraries. Lightning's .ckpt is PyTorch's format.
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def read_arrays(path: pathlib.Path) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file, or of all parts of an index, and the file's metadata.

    Only a safetensors file has metadata.

    FileError for a damaged file or another kind of file.
    """
    match path.suffix.lower():
        case ".safetensors":
            return read_safetensors(path)
        case ".pt" | ".pth" | ".bin" | ".ckpt":
            return read_torch_state(path), {}
        case ".json":
            arrays: Arrays = {}
            for part in files_of(path):
                arrays |= read_arrays(part)[0]
            return arrays, {}
    raise FileError(
        f"{path}: weights are read from {', '.join(WEIGHT_SUFFIXES)} and .npz files, not from "
        f"{path.suffix or 'files without a suffix'}"
    )


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The file itself, or the files that an index names, which must be next to it.

    A name such as ../../etc/passwd must not reach other folders, and an index that
    names an index could have no end.
    """
    if path.suffix.lower() != ".json":
        return [path]
    with file_errors(path, "no index of weights"):
        names = sorted(set(read_json(path)["weight_map"].values()))
        for name in names:
            if pathlib.PurePath(name).name != name or not name.endswith(WEIGHT_SUFFIXES):
                raise FileError(f"{name!r} is not the name of a file of weights next to it")
    parts = [path.with_name(name) for name in names]
    for part in parts:
        if not part.exists():
            raise FileNotFoundError(
                f"{path}: names {part.name}, and there is no such file next to it"
            )
    return parts


def require_own_bytes(arrays: Arrays, path: pathlib.Path) -> None:
    """FileError if the arrays are much larger than the files that hold them.

    In a PyTorch file, many arrays can be views of the same bytes, and each would become
    a copy of its own. The twice is for bfloat16, which is read as float32.
    """
    claimed = sum(array.nbytes for array in arrays.values())
    stored = sum(file.stat().st_size for file in files_of(path))
    if claimed > 2 * stored:
        raise FileError(f"its arrays share their bytes: {claimed:,} bytes of arrays in {stored:,}")

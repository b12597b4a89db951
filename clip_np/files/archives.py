"""How do arrays and the settings that explain them stay together?

Two files can come apart: weights meet the wrong vocabulary. So the project's own files,
checkpoints and search indexes, are single .npz files. One more array in it, "header",
holds the settings as JSON text. Their entry "format" says what kind of file it is, so
that a search index is never taken for a checkpoint.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_np.files.errors import File, file_errors
from clip_np.files.npz import read_npz, write_npz

HEADER = "header"
VERSION = 1


def _format_of(kind: str) -> str:
    """What the entry "format" of a file of this kind is."""
    return f"clip_np {kind} {VERSION}"


def write_archive(
    path: File, kind: str, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write settings (anything JSON can hold) and named arrays as one file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/a.npz"
    ...     write_archive(path, "index", {"model": "tiny"}, {"rows": np.zeros(2)})
    ...     settings, arrays = read_archive(path, "index")
    >>> settings
    {'format': 'clip_np index 1', 'model': 'tiny'}
    >>> arrays
    {'rows': array([0., 0.])}
    """
    text = json.dumps({"format": _format_of(kind), **settings}).encode("ascii")
    write_npz(path, {HEADER: np.frombuffer(text, np.uint8), **arrays})


def read_archive(path: File, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the arrays of a file that `write_archive` wrote.

    FileError for a file of another kind.
    """
    arrays = read_npz(path)
    with file_errors(path, f"no {kind} of clip_np"):
        settings = json.loads(arrays.pop(HEADER).tobytes())
        if settings["format"] != _format_of(kind):
            raise ValueError(f"its format is {settings['format']!r}")
    return settings, arrays

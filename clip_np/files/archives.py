"""How do arrays and the settings that explain them stay together?

Two files can come apart: weights meet the wrong vocabulary. So the project's own files,
checkpoints and search indexes, are single .npz files. One more array in it, "header",
holds the settings as JSON text. Two of the entries are for this file alone:

    "format"      what kind of file it is: an index is never taken for a checkpoint
    "contents"    the checksum of every other array, by name

An .npz file checks the bytes of each array, but not its own table of contents: one
flipped bit there can rename an array or drop it without a trace. "contents" notices.
Files of version 0.1 do not have it, and are read without this check.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.npz import npz_reader, npz_writer
from clip_np.files.text_files import parse_json

HEADER = "header"
VERSION = 1
FORMAT, CONTENTS = "format", "contents"

HEADER_LIMIT = 4 << 20
"""Bytes of the settings, for which Python makes up to 25 times as many of lists and
dicts. The longest part is the tokenizer: the published one has 1 MB."""


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
    with npz_writer(path) as writer:
        contents = {name: writer.write(name, array) for name, array in arrays.items()}
        header = {FORMAT: _format_of(kind), **settings, CONTENTS: contents}
        text = json.dumps(header).encode("ascii")
        writer.write(HEADER, np.frombuffer(text, np.uint8))


def read_archive(
    path: File, kind: str, header_limit: int = HEADER_LIMIT
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the arrays of a file that `write_archive` wrote.

    FileError for a file of another kind, for arrays that are not those that were
    written, and for settings of more than `header_limit` bytes.
    """
    with npz_reader(path) as reader:
        with file_errors(path, f"no {kind} of clip_np"):
            if reader.sizes[HEADER] > header_limit:
                raise FileError(
                    f"its header has {reader.sizes[HEADER]:,} bytes, more than {header_limit:,}"
                )
            settings = parse_json(reader.read(HEADER).tobytes().decode("utf-8"))
            if settings[FORMAT] != _format_of(kind):
                raise ValueError(f"its format is {settings[FORMAT]!r}")
            checksums = {name: crc for name, crc in reader.checksums.items() if name != HEADER}
            _require_contents(settings.pop(CONTENTS, checksums), checksums)
        arrays = {name: reader.read(name) for name in checksums}
    return settings, arrays


def _require_contents(listed: Any, checksums: Mapping[str, int]) -> None:
    """FileError unless these are the arrays that were written.

    >>> _require_contents({"rows": 5}, {"rows": 5, "columns": 6})
    Traceback (most recent call last):
    clip_np.files.errors.FileError: damaged: its contents differ in 'columns'
    """
    if listed == checksums:
        return
    if type(listed) is not dict:
        raise FileError(f"its {CONTENTS} must be an object")
    names = (*listed, *checksums)
    different = next(name for name in names if listed.get(name) != checksums.get(name))
    raise FileError(f"damaged: its contents differ in {different!r}")

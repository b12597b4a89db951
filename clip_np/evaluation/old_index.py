"""How were indexes written before, and how are they still read?

Their header was one JSON object, with an entry for each file:

    {"format": "clip_np index 1", "model": "...", "checksum": "...",
     "files": [["a.png", 1234, 1700000000000000000, ""], ...]}

A stranger's JSON text may unfold to twenty times its size in Python objects. So the
entries are parsed one after the other, each from a short window of the text, and only
their values are kept.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from clip_np.evaluation.index_table import IndexedFile
from clip_np.files import parse_json

FORMAT = "clip_np index 1"
FILES_KEY = '"files": ['
SETTINGS_LIMIT = 1 << 20  # characters before the files: a name and a checksum
WINDOWS = (4096, 1 << 17)  # characters in which an entry ends: most do, and all do


def parse_old_header(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, IndexedFile]]:
    """The settings and the files in the header of an index of format 1.

    ValueError or KeyError if it is something else. The names are as they stand there.
    """
    text = arrays["header"].tobytes().decode("ascii")
    start = text.find(FILES_KEY)
    if not 0 <= start < SETTINGS_LIMIT:
        raise ValueError("its header holds no list of files")
    settings = parse_json(text[:start] + FILES_KEY + "]}")
    if settings["format"] != FORMAT:
        raise ValueError(f"its format is {settings['format']!r}")
    files: dict[str, IndexedFile] = {}
    for name, file in _parse_files(text, start + len(FILES_KEY)):
        if name in files:
            raise ValueError(f"{name!r} stands there twice")
        files[name] = file
    return settings, files


def _parse_files(text: str, position: int) -> Iterator[tuple[str, IndexedFile]]:
    """The entries of the list whose first entry begins at `position`."""
    if text.startswith("]", position):
        return
    while True:
        entry, length = _parse_entry(text, position)
        if type(entry) is not list or [type(value) for value in entry] != [str, int, int, str]:
            raise ValueError("an entry of its files is no [name, size, time, problem]")
        name, size, modified, problem = entry
        yield name, IndexedFile(size, modified, problem)
        position += length
        if not text.startswith(", ", position):
            break
        position += len(", ")
    if text[position:] != "]}":
        raise ValueError("its list of files has no end")


def _parse_entry(text: str, position: int) -> tuple[Any, int]:
    """The JSON value at `position`, and how many characters it has."""
    decoder = json.JSONDecoder()
    short, long = WINDOWS
    try:
        return decoder.raw_decode(text[position : position + short])
    except ValueError:
        return decoder.raw_decode(text[position : position + long])

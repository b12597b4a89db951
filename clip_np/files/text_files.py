"""How is text from a stranger read, and JSON in particular?

Three things can go wrong besides nonsense. The text may be huge, or a small packed file
may unpack to something huge: reading stops at a limit. A JSON text may hold a list
where an object belongs. And a JSON object may have two values for one key: JSON readers
differ in which one counts, so two programs could see two different files. Such a text
is refused.
"""

import gzip
import json
import re
from collections.abc import Mapping
from typing import Any

from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.whole import replace_file

TEXT_LIMIT = 6 << 20  # bytes, unpacked; the largest published vocabulary has 4 million
# JSON writes some characters as two escapes, \ud83c\udf88 for a balloon. One of them
# alone is no character.
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: File) -> str:
    """The UTF-8 text of a file, unpacked if its name ends in ".gz".

    FileError for more than `TEXT_LIMIT` bytes. Use it inside `file_errors`, which adds
    the path.

    >>> import pathlib
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.txt")
    ...     _ = path.write_text("a cat", encoding="utf-8")
    ...     read_text(path)
    'a cat'
    """
    open_file = gzip.open if str(path).endswith(".gz") else open
    with open_file(path, "rb") as file:
        content = file.read(TEXT_LIMIT + 1)
    if len(content) > TEXT_LIMIT:
        raise FileError(f"it has more than {TEXT_LIMIT:,} bytes")
    return content.decode("utf-8-sig")


def parse_json(text: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    ValueError for a text that is not JSON, does not hold an object, has two values for
    one key, or holds half of a character (a lone surrogate), which cannot be written or
    shown anywhere.

    >>> parse_json('{"width": 64, "layers": [1, 2]}')
    {'width': 64, 'layers': [1, 2]}
    >>> parse_json('{"width": 64, "width": 65}')
    Traceback (most recent call last):
    ValueError: two values for one key: 'width' appears twice
    """
    content = json.loads(text, object_pairs_hook=_object_of)
    if type(content) is not dict:
        raise ValueError(f"it holds a {type(content).__name__}")
    if HALF_CHARACTER.search(text):
        # A UnicodeEncodeError is a ValueError. Names of files that are not UTF-8 may
        # pass: Python writes such a byte as a character from U+DC80 to U+DCFF, PEP 383.
        json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return content


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict; ValueError if a key appears twice."""
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if key in entries:
            raise ValueError(f"two values for one key: {key[:100]!r} appears twice")
        entries[key] = value
    return entries


def read_json(path: File) -> dict[str, Any]:
    """The object in a JSON file; FileError for other contents or over 6 MB."""
    with file_errors(path, "expected a JSON object"):
        return parse_json(read_text(path))


def write_json(path: File, content: Mapping[str, Any]) -> None:
    """Write an object as JSON, whole or not at all, a line for every entry.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/a.json", {"width": 64})
    ...     read_json(f"{folder}/a.json")
    {'width': 64}
    """
    with replace_file(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

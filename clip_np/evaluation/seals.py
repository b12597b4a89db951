"""Did this user make this file, or a stranger?

An index names the images that it knows by their paths, and a search shows them. In an
index from a stranger these may be any paths, so images far from it are not opened. But
most people embed ~/Pictures into an index that lies elsewhere, and their own index is
to be trusted. A *seal* tells the two apart:

    seal = HMAC-SHA256(key, content)

The key is 32 random bytes in a file that only this user can read. It is made when the
first index is written and never leaves the computer. Without it nobody can compute the
seal of other content. Where no key can be kept, as in a read-only home, nothing is
sealed, and an index counts as a stranger's.

Krawczyk, Bellare and Canetti 1997, "HMAC: Keyed-Hashing for Message Authentication",
RFC 2104.
"""

import hashlib
import hmac
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

KEY_BYTES = 32  # as many as the hash has


def key_path() -> Path | None:
    """Where the user's key lies; None for a user without a home.

    A relative folder does not count. It would be another one wherever the program runs.
    """
    home = os.path.expanduser("~")
    default = None if home == "~" else os.path.join(home, ".local", "state")
    folder = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or default
    return Path(folder, "clip_np", "key") if folder and os.path.isabs(folder) else None


def make_seal(content: Sequence[np.ndarray]) -> str:
    """The seal of some arrays, or "" if this user's key cannot be kept."""
    key = _read_key() or _make_key()
    return _compute_seal(key, content) if key else ""


def is_sealed(seal: str, content: Sequence[np.ndarray]) -> bool:
    """Whether this user's key made the seal of these arrays."""
    key = _read_key()
    if key is None or not seal:
        return False
    return hmac.compare_digest(
        seal.encode("utf-8", "replace"), _compute_seal(key, content).encode()
    )


def _compute_seal(key: bytes, content: Sequence[np.ndarray]) -> str:
    """The HMAC of the arrays, each after its length."""
    code = hmac.new(key, digestmod=hashlib.sha256)
    for array in content:
        code.update(f"{array.nbytes}:".encode())
        code.update(np.ascontiguousarray(array).data)
    return code.hexdigest()


def _read_key() -> bytes | None:
    """The user's key, if there is one."""
    path = key_path()
    try:
        key = path.read_bytes() if path else b""
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None


def _make_key() -> bytes | None:
    """A new key, in its file; None where none can be kept, as in a read-only home."""
    path = key_path()
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent)  # for this user only
        try:
            with open(number, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
            _put_in_place(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return None
    return _read_key()


def _put_in_place(temporary: str, path: Path) -> None:
    """Make a complete file the key in one step, unless there is a key already."""
    try:
        os.link(temporary, path)  # fails if there is a file of this name
    except OSError:
        # Another program was faster; or the file is damaged, or the disk has no links.
        if _read_key() is None:
            os.replace(temporary, path)

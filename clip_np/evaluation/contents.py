"""Is this a picture that was seen before, under another name?

Pictures are moved, copied and renamed, and then their paths and times say nothing. What
stays is the content of the file. A *digest* stands for it: 16 bytes of BLAKE2b. Two
files of different contents have the same digest with a probability of 2^-128, so files
of equal digests are one picture, and it is looked at once.

Aumasson, Neves, Wilcox-O'Hearn and Winnerlein 2013, "BLAKE2: simpler, smaller, fast as
MD5", RFC 7693.
"""

import hashlib
import os

import numpy as np

DIGEST_BYTES = 16
READ_BYTES = 1 << 20  # bytes that are read at a time
UNKNOWN = ""  # the digest of a file that was not read


def digest_of(path: str) -> str:
    """The digest of a file, 32 hexadecimal digits; UNKNOWN if it cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(delete=False) as file:
    ...     file.write(b"content")
    7
    >>> digest_of(file.name)
    'c681ff421fbd7af6dc373a7ced20fbeb'
    """
    if not os.path.isfile(path):  # a pipe would never end
        return UNKNOWN
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(READ_BYTES):
                digest.update(chunk)
    except OSError:
        return UNKNOWN
    return digest.hexdigest()


def pack_digests(digests: list[str]) -> np.ndarray:
    """The digests as rows of bytes (M, 16) uint8; UNKNOWN becomes zeros."""
    nothing = bytes(DIGEST_BYTES)
    rows = [bytes.fromhex(digest) if digest else nothing for digest in digests]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, DIGEST_BYTES)


def unpack_digests(rows: np.ndarray) -> list[str]:
    """The digests in rows of bytes (M, 16).

    >>> unpack_digests(pack_digests(["", "00" * 15 + "ff"]))
    ['', '000000000000000000000000000000ff']
    """
    return [row.tobytes().hex() if row.any() else UNKNOWN for row in rows]

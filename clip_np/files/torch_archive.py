"""Where in a PyTorch file do the numbers lie?

`torch.save` and `torch.jit.save` write a zip archive, not compressed:

    NAME/data.pkl      a pickle: the tree of dicts and lists, and what its tensors are
    NAME/data/0, 1 ..  the storages: numbers, one after the other
    NAME/byteorder     "little"

A zip archive describes each entry twice: in a table of contents at the end of the file,
and in a header right in front of the entry's bytes. An attacker can make the two
disagree, point two entries at the same bytes, or claim bytes that are not there. Here
the two must agree, and the entries must not overlap. Checksums are not looked at,
because that would read the whole file.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7
"""

import struct
import zipfile

import numpy as np

from clip_np.files.arrays import map_file
from clip_np.files.errors import File, FileError
from clip_np.files.zip_files import open_zip

# The header in front of an entry: signature, 2 bytes that do not matter, flags,
# compression, 16 that do not matter, the lengths of the name and of the padding that
# follow.
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
SIGNATURE = b"PK\3\4"
ENCRYPTED = 1  # a bit of the flags
PICKLE = "data.pkl"
BYTE_ORDER = "byteorder"
STORAGE_FOLDER = "data/"
# The first bytes of a file of PyTorch before 1.6, a pickled magic number. Such a file
# is not an archive.
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
# Bytes. One of them, "}", makes an empty dict of 64 bytes. Pickles of weights have some
# 250 for each tensor: this is room for 2,000 of them, four times over, as in a file of
# a training with averages and an optimizer's two moments.
PICKLE_LIMIT = 2_000_000


def read_entries(path: File) -> dict[str, np.ndarray]:
    """The entries that make up the tensors, by name without the folder.

    Each is (n,) uint8, a view of the mapped file. FileError and others for a file that
    is not such an archive.
    """
    with open(path, "rb") as file:
        content = map_file(file)
        if content[: len(LEGACY_START)].tobytes() == LEGACY_START:
            raise FileError(
                "written in the format before PyTorch 1.6; load it and save it again with a newer "
                "one, or as safetensors"
            )
        with open_zip(file) as archive:
            entries = _find_entries(content, archive.infolist())
    if BYTE_ORDER in entries and entries[BYTE_ORDER].tobytes() != b"little":
        raise FileError("its numbers are not little-endian")
    if len(entries[PICKLE]) > PICKLE_LIMIT:
        raise FileError(f"its pickle is longer than {PICKLE_LIMIT:,} bytes")
    return entries


def _find_entries(content: np.ndarray, listed: list[zipfile.ZipInfo]) -> dict[str, np.ndarray]:
    """The bytes of the entries that are needed; FileError if they overlap."""
    ending = f"/{PICKLE}"
    folders = [
        info.filename.removesuffix(PICKLE) for info in listed if info.filename.endswith(ending)
    ]
    if len(folders) != 1:
        raise FileError("not a PyTorch file: it needs one folder with a data.pkl")
    entries: dict[str, np.ndarray] = {}
    for info in listed:
        name = info.filename.removeprefix(folders[0])
        if name == info.filename or not name.startswith((PICKLE, BYTE_ORDER, STORAGE_FOLDER)):
            continue  # TorchScript's code, for instance
        if name in entries:
            raise FileError(f"{info.filename!r} is there twice")
        entries[name] = _bytes_of_entry(content, info)
    # Against many entries that are the same bytes: each storage could become a copy of
    # its own.
    if sum(len(entry) for entry in entries.values()) > len(content):
        raise FileError("its entries overlap")
    return entries


def _bytes_of_entry(content: np.ndarray, info: zipfile.ZipInfo) -> np.ndarray:
    """The bytes (n,) of an entry; FileError if its header says otherwise."""
    name_start = info.header_offset + LOCAL_HEADER.size
    header = content[info.header_offset : name_start].tobytes()
    signature, flags, compression, name_length, padding = LOCAL_HEADER.unpack(header)
    name = content[name_start : name_start + name_length].tobytes()
    # `zipfile` decodes names as UTF-8 or as the old code page 437, which a flag tells.
    names = info.orig_filename.encode(), info.orig_filename.encode("cp437", "replace")
    if signature != SIGNATURE or name not in names:
        raise FileError(f"{info.filename!r} is not where the contents say")
    is_encrypted = (flags | info.flag_bits) & ENCRYPTED
    if compression or info.compress_type or is_encrypted:
        raise FileError(f"{info.filename!r} is compressed or encrypted")
    start = name_start + name_length + padding
    entry = content[start : start + info.file_size]  # (n,)
    if not len(entry) == info.file_size == info.compress_size:
        raise FileError(f"{info.filename!r} claims more bytes than there are")
    return entry

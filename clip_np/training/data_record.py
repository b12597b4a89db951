"""Has the data of a run changed since it began?

A run that is resumed opens its data again. If rows were added meanwhile, other images
may be held out than before, and a model is then validated on images that it was trained
on. So a checkpoint keeps a record: how many pairs each split has, a checksum of all
names and captions, and which images are held out. `changes` names what is different. If
the run goes on in spite of that, `keep_held_out` keeps the held-out images held out.
`holds_all_held_out` tells whether these may be the run's data at all.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clip_np.data import Pairs

HELD_OUT = ("validation", "test")
MOST_RECORDED = 10_000
"""Held-out images that are recorded: 200 kB in the checkpoint."""
DIGEST_BYTES = 8

Splits = Mapping[str, Pairs]


def record_of(splits: Splits, folder: str) -> dict[str, Any]:
    """The record of a data set; names below `folder` count from there.

    >>> pairs = Pairs(["a cat"], ["set/a.png"], None, [b""])
    >>> record_of({"train": pairs}, folder="set")["pairs"]
    {'train': 1}
    """
    checksum = hashlib.blake2b(digest_size=DIGEST_BYTES)
    held_out = {}
    for split, pairs in splits.items():
        for name, caption in zip(pairs.names, pairs.captions):
            checksum.update(
                f"{split}\0{_short(name, folder)}\0{caption}\0".encode(errors="replace")
            )
        if split in HELD_OUT and len(pairs) <= MOST_RECORDED:
            held_out[split] = sorted(set(_digests(pairs.names, folder)))
    return {
        "pairs": {split: len(pairs) for split, pairs in splits.items()},
        "checksum": checksum.hexdigest(),
        "held_out": held_out,
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What has changed between two records, in words; "" if nothing has.

    >>> old = {"pairs": {"train": 7}, "checksum": "a", "held_out": {}}
    >>> changes(old, {"pairs": {"train": 9}, "checksum": "b", "held_out": {}})
    'train had 7 pairs and has 9'
    """
    if before["checksum"] == now["checksum"]:
        return ""
    counts = [
        f"{split} had {before['pairs'].get(split, 0):,} pairs and has "
        f"{now['pairs'].get(split, 0):,}"
        for split in sorted({*before["pairs"], *now["pairs"]})
        if before["pairs"].get(split) != now["pairs"].get(split)
    ]
    return ", ".join(counts) or "as many pairs, but other names, captions or splits"


def keep_held_out(splits: Splits, before: Mapping[str, Any], folder: str) -> dict[str, Pairs]:
    """The splits, with the images held out that a record says, and no others.

    Images that are held out now and were not before may have been trained on. They are
    in no split. New images are for training.
    """
    # new split -> which rows of which splits make it up
    rows: dict[str, list[tuple[str, np.ndarray]]] = {}
    for split, pairs in splits.items():
        digests = np.array(list(_digests(pairs.names, folder)), dtype=str)  # (N,)
        is_free = np.ones(len(pairs), bool)
        for old_split, images in before["held_out"].items():
            was_there = np.isin(digests, np.array(images, dtype=str))  # (N,)
            is_free &= ~was_there
            rows.setdefault(old_split, []).append((split, np.flatnonzero(was_there)))
        if split not in before["held_out"]:
            rows.setdefault(split, []).append((split, np.flatnonzero(is_free)))
    joined = {split: _join(splits, parts) for split, parts in rows.items()}
    return {split: pairs for split, pairs in joined.items() if len(pairs)}


def holds_all_held_out(splits: Splits, before: Mapping[str, Any], folder: str) -> bool:
    """Whether all images that a record holds out are among those of the splits.

    >>> pairs = Pairs(["a cat"], ["set/a.png"], None, [b""])
    >>> record = record_of({"test": pairs}, folder="set")
    >>> moved = Pairs(["a cat", "a dog"], ["to/a.png", "to/b.png"], None, [b"", b""])
    >>> holds_all_held_out({"train": moved}, record, folder="to")
    True
    >>> holds_all_held_out({"train": moved.select([1])}, record, folder="to")
    False
    """
    digests = {digest for pairs in splits.values() for digest in _digests(pairs.names, folder)}
    return all(digests.issuperset(images) for images in before["held_out"].values())


def _join(splits: Splits, parts: Iterable[tuple[str, np.ndarray]]) -> Pairs:
    """The pairs of some rows of some splits."""
    chosen = [splits[split].select(rows) for split, rows in parts if len(rows)]
    if len(chosen) == 1:
        return chosen[0]
    has_tags = any(pairs.tags is not None for pairs in chosen)
    return Pairs(
        captions=[caption for pairs in chosen for caption in pairs.captions],
        names=[name for pairs in chosen for name in pairs.names],
        tags=[tag for pairs in chosen for tag in pairs.tags or [""] * len(pairs)]
        if has_tags
        else None,
        sources=[source for pairs in chosen for source in pairs.sources],
    )


def _short(name: str, folder: str) -> str:
    """A name as it is below `folder`, with "/" between its parts.

    So a data set that was moved, or is on another system, has the same names.

    >>> _short("set\\\\train\\\\a.png", "set")
    'train/a.png'
    """
    for start in (os.path.abspath(folder), folder):
        if name.startswith(start):
            name = name[len(start) :]
            break
    return name.lstrip("/\\").replace("\\", "/")


def _digests(names: Iterable[str], folder: str) -> Iterable[str]:
    """A checksum of each name: 16 letters, however long the name is."""
    for name in names:
        letters = _short(name, folder).encode(errors="replace")
        yield hashlib.blake2b(letters, digest_size=DIGEST_BYTES).hexdigest()

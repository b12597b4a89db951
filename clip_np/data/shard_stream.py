"""How are more tar files read than one wants to list first?

`open_dataset` lists all pairs of all shards before it begins, and can then take them in
any order. For ten million pairs that takes long, and memory for ten million captions.
As a stream, a shard is listed when its turn comes:

    shards in an order that depends on the seed --> their rows --> a shuffle buffer

The buffer holds a few thousand rows. When one comes in, a random one goes out. So pairs
that lie together in a shard are spread, and shards meet. A row is a caption and the
place of its image. The image is read when its batch is made.

The order depends on the seed and the epoch alone. A run that resumes lists the shards
again up to its place, without an image being read, and skips the epochs before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from clip_np.data.columns import Reading
from clip_np.data.errors import DataError
from clip_np.data.hub import SHUFFLE_BUFFER, VALIDATION_PAIRS
from clip_np.data.pairs import Pairs, Row, Stream
from clip_np.data.random_streams import SHARD_STREAM
from clip_np.data.splits import TEST_PAIRS

Read = Callable[[Path, Reading], Iterator[Row]]
"""Returns the rows of a shard."""


def open_shards(
    shards: Mapping[str, Sequence[Path]], read: Read, reading: Reading
) -> dict[str, Pairs]:
    """Splits as `open_dataset` returns them, the training pairs as a `Stream`.

    shards: the tar files of each split. The validation and test splits are the first
    rows of their shards. Without validation shards, the first training pairs are held
    out. Raises DataError if there is nothing to train on.
    """
    train = shards.get("train", ())
    first = _first(train, "train", VALIDATION_PAIRS + SHUFFLE_BUFFER, read, reading)
    held_out: dict[str, Pairs] = {}
    if "test" in shards:
        held_out["test"] = _some(_first(shards["test"], "test", TEST_PAIRS, read, reading))
    if "validation" in shards:
        rows = _first(shards["validation"], "validation", VALIDATION_PAIRS, read, reading)
        held_out["validation"] = _some(rows)
    else:
        names = {row.name for row in first[:VALIDATION_PAIRS]}
        held_out["validation"] = _some([row for row in first if row.name in names])
        first = [row for row in first if row.name not in names]
    sample = _some(first[:SHUFFLE_BUFFER])
    kept_back = {name for pairs in held_out.values() for name in pairs.names}
    stream = Stream(
        captions=sample.captions,
        names=sample.names,
        tags=sample.tags,
        sources=sample.sources,
        read=lambda seed: _in_random_order(train, seed, kept_back, read, reading),
    )
    return {"train": stream, **held_out}


def _first(
    shards: Sequence[Path], split: str, count: int, read: Read, reading: Reading
) -> list[Row]:
    """The first rows of a split, in the order of the shards."""
    rows = (row for shard in shards for row in read(shard, reading) if row.split == split)
    return list(islice(rows, count))


def _some(rows: Sequence[Row]) -> Pairs:
    if not rows:
        raise DataError(
            f"the tar files hold too few pairs: a stream holds {VALIDATION_PAIRS} of them out, "
            "unless some files are called validation; without `streaming` fewer are held out"
        )
    return Pairs.from_rows(rows)


def _in_random_order(
    shards: Sequence[Path], seed: int, kept_back: set[str], read: Read, reading: Reading
) -> Iterator[Row]:
    """All training rows, in an order that depends on the seed."""
    rng = np.random.default_rng([seed, SHARD_STREAM])
    order = rng.permutation(len(shards)).tolist()
    rows = (
        row
        for number in order
        for row in _rows_of(shards[number], read, reading)
        if row.split == "train" and row.name not in kept_back
    )
    return shuffled(rows, rng, SHUFFLE_BUFFER)


def _rows_of(shard: Path, read: Read, reading: Reading) -> Iterator[Row]:
    """The rows of a shard. What is wrong with others is noted only once."""
    if reading.skipped is None:
        yield from read(shard, reading)
        return
    problems: list[str] = []
    yield from read(shard, reading._replace(skipped=problems))
    known = set(reading.skipped)
    reading.skipped.extend(problem for problem in problems if problem not in known)


def shuffled(rows: Iterable[Row], rng: np.random.Generator, size: int) -> Iterator[Row]:
    """The rows in another order; at most `size` of them are held at a time.

    >>> rng = np.random.default_rng(0)
    >>> rows = [Row(caption, caption, "", b"", "train") for caption in "abcdef"]
    >>> "".join(row.caption for row in shuffled(rows, rng, size=3))
    'cbefda'
    """
    coming = iter(rows)
    buffer = list(islice(coming, size))
    for row in coming:
        place = int(rng.integers(size))
        yield buffer[place]
        buffer[place] = row
    for place in rng.permutation(len(buffer)).tolist():
        yield buffer[place]

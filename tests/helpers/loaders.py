"""Loaders of small pictures, and what their tests look at."""

import threading

from small_data import some_pairs

from clip_np.data import Augmentation, BatchLoader, Pairs, Row, Stream


def loader_of(pairs: Pairs, **changes) -> BatchLoader:
    options = {
        "size": 8,
        "batch_size": 4,
        "seed": 3,
        "augmentation": Augmentation(shift=1, zoom=0.1),
        "tag_probability": 0.5,
    }
    return BatchLoader(pairs, **(options | changes))


def our_threads() -> list[str]:
    """The threads of pools that are alive."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("ThreadPoolExecutor")]


def assert_same(batches, others) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        assert (batch.images == other.images).all()
        assert batch.captions == other.captions
        assert batch.names == other.names


def failing_stream(good: int) -> Stream:
    """A stream that breaks after `good` rows; `read_rows` counts the rows read."""
    first = some_pairs(4)
    stream = Stream(first.captions, first.names, first.tags, first.sources, read=None)
    stream.read_rows = 0

    def read(seed):
        for number in range(good):
            stream.read_rows += 1
            row = number % 4
            yield Row(first.captions[row], first.names[row], "", first.sources[row], "train")
        raise OSError("the network is down")

    stream.read = read
    return stream

"""Chapter 24: how are the data sets of others read?

Thousands of image-caption sets lie on the Hugging Face hub, and the `datasets` library fetches
one by its name. It keeps a set on the disk as a table that is mapped into memory, so the captions
are read at once and each image when its turn comes. `Dataset.save_to_disk` writes such a table to
any folder.

A set larger than the disk is a *stream*: rows arrive one after another and are used once. What
can be shuffled is what is held in a buffer, and the first rows stand for all where a sample has
to do: to learn the tokenizer, to validate.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.readers import DataError, Pairs

BUFFER, VALIDATION_PAIRS, TEST_PAIRS = 4096, 512, 2000
Read = Callable[[str, Any], Iterator[tuple]]  # (split, dataset) -> its rows


def is_saved(path: str | Path) -> bool:
    """Whether `path` is a folder that the library's `save_to_disk` wrote."""
    return any((Path(path) / name).exists() for name in ("dataset_dict.json", "state.json"))


def recognises(path: str | Path) -> bool:
    """Whether `path` is a saved set, or a name on the hub ("owner/name") and nothing here."""
    is_name = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(path)) is not None
    return is_saved(path) or (is_name and not Path(path).exists())


def load_sets(path: str, split: str | None, streaming: bool) -> dict[str, Any]:
    """The library's objects by the name of the split; one called "train" where `split` is given.

    Raises ImportError where the library is not installed, DataError where it finds nothing.
    """
    try:
        import datasets
    except ImportError as error:
        advice = 'it takes the datasets library: pip install "minigrad-clip[data]"'
        raise ImportError(f"{path} is not here; to look for it on the hub {advice}") from error
    try:
        if not is_saved(path):
            found = datasets.load_dataset(path, split=split, streaming=streaming)
            return found if isinstance(found, dict) else {"train": found}
        found = datasets.load_from_disk(path)
        found = found if isinstance(found, dict) else {"train": found}
        found = {"train": found[split]} if split else found
        return {k: v.to_iterable_dataset() for k, v in found.items()} if streaming else found
    except Exception as error:  # no network, no such set, no such split: an error class for each
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is neither a path here nor a set to load ({cause})") from error


def records(dataset: Any, columns: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each row its place and the cells of `columns`; an image is read when it is needed, but
    for a stream's, which comes with its row. DataError where the images are none."""
    from datasets import Dataset, Image

    column = columns["image"]
    try:
        dataset = dataset.select_columns(list(columns.values()))
        dataset = dataset.cast_column(column, Image(decode=False))
        images = dataset.select_columns([column]) if isinstance(dataset, Dataset) else None
        texts = dataset.remove_columns([column]) if isinstance(dataset, Dataset) else dataset
        for number, found in enumerate(texts):
            cells = {role: found.get(name) for role, name in columns.items()}
            if images is not None:
                cells["image"] = lambda row=number: images[row][column]
            yield f"row {number}", cells
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(f"column {column!r} holds no images ({error})") from error


def tutorial_split(count: int) -> np.ndarray:
    """The rows to test on of a set of `count` rows without splits: 2,000, or a fifth where it has
    fewer than 4,000. They are those of `train_test_split(test_size=2000, seed=42)`."""
    held_out = TEST_PAIRS if count >= 2 * TEST_PAIRS else count // 5
    return np.random.default_rng(42).permutation(count)[:held_out]


@dataclass
class Stream(Pairs):
    """Training pairs that arrive one after another; as `Pairs`, the first of them, a sample."""

    read: Callable[[int], Iterator[tuple]]  # a seed -> all rows, shuffled by it
    repeats = False

    def batches(self, size: int, seed: int, start: int, stop: int) -> Iterator[Pairs]:
        """The pairs of steps start .. stop - 1. Those before `start` are read and passed over."""
        rows = (row for each in count() for row in self.read(seed + each))
        rows = islice(rows, start * size, None)
        for _ in range(start, stop):
            yield Pairs.from_rows(islice(rows, size))


def open_stream(sets: Mapping[str, Any], read: Read) -> dict[str, Pairs]:
    """Splits as `clip_np.data.open_dataset` returns them: training pairs as a `Stream`, the first
    pairs of validation and test. Without a validation split, the stream's first pairs are held out.
    """

    def rows(split: str, dataset: Any) -> Iterator[tuple]:
        for row in read(split, dataset):
            if row[4] != split:
                raise DataError(
                    f"{row[1]} is of split {row[4]!r}; a stream needs a split of its own"
                )
            yield row

    def sample(split: str, dataset: Any, size: int) -> Pairs:
        found = list(islice(rows(split, dataset), size))
        if not found:
            raise DataError(f"the split {split!r} of the stream is empty or too short")
        return Pairs.from_rows(found)

    train, held_out = sets["train"], {}
    for split, size in (("validation", VALIDATION_PAIRS), ("test", TEST_PAIRS)):
        if split in sets:
            held_out[split] = sample(split, sets[split], size)
    if "validation" not in sets:
        held_out["validation"] = sample("train", train, VALIDATION_PAIRS)
        train = train.skip(VALIDATION_PAIRS)
    first = sample("train", train, BUFFER)
    shuffled = partial(train.shuffle, buffer_size=BUFFER)
    stream = Stream(**vars(first), read=lambda seed: rows("train", shuffled(seed=seed)))
    return {"train": stream} | held_out

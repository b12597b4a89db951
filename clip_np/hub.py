"""Chapter 26: how are the data sets of others read?

Thousands of image-caption sets lie on the Hugging Face hub, and the `datasets` library fetches
one by its name. It keeps a set on the disk as a table that is mapped into memory, so the captions
are read at once and each image when its turn comes. `Dataset.save_to_disk` writes such a table.

A set larger than the disk is a *stream*: rows arrive one after another and are used once. What
can be shuffled is what is held in a buffer, and the first rows stand for all where a sample has
to do: to learn the tokenizer, to validate.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.readers import DataError, Pairs, split_of

BUFFER, VALIDATION_PAIRS, TEST_PAIRS = 4096, 512, 2000


def _is_saved(path: str | Path) -> bool:
    return any((Path(path) / name).exists() for name in ("dataset_dict.json", "state.json"))


def recognises(path: str | Path) -> bool:
    """Whether `path` is a saved set, or a name on the hub ("owner/name") and nothing here."""
    is_name = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(path)) is not None
    return _is_saved(path) or (is_name and not Path(path).exists())


def load_sets(path: str, split: str | None, streaming: bool) -> dict[str, Any]:
    """The library's objects by split ("train" for a given `split`), not yet read. ImportError where
    the library is not installed, DataError where it finds nothing."""
    try:
        import datasets
    except ImportError as error:
        advice = 'it takes the datasets library: pip install "minigrad-clip[data]"'
        raise ImportError(f"{path} is not here; to look for it on the hub {advice}") from error
    try:
        if _is_saved(path):
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path, split=split, streaming=streaming)
        found = found if isinstance(found, dict) else {"train": found}
        if _is_saved(path):
            found = found if split is None else {"train": found[split]}
            if streaming:
                found = {name: each.to_iterable_dataset() for name, each in found.items()}
    except Exception as error:  # no network, no such set, no such split: an error class for each
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is neither a path here nor a set to load ({cause})") from error
    sets = {split_of([name]): each for name, each in found.items()}
    if len(sets) < len(found) or (streaming and "train" not in sets):
        raise DataError(f"{path} has the splits {', '.join(found)}: --split picks one to train on")
    return sets


def records(dataset: Any, columns: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each row its place and the cells of `columns`; an image is read when it is needed, but
    for a stream's, which comes with its row. DataError where the images are none."""
    from datasets import Dataset, Image

    column = columns["image"]
    try:
        dataset = dataset.select_columns(list(columns.values()))
        rows = dataset = dataset.cast_column(column, Image(decode=False))
        if isinstance(dataset, Dataset):
            rows, images = dataset.remove_columns([column]), dataset.select_columns([column])
        for number, row in enumerate(rows):
            cells = {role: row.get(name) for role, name in columns.items()}
            if isinstance(dataset, Dataset):
                cells["image"] = lambda number=number: images[number][column]
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
        rows = islice((row for n in count() for row in self.read(seed + n)), start * size, None)
        for _ in range(start, stop):
            yield Pairs.from_rows(islice(rows, size))


def open_stream(
    sets: Mapping[str, Any], read: Callable[[str, Any], Iterator[tuple]]
) -> dict[str, Pairs]:
    """Splits as `open_dataset` returns them, from read(split, dataset): training pairs as a
    `Stream`, and the first of validation and test. Without a validation split, the first training
    pairs are held out."""

    def sample(split: str, dataset: Any, size: int) -> Pairs:
        found = list(islice(read(split, dataset), size))
        if not found or any(row[-1] != split for row in found):
            raise DataError(f"the stream of {split} pairs holds too few, or pairs of other splits")
        return Pairs.from_rows(found)

    train, sizes = sets["train"], {"validation": VALIDATION_PAIRS, "test": TEST_PAIRS}
    held_out = {name: sample(name, sets[name], n) for name, n in sizes.items() if name in sets}
    if "validation" not in sets:
        held_out["validation"] = sample("train", train, VALIDATION_PAIRS)
        train = train.skip(VALIDATION_PAIRS)

    def shuffled(seed: int) -> Iterator[tuple]:
        rows = read("train", train.shuffle(seed=seed, buffer_size=BUFFER))
        return (row for row in rows if row[-1] == "train")

    return {"train": Stream(**vars(sample("train", train, BUFFER)), read=shuffled)} | held_out

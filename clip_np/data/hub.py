"""How are pairs read from a data set of the `datasets` library?

Thousands of data sets lie on the Hugging Face hub under names such as "owner/name". The
library `datasets` fetches them and maps their tables into memory, so a set may be
larger than memory. It can also save a set in a folder; `open_dataset` reads both.

A set larger than the disk can be streamed. Its rows then arrive one after another, from
a buffer that is shuffled. The validation and the test split are a sample, the first
rows of their streams.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from clip_np.data.columns import (
    STRICT,
    Columns,
    Entry,
    Reading,
    find_columns,
    labelled,
    table_rows,
    with_labels,
)
from clip_np.data.compact import Located
from clip_np.data.errors import DataError
from clip_np.data.hub_names import HUB_NAME, ask_hub, near
from clip_np.data.images import image_cell
from clip_np.data.pairs import Pairs, Row, Stream
from clip_np.data.places import Places
from clip_np.data.splits import TEST_PAIRS, split_of

SHUFFLE_BUFFER = 4096
"""Rows of a stream that are shuffled together, and the size of its sample. At 100 KB an
image that is 400 MB of memory."""
VALIDATION_PAIRS = 512
"""Pairs to validate on: enough for a steady curve, and soon encoded."""

SETS_LIBRARY = 'the datasets library: pip install "minigrad-clip[data]"'
SAVED_SET_FILES = ("dataset_dict.json", "state.json")


def is_set(path: str | Path) -> bool:
    """Whether `path` is a saved set, or a name on the hub and nothing on this disk.

    >>> is_set("nlphuji/flickr30k")
    True
    >>> is_set("./photos")
    False
    """
    is_name = HUB_NAME.fullmatch(str(path)) is not None
    return _is_saved(path) or (is_name and not Path(path).exists())


def _is_saved(path: str | Path) -> bool:
    return any((Path(path) / name).exists() for name in SAVED_SET_FILES)


def load_sets(path: str, split: str | None, streaming: bool) -> dict[str, Any]:
    """The library's objects by split, not yet read.

    A chosen `split` is the one to train on, whatever its name. Raises ImportError if
    the library is not installed, DataError if it finds nothing. The library asks a hub
    that does not answer for a minute; so the hub is asked briefly before.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"{path} does not exist here; to look for it on the hub, install {SETS_LIBRARY}"
        ) from error
    try:
        if _is_saved(path):
            loaded = _load_saved(path, split, streaming)
        else:
            if not Path(path).exists():
                _require_on_hub(path)
            loaded = datasets.load_dataset(path, split=split, streaming=streaming, **_no_scripts())
    except Exception as error:  # no network, no such set, no such split: an error class for each
        raise DataError(
            f"{path} is neither a path here nor a set to load ({type(error).__name__}: {error})"
        ) from error
    by_name = loaded if isinstance(loaded, dict) else {"train": loaded}
    sets = {split_of([name]): dataset for name, dataset in by_name.items()}
    two_of_one_split = len(sets) < len(by_name)
    nothing_to_stream = streaming and "train" not in sets
    if two_of_one_split or nothing_to_stream:
        raise DataError(
            f"{path} has the splits {', '.join(by_name)}: `split` picks one to train on"
        )
    return sets


def _require_on_hub(name: str) -> None:
    """FileNotFoundError if neither the hub nor the library's cache has the set."""
    import huggingface_hub  # the datasets library needs it

    failure = ask_hub(huggingface_hub, "dataset", name)
    if failure is not None and not _is_cached(name):
        raise FileNotFoundError(
            f"it is not here{near(name)}, and the hub did not answer "
            f"({type(failure).__name__}: {failure})"
        )


def _is_cached(name: str) -> bool:
    """Whether the library has fetched a set before. It writes names its own way.

    someone/MyPaintings is in the folder someone___my_paintings.
    """
    from datasets import config

    folders = Path(config.HF_DATASETS_CACHE).glob("*___*")
    return any(_letters(folder.name) == _letters(name) for folder in folders)


def _letters(name: str) -> str:
    """A name in small letters, without what stands between words."""
    return re.sub(r"[\W_]", "", name).lower()


def _no_scripts() -> dict[str, Any]:
    """The argument of `load_dataset` that forbids it to run programs from the hub.

    A set on the hub could once bring a program that reads it. Version 4 of the library
    runs none, and has no such argument any more; older ones do unless it is False.
    """
    import datasets

    parameters = inspect.signature(datasets.load_dataset).parameters
    return {"trust_remote_code": False} if "trust_remote_code" in parameters else {}


def _load_saved(path: str, split: str | None, streaming: bool) -> dict[str, Any]:
    """A set that the library saved in a folder, by the names of its splits."""
    import datasets

    loaded = datasets.load_from_disk(path)
    by_name = loaded if isinstance(loaded, dict) else {"train": loaded}
    for dataset in by_name.values():
        # Arrow follows the offsets in a mapped file. Wrong ones lead out of the file.
        dataset.data.table.validate(full=True)
    if split is not None:
        by_name = {"train": by_name[split]}
    if streaming:
        return {name: dataset.to_iterable_dataset() for name, dataset in by_name.items()}
    return dict(by_name)


def places_of(path: str | Path, allow_outside: bool) -> Places:
    """Where the image files may lie that the cells of a set name.

    They lie in the folder of a saved set, or where the library keeps what it fetched.
    """
    from datasets import config

    folder = path if _is_saved(path) else config.HF_CACHE_HOME
    return Places(str(folder), allow_outside)


def read_sets(
    sets: Mapping[str, Any], path: str, columns: Columns, places: Places, reading: Reading = STRICT
) -> Iterator[Row]:
    """The rows of all splits."""
    for split, dataset in sets.items():
        yield from read_set(dataset, split, path, columns, places, reading)


def read_set(
    dataset: Any, split: str, path: str, columns: Columns, places: Places, reading: Reading = STRICT
) -> Iterator[Row]:
    """The rows of one split. Its images are read when they are needed."""
    table = f"{path} {split}"
    entries = set_entries(dataset, table, columns, places)
    return table_rows(entries, table, split, places, reading)


def set_entries(dataset: Any, table: str, columns: Columns, places: Places) -> Iterator[Entry]:
    """One entry for each row, counted from 0.

    In a set that is mapped into memory, the image cell is a function that reads the
    image, or returns the path of its file. In a stream, the image comes with its row.
    Raises DataError if the column of images holds none.
    """
    from datasets import ClassLabel, Dataset, Image

    names = dataset.column_names or list(next(iter(dataset), {}))  # some streams do not say
    classes = {
        name: feature.names
        for name, feature in (dataset.features or {}).items()
        if isinstance(feature, ClassLabel)
    }
    headers = find_columns(table, names, with_labels(columns, names, classes, table))
    class_names = classes.get(headers.get("caption", ""))
    image_header = headers["image"]
    try:
        dataset = dataset.select_columns(list(headers.values()))
        dataset = dataset.cast_column(image_header, Image(decode=False))
        is_mapped = isinstance(dataset, Dataset)
        rows = dataset.remove_columns([image_header]) if is_mapped else dataset
        images: Any = dataset.select_columns([image_header]) if is_mapped else None

        def read_image(number: int) -> Any:
            cell = image_cell(images[number][image_header])
            if isinstance(cell, str):
                return places(places.path_of(cell, f"{table} row {number}"))
            return cell

        for number, row in enumerate(rows):
            cells = {role: row.get(header) for role, header in headers.items()}
            if is_mapped:
                cells["image"] = Located(read_image, number)
            yield labelled(Entry(f"row {number}", cells), class_names)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataError(f"{table}: column {image_header!r} holds no images ({error})") from error


def open_stream(
    sets: Mapping[str, Any], path: str, columns: Columns, places: Places, reading: Reading = STRICT
) -> dict[str, Pairs]:
    """Splits as `open_dataset` returns them, the training pairs as a `Stream`.

    The validation and test splits are the first rows of their streams. Without a
    validation split, the first training pairs are held out.
    """

    def sample(split: str, dataset: Any, size: int) -> Pairs:
        rows = list(islice(read_set(dataset, split, path, columns, places, reading), size))
        if not rows or any(row.split != split for row in rows):
            raise DataError(f"the stream of {split} pairs holds too few, or pairs of other splits")
        return Pairs.from_rows(rows)

    train = sets["train"]
    held_out = {}
    if "validation" in sets:
        held_out["validation"] = sample("validation", sets["validation"], VALIDATION_PAIRS)
    if "test" in sets:
        held_out["test"] = sample("test", sets["test"], TEST_PAIRS)
    if "validation" not in sets:
        held_out["validation"] = sample("train", train, VALIDATION_PAIRS)
        train = train.skip(VALIDATION_PAIRS)

    def read_shuffled(seed: int) -> Iterator[Row]:
        shuffled = train.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
        rows = read_set(shuffled, "train", path, columns, places, reading)
        return (row for row in rows if row.split == "train")

    first = sample("train", train, SHUFFLE_BUFFER)
    stream = Stream(
        captions=first.captions,
        names=first.names,
        tags=first.tags,
        sources=first.sources,
        read=read_shuffled,
    )
    return {"train": stream, **held_out}

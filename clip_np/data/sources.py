"""Chapter 25: where do image-caption pairs come from?

CLIP learns from nothing but pictures and the sentences that belong to them, so a data set is a
list of pairs. People keep them in a few ways, all of which `open_dataset` recognises:

    (a) a table    captions.csv or metadata.csv with a column of file names and one of captions,
                   and perhaps columns `split` and `tags` (further words, separated by commas)
    (b) files      cat.jpg beside cat.txt, in any depth of folders
    (c) parquet    one file, or shards anywhere in a folder, train/test/validation in their names
    (d) splits     folders train/, test/, validation/, each in layout (a) or (b)
    (e) sets       of the `datasets` library, saved by it or by their name on the Hugging Face hub,
                   where thousands lie: a table mapped into memory, or a stream

Every split becomes one `Pairs`. Where nothing is marked as validation, a few training images are
held out; the test split is never touched. A *stream* is for a set larger than the disk: its rows
arrive one after another and are used once. What can be shuffled is what is held in a buffer, and
the first rows stand for all where a sample has to do: to learn the tokenizer, to validate.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.data.batches import preprocess as preprocess
from clip_np.data.pairs import SPLITS, DataError, Pairs, Stream, a_few, encoded_image, split_of

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
# What a column holds -> the names by which it is recognised; the first that is there counts.
COLUMNS = {
    "image": ("img", "image", "bytes", "jpg", "png", "file_name", "filename", "path", "filepath"),
    "caption": ("text_EN", "caption", "text", "captions"),
    "tags": ("tags",),
    "split": ("split",),
}
BUFFER, VALIDATION_PAIRS, TEST_PAIRS = 4096, 512, 2000  # of streams, and of sets without splits
Known = Mapping[str, Sequence[str]]  # such as COLUMNS
Record = tuple[str, dict[str, Any]]  # where a row is, and what a column holds -> its cell
Row = tuple[str, str, str, Any, str]  # caption, name, tags, source (an ImageSource), split


def open_dataset(
    path: str | Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    validation_fraction: float = 0.05,
    seed: int = 0,
    split: str | None = None,
    streaming: bool = False,
) -> dict[str, Pairs]:
    """Find the pairs of `path`, by split ("train", "validation", "test": those that have any).

    Columns are recognised by name (see COLUMNS) where none is given. Without a validation split,
    `validation_fraction` of the training images, at least one, becomes it, chosen by `seed`. Of a
    `datasets` set, `split` ("train[:10%]") may be picked, and `streaming` keeps nothing on disk.
    Raises DataError for whatever is missing or wrong, ImportError without the library it takes."""
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}, expected 0 <= it < 1")
    given = {"image": image_column, "caption": caption_column}
    known = COLUMNS | {role: (column,) for role, column in given.items() if column}
    is_set = _is_set(path)
    if is_set:
        sets = _load_sets(str(path), split, streaming)

        def read(split: str, dataset: Any) -> Iterator[Row]:
            table = f"{path} {split}"
            return _table_rows(_set_records(dataset, table, known), table, split, Path())

        if streaming:
            return _open_stream(sets, read)
        rows = [row for each in sets.items() for row in read(*each)]
    elif split or streaming:
        raise DataError(f"{path}: a split or a stream can be had of `datasets` sets alone")
    else:
        rows = list(_read_rows(Path(path), known))
    if not rows:
        understood = "captions.csv, metadata.csv, name.jpg beside name.txt, .parquet, train/, test/"
        raise DataError(f"{path} holds no image-caption pairs. Understood are {understood}")
    pairs, splits = Pairs.from_rows(rows), np.array([row[-1] for row in rows], "<U10")
    if is_set and set(splits) == {"train"}:
        splits[_tutorial_split(len(rows))] = "test"
    if "validation" not in splits:
        splits[_hold_out(pairs.names, splits, validation_fraction, seed)] = "validation"
    found = {each: np.flatnonzero(splits == each) for each in ("train", "validation", "test")}
    return {each: pairs.select(rows) for each, rows in found.items() if len(rows)}


def _hold_out(names: list[str], splits: np.ndarray, fraction: float, seed: int) -> list[int]:
    """Rows of some training images, each with all its captions: to validate on an image that was
    trained on would look better than it is."""
    train = np.flatnonzero(splits == "train")
    images = list(dict.fromkeys(names[row] for row in train))
    if fraction == 0 or len(images) < 2:
        return []
    count = min(max(1, round(fraction * len(images))), len(images) - 1)
    chosen = np.random.default_rng([seed, 0]).choice(len(images), count, replace=False)
    held_out = {images[number] for number in chosen}
    return [row for row in train if names[row] in held_out]


def _read_rows(path: Path, known: Known) -> Iterator[Row]:
    """The rows of the file `path`, or of all files below the folder `path` but hidden ones."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    root = path if path.is_dir() else path.parent
    # Sorted by POSIX path, so that the same seed means the same rows on every system.
    files = sorted(filter(Path.is_file, path.rglob("*")), key=Path.as_posix) or [path]
    files = [file for file in files if "/." not in f"/{file.relative_to(root).as_posix()}"]
    shards = [file for file in files if file.suffix.lower() == ".parquet"]
    tables = [file for file in files if file.name.lower() in ("captions.csv", "metadata.csv")]
    if path.suffix.lower() == ".csv":
        tables = [path]
    if (shards and tables) or any(a.parent in b.parents for a, b in permutations(tables, 2)):
        several = a_few(tables + shards)
        raise DataError(f"{path} is described more than once, give the path of one: {several}")
    for file in tables + shards:
        # The split is a word of the file's name, or the nearest folder below `root`.
        below = file.relative_to(root)
        split = split_of([*re.split("[-_. ]", file.stem), *reversed(below.parts[:-1])])
        records = parquet_records if file in shards else _text_records
        yield from _table_rows(records(file, known), below.as_posix(), split, file.parent)
    if not shards:
        described = {table.parent for table in tables}
        loose = [file for file in files if not described.intersection(file.parents)]
        yield from _read_paired_files(loose, root)


def _read_paired_files(files: Sequence[Path], root: Path) -> Iterator[Row]:
    """A row for each image with its `name.txt` beside it; DataError where one is alone."""
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    alone = {image.with_suffix("") for image in images} ^ texts.keys()
    if alone:
        raise DataError(
            f"{len(alone)} images have no .txt file of the same name beside them, or .txt files "
            f"no image: {a_few(sorted(alone))}. Add what is missing, or write a captions.csv."
        )
    for image in images:
        split = split_of(reversed(image.relative_to(root).parts[:-1]))
        yield _read_text(texts[image.with_suffix("")]).strip(), str(image), "", image, split


def _table_rows(records: Iterable[Record], table: str, default: str, folder: Path) -> Iterator[Row]:
    """The rows of a table, each of its own split or the `default`. An image cell holds an encoded
    image, a path below `folder`, or a function that reads either. DataError names a wrong row."""
    for place, cells in records:
        where = f"{table} {place}"
        image, caption, tags = cells["image"], cells["caption"], cells.get("tags") or ""
        split = SPLITS.get(str(cells.get("split", default)).lower())
        if split is None:
            raise DataError(f"{where}: split {cells['split']!r} is none of {', '.join(SPLITS)}")
        if isinstance(caption, list):
            caption = caption[0] if caption else ""
        if isinstance(tags, list):
            tags = ", ".join(tags)
        image = encoded_image(image)
        if isinstance(image, str) and image:
            image = folder / image
        image, caption = image or b"", caption or ""
        proper = isinstance(image, bytes | Path) or callable(image)
        if not proper or not isinstance(caption, str):
            raise DataError(
                f"{where}: expected a text and an encoded image or its path, got {type(caption)} "
                f"and {type(image)}; --caption-column and --image-column name other columns"
            )
        yield caption.strip(), str(image) if isinstance(image, Path) else where, tags, image, split


def _text_records(path: Path, known: Known) -> Iterator[Record]:
    """As `parquet_records`, for a text table whose cells are separated by tabs or commas."""
    text = _read_text(path)
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns = _find_columns(path, reader.fieldnames or [], known)
    try:
        for cells in reader:
            place = f"line {reader.line_num}"
            if None in cells or None in cells.values():
                raise DataError(f"{path} {place}: more or fewer cells than the header has")
            yield place, {role: cells[column].strip() for role, column in columns.items()}
    except csv.Error as error:
        raise DataError(f"{path} after line {reader.line_num}: {error}") from error


def parquet_records(path: Path, known: Known) -> Iterator[Record]:
    """For each row its place ("row 17", from 0) and its cells of the `known` columns. Raises
    ImportError where pyarrow is not installed, DataError where the file is damaged."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f'{path} needs pyarrow: pip install "minigrad-clip[data]"') from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _find_columns(path, file.schema_arrow.names, known)
            # Short batches: Arrow cannot hold more than 2 GiB in one column of plain binary.
            batches = file.iter_batches(1024, columns=list(columns.values()))
            rows = (cells for batch in batches for cells in batch.to_pylist())
            for number, cells in enumerate(rows):
                yield f"row {number}", {role: cells[column] for role, column in columns.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def _find_columns(table: str | Path, columns: Sequence[str], known: Known) -> dict[str, str]:
    """What a column holds -> its name, case ignored. DataError where one is missing."""
    by_lower = {column.strip().lower(): column for column in reversed(columns)}
    found = {}
    for role, names in known.items():
        matches = [by_lower[name.lower()] for name in names if name.lower() in by_lower]
        if matches:
            found[role] = matches[0]
        elif role not in ("tags", "split"):
            expected = f"expected {' or '.join(names)}, found {', '.join(columns)}"
            advice = "--image-column and --caption-column name other columns"
            raise DataError(f"{table} has no {role} column: {expected} ({advice})")
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error


def _is_saved(path: str | Path) -> bool:
    return any((Path(path) / name).exists() for name in ("dataset_dict.json", "state.json"))


def _is_set(path: str | Path) -> bool:
    """Whether `path` is a saved set, or a name on the hub ("owner/name") and nothing here."""
    is_name = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(path)) is not None
    return _is_saved(path) or (is_name and not Path(path).exists())


def _load_sets(path: str, split: str | None, streaming: bool) -> dict[str, Any]:
    """The library's objects by split ("train" for a given `split`), not yet read. ImportError where
    the library is not installed, DataError where it finds nothing."""
    try:
        import datasets
    except ImportError as error:
        advice = 'it takes the datasets library: pip install "minigrad-clip[data]"'
        raise ImportError(f"{path} is not here; to look for it on the hub {advice}") from error
    try:
        if saved := _is_saved(path):
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path, split=split, streaming=streaming)
        found = found if isinstance(found, dict) else {"train": found}
        if saved and split is not None:
            found = {"train": found[split]}
        if saved and streaming:
            found = {name: each.to_iterable_dataset() for name, each in found.items()}
    except Exception as error:  # no network, no such set, no such split: an error class for each
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is neither a path here nor a set to load ({cause})") from error
    sets = {split_of([name]): each for name, each in found.items()}
    if len(sets) < len(found) or (streaming and "train" not in sets):
        raise DataError(f"{path} has the splits {', '.join(found)}: --split picks one to train on")
    return sets


def _set_records(dataset: Any, table: str, known: Known) -> Iterator[Record]:
    """As `parquet_records`, but an image is read when it is needed, unless it is a stream's, which
    comes with its row. DataError where the images are none."""
    from datasets import Dataset, Image

    names = dataset.column_names or list(next(iter(dataset), {}))  # some streams do not say
    columns = _find_columns(table, names, known)
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


def _tutorial_split(rows: int) -> np.ndarray:
    """Which of so many rows to test on, in a set without splits: 2,000, or a fifth where it has
    fewer than 4,000. They are those of `train_test_split(test_size=2000, seed=42)`."""
    held_out = TEST_PAIRS if rows >= 2 * TEST_PAIRS else rows // 5
    return np.random.default_rng(42).permutation(rows)[:held_out]


def _open_stream(sets: Mapping[str, Any], read: Callable) -> dict[str, Pairs]:
    """Splits as `open_dataset` returns them, from the rows read(split, dataset): training pairs as
    a `Stream`, and the first of validation and test. Without a validation split, the first training
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

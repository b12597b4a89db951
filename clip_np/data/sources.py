"""Where do image-caption pairs come from?

CLIP learns from pictures and the sentences that belong to them. People keep them in a
few ways, and `open_dataset` recognises these:

    tables          captions.csv or metadata.csv, which name image files (tables.py)
    JSON            metadata.jsonl, or COCO's captions (json_tables.py)
    parquet files   one file, or many in a folder (parquet.py)
    tar files       shards of webdataset and img2dataset (tar_shards.py)
    class folders   cats/tom.jpg, if there are no captions at all (paired_files.py)
    paired files    cat.jpg next to cat.txt, in any depth of folders (paired_files.py)
    sets            of the `datasets` library, saved or on the Hugging Face hub (hub.py)

A folder called train/, test/ or validation/ says the split of all that is in it. Such a
word in the name of a file does the same. Every split becomes one `Pairs`.

KINDS is the table of the readers. clip_np/data/__init__.py lists the steps to a new
kind of data file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clip_np.data import hub
from clip_np.data.bounds import bounded
from clip_np.data.columns import STRICT, Columns, Entry, Reading, choose_columns, table_rows
from clip_np.data.compact import pack_rows
from clip_np.data.errors import DataError, a_few
from clip_np.data.json_tables import (
    COCO_NAME,
    is_json_lines,
    is_json_table,
    read_json_lines,
    read_json_table,
)
from clip_np.data.lookup import TABLES_ALONE, find_images
from clip_np.data.paired_files import read_paired_files
from clip_np.data.pairs import Pairs, Row
from clip_np.data.parquet import is_parquet, read_parquet
from clip_np.data.places import Places
from clip_np.data.shard_stream import open_shards
from clip_np.data.splits import SPLIT_NAMES, hold_out, split_of, tutorial_rows
from clip_np.data.tables import TABLE_SUFFIXES, is_table, missing_in_table, read_table
from clip_np.data.tar_shards import is_tar, read_tar
from clip_np.data.walking import files_below

UNDERSTOOD = (
    "captions or metadata as .csv, .tsv, .txt or .jsonl, captions*.json of COCO, name.jpg next to "
    "name.txt, .parquet, .tar, train/, test/, validation/; any table if its own path is given"
)

OTHER_TABLES = {".xlsx", ".xls", ".ods", ".arrow", ".feather", ".zip", ".tgz", ".gz"}
"""Endings of files that may hold pairs and are not read."""
SHOWN_TABLES = 3  # in a message


class Kind(NamedTuple):
    """One kind of data file."""

    recognises: Callable[[Path, bool], bool]
    """Called with a file, and whether the user gave the path of this very file."""
    read: Callable[[Path, Columns], Iterator[Entry]]
    """Called with a file and the names of its columns."""
    images_inside: bool
    """Whether the file holds its images. If not, it describes those in its folder."""


TAR = Kind(recognises=is_tar, read=read_tar, images_inside=True)
KINDS = (
    Kind(recognises=is_table, read=read_table, images_inside=False),
    Kind(recognises=is_json_lines, read=read_json_lines, images_inside=False),
    Kind(recognises=is_json_table, read=read_json_table, images_inside=False),
    Kind(recognises=is_parquet, read=read_parquet, images_inside=True),
    TAR,
)


def open_dataset(
    path: str | Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    validation_fraction: float = 0.05,
    seed: int = 0,
    split: str | None = None,
    streaming: bool = False,
    allow_outside: bool = False,
    skipped: list[str] | None = None,
    template: str | None = None,
) -> dict[str, Pairs]:
    """The pairs of `path` by split: "train", "validation", "test", those there are.

    - path: a file, a folder, or a set on the Hugging Face hub ("owner/name").
    - image_column, caption_column: names of columns. None recognises the usual ones,
      see COLUMNS.
    - validation_fraction: if there is no validation split, this share of the training
      images becomes it, at least one image. `seed` chooses them.
    - split: take all pairs from this split, such as "train[:10%]".
    - streaming: read a set, or tar files (shard_stream.py), while training.
    - allow_outside: read image files that lie outside of the folder that names them.
    - skipped: a list that gets what is wrong with unusable rows. None: they are errors.
    - template: the caption of a class, such as "a photo of a {}". It is for data that
      have classes in place of captions; None is the name alone.

    `split` is only for sets of the `datasets` library, `streaming` not for other files.
    Raises DataError for what is missing or wrong, ImportError for a missing library.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog", "hat"):
    ...         Image.new("RGB", (8, 8)).save(f"{folder}/{name}.png")
    ...         _ = Path(f"{folder}/{name}.txt").write_text(f"a {name}")
    ...     splits = open_dataset(folder)
    >>> {split: len(pairs) for split, pairs in splits.items()}
    {'train': 2, 'validation': 1}
    """
    _require_share(validation_fraction)
    reading = _reading(skipped, template)
    columns = choose_columns(image_column, caption_column)
    is_set = hub.is_set(path)
    rows: Iterable[Row]
    if is_set:
        sets = hub.load_sets(str(path), split, streaming)
        places = hub.places_of(path, allow_outside)
        if streaming:
            return hub.open_stream(sets, str(path), columns, places, reading)
        rows = hub.read_sets(sets, str(path), columns, places, reading)
    elif split:
        raise DataError(f"{path}: `split` is only for sets of the datasets library")
    elif streaming:
        return _open_shards(Path(path), columns, allow_outside, reading)
    else:
        rows = read_files(Path(path), columns, allow_outside, reading)
    pairs, splits = pack_rows(rows)
    if len(pairs) == 0:
        raise _nothing_in(path, skipped)
    return _by_split(pairs, splits, validation_fraction, seed, cut_test=is_set)


def _require_share(validation_fraction: float) -> None:
    """ValueError unless it is a share that leaves something to train on."""
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}, expected 0 <= it < 1")


def _open_shards(
    path: Path, columns: Columns, allow_outside: bool, reading: Reading
) -> dict[str, Pairs]:
    """The tar files of a folder, or one of them, as a stream."""
    root = _root_of(path)
    shards: dict[str, list[Path]] = {}
    for file in _list_files(path, root):
        if is_tar(file, file == path):
            shards.setdefault(_split_of_file(file, root), []).append(file)
    if not shards:
        raise DataError(
            f"{path}: `streaming` is for tar files, and for sets of the datasets library"
        )
    inside = Places(str(root), allow_outside)

    def read(shard: Path, reading: Reading) -> Iterator[Row]:
        return _table_rows({shard: TAR}, columns, inside, path, reading)

    return open_shards(shards, read, reading)


def _nothing_in(path: str | Path, skipped: list[str] | None) -> DataError:
    """The error for a place without pairs."""
    bad = f" {len(skipped)} rows are left out: {a_few(skipped)}." if skipped else ""
    return DataError(
        f"{path} holds no image-caption pairs.{bad} Files that can be read: {UNDERSTOOD}"
    )


def _reading(skipped: list[str] | None, template: str | None) -> Reading:
    """What is done with odd rows and classes. ValueError for a template without {}."""
    if template is not None and "{}" not in template:
        raise ValueError(f'template {template!r} has no {{}} for the class: "a photo of a {{}}"')
    return Reading(skipped, template or "{}")


def _by_split(
    pairs: Pairs, splits: np.ndarray, validation_fraction: float, seed: int, cut_test: bool
) -> dict[str, Pairs]:
    """The pairs of each split that has any. splits (N,): the split of each pair.

    If there is no validation split, pairs are held out for it. If all rows are for
    training and `cut_test` is true, pairs are held out for a test split as well.
    """
    if cut_test and set(splits) == {"train"}:
        splits[tutorial_rows(pairs.names)] = "test"
    if "validation" not in splits:
        splits[hold_out(pairs.names, splits, validation_fraction, seed)] = "validation"
    rows_of = {split: np.flatnonzero(splits == split) for split in SPLIT_NAMES}
    return {split: pairs.select(numbers) for split, numbers in rows_of.items() if len(numbers)}


def read_files(
    path: Path, columns: Columns, allow_outside: bool = False, reading: Reading = STRICT
) -> Iterator[Row]:
    """The rows of the file `path`, or of all files below the folder `path`."""
    root = _root_of(path)
    files = _list_files(path, root)
    kind_of = {
        file: kind
        for file in files
        for kind in KINDS
        if kind.recognises(file, file == path) and (file == path or not _is_metadata(file))
    }
    _refuse_two_descriptions(path, kind_of)
    inside = Places(str(root), allow_outside)
    size = sum(file.stat().st_size for file in kind_of)
    yield from bounded(_table_rows(kind_of, columns, inside, path, reading), path, size)
    if any(kind.images_inside for kind in kind_of.values()):
        return  # pictures and texts next to such files are a preview, a licence, ...
    described = {_folder_described_by(file) for file in kind_of}
    loose = [file for file in files if not described.intersection(file.parents)]
    rows = read_paired_files(loose, inside, reading)
    if kind_of:
        yield from rows
    else:
        unknown = [file for file in loose if _looks_like_a_table(file)]
        yield from _naming_tables(rows, unknown, columns)


def _root_of(path: Path) -> Path:
    """The folder `path`, or the one in which the file `path` lies."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path} is neither a folder nor a regular file")
    return path if path.is_dir() else path.parent


def _naming_tables(rows: Iterator[Row], unknown: Sequence[Path], columns: Columns) -> Iterator[Row]:
    """The rows. If there are none, a DataError names the tables that were not read."""
    has_rows = False
    problem = ""
    try:
        for row in rows:
            has_rows = True
            yield row
    except DataError as error:
        if has_rows or not unknown:
            raise
        problem = f"{error} "
    if unknown and not has_rows:
        lacks = [_what_it_lacks(file, columns) for file in unknown[:SHOWN_TABLES]]
        raise DataError(f"{problem}Tables that were seen and not read: {'; '.join(lacks)}")


def _what_it_lacks(file: Path, columns: Columns) -> str:
    """Why a table was not read, and how it could be."""
    if file.suffix.lower() in TABLE_SUFFIXES and (missing := missing_in_table(file, columns)):
        return missing
    if file.suffix.lower() in OTHER_TABLES:
        return f"{file} (save it as captions.csv)"
    if _is_metadata(file):
        return f"{file} (it describes a shard that is not here)"
    return f"{file} (pass its own path, or call it captions{file.suffix})"


def _looks_like_a_table(file: Path) -> bool:
    suffixes = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", *OTHER_TABLES}
    return file.suffix.lower() in suffixes and not file.with_suffix(".txt").exists()


def _is_metadata(file: Path) -> bool:
    """Whether a parquet file has img2dataset's notes about the shard X.tar or X/."""
    if file.suffix.lower() != ".parquet":
        return False
    shard = file.with_suffix("")
    has_images = shard.is_dir() or file.with_suffix(".tar").is_file()
    return has_images and (
        shard.name.isdigit() or (file.parent / f"{shard.name}_stats.json").is_file()
    )


def _folder_described_by(file: Path) -> Path:
    """The folder whose images a table describes."""
    return file.parent.parent if file.parent.name.lower() == TABLES_ALONE else file.parent


def _table_rows(
    kind_of: dict[Path, Kind], columns: Columns, inside: Places, path: Path, reading: Reading
) -> Iterator[Row]:
    """The rows of all tables. DataError for a table that is a link to elsewhere."""
    root = Path(inside.folder)
    for file, kind in kind_of.items():
        if file != path and file.is_symlink():
            inside(str(file))
        places, entries = find_images(kind.read(file, columns), file.parent, inside.allow_outside)
        yield from table_rows(
            entries,
            table=file.relative_to(root).as_posix(),
            default_split=_split_of_file(file, root),
            places=places,
            reading=reading,
        )


def _list_files(path: Path, root: Path) -> list[Path]:
    """The file `path`, or all files below it, without hidden ones (".name")."""
    files = files_below(path) if path.is_dir() else [path]
    return [file for file in files if not _is_hidden(file.relative_to(root))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _split_of_file(file: Path, root: Path) -> str:
    """The split that a word of the file's name says, or else the nearest folder."""
    words = re.split("[-_. ]", file.stem)
    folders = file.relative_to(root).parts[:-1]
    return split_of([*words, *reversed(folders)])


def _describe_the_same(inner: Path, outer: Path) -> bool:
    """Whether a table may describe images that another one describes.

    COCO has a table for each split in one folder.
    """
    if inner.parent == outer.parent and COCO_NAME.fullmatch(inner.name):
        return _split_of_file(inner, inner.parent) == _split_of_file(outer, outer.parent)
    return inner.parent.is_relative_to(outer.parent)


def _refuse_two_descriptions(path: Path, kind_of: dict[Path, Kind]) -> None:
    """Raise DataError if the same images may be described twice.

    That is so if files of two kinds are there, or if one table lies in a folder that
    another describes: an image would be in both, perhaps in two splits.
    """
    tables = [file for file, kind in kind_of.items() if not kind.images_inside]
    nested = any(_describe_the_same(inner, outer) for inner, outer in permutations(tables, 2))
    if nested or len(set(kind_of.values())) > 1:
        files = sorted(kind_of, key=lambda file: (kind_of[file].images_inside, file.as_posix()))
        raise DataError(f"{path} is described more than once, give the path of one: {a_few(files)}")

"""Chapter 20: where do image-caption pairs come from?

CLIP learns from nothing but pictures and the sentences that belong to them, so a data set is a
list of pairs. People keep them in a few ways, all of which `open_dataset` recognises:

    (a) a table    captions.csv or metadata.csv with a column of file names and one of captions,
                   and perhaps columns `split` and `tags` (further words, separated by commas)
    (b) files      cat.jpg beside cat.txt, in any depth of folders
    (c) parquet    one file, or shards anywhere in a folder, train/test/validation in their names
    (d) splits     folders train/, test/, validation/, each in layout (a) or (b)

Every split becomes one `Pairs`: captions in memory, images on disk (or still encoded) until
`open_image` decodes one. Where nothing is marked as validation, a few training images are held
out; the test split is never touched.

`readers.py` reads the files; `loading.py` makes batches of pairs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clip_np.loading import preprocess
from clip_np.readers import (
    IMAGE_SUFFIXES,
    DataError,
    ImageSource,
    Rows,
    a_few,
    open_rgb,
    read_paired_files,
    read_parquet,
    read_table,
    split_of,
)

__all__ = ["DataError", "Pairs", "open_dataset", "preprocess"]

TABLE_NAMES = {"captions.csv", "metadata.csv", "captions.tsv", "metadata.tsv"}
LAYOUTS = (
    "Understood are: captions.csv or metadata.csv beside the images; name.jpg beside name.txt; "
    "a .parquet file or a folder of them; folders train/ and test/ that hold one of the first two"
)


@dataclass
class Pairs:
    """One split: N images, each with its caption.

    captions: N texts, none empty. names: N texts that say in errors where an image comes from
    (a path, or "train-00000.parquet row 17", counted from 0). tags: None, or N texts of further
    words separated by commas. sources: N images, not yet decoded (see `clip_np.readers`).
    """

    captions: list[str]
    names: list[str]
    tags: list[str] | None
    sources: list[ImageSource]

    def __len__(self) -> int:
        return len(self.captions)

    def open_image(self, row: int) -> Image.Image:
        """Decode image `row`: mode RGB, upright, in its own size.

        Raises DataError, naming the file and the cause, where it cannot be decoded.
        """
        return open_rgb(self.sources[row], self.names[row])

    def select(self, indices: Sequence[int] | np.ndarray) -> "Pairs":
        """The pairs of these rows, in this order; `indices` are row numbers."""
        rows = np.asarray(indices, dtype=np.int64).tolist()
        return Pairs(
            captions=[self.captions[row] for row in rows],
            names=[self.names[row] for row in rows],
            tags=None if self.tags is None else [self.tags[row] for row in rows],
            sources=[self.sources[row] for row in rows],
        )

    @classmethod
    def from_arrays(cls, images: np.ndarray, captions: Sequence[str]) -> "Pairs":
        """Pairs of images already in memory: `images` is uint8 (N, H, W, 3), RGB.

        Raises DataError for another shape or dtype, unequal lengths, or an empty caption.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(
                f"images have shape {images.shape} and dtype {images.dtype}; "
                "expected (N, H, W, 3) and uint8"
            )
        if len(images) != len(captions):
            raise DataError(f"there are {len(images)} images but {len(captions)} captions")
        names = [f"image {row}" for row in range(len(images))]
        _check_captions(captions, names)
        return cls(list(captions), names, None, list(images))


def open_dataset(
    path: str | Path,
    image_column: str | None = None,
    caption_column: str | None = None,
    validation_fraction: float = 0.05,
    seed: int = 0,
) -> dict[str, Pairs]:
    """Find the pairs under `path` and return them by split.

    path: a folder, a .parquet file, or a table (.csv, .tsv). The columns are recognised by name
    where `image_column` and `caption_column` are None. The keys of the result are those of
    "train", "validation" and "test" that have pairs. Without a validation split,
    `validation_fraction` of the training images (at least one) becomes it, chosen by `seed`.

    Raises DataError where there is nothing to read or something in it is wrong, ImportError
    where parquet files are found and pyarrow is not installed.
    """
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}, expected 0 <= it < 1")
    path = Path(path)
    rows = Rows()
    if path.is_dir():
        _read_folder(path, image_column, caption_column, rows)
    elif path.suffix.lower() == ".parquet" and path.is_file():
        read_parquet(path, path.name, image_column, caption_column, rows)
    elif path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        read_table(path, split_of([path.stem]), image_column, caption_column, rows)
    elif path.exists():
        raise DataError(f"{path} is neither a folder nor a .parquet, .csv or .tsv file. {LAYOUTS}.")
    else:
        raise DataError(f"{path} does not exist")
    if not rows.captions:
        raise DataError(f"{path} holds no image-caption pairs: its tables have no rows")
    _check_captions(rows.captions, rows.names)
    splits = _by_split(rows)
    if "train" in splits and "validation" not in splits:
        splits |= _hold_out(splits["train"], validation_fraction, seed)
    return splits


def _read_folder(
    root: Path, image_column: str | None, caption_column: str | None, rows: Rows
) -> None:
    """Recognise the layout of folder `root` and read it."""
    # Sorted by POSIX path, so that the same seed means the same rows on every system.
    files = sorted(_visible_files(root), key=lambda file: file.relative_to(root).as_posix())
    tables = [file for file in files if file.name.lower() in TABLE_NAMES]
    shards = [file for file in files if file.suffix.lower() == ".parquet"]
    at_root = [table for table in tables if table.parent == root]
    if len(at_root) + bool(shards) > 1:
        raise DataError(
            f"{root} holds several descriptions of the data: {a_few(at_root + shards)}. "
            "Give the path of the one to use."
        )
    if shards:
        for shard in shards:
            name = shard.relative_to(root).as_posix()
            read_parquet(shard, name, image_column, caption_column, rows)
        return
    if at_root:
        return read_table(at_root[0], "train", image_column, caption_column, rows)
    for table in tables:
        split = split_of(reversed(table.relative_to(root).parts[:-1]), alone=True)
        read_table(table, split, image_column, caption_column, rows)
    described = {table.parent for table in tables}
    loose = [file for file in files if not described.intersection(file.parents)]
    if any(file.suffix.lower() in IMAGE_SUFFIXES for file in loose):
        read_paired_files(loose, root, rows)
    elif not tables:
        counts = Counter(file.suffix.lower() or "files without suffix" for file in files)
        found = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
        raise DataError(
            f"{root} has no layout that is understood. {LAYOUTS}. Found: {found or 'no files'}."
        )


def _visible_files(root: Path) -> list[Path]:
    """All files below `root` but hidden ones, such as the `._cat.jpg` that macOS leaves."""
    files = []
    for file in root.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if not hidden and file.is_file():
            files.append(file)
    return files


def _check_captions(captions: Sequence[str], names: Sequence[str]) -> None:
    empty = [name for caption, name in zip(captions, names) if not caption.strip()]
    if empty:
        raise DataError(
            f"{len(empty)} captions are empty, those of {a_few(empty)}: "
            "write captions for them or take the rows out"
        )


def _by_split(rows: Rows) -> dict[str, Pairs]:
    """One `Pairs` for each split that occurs, in the order train, validation, test."""
    tags = rows.tags if any(rows.tags) else None
    everything = Pairs(rows.captions, rows.names, tags, rows.sources)
    of_row = np.array(rows.splits)
    indices = {split: np.flatnonzero(of_row == split) for split in ("train", "validation", "test")}
    return {split: everything.select(chosen) for split, chosen in indices.items() if len(chosen)}


def _hold_out(train: Pairs, fraction: float, seed: int) -> dict[str, Pairs]:
    """Divide `train` into "train" and "validation", by image.

    An image with several captions has several rows. All go to the same side: validation on an
    image that was trained on would look better than it is. A single image is not divided.
    """
    numbers: dict[str, int] = {}
    image_of_row = [numbers.setdefault(name, len(numbers)) for name in train.names]
    if fraction == 0 or len(numbers) < 2:
        return {"train": train}
    count = min(max(1, round(fraction * len(numbers))), len(numbers) - 1)
    chosen = np.random.default_rng([seed, 0]).choice(len(numbers), count, replace=False)
    held = np.isin(image_of_row, chosen)
    return {
        "train": train.select(np.flatnonzero(~held)),
        "validation": train.select(np.flatnonzero(held)),
    }

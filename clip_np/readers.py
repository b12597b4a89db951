"""Chapter 20b: how does one file become captions and RGB images?

Chapter 20 decides which files make up a data set; this one reads them, one layout a function:
a table that names image files (`read_table`), text files beside image files
(`read_paired_files`), and parquet shards that hold the encoded images themselves
(`read_parquet`). Each appends to the same `Rows`. Captions are read at once. Of an image only
its *source* is kept: a path, a cell of a parquet column, or an array. `open_rgb` decodes a
source when it is needed, because decoded pictures rarely fit in memory.

Becoming RGB has rules of its own (`to_rgb`), since Pillow's plain `convert("RGB")` paints
transparent pixels in whatever colour lies under them and clips 16-bit values at 255.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
IMAGE_FILE_COLUMNS = ("file_name", "filename", "image", "img", "path", "filepath")
IMAGE_COLUMNS = ("img", "image", "bytes", "jpg", "png")
CAPTION_COLUMNS = ("text_EN", "caption", "text", "captions")
SPLIT_WORDS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


class DataError(ValueError):
    """The data on disk is not what it should be; the message names the file and the fix."""


@dataclass
class Rows:
    """Image-caption rows as the readers find them; all lists have the same length."""

    captions: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    sources: list["ImageSource"] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    def add(self, caption: str, name: str, tags: str, source: "ImageSource", split: str) -> None:
        """Append one row. `name` is what an error message calls its image."""
        self.captions.append(caption.strip())
        self.names.append(name)
        self.tags.append(tags)
        self.sources.append(source)
        self.splits.append(split)


class ParquetCell(NamedTuple):
    """One image of a parquet file, left encoded in Arrow's memory until it is read."""

    column: Any  # a pyarrow.Array: struct{bytes, path}, binary, or string (a path)
    row: int
    folder: Path  # where relative paths start

    def read(self) -> io.BytesIO | Path:
        """The encoded bytes, or the path of the image file that the cell names."""
        cell = self.column[self.row].as_py()
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if not cell:
            raise DataError("the image cell is empty")
        return io.BytesIO(cell) if isinstance(cell, bytes) else self.folder / cell


ImageSource = Path | ParquetCell | np.ndarray


# --- One image -----------------------------------------------------------------------------


def open_rgb(source: ImageSource, name: str) -> Image.Image:
    """Decode `source` fully, upright (EXIF orientation applied) and in RGB.

    Raises DataError, beginning with `name`, where the file is missing, truncated, damaged,
    no image, or larger than Pillow's limit against decompression bombs.
    """
    try:
        if isinstance(source, np.ndarray):
            return Image.fromarray(source)
        with Image.open(source.read() if isinstance(source, ParquetCell) else source) as image:
            # Pillow only warns between its limit and twice its limit. Turning the warning into
            # an error through the warnings module is not safe with several threads.
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise DataError(
                    f"{image.width}x{image.height} pixels are more than the {limit} that Pillow "
                    "allows (a decompression bomb?); make the image smaller"
                )
            return to_rgb(image)
    except FileNotFoundError as error:
        raise DataError(f"{name}: the file {error.filename} does not exist") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in a format that Pillow knows") from error
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:
        # On damaged files Pillow's format readers raise OSError, SyntaxError, struct.error,
        # IndexError and more: all mean the same here.
        raise DataError(f"{name}: cannot decode the image: {error!r}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright and in mode RGB: transparency composed on white, 16 bits scaled to 8.

    Raises DataError where float or integer pixels have no recognisable range.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    palette_has_alpha = image.mode == "P" and image.palette.mode == "RGBA"
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if not (has_alpha or palette_has_alpha):
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of a deep mode (I;16, I, F) to 0..255, as an image of mode L.

    I;16 is 16-bit by name. I and F do not say what white is: the smallest usual range that
    holds all values is taken (0..1 for F, 0..255, 0..65535).
    """
    values = np.asarray(image, dtype=np.float64)
    peak = values.max()
    if image.mode.startswith("I;16"):
        white = 65535
    elif image.mode == "F" and peak <= 1:
        white = 1
    elif peak <= 255:
        white = 255
    elif peak <= 65535:
        white = 65535
    else:
        raise DataError(
            f"mode {image.mode} pixels reach {peak}; expected values in 0..1, 0..255 or 0..65535"
        )
    return Image.fromarray(np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8))


# --- Columns and splits --------------------------------------------------------------------


def split_of(names: Iterable[str], alone: bool = False) -> str:
    """The split that the first of `names` (of files or folders) to do so speaks of, or "train".

    A split must be a word of its own: `val-00001` is one, `evaluation` is not. `alone`: and
    the only word (`test_2` is one, `test tubes` is not). Raises DataError for two splits.
    """
    for name in names:
        words = re.findall("[a-z]+", name.lower())
        found = sorted({SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS})
        if not found or (alone and len(words) != 1):
            continue
        if len(found) > 1:
            raise DataError(f"the name {name!r} speaks of two splits, {found}: rename it")
        return found[0]
    return "train"


def find_column(
    columns: Sequence[str], wanted: str | None, known: Sequence[str], what: str, path: Path
) -> str:
    """The column called `wanted`, or else the first of `known` that is there; case is ignored.

    `what` ("image" or "caption") names the command's flag in the DataError where none is.
    """
    by_lower = {column.strip().lower(): column for column in reversed(columns)}
    for candidate in known if wanted is None else (wanted,):
        if candidate.lower() in by_lower:
            return by_lower[candidate.lower()]
    expected = f"one of {', '.join(known)}" if wanted is None else f"{wanted!r}"
    raise DataError(
        f"{path} has no {what} column: expected {expected}, found {', '.join(columns)}. "
        f"Name the column with --{what}-column."
    )


# --- Layouts -------------------------------------------------------------------------------


def read_table(
    path: Path, split: str, image_column: str | None, caption_column: str | None, rows: Rows
) -> None:
    """Append the rows of a table with a header that names image files relative to itself.

    Commas, semicolons or tabs separate the fields, whichever is most frequent in the header.
    A column `split` overrides `split`. Raises DataError naming the line that is wrong.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",\t;", key=header.count), strict=True)
            columns = next(reader, [])
            image = find_column(columns, image_column, IMAGE_FILE_COLUMNS, "image", path)
            caption = find_column(columns, caption_column, CAPTION_COLUMNS, "caption", path)
            optional = {column.strip().lower(): column for column in columns}
            for fields in reader:
                if not fields:
                    continue
                where = f"{path} line {reader.line_num}"
                if len(fields) != len(columns):
                    raise DataError(
                        f"{where} has {len(fields)} fields where the header has {len(columns)}: "
                        "put captions that contain the separator in double quotes"
                    )
                values = dict(zip(columns, fields))
                if not values[image].strip():
                    raise DataError(f"{where} names no image in column {image!r}")
                row_split = split
                if "split" in optional:
                    row_split = _split_value(values[optional["split"]], where)
                source = path.parent / values[image].strip()
                tags = values[optional["tags"]] if "tags" in optional else ""
                rows.add(values[caption], str(source), tags, source, row_split)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from error


def _split_value(value: str, where: str) -> str:
    split = SPLIT_WORDS.get(value.strip().lower())
    if split is None:
        raise DataError(f"{where}: split {value!r} is none of {', '.join(SPLIT_WORDS)}")
    return split


def read_paired_files(files: Sequence[Path], root: Path, rows: Rows) -> None:
    """Append a row for each `name.jpg` (or another image suffix) beside its `name.txt`.

    The nearest folder below `root` that is named after a split gives the split, else train.
    Raises DataError naming images without text and texts without image.
    """
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    stems = {image.with_suffix("") for image in images}
    without_text = [image for image in images if image.with_suffix("") not in texts]
    without_image = [text for stem, text in texts.items() if stem not in stems]
    if without_text:
        raise DataError(
            f"{len(without_text)} of {len(images)} images have no text file of the same name "
            f"beside them: {a_few(without_text)}. Write a .txt file for each, or a captions.csv "
            f"in {root}."
        )
    if without_image:
        raise DataError(
            f"{len(without_image)} text files have no image of the same name beside them: "
            f"{a_few(without_image)}. Add the image or move the text elsewhere."
        )
    for image in images:
        text = texts[image.with_suffix("")]
        try:
            caption = text.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{text} is not UTF-8 text ({error}): save it as UTF-8") from error
        split = split_of(reversed(image.relative_to(root).parts[:-1]), alone=True)
        rows.add(caption, str(image), "", image, split)


def read_parquet(
    path: Path, name: str, image_column: str | None, caption_column: str | None, rows: Rows
) -> None:
    """Append the rows of one parquet file, called `name` in messages; row numbers count from 0.

    The split is a word of the file's name, or else of the nearest folder in `name`, or train.
    The images stay encoded. Raises DataError where the file is damaged or a column has another
    type, ImportError where pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f'{path} needs pyarrow to be read: pip install "minigrad-clip[data]"'
        ) from error
    split = split_of(reversed(Path(name).with_suffix("").parts))
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            image = find_column(columns, image_column, IMAGE_COLUMNS, "image", path)
            caption = find_column(columns, caption_column, CAPTION_COLUMNS, "caption", path)
            tags = next((column for column in columns if column.lower() == "tags"), None)
            _check_image_type(file.schema_arrow.field(image), path)
            first = 0
            # Short batches: Arrow cannot hold more than 2 GiB in one column of plain binary.
            for batch in file.iter_batches(1024, columns=[c for c in (image, caption, tags) if c]):
                texts = batch.column(caption).to_pylist()
                words = batch.column(tags).to_pylist() if tags else [""] * len(texts)
                for row, (text, extra) in enumerate(zip(texts, words)):
                    row_name = f"{name} row {first + row}"
                    extra = ", ".join(extra) if isinstance(extra, list) else extra or ""
                    cell = ParquetCell(batch.column(image), row, path.parent)
                    rows.add(_first_text(text, row_name, caption), row_name, extra, cell, split)
                first += len(texts)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def _check_image_type(column: Any, path: Path) -> None:
    """Refuse a column (a pyarrow.Field) that can hold neither encoded images nor paths."""
    text = str(column.type)
    is_struct = text.startswith("struct<") and re.search(r"[<,]\s*(bytes|path): ", text)
    if not is_struct and text not in ("binary", "large_binary", "string", "large_string"):
        raise DataError(
            f"{path}: column {column.name!r} holds {text}; expected encoded images (binary or "
            "struct<bytes, path>) or file paths (string). Name another with --image-column."
        )


def _first_text(value: Any, name: str, column: str) -> str:
    """A caption cell as one text: the first of several, and empty where there is none."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is not None and not isinstance(value, str):
        raise DataError(
            f"{name}: column {column!r} holds {type(value).__name__}, expected text. "
            "Name another with --caption-column."
        )
    return value or ""


def a_few(items: Sequence[Any]) -> str:
    """The first three of `items` for a message, and how many more there are."""
    shown = ", ".join(str(item) for item in items[:3])
    return shown if len(items) <= 3 else f"{shown} and {len(items) - 3} more"

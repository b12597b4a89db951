"""Small pictures, tables and pairs, in memory and on disk."""

import io
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from clip_np.data import Pairs

COLOURS = [(250, 10, 20), (10, 240, 30), (20, 30, 230), (200, 200, 0), (0, 100, 100), (9, 9, 9)]


def save(path: Path, colour=(250, 10, 20), size=(6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def encoded(colour=(250, 10, 20), size=(6, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, text: str, encoding="utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding, newline="")
    return path


def shard(path: Path, images, captions, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"image": images, "caption": captions} | columns
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


def colour_of(pairs: Pairs, row: int) -> tuple[int, int, int]:
    image = pairs.open_image(row)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


def table_folder(root: Path, count: int = 3, header="file_name,caption", separator=",") -> Path:
    lines = [header]
    for row in range(count):
        save(root / f"{row}.png", COLOURS[row % 6])
        lines.append(f"{row}.png{separator}picture {row}")
    write(root / "captions.csv", "\n".join(lines) + "\n")
    return root


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def some_pairs(count: int, size: int = 8) -> Pairs:
    return Pairs.from_arrays(
        noise(count, size, size, 3), [f"picture {row}" for row in range(count)]
    )


def pairs_on_disk(folder, count: int, bad=()) -> Pairs:
    paths = [folder / f"{row}.png" for row in range(count)]
    for row, path in enumerate(paths):
        Image.fromarray(noise(9, 7, 3, seed=row)).save(path)
    for row in bad:
        paths[row].write_bytes(b"no image")
    captions = [f"picture {row}" for row in range(count)]
    return Pairs(captions, [path.name for path in paths], None, paths)


def rows_of_steps(length: int, batch_size: int, seed: int, start: int, stop: int):
    """The row numbers that each step gets, of so many pairs."""
    pairs = Pairs(["a caption"] * length, [str(row) for row in range(length)], None, [b""] * length)
    for batch in pairs.batches(batch_size, seed, start, stop):
        yield np.array(batch.names).astype(int)

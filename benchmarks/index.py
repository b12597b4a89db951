"""Does the time to add to an index depend on its size, and how fast is a search?

    .venv/bin/python benchmarks/index.py --rows 1000000 --added 100000

writes synthetic unit rows of 512 numbers to an index, adds more of them to it and to an
index that is a tenth as large, and asks the large one. A million rows need 2 GB of
disk, and as much memory for the product that the search is compared with: the same rows
as one array. The files of the index are in the system's cache, as they are after a
first search.
"""

import argparse
import secrets
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from clip_np.evaluation import Index, IndexedFile, append_to_index, read_index, write_index
from clip_np.evaluation.index_parts import Part
from clip_np.evaluation.index_table import FileTable
from clip_np.evaluation.search import best_rows, cosines_of

WIDTH = 512
PIECE = 100_000  # rows that are made and added at a time
REPEATS = 7
BEST = 12


def unit_rows(count: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit rows (count, WIDTH)."""
    rows = rng.standard_normal((count, WIDTH), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def add(path: Path, count: int, rows: np.ndarray) -> tuple[float, float]:
    """Add rows to an index, in pieces; the seconds of a clock, and of the processor.

    All pieces have the same rows, and other names.
    """
    seconds = processor_seconds = 0.0
    for first in range(0, count, PIECE):
        piece = rows[: min(PIECE, count - first)]
        number = secrets.token_hex(8)
        files = {
            f"{path.parent}/photos/{number}/{row}.jpg": IndexedFile(size=1_000_000, modified=row)
            for row in range(len(piece))
        }
        started, processor_started = time.perf_counter(), time.process_time()
        append_to_index(path, files, piece)
        seconds += time.perf_counter() - started
        processor_seconds += time.process_time() - processor_started
    return seconds, processor_seconds


def make_index(path: Path, count: int, rows: np.ndarray) -> Path:
    """A new index with so many rows."""
    nothing = Part(FileTable.of({}, str(path.parent)), np.zeros((0, WIDTH), np.float32))
    write_index(path, Index([nothing], "synthetic", "00000000"))
    seconds, _ = add(path, count, rows)
    print(f"{count:>9,} rows written in {seconds:.1f} s")
    return path


def compare_search(path: Path) -> None:
    """Time a search and the bare product of the same rows, taking turns."""
    started = time.perf_counter()
    index = read_index(path)
    print(f"opened in {time.perf_counter() - started:.3f} s: {len(index.parts)} parts")
    features = np.concatenate([part.features for part in index.parts])  # (N, E)
    query = unit_rows(1, np.random.default_rng(1))[0]
    products, searches = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        features @ query
        products.append(time.perf_counter() - started)
        started = time.perf_counter()
        best_rows(cosines_of(index, query), BEST)
        searches.append(time.perf_counter() - started)
    product, search = statistics.median(products), statistics.median(searches)
    print(
        f"{len(index):,} rows of {WIDTH}: product {product:.3f} s, search {search:.3f} s, "
        f"ratio {search / product:.2f}"
    )


def main() -> None:
    """Build, add, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--added", type=int, default=100_000)
    parser.add_argument("--folder", help="where the index is made and removed (a temporary folder)")
    arguments = parser.parse_args()
    rows = unit_rows(PIECE, np.random.default_rng(0))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        large = make_index(Path(folder, "large.npz"), arguments.rows, rows)
        small = make_index(Path(folder, "small.npz"), arguments.rows // 10, rows)
        for turn in range(2):
            for path in (small, large):
                seconds, processor_seconds = add(path, arguments.added, rows)
                print(
                    f"turn {turn}: {arguments.added:,} rows added to the {path.stem} index in "
                    f"{seconds:.2f} s, {processor_seconds:.2f} s of the processor"
                )
        compare_search(large)


if __name__ == "__main__":
    main()

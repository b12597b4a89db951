"""Does the time to add to an index depend on its size, and how fast is a search?

    .venv/bin/python benchmarks/index.py --rows 1000000 --added 100000

writes synthetic unit rows of 512 numbers to an index, adds more of them to it and to an
index that is a tenth as large, and asks the large one. A million rows need 2 GB of
disk, and as much memory for the product that the search is compared with: the same rows
as one array. In the searches that are compared, the files of the index are in the
system's cache, as they are after a first search.
"""

import argparse
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clip_np.evaluation import Index, IndexedFile, append_to_index, read_index, write_index
from clip_np.evaluation.index_parts import Part, parts_folder
from clip_np.evaluation.index_table import FileTable
from clip_np.evaluation.search import best_rows, cosines_of

WIDTH = 512
PIECE = 100_000  # rows that are made and added at a time
REPEATS = 15
QUERIES = (1, 16)  # at once
BLAS_REST = 0.2  # seconds; an idle thread of OpenBLAS spins for some 0.03 s before it sleeps
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


def forget_files(path: Path) -> None:
    """Let the system drop what it keeps of an index in memory (Linux)."""
    os.sync()
    for file in [path, *parts_folder(path).iterdir()]:
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_opening(path: Path) -> Index:
    """Open an index from the disk, and then from what the system has kept in memory."""
    if hasattr(os, "posix_fadvise"):
        forget_files(path)
        print(f"opened from the disk in {timed(lambda: read_index(path)):.3f} s")
    print(f"opened from memory in {timed(lambda: read_index(path)):.3f} s")
    return read_index(path)


def timed(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """The seconds of one call, when the BLAS library's threads are asleep again."""
    time.sleep(BLAS_REST)
    started = clock()
    function()
    return clock() - started


def compare_search(index: Index) -> None:
    """Time searches and the bare product of the same rows, taking turns."""
    features = index.features  # (N, E), a copy
    for count in QUERIES:
        queries = unit_rows(count, np.random.default_rng(1)).T.copy()  # (E, count)
        query = queries[:, 0] if count == 1 else queries

        def search(query: np.ndarray = query) -> None:
            cosines = cosines_of(index, query)
            for column in cosines.reshape(len(index), -1).T:
                best_rows(column, BEST)

        def product(query: np.ndarray = query) -> np.ndarray:
            return features @ query

        print(f"the first search after the start: {timed(search):.3f} s")
        for name, clock in {"clock": time.perf_counter, "processor": time.process_time}.items():
            turns = [(timed(product, clock), timed(search, clock)) for _ in range(REPEATS)]
            products, searches = zip(*turns)
            print(
                f"{len(index):,} rows of {WIDTH}, {count} at once, by the {name}: product "
                f"{statistics.median(products):.3f} s, search {statistics.median(searches):.3f} s, "
                f"ratio {statistics.median(searches) / statistics.median(products):.2f}"
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
        compare_search(time_opening(large))


if __name__ == "__main__":
    main()

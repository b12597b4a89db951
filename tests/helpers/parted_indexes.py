"""Rows, names and parts of indexes that tests make."""

import os

import numpy as np

from clip_np.evaluation import IndexedFile
from clip_np.evaluation.index_parts import parts_folder

WIDTH = 16
FILE = IndexedFile(size=1, modified=2)


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def named(count: int, prefix: str = "new") -> dict[str, IndexedFile]:
    return {os.path.abspath(f"{prefix}{row}.png"): FILE for row in range(count)}


def parts_on_disk(index: str = "index.npz") -> dict[str, int]:
    """The parts, each with the number of its file, which another file does not have."""
    return {path.name: path.stat().st_ino for path in sorted(parts_folder(index).glob("*"))}

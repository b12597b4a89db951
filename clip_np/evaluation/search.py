"""Chapter 38: how is one picture found among thousands?

Embed all of them once and keep the vectors: what remains for a query is one product of a matrix
and a vector. With the features of N images as rows of F (N, E), and q (E,) those of the query, a
sentence or another image, all scaled to length 1, the cosines are

    F q                                                     (N,)

Lengths are taken off because training compared angles only: a long vector would be near to all.
A search costs N E multiplications and one reading of F: for 100,000 images and E = 512, 205 MB and
less than 0.1 s. To embed them takes a ViT-B/32 more than an hour on two cores, so `build_index`
embeds no image twice: it knows a file again by its size and time, saves as it goes, and goes on
where it was stopped.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic

import numpy as np
from tqdm import tqdm

from clip_np.data import BAR_SECONDS, IMAGE_SUFFIXES, DataError, Preprocess, opened
from clip_np.evaluation.metrics import embed_texts, unit_features
from clip_np.files import File, file_errors, read_archive, write_archive
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer

BATCH, THREADS, SAVE_SECONDS = 64, 4, 60.0


@dataclass
class Index:
    """files: absolute path -> (bytes, time, why it cannot be read or ""); features: unit rows
    (N, E), float32, of the N readable `paths`; model: path or name of the model, and `checksum` its
    `fingerprint`."""

    files: dict[str, tuple[int, int, str]]
    features: np.ndarray
    model: str
    checksum: str

    @property
    def paths(self) -> list[str]:
        return [path for path, (_, _, cause) in self.files.items() if not cause]

    def check(self, model: CLIP, preprocess: Preprocess) -> "Index":
        """The index itself; ValueError where it is another model's."""
        if self.checksum != fingerprint(model, preprocess):
            made = f"the index holds what another model saw ({self.model}, as it was then)"
            raise ValueError(f"{made}; take that one, or make a new index with clip-np embed")
        return self


def fingerprint(model: CLIP, preprocess: Preprocess) -> str:
    """Eight hexadecimal digits that tell models apart: a checksum of what features depend on."""
    checksum = zlib.crc32(f"{model.config} {preprocess}".encode())
    for parameter in model.parameters():
        checksum = zlib.crc32(np.ascontiguousarray(parameter.numpy()), checksum)
    return f"{checksum:08x}"


def image_files(sources: Iterable[File]) -> list[str]:
    """The images in folders, at any depth, and whatever is no folder; each path once. DataError
    for a folder without images."""
    files: dict[str, None] = {}
    for source in map(Path, sources):
        images = (f for f in source.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        found = sorted(image for image in images if image.is_file())
        if source.is_dir() and not found:
            raise DataError(f"{source}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        files |= dict.fromkeys(map(str, found or [source]))
    return list(files)


def embed_files(
    model: CLIP, preprocess: Preprocess, paths: Sequence[str]
) -> Iterator[tuple[str, np.ndarray | DataError]]:
    """Each path with the unit features (E,) of its image, or with what is wrong with it. Threads
    decode the next images while the model computes."""

    def read(path: str) -> tuple[str, np.ndarray | DataError]:
        return path, opened(Path(path), path, preprocess, skip_bad=True)

    pool, bar = ThreadPoolExecutor(THREADS), tqdm(paths, "images", delay=BAR_SECONDS)
    waiting = iter(bar)
    try:
        coming = pool.map(read, islice(waiting, BATCH))
        while batch := list(coming):
            coming = pool.map(read, islice(waiting, BATCH))
            images = np.array([found for _, found in batch if isinstance(found, np.ndarray)])
            rows = iter(unit_features(model, model.encode_image, images))  # (E,) each
            for path, found in batch:
                yield path, next(rows) if isinstance(found, np.ndarray) else found
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def build_index(
    path: File, sources: Iterable[File], model: CLIP, preprocess: Preprocess, name: File = ""
) -> Index:
    """Embed images, files and folders of them, into the index file `path`; name: the model's.

    An index that is there grows: of its files and the new ones, those that are as they were are not
    read again, and those that are gone are dropped. It is saved every minute, at the end, and where
    anything ends the work early. FileError or ValueError where `path` is no index of this model,
    FileNotFoundError or DataError where a source is missing or a folder holds no images."""
    index = Index({}, np.empty((0, model.config.embed_dim)), "", fingerprint(model, preprocess))
    if os.path.exists(path):
        index = read_index(path).check(model, preprocess)
    index.model = os.path.abspath(name) if os.path.exists(name) else str(name) or index.model
    folder = os.path.join(os.path.dirname(os.path.abspath(path)), "")
    rows = dict(zip(index.paths, index.features))
    wanted = [*filter(os.path.exists, index.files), *map(os.path.abspath, image_files(sources))]
    stats = zip(wanted, map(os.stat, wanted))
    stamps = {file: (stat.st_size, stat.st_mtime_ns) for file, stat in stats}
    files = {file: kept for file, kept in index.files.items() if stamps.get(file) == kept[:2]}
    index.files, saved = files, monotonic()

    def save() -> None:
        features = [rows[file] for file in index.paths]
        index.features = np.array(features, np.float32).reshape(-1, model.config.embed_dim)
        # Files below the index's folder are named from there: the two may move together.
        entries = [[file.removeprefix(folder), *entry] for file, entry in files.items()]
        record = {"model": index.model, "checksum": index.checksum, "files": entries}
        write_archive(path, "index", record, {"features": index.features})

    save()  # a place that cannot be written to shows before the work
    unsaved = False
    try:
        for file, found in embed_files(model, preprocess, [f for f in stamps if f not in files]):
            rows[file], good = found, isinstance(found, np.ndarray)
            files[file] = (*stamps[file], "" if good else str(found))
            unsaved = True
            if monotonic() > saved + SAVE_SECONDS:
                save()
                saved, unsaved = monotonic(), False
    finally:
        if unsaved:
            save()
    return index


def read_index(path: File) -> Index:
    """Open an index file. FileNotFoundError where none is, FileError where something else is."""
    record, arrays = read_archive(path, "index")
    folder = os.path.dirname(os.path.abspath(path))
    with file_errors(path, "no index of clip_np"):
        features = arrays["features"]
        files = {
            os.path.normpath(os.path.join(folder, name)): (int(size), int(time), str(cause))
            for name, size, time, cause in record["files"]
        }
        index = Index(files, features, str(record["model"]), str(record["checksum"]))
        squares = np.einsum("ne,ne->n", features, features)  # (N,), squared lengths
        proper = features.dtype == np.float32 and np.allclose(squares, 1, atol=2e-3)
        if not proper or len(features) != len(index.paths):
            found = f"{features.dtype} {features.shape}"
            raise ValueError(f"expected {len(index.paths)} unit rows of float32, got {found}")
    return index


def search_index(
    index: Index, query: str, model: CLIP, preprocess: Preprocess, tokenizer: Tokenizer, k: int = 12
) -> list[tuple[str, float]]:
    """The k images nearest to a query, best first: (path, cosine). The query is a sentence, or the
    path of an image; DataError for one that cannot be read, ValueError for another model."""
    index.check(model, preprocess)
    if k < 1 or not index.paths:
        found = f"k = {k} of {len(index.paths)} images"
        raise ValueError(f"search_index: needs at least one of each, got {found}")
    if os.path.isfile(query) or Path(query).suffix.lower() in IMAGE_SUFFIXES:
        ((_, found),) = embed_files(model, preprocess, [query])
        if isinstance(found, DataError):
            raise found
    else:
        found = embed_texts(model, tokenizer, [query])[0]  # (E,)
    cosines, paths = index.features @ found, index.paths  # (N,)
    best = np.argsort(-cosines, kind="stable")[:k]
    return [(paths[row], float(cosines[row])) for row in best]

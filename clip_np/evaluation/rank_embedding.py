"""How do several ranks embed images together?

What one image looks like does not depend on the others. So the batches are dealt out
like cards. Three ranks, and seven batches of 64 images:

    rank 0   batch 0  |  batch 3  |  batch 6
    rank 1   batch 1  |  batch 4  |
    rank 2   batch 2  |  batch 5  |
                   gather      gather     gather

A rank opens only the images of its own batches, and decodes the next ones while the
model computes. After each round all ranks have the features of all, in the order in
which one process has them.

A batch holds the same images as in one process. So the features have the same bits, as
long as a rank has as many cores as that process: a batch is cut into a piece for each
core, and products of other sizes are rounded differently, by 1e-7.

Ranks are told apart by a communicator, such as those of clip_np/training/communicator.
Only what is used here is asked of it.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clip_np.data import DataError, ImageSource, Preprocess
from clip_np.encoders import encode_on_all_cores
from clip_np.evaluation.features import (
    CHUNK_SIZE,
    AnyTokenizer,
    embed_texts,
    tokens_of_texts,
    unit_features,
)
from clip_np.evaluation.folders import BATCH_SIZE, embed_files, embed_sources
from clip_np.model import CLIP
from minigrad.threads import available_cores


class ConnectedRank(Protocol):
    """One of several ranks, and its connection to the others.

    - rank, size: its number, from 0, and how many there are.
    - ranks_here: how many of them share the cores of this machine.
    - broadcast(value): rank 0's value, everywhere. With patient, no deadline holds.
    - all_gather(rows): the arrays of all ranks, in their order. Their lengths may
      differ. They are to be read only until this rank's next call.
    """

    rank: int
    size: int
    ranks_here: int

    def broadcast(self, value: Any = None, patient: bool = False) -> Any: ...

    def all_gather(self, rows: np.ndarray) -> list[np.ndarray]: ...


def is_follower(comm: ConnectedRank | None) -> bool:
    """Whether this rank leaves files and figures to another one, rank 0."""
    return comm is not None and comm.rank > 0


def embed_sources_over(
    comm: ConnectedRank | None,
    model: CLIP,
    preprocess: Preprocess,
    sources: Sequence[ImageSource],
    names: Sequence[str],
) -> Generator[np.ndarray | DataError, None, None]:
    """The results of `embed_sources`, computed by all ranks and known to all of them.

    All ranks pass the same sources, and go through all results. With comm None this is
    `embed_sources`. The progress bar of rank 0 shows its own share.
    """
    if comm is None:
        yield from embed_sources(model, preprocess, sources, names)
        return
    own_rows = rows_of_rank(comm.rank, comm.size, len(sources), BATCH_SIZE)
    own = embed_sources(
        model,
        preprocess,
        [sources[row] for row in own_rows],
        [names[row] for row in own_rows],
        encode=partial(encode_on_all_cores, model.vision, workers=cores_of(comm)),
        shows_bar=comm.rank == 0,
    )
    with contextlib.closing(own):
        for _ in range(0, len(sources), BATCH_SIZE * comm.size):
            batch = list(itertools.islice(own, BATCH_SIZE))
            yield from gather_results(comm, batch, model.config.embed_dim)


def embed_texts_over(
    comm: ConnectedRank | None, model: CLIP, tokenizer: AnyTokenizer, texts: Sequence[str]
) -> np.ndarray:
    """The (N, E) of `embed_texts`, computed by all ranks and known to all of them.

    With comm None this is `embed_texts`.
    """
    if comm is None:
        return embed_texts(model, tokenizer, texts)
    tokens = tokens_of_texts(model, tokenizer, texts)  # (N, T)
    rows = [rows_of_rank(rank, comm.size, len(tokens), CHUNK_SIZE) for rank in range(comm.size)]
    encode = partial(encode_on_all_cores, model.text, workers=cores_of(comm))
    own = unit_features(model, encode, tokens[rows[comm.rank]])
    features = np.empty((len(tokens), own.shape[1]), np.float32)  # (N, E)
    for rows_there, piece in zip(rows, comm.all_gather(own)):
        features[rows_there] = piece
    return features


# --- rank 0 builds an index, the others help ------------------------------------------


def embed_files_over(
    comm: ConnectedRank | None, model: CLIP, preprocess: Preprocess, paths: Sequence[str]
) -> Iterator[tuple[str, np.ndarray | DataError]]:
    """The results of `embed_files`; the other ranks are in `help_to_embed` meanwhile.

    Only this rank, rank 0, has to know the paths. With comm None this is
    `embed_files`.
    """
    if comm is None:
        yield from embed_files(model, preprocess, paths)
        return
    comm.broadcast(list(paths))
    results = embed_sources_over(comm, model, preprocess, list(map(Path, paths)), paths)
    with contextlib.closing(results):
        yield from zip(paths, results)


def help_to_embed(comm: ConnectedRank, model: CLIP, preprocess: Preprocess) -> None:
    """What ranks other than 0 do while rank 0 embeds files.

    DataError if this machine has none of the files that are this rank's.
    """
    paths = comm.broadcast(patient=True)
    own = [paths[row] for row in rows_of_rank(comm.rank, comm.size, len(paths), BATCH_SIZE)]
    if own and not any(map(os.path.exists, own)):
        raise DataError(
            f"rank {comm.rank} does not see {own[0]}, nor any other of its images: all ranks "
            "must see the images under the paths that rank 0 has"
        )
    for _ in embed_sources_over(comm, model, preprocess, list(map(Path, paths)), paths):
        pass


# --- parts ----------------------------------------------------------------------------


def cores_of(comm: ConnectedRank) -> int:
    """How many cores a rank uses: its share of those of its machine, at least one."""
    return max(1, available_cores() // comm.ranks_here)


def rows_of_rank(rank: int, size: int, count: int, batch: int) -> list[int]:
    """Which of `count` rows a rank embeds, if batches are dealt out to `size` ranks.

    >>> rows_of_rank(0, size=2, count=7, batch=2)
    [0, 1, 4, 5]
    >>> rows_of_rank(1, size=2, count=7, batch=2)
    [2, 3, 6]
    """
    return [row for row in range(count) if row // batch % size == rank]


def gather_results(
    comm: ConnectedRank, own: Sequence[np.ndarray | DataError], width: int
) -> list[np.ndarray | DataError]:
    """The features (E,) and the errors of all ranks' batches, one after the other."""
    readable = [result for result in own if isinstance(result, np.ndarray)]
    problems = [str(result) if isinstance(result, DataError) else None for result in own]
    text = np.frombuffer(json.dumps(problems).encode("utf-8"), np.uint8)
    pieces = comm.all_gather(np.array(readable, np.float32).reshape(-1, width))
    features = iter(np.concatenate(pieces))  # a copy, before the next exchange
    texts = comm.all_gather(text)
    everybodys = [problem for piece in texts for problem in json.loads(piece.tobytes())]
    return [next(features) if problem is None else DataError(problem) for problem in everybodys]

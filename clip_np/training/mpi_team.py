"""How do ranks on several machines take the steps of one training?

Every rank starts the same command. Rank 0 trains as one process would: it looks after
the run, measures, and writes all files. The others follow it:

    rank 0                                        another rank
    opens or makes the run
    model, optimizer, options, vocabulary ------> the same model
    opens its data                                opens its data
    are the data, the versions, the commands the same?  if not, all end
    numbers of the optimizer, for each step ----> reads its rows of the batch
    captions <----------------------------------> captions (which of them are equal?)
    step <---------- (meeting.py) --------------> step
    ...                                           ...
    the end ------------------------------------> ends

Until the first step is done, a rank may need some minutes: to import, to open its data,
to read the first images. A step's deadline holds from the second step on.

Each rank has a copy of the parameters and moves all of them. The copies stay equal,
because all ranks have the same sums.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from clip_np.data import Pairs, Preprocess
from clip_np.losses import equal_captions
from clip_np.tokens import TokenizerProtocol, tokenizer_from_json
from clip_np.training.communicator import Communicator
from clip_np.training.description import versions
from clip_np.training.loading import make_loader
from clip_np.training.options import TrainingOptions
from clip_np.training.process_team import Settings
from clip_np.training.step import StepParts, TrainingStep
from clip_np.training.tasks import Task, open_task
from minigrad.backend import Array


class Start(NamedTuple):
    """What a rank needs to follow rank 0."""

    parts: StepParts
    tokenizer: str  # as in a checkpoint
    options: TrainingOptions
    source: dict[str, Any]  # of the data
    preprocess: Preprocess | None
    steps: tuple[int, int]  # the next one, and the first that is not taken


class MpiTeam:
    """A training step that all ranks of a launch take together, as rank 0 has it."""

    def __init__(
        self,
        step: TrainingStep,
        comm: Communicator,
        tokenizer: TokenizerProtocol,
        options: TrainingOptions,
        task: Task,
        preprocess: Preprocess | None,
        steps: tuple[int, int],
    ) -> None:
        """Tell the others what to do. ValueError if that cannot be done together."""
        assert task.train is not None  # a training has pairs
        batch_size = min(options.batch_size, len(task.train))
        if batch_size < comm.size:
            raise ValueError(
                f"`batch_size` {options.batch_size} and {len(task.train)} pairs are too few for "
                f"{comm.size} ranks: each needs a row of its own"
            )
        self.step = step
        self.comm = comm
        start = Start(
            parts=step.parts,
            tokenizer=tokenizer.to_json(),
            options=options,
            source=task.source,
            preprocess=preprocess,
            steps=steps,
        )
        comm.broadcast(start)
        require_same_data(comm, task.train)
        step.comm = comm

    def gather_tokens(self, tokens: np.ndarray) -> np.ndarray:
        """Begin a step: the captions of all ranks, (B, T), from this rank's."""
        self.comm.broadcast(Settings.of(self.step.optimizer))
        return np.concatenate(self.comm.all_gather(tokens))  # (B, T)

    def __call__(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor, positives: Array | None = None
    ) -> dict[str, Array]:
        """Take the step that `gather_tokens` has begun, on this rank's rows."""
        result = self.step(images, tokens, positives)
        self.comm.started()  # all ranks have opened their data and read a batch
        return result

    def close(self) -> None:
        """Tell the others that there is no other step."""
        self.comm.broadcast(None)


def follow_rank_0(comm: Communicator) -> int:
    """What all ranks but 0 do in a training. Returns the number of steps."""
    start = comm.broadcast(patient=True)
    step = start.parts.step(comm)
    tokenizer = tokenizer_from_json(start.tokenizer)
    task = open_task(start.source)
    assert task.train is not None  # rank 0 has opened the same data
    require_same_data(comm, task.train)
    loader = make_loader(
        pairs=task.train,
        options=start.options,
        size=step.model.config.vision.image_size,
        skip_bad=task.skip_bad,
        preprocess=start.preprocess,
        rank=comm.rank,
        ranks=comm.size,
    )
    first, last = start.steps
    with contextlib.closing(loader.batches(start_step=first, stop_step=last)) as batches:
        while (settings := comm.broadcast(patient=True)) is not None:
            settings.give_to(step.optimizer)
            batch = next(batches)
            tokens = tokenizer(batch.captions, truncate=True)
            everybodys = np.concatenate(comm.all_gather(tokens))  # (B, T)
            step(batch.images, tokens, equal_captions(everybodys))
            comm.started()
    return step.optimizer.step_count


# --- are all ranks alike? -------------------------------------------------------------


def require_alike(comm: Communicator, name: str, own: str) -> None:
    """ValueError on every rank if what they have under a name differs.

    >>> from clip_np.training.communicator import OneProcess
    >>> require_alike(OneProcess(), "data", "100 pairs")
    """
    pieces = comm.all_gather(np.frombuffer(own.encode("utf-8"), np.uint8))
    texts = [bytes(piece).decode("utf-8") for piece in pieces]
    for rank, text in enumerate(texts):
        if text != texts[0]:
            raise ValueError(
                f"the ranks differ in their {name}: rank 0 has {texts[0]}, rank {rank} has {text}"
            )
    comm.barrier()  # no rank is at work for the others now, whatever it does next


def require_same_program(comm: Communicator, arguments: Sequence[str]) -> None:
    """ValueError on every rank if versions or arguments differ."""
    require_alike(comm, "versions", json.dumps(versions()))
    require_alike(comm, "options", json.dumps(list(arguments)))


def require_same_data(comm: Communicator, pairs: Pairs) -> None:
    """ValueError on every rank if they have different pairs, or another order."""
    require_alike(comm, "data", digest_of(pairs))


def digest_of(pairs: Pairs) -> str:
    """A few words that differ if pairs, their captions or their order do.

    A stream is read only once, so its first pairs have to do.
    """
    text = "\n".join([*pairs.names, *pairs.captions])
    return f"{len(pairs)} pairs {hashlib.sha256(text.encode('utf-8')).hexdigest()[:12]}"

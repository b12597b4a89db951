"""Are these the pairs that a run was trained on?

Data move to other folders and disks, so their path says little. Their captions say
more: a digest of all of them, in their order, first those to train on and then those
that are held out. If it is the same, the same pairs are held out, and a run may go on
as if nothing had moved.
"""

import hashlib
from typing import Any
from warnings import warn

from clip_np.training.tasks import Task
from clip_np.training.watch import TrainingWarning

DIGEST_BYTES = 16
DIGEST_LENGTH = 2 * DIGEST_BYTES  # hexadecimal digits


def captions_digest(task: Task) -> str:
    """The digest of the captions of a task, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for pairs in (task.train, task.validation):
        captions = [] if pairs is None else pairs.captions
        digest.update(f"{len(captions)} captions\0".encode())
        for caption in captions:
            digest.update(f"{caption}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def require_same_captions(task: Task, digest: str | None, source: Any, was_moved: bool) -> None:
    """Compare a task's captions with the `digest` of a run, None if it has none.

    ValueError if others are offered as the data of `source` that were moved. If they
    stand where they were and have changed, a TrainingWarning says what follows.
    """
    if digest is None and was_moved:
        warn(
            f"this run is of an earlier version, which did not save whether {source} holds the "
            "captions that it was trained on",
            TrainingWarning,
            stacklevel=2,
        )
    if digest is None or captions_digest(task) == digest:
        return
    pairs = 0 if task.train is None else len(task.train)
    if was_moved:
        raise ValueError(
            f"`data`: {source} holds other captions than those that the run was trained on "
            f"({pairs:,} pairs to train on), or in another order; pass the data that were moved, "
            "or start a new run with these"
        )
    warn(
        f"{source} has changed since this run began ({pairs:,} pairs to train on now): images that "
        "were trained on may be held out now, so that figures look better than they are",
        TrainingWarning,
        stacklevel=2,
    )

"""How do the samples of a batch meet in the loss, wherever they were encoded?

Each rank (communicator/) has encoded some images and some captions. Their embeddings
are a small part of what was computed, E numbers for each sample. So every rank sends
its embeddings to all others, and every rank takes the loss of the whole batch:

    rank 0   f_0 f_1, g_0 g_1  --+                     +--> its rows of dL/df, dL/dg
                                 +-- f_0..f_3, g_0..g_3 -- loss
    rank 1   f_2 f_3, g_2 g_3  --+                     +--> its rows of dL/df, dL/dg

Here f_i is the embedding of image i, and g_j that of caption j, both of length 1. The
gradient of f_0 has a part from each row and column of the table of cosines in which f_0
takes part, and those of rank 1's captions are among them. For the contrastive loss
(clip_np/losses/contrastive.py), with the temperature s, the probability P_ij that image
i chooses caption j, and the probability Q_ij that caption j chooses image i,

    dL/df_i = s/(2N) sum_j (P_ij + Q_ij - 2 d_ij) g_j        d_ij = 1 if i = j, else 0

Two mistakes are common elsewhere. If a rank treats the others' embeddings as constants
and takes the loss of its own rows only, the Q_ij of the others' captions are missing.
And if the gradients of n ranks are averaged, although each is a part of the gradient of
the mean over the whole batch, the step is n times too short. In both the *loss* is
right, so only a comparison of gradients tells. Here each rank's parameter gradients are
its samples' terms of the one sum in batch_gradient.py, and the terms are added, not
averaged.

The gradients of the loss's own parameters, such as the temperature, come out whole on
every rank. So only rank 0's are put into the sum.

Gao et al. 2021, arXiv:2101.06983; Radford et al. 2021, arXiv:2103.00020, section 2.5.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.encoders import Encoder
from clip_np.losses import Loss
from clip_np.training.communicator.protocol import Communicator
from clip_np.training.plan import Unit
from clip_np.training.worker import Worker
from minigrad.backend import Array, array_module, move
from minigrad.gathering import Gather, only_part
from minigrad.nn import Parameter


class SortedBatch(NamedTuple):
    """A batch with its captions in the order of their lengths, by encoder.

    caption_order says which row of the batch comes first, second, and so on in the
    sorted captions.

        sorted = batch[caption_order]
    """

    inputs: dict[str, Array]
    lengths: dict[str, Array]  # in tokens, (B,), rising
    caption_order: np.ndarray  # (B,)

    @property
    def size(self) -> int:
        """The number of pairs."""
        return len(self.caption_order)


def sort_batch(
    encoders: Mapping[str, Encoder], images: Array | mg.Tensor, tokens: Array | mg.Tensor
) -> SortedBatch:
    """Sort the captions by length. Images all have one length and stay in order."""
    images = images.data if isinstance(images, mg.Tensor) else images
    tokens = move(mg.tensor(tokens).data, "numpy")  # ids are looked at on the host
    if len(images) != len(tokens) or len(tokens) == 0:
        raise ValueError(f"training_step: {len(images)} images but {len(tokens)} captions")
    caption_lengths = encoders["text"].lengths(tokens)  # (B,)
    caption_order = np.argsort(caption_lengths, kind="stable")
    return SortedBatch(
        inputs={"vision": images, "text": tokens[caption_order]},
        lengths={
            "vision": encoders["vision"].lengths(images),
            "text": caption_lengths[caption_order],
        },
        caption_order=caption_order,
    )


class Rows(NamedTuple):
    """The rows of the whole batch that a rank has encoded, rising: (m,) and (k,)."""

    images: np.ndarray
    captions: np.ndarray


def rows_of(loads: Sequence[Sequence[Unit]], batch: SortedBatch) -> Rows:
    """The rows of `batch` that the units of some workers cover."""
    captions = batch.caption_order[positions_of("text", loads)]
    return Rows(images=positions_of("vision", loads), captions=np.sort(captions))


def positions_of(encoder: str, loads: Sequence[Sequence[Unit]]) -> np.ndarray:
    """The rows of an encoder's batch that the units of some workers cover, rising.

    >>> late, early = Unit("text", slice(5, 7), 1.0), Unit("text", slice(0, 2), 1.0)
    >>> positions_of("text", [[late], [early]])
    array([0, 1, 5, 6])
    """
    units = [unit for load in loads for unit in load if unit.encoder == encoder]
    spans = [np.arange(unit.rows.start, unit.rows.stop) for unit in units]
    return np.sort(np.concatenate([np.empty(0, np.intp), *spans]))


class Meeting(NamedTuple):
    """What comes out where the samples meet: the loss, (), and its gradients.

    feature_gradients are the gradients of the embeddings, (B, E), by encoder, for the
    batch that this rank was handed, in the order in which the encoders saw the samples.
    loss_gradients are pairs of a parameter of the loss and its gradient.
    """

    loss: Array
    feature_gradients: dict[str, Array]
    loss_gradients: list[tuple[Parameter, Array]]


def meet(
    loss: Loss,
    team: Sequence[Worker],
    plan: Sequence[Sequence[Sequence[Unit]]],
    batch: SortedBatch,
    positives: Array | None,
    comm: Communicator,
    backend: str,
) -> Meeting:
    """Gather the embeddings of all ranks, and take the loss and its gradients.

    team are the workers of this rank. plan has, for each rank whose samples are known
    here, the loads of its workers: all ranks if `comm.whole_batch`, else this one.
    """
    loads = plan[comm.rank if comm.whole_batch else 0]  # of this rank
    images = encoded(team, "vision")
    captions = encoded(team, "text")
    if captions is not None:  # from the order of their lengths to that of the batch
        rows_of_captions = batch.caption_order[positions_of("text", loads)]  # (k,)
        order = np.argsort(rows_of_captions)
        captions = captions[array_module(captions).asarray(order)]  # (k, E)
    pieces = exchange([piece for piece in (images, captions) if piece is not None], comm, backend)
    if comm.whole_batch:
        rows = [rows_of(loads_of_rank, batch) for loads_of_rank in plan]
    else:  # a rank encodes all that it is handed: as many captions as images
        rows = rows_in_turn([len(piece) // 2 for piece in pieces])
    image_features, text_features = arrange(pieces, rows)
    value, image_gradient, text_gradient, loss_gradients = differentiate_loss(
        loss, image_features, text_features, positives
    )
    if not comm.whole_batch:
        first = int(rows[comm.rank].images[0])
        handed = slice(first, first + batch.size)  # the rows that this rank was handed
        image_gradient, text_gradient = image_gradient[handed], text_gradient[handed]
    caption_order = array_module(text_gradient).asarray(batch.caption_order)
    return Meeting(
        loss=value,
        feature_gradients={"vision": image_gradient, "text": text_gradient[caption_order]},
        loss_gradients=loss_gradients,
    )


def encoded(team: Sequence[Worker], encoder: str) -> Array | None:
    """The embeddings that the workers have made, in the order of the encoder's rows.

    None if this encoder is not among their units.
    """
    pieces = []
    for worker in team:
        for unit, output in zip(worker.units, worker.outputs):
            if unit.encoder == encoder:
                pieces.append((unit.rows.start, output.data))
    arrays = [data for _, data in sorted(pieces, key=lambda piece: piece[0])]
    return array_module(arrays[0]).concatenate(arrays) if arrays else None  # (n, E)


def exchange(embeddings: Sequence[Array], comm: Communicator, backend: str) -> list[Array]:
    """The embeddings of all ranks, (m + k, E): of m images, then of k captions.

    embeddings are this rank's: of images, of captions, of both, or of neither, where
    there are more workers than samples.
    """
    rows = np.empty((0, 0))
    if embeddings:
        rows = array_module(embeddings[0]).concatenate(embeddings)  # (m + k, E)
    return gather_arrays(rows, comm, backend)


def gather_arrays(part: Array, comm: Communicator, backend: str) -> list[Array]:
    """The arrays of all ranks. On a GPU they travel by way of the host.

    >>> from clip_np.training.communicator import OneProcess
    >>> gather_arrays(np.ones(1), OneProcess(), backend="numpy")
    [array([1.])]
    """
    if comm.size == 1:
        return [part]
    return [move(piece, backend) for piece in comm.all_gather(move(part, "numpy"))]


def gather_for(comm: Communicator, backend: str) -> Gather:
    """How an operation that needs all samples meets the other ranks, if there are any.

    minigrad/gathering.py says more.

    >>> from clip_np.training.communicator import OneProcess
    >>> gather_for(OneProcess(), backend="numpy") is only_part
    True
    """
    if comm.size == 1:
        return only_part
    return partial(gather_arrays, comm=comm, backend=backend)


def rows_in_turn(counts: Sequence[int]) -> list[Rows]:
    """The rows of ranks that were handed `counts` pairs, one rank after the other.

    >>> [rows.images.tolist() for rows in rows_in_turn([2, 1])]
    [[0, 1], [2]]
    """
    stops = np.cumsum(counts)
    spans = [np.arange(stop - count, stop) for count, stop in zip(counts, stops)]
    return [Rows(images=span, captions=span) for span in spans]


def arrange(pieces: Sequence[Array], rows: Sequence[Rows]) -> tuple[mg.Tensor, mg.Tensor]:
    """All images' embeddings, (B, E), and all captions', (B, E), as leaves of the tape.

    pieces are those of the ranks, and rows says which rows of the batch these are.
    """
    filled = [piece for piece in pieces if len(piece)]
    xp = array_module(filled[0])
    everything = xp.concatenate(filled)  # (2B, E)
    count = len(everything) // 2
    # Row i of `everything` belongs into row targets[i]; captions come after the images.
    targets = np.concatenate([np.r_[part.images, part.captions + count] for part in rows])
    sources = np.argsort(targets)  # row j comes from row sources[j] of `everything`
    ordered = everything[xp.asarray(sources)]  # (2B, E)
    return (
        mg.tensor(ordered[:count], requires_grad=True),
        mg.tensor(ordered[count:], requires_grad=True),
    )


def differentiate_loss(
    loss: Loss, image_features: mg.Tensor, text_features: mg.Tensor, positives: Array | None
) -> tuple[Array, Array, Array, list[tuple[Parameter, Array]]]:
    """The loss, and its gradients by the two (B, E) and by its own parameters."""
    value = loss(image_features, text_features, positives)
    trained = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    leaves = [image_features, text_features, *trained]
    image_gradient, text_gradient, *loss_gradients = mg.grad(value, leaves)
    return value.data, image_gradient, text_gradient, list(zip(trained, loss_gradients))

"""How is one training step shared among cores, and made to fit into memory?

A step encodes a batch, takes the loss and its gradient, and moves the parameters. The
samples of a batch meet in one place only, the loss. Write f_i for the embedding of
image i, g_j for the embedding of caption j, and theta for the parameters of the
encoders. The loss is a function of the embeddings:

    L = loss(f_1(theta), ..., f_N(theta), g_1(theta), ..., g_N(theta); s)

and f_i depends on image i alone. So the chain rule turns the gradient into a sum over
samples:

    dL/dtheta = sum_i (df_i/dtheta)^T dL/df_i  +  sum_j (dg_j/dtheta)^T dL/dg_j

Once all dL/df_i and dL/dg_j are known, each term needs one sample only. Hence four
stages:

    1. encode the batch in pieces, each piece by itself
    2. gather the embeddings, (N, E) for each encoder: small, however large images are
    3. take the loss over the whole batch, and its gradient by the embeddings
    4. push each piece's rows of that gradient back through the piece, and add up

This is the exact gradient of the whole batch, not an approximation. Taking the loss of
each piece by itself would be another loss: every image has to be compared with every
caption.

The parameters of the loss, such as the temperature s, are used in stage 3 only. There
the loss is taken once, over all samples. So dL/ds is complete at once. It is not added
up over the pieces. (Programs that take the loss again for each of k pieces have to
divide it by k.)

The pieces do two jobs. They are given to worker threads (NumPy leaves Python's lock
while it computes, so that threads do run at once). And if there are more pieces than
threads, no tape is kept in stage 1. Each piece is encoded again in stage 4, when its
gradient is known. Then a step needs about the memory of one piece for each thread.

Which thread does what depends on the sizes alone (plan.py), and sums are taken in a
fixed order (sums.py). So the same inputs with the same `shards` and `workers` give the
same bits.

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size", arXiv:2101.06983.
"""

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.encoders import Encoder
from clip_np.losses import Loss, loss_for
from clip_np.model import CLIP
from clip_np.training.plan import Unit, make_plan
from clip_np.training.sums import GradientSums
from clip_np.training.worker import Worker
from minigrad.backend import Array, array_module, move, use_device
from minigrad.debug import explain_memory
from minigrad.memory import Arena
from minigrad.nn import Parameter
from minigrad.optim import Optimizer, clip_grad_norm
from minigrad.threads import blas_threads, count_workers, run_workers

PARAMETERS_PER_THREAD = 2**20
"""Parameters that one thread updates before a second one is worth its start.

At 361,025 parameters a second thread costs more than it saves: one thread needs 0.9 ms,
two need 2.0 ms. 2^20 is a round number above that.
"""


class TrainingStep:
    """One whole step, called once for each batch: step(images, tokens).

    It takes the gradients, clips their norm, updates the parameters, clamps the loss's
    parameters (the temperature), and forgets the gradients. Between steps it keeps
    `arenas`, the memory that the worker threads compute in, so that the next step need
    not ask the system for new pages.

    loss is "clip", "sigmoid" (for a model with a logit_bias) or a
    `clip_np.losses.Loss`. If such a module has parameters of its
    own, they receive gradients too; hand them to the optimizer. For shards and workers
    see `loss_and_gradients`. max_norm=None leaves the gradients as they are. comm must
    be None: the parameter belongs to the public signature, but steps over several
    machines do not exist yet. check(loss, grad_norm) is called before the update; if it
    raises, the update is not made.

    >>> import clip_np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    >>> step = TrainingStep(model, optimizer, shards=2)
    >>> rng = np.random.default_rng(1)
    >>> images = rng.standard_normal((4, 3, 32, 32), dtype=np.float32)
    >>> tokens = np.array([[512, letter, 513] for letter in (72, 73, 74, 75)])
    >>> losses = [step(images, tokens)["loss"].item() for _ in range(3)]
    >>> losses[0] > losses[1] > losses[2]
    True
    """

    def __init__(
        self,
        model: CLIP,
        optimizer: Optimizer,
        loss: str | Loss = "clip",
        shards: int = 1,
        workers: int | None = None,
        comm: None = None,
        max_norm: float | None = 1.0,
        check: Callable[[Array, Array], None] | None = None,
    ) -> None:
        if comm is not None:
            raise ValueError(
                f"training_step: `comm` must be None, got {comm!r}; "
                "a step runs in one process, on its threads"
            )
        self.model = model
        self.optimizer = optimizer
        self.loss = loss_for(model, loss)
        self.shards = shards
        self.workers = workers
        self.max_norm = max_norm
        self.check = check
        self.arenas: list[Arena] = []

    def __call__(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor, positives: Array | None = None
    ) -> dict[str, Array]:
        """Take a step on images (B, 3, S, S) and tokens (B, T).

        positives (B, B), boolean, marks pairs that must not count as wrong answers.
        Returns 0-d arrays: "loss", "logit_scale" (a logarithm, after the step) and
        "grad_norm" (before it was clipped).
        """
        with blas_threads(1):
            loss = loss_and_gradients(
                model=self.model,
                images=images,
                tokens=tokens,
                shards=self.shards,
                workers=self.workers,
                positives=positives,
                loss=self.loss,
                arenas=self.arenas,
            )
            parameters = trained_parameters(self.model, self.loss)
            threads = self._update_threads(parameters)
            norm = clip_grad_norm(parameters, self.max_norm, threads)
            if self.check is not None:
                self.check(loss, norm)
            self.optimizer.step(threads)
        self.loss.clamp()
        for parameter in parameters:
            parameter.zero_grad()
        return {"loss": loss, "logit_scale": self.model.logit_scale.data.copy(), "grad_norm": norm}

    def _update_threads(self, parameters: Sequence[Parameter]) -> int:
        """How many threads clip and update the parameters."""
        size = sum(parameter.size for parameter in parameters)
        workers = count_workers(self.model.logit_scale.data, self.workers)
        return min(1 + size // PARAMETERS_PER_THREAD, workers)


_arenas_of: weakref.WeakKeyDictionary[Optimizer, list[Arena]] = weakref.WeakKeyDictionary()
"""Memory that `training_step` uses again in the next call with the same optimizer.

A loop that calls the function has no other object that lives from step to step. The
dictionary does not keep an optimizer alive: when the optimizer goes, its arenas go too.
"""


def training_step(
    model: CLIP,
    optimizer: Optimizer,
    images: Array | mg.Tensor,
    tokens: Array | mg.Tensor,
    shards: int = 1,
    workers: int | None = None,
    comm: None = None,
    loss: str | Loss = "clip",
    max_norm: float | None = 1.0,
    positives: Array | None = None,
) -> dict[str, Array]:
    """`TrainingStep` as a function: one whole step, for a loop written by hand.

    >>> import clip_np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    >>> images = np.zeros((4, 3, 32, 32), np.float32)
    >>> tokens = np.array([[512, letter, 513] for letter in (72, 73, 74, 75)])
    >>> result = training_step(model, optimizer, images, tokens)
    >>> sorted(result), optimizer.step_count
    (['grad_norm', 'logit_scale', 'loss'], 1)
    """
    step = TrainingStep(
        model=model,
        optimizer=optimizer,
        loss=loss,
        shards=shards,
        workers=workers,
        comm=comm,
        max_norm=max_norm,
    )
    step.arenas = _arenas_of.setdefault(optimizer, step.arenas)
    return step(images, tokens, positives)


@explain_memory("Cut the batch into more pieces: a larger `shards`.")
def loss_and_gradients(
    model: CLIP,
    images: Array | mg.Tensor,
    tokens: Array | mg.Tensor,
    shards: int = 1,
    workers: int | None = None,
    positives: Array | None = None,
    loss: str | Loss = "clip",
    arenas: list[Arena] | None = None,
) -> Array:
    """The loss of a batch, a 0-d array. It sets the .grad of every parameter.

    A gradient from before is replaced, not added to.

    images (B, 3, S, S), tokens (B, T). shards is the number of pieces, 1 to B, into
    which each encoder's batch is cut. workers is the number of threads; None means all
    cores. If there are more shards than workers, every piece is encoded twice and
    memory is saved. loss and positives are as in `TrainingStep`. arenas is a list that
    keeps memory for the next call.

    Raises ValueError for a batch that is empty or unequal, and for impossible shards
    and workers.
    """
    loss_module = loss_for(model, loss)
    parameters = trained_parameters(model, loss_module)
    use_device(model.logit_scale.data)
    threads = count_workers(model.logit_scale.data, workers)
    batch = sort_batch(model.encoders, images, tokens)
    plan = make_plan(
        encoders=model.encoders,
        lengths=batch.lengths,
        shards=shards,
        workers=threads,
        parameter_count=sum(parameter.size for parameter in parameters),
    )
    loads = [load for load in plan if load]
    team = make_team(
        encoders=model.encoders,
        inputs=batch.inputs,
        loads=loads,
        arenas=[] if arenas is None else arenas,
        recompute=shards > threads,
    )
    with blas_threads(1):
        run_workers([worker.forward for worker in team])
        meeting = differentiate_loss(loss_module, team, batch, positives)
        sums = GradientSums(loads)
        run_workers(
            [
                functools.partial(worker.backward, meeting.feature_gradients, parameters, sums)
                for worker in team
            ]
        )
    totals = sums.finish()
    for position, parameter in enumerate(parameters):
        parameter.grad = totals.get(position)
    for parameter, gradient in meeting.loss_gradients:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return meeting.loss


class SortedBatch(NamedTuple):
    """A batch with its captions in the order of their lengths, by encoder.

    caption_order says which row of the batch comes first, second, and so on in the
    sorted captions. caption_positions is its inverse: where each row of the batch is
    among the sorted captions.

        sorted = batch[caption_order]         batch = sorted[caption_positions]
    """

    inputs: dict[str, Array]
    lengths: dict[str, Array]  # in tokens, (B,), rising
    caption_order: np.ndarray  # (B,)
    caption_positions: np.ndarray  # (B,)


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
        caption_positions=np.argsort(caption_order),
    )


def make_team(
    encoders: Mapping[str, Encoder],
    inputs: Mapping[str, Array],
    loads: Sequence[Sequence[Unit]],
    arenas: list[Arena],
    recompute: bool,
) -> list[Worker]:
    """A worker for each load. `arenas` grows until there is one for each worker."""
    arenas += [Arena() for _ in range(len(loads) - len(arenas))]
    team = []
    for number, (load, arena) in enumerate(zip(loads, arenas)):
        worker = Worker(
            number=number,
            encoders=encoders,
            inputs=inputs,
            units=load,
            arena=arena,
            recompute=recompute,
        )
        team.append(worker)
    return team


class Meeting(NamedTuple):
    """What comes out where the samples meet: the loss, (), and its gradients.

    feature_gradients are the gradients of the embeddings, (B, E), by encoder, in the
    order in which the encoders saw the samples. loss_gradients are pairs of a parameter
    of the loss and its gradient.
    """

    loss: Array
    feature_gradients: dict[str, Array]
    loss_gradients: list[tuple[Parameter, Array]]


def differentiate_loss(
    loss: Loss, team: Sequence[Worker], batch: SortedBatch, positives: Array | None
) -> Meeting:
    """Gather the embeddings of all workers, and take the loss and its gradients."""
    image_features = gather(team, "vision")
    text_features = gather(team, "text", order=batch.caption_positions)
    value = loss(image_features, text_features, positives)
    trained = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    leaves = [image_features, text_features, *trained]
    image_gradient, text_gradient, *loss_gradients = mg.grad(value, leaves)
    caption_order = array_module(text_gradient).asarray(batch.caption_order)
    return Meeting(
        loss=value.data,
        feature_gradients={"vision": image_gradient, "text": text_gradient[caption_order]},
        loss_gradients=list(zip(trained, loss_gradients)),
    )


def gather(team: Sequence[Worker], encoder: str, order: np.ndarray | None = None) -> mg.Tensor:
    """The embeddings of a whole batch from all workers, as a leaf of the tape: (B, E).

    order (B,), if there is one, says which row comes first, second, and so on.
    """
    pieces = []
    for worker in team:
        for unit, output in zip(worker.units, worker.outputs):
            if unit.encoder == encoder:
                pieces.append((unit.rows.start, output.data))
    arrays = [data for _, data in sorted(pieces, key=lambda piece: piece[0])]
    xp = array_module(arrays[0])
    rows = xp.concatenate(arrays)  # (B, E)
    if order is not None:
        rows = rows[xp.asarray(order)]  # (B, E)
    return mg.tensor(rows, requires_grad=True)


def trained_parameters(model: CLIP, loss: Loss) -> list[Parameter]:
    """The parameters of the model and the loss that require a gradient."""
    by_identity = {id(parameter): parameter for parameter in model.parameters()}
    by_identity |= {id(parameter): parameter for parameter in loss.parameters()}
    return [parameter for parameter in by_identity.values() if parameter.requires_grad]

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
       (among several processes: overlap.py)

This is the exact gradient of the whole batch, not an approximation. It is a kind of
*gradient accumulation*, for contrastive losses known as *GradCache*. Taking the loss of
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

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import minigrad as mg
from clip_np.encoders import Encoder
from clip_np.losses import Loss, loss_for
from clip_np.model import CLIP
from clip_np.training.communicator import Communicator, OneProcess
from clip_np.training.division import divide, mixing_encoders
from clip_np.training.meeting import Meeting, gather_for, meet, sort_batch
from clip_np.training.overlap import Summation
from clip_np.training.plan import Unit
from clip_np.training.sums import GradientSums
from clip_np.training.update import move_parameters
from clip_np.training.worker import Worker
from minigrad.backend import Array, backend_of, use_device
from minigrad.debug import explain_memory
from minigrad.gathering import gathering
from minigrad.memory import Arena
from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.precision import precision
from minigrad.spreading import spreading
from minigrad.threads import blas_threads, count_workers, run_workers

PARAMETERS_PER_THREAD = 2**20
"""Parameters that one thread updates before a second one is worth its start.

At 361,025 parameters a second thread costs more than it saves: one thread needs 0.9 ms,
two need 2.0 ms. 2^20 is a round number above that.
"""


class StepParts(NamedTuple):
    """What a rank needs to take the steps of another one. It can be sent (pickled)."""

    model: CLIP
    optimizer: Optimizer
    loss: Loss
    shards: int
    workers: int | None
    max_norm: float | None
    precision: str

    def step(self, comm: Communicator) -> "TrainingStep":
        """The training step, as the rank of `comm`."""
        return TrainingStep(
            model=self.model,
            optimizer=self.optimizer,
            loss=self.loss,
            shards=self.shards,
            workers=self.workers,
            max_norm=self.max_norm,
            comm=comm,
            precision=self.precision,
        )


class TrainingStep:
    """One whole step, called once for each batch: step(images, tokens).

    It takes the gradients, clips their norm, updates the parameters, clamps the loss's
    parameters (the temperature), and forgets the gradients. Between steps it keeps
    `arenas`, the memory that the worker threads compute in, so that the next step need
    not ask the system for new pages.

    loss is "clip", "sigmoid" (for a model with a logit_bias) or a
    `clip_np.losses.Loss`. If such a module has parameters of its
    own, they receive gradients too; hand them to the optimizer. For shards and workers
    see `loss_and_gradients`. max_norm=None leaves the gradients as they are. comm
    connects this process with others that take the same step: see communicator/. All of
    them call the step at the same time, each with its model and optimizer.
    check(loss, grad_norm) is called before the update; if it raises, the update is not
    made. precision is one of `minigrad.precision.PRECISIONS`.

    >>> import numpy as np
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
        comm: Communicator | None = None,
        max_norm: float | None = 1.0,
        check: Callable[[Array, Array], None] | None = None,
        precision: str = "float32",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss_for(model, loss)
        self.shards = shards
        self.workers = workers
        self.comm = comm or OneProcess()
        self.max_norm = max_norm
        self.check = check
        self.precision = precision
        self.arenas: list[Arena] = []

    @property
    def parts(self) -> StepParts:
        """What other ranks need to take the same step."""
        return StepParts(
            model=self.model,
            optimizer=self.optimizer,
            loss=self.loss,
            shards=self.shards,
            workers=self.workers,
            max_norm=self.max_norm,
            precision=self.precision,
        )

    def __call__(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor, positives: Array | None = None
    ) -> dict[str, Array]:
        """Take a step on images (B, 3, S, S) and tokens (B, T).

        positives (B, B), boolean, marks pairs that must not count as wrong answers.
        Returns 0-d arrays: "loss", "logit_scale" (a logarithm, after the step) and
        "grad_norm" (before it was clipped).
        """
        parameters = trained_parameters(self.model, self.loss)
        with blas_threads(1), precision(self.precision, like=self.model.logit_scale.data):
            loss = loss_and_gradients(
                model=self.model,
                images=images,
                tokens=tokens,
                shards=self.shards,
                workers=self.workers,
                positives=positives,
                loss=self.loss,
                arenas=self.arenas,
                comm=self.comm,
                parameters=parameters,
            )
            threads = self._update_threads(parameters)
            norm = move_parameters(
                optimizer=self.optimizer,
                parameters=parameters,
                max_norm=self.max_norm,
                threads=threads,
                comm=self.comm,
                check=None if self.check is None else partial(self.check, loss),
            )
        self.loss.clamp()
        for parameter in parameters:
            parameter.zero_grad()
        return {"loss": loss, "logit_scale": self.model.logit_scale.data.copy(), "grad_norm": norm}

    def _update_threads(self, parameters: Sequence[Parameter]) -> int:
        """How many threads clip and update the parameters."""
        size = sum(parameter.size for parameter in parameters)
        workers = threads_of_rank(self.model.logit_scale.data, self.workers, self.comm)
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
    comm: Communicator | None = None,
    loss: str | Loss = "clip",
    max_norm: float | None = 1.0,
    positives: Array | None = None,
) -> dict[str, Array]:
    """`TrainingStep` as a function: one whole step, for a loop written by hand.

    >>> import numpy as np
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
    comm: Communicator | None = None,
    parameters: Sequence[Parameter] | None = None,
) -> Array:
    """The loss of a batch, a 0-d array. It sets the .grad of every parameter.

    A gradient from before is replaced, not added to. images (B, 3, S, S), tokens (B,
    T). shards is the number of pieces, 1 to B, into which each encoder's batch is cut.
    workers is the number of threads; None means all cores. If there are more shards
    than workers, every piece is encoded twice and memory is saved. loss and positives
    are as in `TrainingStep`. arenas is a list that keeps memory for the next call. comm
    connects the ranks that take the step together: the loss and the gradients are then
    those of the batch of all of them. shards counts the pieces of the batch that this
    rank was handed. parameters are those of `trained_parameters`, looked up before.

    Raises ValueError for a batch that is empty or unequal, and for impossible shards
    and workers.
    """
    comm = comm or OneProcess()
    loss_module = loss_for(model, loss)
    parameters = parameters or trained_parameters(model, loss_module)
    use_device(model.logit_scale.data)
    threads = threads_of_rank(model.logit_scale.data, workers, comm)
    batch = sort_batch(model.encoders, images, tokens)
    backend = backend_of(model.logit_scale.data)
    parameter_count = sum(parameter.size for parameter in parameters)
    division = divide(model.encoders, batch.lengths, shards, threads, comm, parameter_count)
    loads = division.loads
    helpers = threads - 1 if mixing_encoders(model.encoders) else 0
    arenas = [] if arenas is None else arenas
    arenas += [Arena() for _ in range(len(loads) + helpers - len(arenas))]
    team = make_team(model.encoders, batch.inputs, loads, arenas, division.recompute)
    with blas_threads(1), spreading(arenas[len(loads) : len(loads) + helpers]):
        with gathering(gather_for(comm, backend)):
            run_workers([worker.forward for worker in team])
        meeting = meet(
            loss=loss_module,
            team=team,
            plan=division.by_rank,
            batch=batch,
            positives=positives,
            comm=comm,
            backend=backend,
        )
        gradients = walk_back(
            encoders=model.encoders,
            team=team,
            loads=loads,
            meeting=meeting,
            parameters=parameters,
            comm=comm,
        )
    set_gradients(parameters, gradients)
    return meeting.loss


def walk_back(
    encoders: Mapping[str, Encoder],
    team: Sequence[Worker],
    loads: Sequence[Sequence[Unit]],
    meeting: Meeting,
    parameters: Sequence[Parameter],
    comm: Communicator,
) -> list[Array | None]:
    """The gradients of the parameters, added over workers and ranks, in their order."""
    sums = GradientSums(loads)
    by_encoder = meeting.feature_gradients
    way_back = [partial(worker.backward, by_encoder, parameters, sums) for worker in team]
    of_loss = by_position(meeting.loss_gradients, parameters) if comm.rank == 0 else {}
    summation = Summation(
        sums=sums, encoders=encoders, parameters=parameters, of_loss=of_loss, comm=comm
    )
    return summation.run(partial(run_workers, way_back))


def set_gradients(parameters: Sequence[Parameter], totals: Sequence[Array | None]) -> None:
    """Put the gradients of a step in the place of those from before."""
    for parameter, total in zip(parameters, totals):
        parameter.grad = total


def by_position(
    gradients: Iterable[tuple[Parameter, Array]], parameters: Sequence[Parameter]
) -> dict[int, Array]:
    """Gradients of some parameters, by the positions of these in the list of all."""
    position_of = {id(parameter): index for index, parameter in enumerate(parameters)}
    return {position_of[id(parameter)]: gradient for parameter, gradient in gradients}


def threads_of_rank(array: Array, workers: int | None, comm: Communicator) -> int:
    """How many threads a rank has: `workers`, or for None its share of the cores.

    array is as in `count_workers`.
    """
    if workers is None:
        workers = max(1, count_workers(array, None) // comm.ranks_here)
    return count_workers(array, workers)


def make_team(
    encoders: Mapping[str, Encoder],
    inputs: Mapping[str, Array],
    loads: Sequence[Sequence[Unit]],
    arenas: Sequence[Arena],
    recompute: bool,
) -> list[Worker]:
    """A worker for each load, with an arena."""
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


def trained_parameters(model: CLIP, loss: Loss) -> list[Parameter]:
    """The parameters of the model and the loss that require a gradient."""
    by_identity = {id(parameter): parameter for parameter in model.parameters()}
    by_identity |= {id(parameter): parameter for parameter in loss.parameters()}
    return [parameter for parameter in by_identity.values() if parameter.requires_grad]

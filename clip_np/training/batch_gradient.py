"""How is the gradient of a batch shared among cores, and made to fit into memory?

The samples of a batch meet in one place only, the loss. Write f_i for the embedding of
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

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

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
from clip_np.training.worker import Worker
from minigrad.backend import Array, backend_of, use_device
from minigrad.debug import explain_memory
from minigrad.gathering import gathering
from minigrad.memory import Arena
from minigrad.nn import Parameter
from minigrad.spreading import spreading
from minigrad.threads import blas_threads, count_workers, run_workers


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
    division = divide(model.encoders, batch.lengths, shards, threads, comm, parameters)
    loads = division.loads
    helpers = threads - 1 if mixing_encoders(model.encoders) else 0
    working, helping = share_arenas(arenas, len(loads), helpers)
    team = make_team(model.encoders, batch.inputs, loads, working, division.recompute)
    with blas_threads(1), spreading(helping):
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
        walk_back(
            encoders=model.encoders,
            team=team,
            loads=loads,
            meeting=meeting,
            parameters=parameters,
            comm=comm,
        )
    return meeting.loss


def walk_back(
    encoders: Mapping[str, Encoder],
    team: Sequence[Worker],
    loads: Sequence[Sequence[Unit]],
    meeting: Meeting,
    parameters: Sequence[Parameter],
    comm: Communicator,
) -> None:
    """Set the gradients of the parameters: those of all units, over workers and ranks.

    They take the place of gradients from before.
    """
    sums = GradientSums(loads)
    by_encoder = meeting.feature_gradients
    way_back = [partial(worker.backward, by_encoder, parameters, sums) for worker in team]
    of_loss = by_position(meeting.loss_gradients, parameters) if comm.rank == 0 else {}
    summation = Summation(
        sums=sums, encoders=encoders, parameters=parameters, of_loss=of_loss, comm=comm
    )
    gradients = summation.run(partial(run_workers, way_back))
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient


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


def share_arenas(
    arenas: list[Arena] | None, workers: int, helpers: int
) -> tuple[list[Arena], list[Arena]]:
    """An arena for each worker and for each helper. New ones are added to `arenas`."""
    arenas = [] if arenas is None else arenas
    arenas += [Arena() for _ in range(workers + helpers - len(arenas))]
    return arenas[:workers], arenas[workers : workers + helpers]


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

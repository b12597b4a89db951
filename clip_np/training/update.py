"""Who moves which parameter, once the gradient is known?

One process moves all of them:

    norm = clip_grad_norm(parameters)  ->  optimizer.step()

`clipped_step` is both in one.

Ranks that each have a copy of the parameters do the same, and all copies stay equal,
because the gradients are the same to the last bit.

Ranks that share one copy in memory divide the work. Each owns some of the parameters,
about as many numbers as the others own. It forgets the gradients of all other
parameters; an optimizer leaves a parameter without a gradient as it is. The norm is
that of all gradients, so the sums of squares are exchanged first:

    every rank    n_r = sum of g^2 over its own parameters
    all_gather    norm = sqrt(n_0 + n_1 + ...), and scales its own gradients
    barrier       nobody moves a parameter before rank 0 has looked at the norm
    every rank    moves its own parameters
    barrier       nobody reads a parameter before it was moved

If a rank fails between the two barriers, some parameters were moved and others not. Who
sees that the optimizer has counted a step, and that the step has raised an error, knows
that its parameters are torn (loop.py does not save them).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from clip_np.training.communicator import Communicator, owned_by
from minigrad.backend import Array
from minigrad.clipping import TINY, clip_grad_norm, clipped_step
from minigrad.nn import Parameter
from minigrad.optim import Optimizer


def move_parameters(
    optimizer: Optimizer,
    parameters: Sequence[Parameter],
    max_norm: float | None,
    threads: int,
    comm: Communicator,
    check: Callable[[Array], None] | None = None,
) -> Array:
    """Clip the gradients and take the optimizer's step. Returns the norm before, ().

    check is called with this norm, on the ranks that have one. If it raises, no
    parameter of this process, or of the memory that it shares, is moved.
    """
    if not comm.shared_parameters:
        return clipped_step(optimizer, parameters, max_norm, threads, check)
    owned = owned_by(comm.rank, comm.size, [parameter.size for parameter in parameters])
    for parameter in [*parameters[: owned.start], *parameters[owned.stop :]]:
        parameter.grad = None
    norm = clip_shared_norm(parameters[owned], max_norm, threads, comm)
    if check is not None:
        check(norm)
    # A rank that passes the barrier moves its parameters, even if this one fails in it.
    # So the step counts from here on.
    optimizer.step_count += 1
    comm.barrier()
    optimizer.step_count -= 1  # `step` counts it again
    optimizer.step(threads)
    comm.barrier()
    return norm


def clip_shared_norm(
    owned: Sequence[Parameter], max_norm: float | None, threads: int, comm: Communicator
) -> Array:
    """`clip_grad_norm` over all ranks, of which each passes the parameters it owns."""
    dtype, square = np.dtype(np.float32), 0.0  # of a rank that owns no gradient
    if any(parameter.grad is not None for parameter in owned):
        measured = clip_grad_norm(owned, None, threads)  # None: measure only
        dtype, square = measured.dtype, float(measured) ** 2
    squares = comm.all_gather(np.array([square]))
    norm = math.sqrt(float(np.concatenate(squares).sum()))
    if max_norm is not None and norm > max_norm:
        scale = max_norm / (norm + TINY)  # as in clip_grad_norm
        for parameter in owned:
            if parameter.grad is not None:
                parameter.grad *= scale
    return np.asarray(norm, dtype)

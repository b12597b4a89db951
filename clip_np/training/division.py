"""Which rank computes which part of a step, and in which of its threads?

There are two ways to have several ranks (communicator/). Either all of them know the
whole batch: then one plan divides it among the threads of all ranks, and a rank takes
its part of the plan. Or each rank was handed a batch of its own: then it plans for
itself.

    whole batch, 2 ranks of 2 threads:   plan  [u0][u1][u2][u3]
                                         rank 0: u0, u1      rank 1: u2, u3
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clip_np.encoders import Encoder
from clip_np.training.communicator import Communicator
from clip_np.training.plan import Unit, make_plan
from minigrad.backend import Array, on_host
from minigrad.nn import Parameter


def mixing_encoders(encoders: Mapping[str, Encoder]) -> list[str]:
    """The encoders that mix samples, and are no worker's alone: all help with them."""
    return [name for name, encoder in encoders.items() if encoder.mixes_samples()]


class Division(NamedTuple):
    """Who computes which units of a step.

    by_rank has, for each rank, a list of units for each of its threads. loads are those
    of the threads of this rank that have any. recompute says whether units are encoded
    twice to save memory.
    """

    by_rank: list[list[list[Unit]]]
    loads: list[list[Unit]]
    recompute: bool


def divide(
    encoders: Mapping[str, Encoder],
    lengths: Mapping[str, Array],
    shards: int,
    threads: int,
    comm: Communicator,
    parameters: Sequence[Parameter],
) -> Division:
    """Divide a step among threads.

    Where ranks share a batch, it is divided among the threads of all of them. On a GPU,
    captions are padded (clip_np/encoders/packing.py).
    """
    count = threads * comm.size if comm.whole_batch else threads
    plan = make_plan(
        encoders=encoders,
        lengths=lengths,
        shards=shards,
        workers=count,
        ranks=comm.size if comm.whole_batch else 1,
        parameter_count=sum(parameter.size for parameter in parameters),
        padded=not all(on_host(parameter.data) for parameter in parameters),
    )
    by_rank = [plan[first : first + threads] for first in range(0, count, threads)]
    of_this_rank = by_rank[comm.rank if comm.whole_batch else 0]
    return Division(
        by_rank=by_rank, loads=[load for load in of_this_rank if load], recompute=shards > count
    )

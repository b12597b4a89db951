"""How does an operation see samples that another process has?

Most operations treat each sample by itself. A batch norm does not: it needs sums over
all samples of a batch. If the batch is divided among processes, each of them knows a
part of every sum. So they exchange what they know, which is a few numbers for each
channel, and each of them works out the whole:

    process 0   sum of its samples  --+--> both sums --> the sum over the batch
    process 1   sum of its samples  --+--> both sums --> the same, to the last bit

`current_gather()` is the function that makes this exchange: inside of a `gathering`
block the function of the block, and outside of it one that knows a single part. All
processes have to call it equally often, in the same order.

How arrays travel between processes is not the engine's business. The function comes
from whoever divides the batch (clip_np/training/batch_gradient.py).
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from minigrad.backend import Array
from minigrad.context import Setting, setting

Gather = Callable[[Array], Sequence[Array]]
"""From this process's part to the parts of all processes, always in the same order."""


def only_part(part: Array) -> Sequence[Array]:
    """The parts of all processes, if there is only this one.

    >>> only_part(3.0)
    [3.0]
    """
    return [part]


_gather: ContextVar[Gather] = ContextVar("gather", default=only_part)


def current_gather() -> Gather:
    """The function that brings the parts of all processes.

    An operation asks for it on its way forward and uses it on both ways.

    >>> import numpy as np
    >>> gather = current_gather()
    >>> gather(np.array([1.0]))
    [array([1.])]
    """
    return _gather.get()


def gathering(gather: Gather) -> Setting[Gather]:
    """Within the block, operations that need all samples exchange their parts by it.

    >>> import numpy as np
    >>> with gathering(lambda part: [part, part]):  # as if there were two equal halves
    ...     sum(current_gather()(np.array([1.0])))
    array([2.])
    """
    return setting(_gather, gather)

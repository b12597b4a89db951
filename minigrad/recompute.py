"""Can memory be traded for time?

(`checkpoint` here has nothing to do with saved files.)

The tape keeps what each vjp needs. For a network of n layers, these are the arrays of n
layers. A *checkpointed* stretch of the network keeps only its inputs. (The usual name
is *gradient checkpointing*, or activation recomputation.) When the walk back arrives at
the stretch, the stretch is computed again, this time recorded, and walked back through
at once. One more forward pass of the stretch buys the memory of everything inside it.

    forward:    inputs -> [ nothing is recorded ] -> results
    backward:   inputs -> [ run again, recorded ] -> results
                gradients of the inputs  <-  gradients of the results

The inner walk must stop at the edge of the stretch. Everything inside was just
computed, so its nodes are younger than the moment at which the recomputation began.
Everything outside is older. Parameters that the function reaches through its closure
are outside, and so are their nodes. `StretchWalk` hands their gradients to the outer
walk, which visits older places later.

Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost",
arXiv:1604.06174.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.inputs import tensor
from minigrad.recording import is_recording, no_grad, recording
from minigrad.tape import Place, Walk, clock, current_walk
from minigrad.tensor import Tensor, record_many


class StretchWalk(Walk):
    """A walk through places younger than `start`. Older ones go to the outer walk."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start
        self.outer = current_walk.get()

    def deliver(self, place: Place, gradient: Array, owned: bool) -> None:
        """Add `gradient` to what is pending at `place`, here or in the outer walk."""
        if place.order < self.start and self.outer is not None:
            self.outer.deliver(place, gradient, owned)
        else:
            super().deliver(place, gradient, owned)


def checkpoint(fn: Callable[..., Any], *inputs: Any) -> Any:
    """fn(*inputs), without keeping what lies between: less memory for more time.

    The forward pass records nothing. The backward pass runs fn again, this time
    recorded, and walks back through it. fn must compute the same both times, so draw
    dropout masks outside of it. It returns a tensor or a tuple of tensors. Parameters
    and other tensors that fn reaches through its closure get their gradients too. An
    input that is an array reaches fn as a tensor.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> mg.checkpoint(lambda x: (x * x).sum(), x).backward()
    >>> x.grad
    array([2., 4.], dtype=float32)
    """
    tensors = [value if isinstance(value, Tensor) else tensor(value) for value in inputs]
    if not is_recording():
        return fn(*tensors)
    with no_grad():
        results = fn(*tensors)
    values = [result.data for result in _as_tuple(results)]
    shapes = [value.shape for value in values]
    arrays = [value.data for value in tensors]
    needs_gradient = [value.requires_grad for value in tensors]

    def vjp(*cotangents: Array | None) -> tuple[Array | None, ...]:
        start = next(clock)
        copies = [Tensor(array, needed) for array, needed in zip(arrays, needs_gradient)]
        with recording(True):
            again = _as_tuple(fn(*copies))
        shapes_now = [result.shape for result in again]
        if shapes_now != shapes:
            raise RuntimeError(
                f"checkpoint: fn returned results of shapes {shapes}, and of shapes {shapes_now} "
                "when the backward pass ran it again; it must do the same both times"
            )
        roots: list[tuple[Place, Array]] = []
        for result, cotangent in zip(again, cotangents):
            if cotangent is not None and result._place is not None:
                roots.append((result._place, cotangent))
        gradients: dict[Place | None, Array] = {}

        def receive(place: Place, gradient: Array, owned: bool) -> None:
            gradients[place] = gradient if owned else gradient.copy()

        StretchWalk(start).run(roots, receive)
        # The anchor below needs no gradient.
        return (*[gradients.get(copy._place) for copy in copies], None)

    # fn may reach tensors through its closure. They are unknown until fn runs again,
    # and may need a gradient even if no input does. So an extra leaf, the anchor, keeps
    # the results on the tape in any case.
    anchor = Tensor(np.zeros(0, np.float32), requires_grad=True)
    recorded = record_many("checkpoint", values, (*tensors, anchor), vjp)
    return recorded if isinstance(results, tuple) else recorded[0]


def _as_tuple(results: Any) -> tuple[Tensor, ...]:
    """The results of a checkpointed function as a tuple of tensors."""
    several = results if isinstance(results, tuple) else (results,)
    for result in several:
        if not isinstance(result, Tensor):
            raise TypeError(
                "checkpoint: fn must return a tensor or a tuple of tensors, not "
                f"{type(result).__name__}"
            )
    return several

"""Chapter 8: can memory be traded for time?

The tape keeps what each vjp needs: for a network of n layers, n layers' worth of arrays. A
checkpointed stretch of it keeps only its inputs. When the walk back arrives there, the stretch
is computed again, this time recorded, and walked back through at once. One more forward pass
of the stretch buys the memory of all that lies inside it.

Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost",
arXiv:1604.06174.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.autograd import Tensor, Walk, clock, is_recording, no_grad, record_many, recording
from minigrad.backend import Array
from minigrad.ops_basic import tensor


def checkpoint(fn: Callable[..., Any], *inputs: Any) -> Any:
    """fn(*inputs) without keeping what lies between: memory for time.
    The forward pass records nothing; the backward pass runs fn again, this time recorded, and walks
    back through it. fn must compute the same both times (draw dropout masks outside) and return a
    tensor or a tuple of tensors. Parameters and other tensors that fn reaches through its closure
    get their gradients too. An input that is an array reaches fn as a tensor."""
    inputs = tuple(each if isinstance(each, Tensor) else tensor(each) for each in inputs)
    if not is_recording():
        return fn(*inputs)
    with no_grad():
        results = fn(*inputs)
    values = [each.data for each in (results if isinstance(results, tuple) else (results,))]
    arrays = [each.data for each in inputs]
    needs = [each.requires_grad for each in inputs]

    def vjp(*cotangents: Array | None) -> tuple[Array | None, ...]:
        start = next(clock)
        copies = [Tensor(array, need) for array, need in zip(arrays, needs)]
        with recording(True):
            again = fn(*copies)
        again = again if isinstance(again, tuple) else (again,)
        found: dict[Any, Array] = {}

        def sink(place: Any, gradient: Array, ours: bool) -> None:
            found[place] = gradient if ours else gradient.copy()

        pairs = zip(again, cotangents)
        roots = [(result, g) for result, g in pairs if g is not None and result._place]
        Walk(older_than=start).run(roots, sink)
        return tuple(found.get(each._place) if each._place else None for each in copies)

    # What fn's closure reaches is not known before it runs again: a leaf of our own keeps the
    # results on the tape even where no input requires a gradient.
    anchor = Tensor(np.zeros(0, np.float32), requires_grad=True)
    recorded = record_many("checkpoint", values, (*inputs, anchor), vjp)
    return recorded if isinstance(results, tuple) else recorded[0]

"""How do several observers look at the same operations?

The tape knows one observer, `tape.monitor`. A block inside of another block must not
take its place: `profile()` inside `detect_anomaly()` would switch the search for NaNs
off. So `observe` puts an observer beside the one that is there.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from minigrad.backend import Array
from minigrad.context import Setting
from minigrad.tape import Monitor, Node, monitor

Observer = TypeVar("Observer", bound=Monitor)


class Both:
    """Two observers, the outer block's first."""

    def __init__(self, outer: Monitor, inner: Monitor) -> None:
        self.observers = (outer, inner)

    def forward(
        self, name: str, parents: Sequence[Any], results: Sequence[Any], node: Node | None
    ) -> None:
        """Called after an operation has computed its results."""
        for observer in self.observers:
            observer.forward(name, parents, results, node)

    def before_backward(self, node: Node) -> None:
        """Called before a node's vjp runs."""
        for observer in self.observers:
            observer.before_backward(node)

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        """Called after a node's vjp has computed the gradients of its inputs."""
        for observer in self.observers:
            observer.backward(node, gradients)


class Observation(Setting[Observer]):
    """The `with` block, or decorator, that `observe` returns."""

    __slots__ = ()

    def inside(self, outer: Monitor | None) -> Monitor:
        """The observer of the block, beside the one outside if there is one."""
        return self.value if outer is None else Both(outer, self.value)


def observe(observer: Observer) -> Observation[Observer]:
    """Within the block, `observer` sees every operation, and outer observers do, too.

    >>> from minigrad import detect_anomaly, profile, tensor
    >>> with detect_anomaly(), profile() as measured:
    ...     y = tensor([1.0, 2.0]) * 2.0
    >>> list(measured.table)
    ['mul']
    """
    return Observation(monitor, observer)

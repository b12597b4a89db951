"""Where does the time go?

`profile` reads a thread's clock whenever an operation or its vjp ends. The time since
the previous end, in the same thread, is charged to the operation that has ended now.
This includes what Python does between the two. So the columns add up to all the time
that the threads have spent.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.backend import Array
from minigrad.debug.observing import observe
from minigrad.tape import Node
from minigrad.tensor import Tensor


@dataclass
class Cost:
    """What the calls of one operation have cost."""

    calls: int = 0
    forward: float = 0.0  # milliseconds
    backward: float = 0.0  # milliseconds
    size: int = 0  # bytes of the results


class Profile:
    """What `profile` measured. `table` maps the name of an operation to its `Cost`."""

    def __init__(self) -> None:
        self.table: dict[str, Cost] = {}
        self._last = threading.local()  # .time: when this thread's previous operation ended
        self._lock = threading.Lock()

    def forward(
        self, name: str, parents: Sequence[Tensor], results: Sequence[Tensor], node: Node | None
    ) -> None:
        """Charge the time since the thread's previous operation to a call of `name`."""
        spent = self._time_since_last()
        with self._lock:
            cost = self.table.setdefault(name, Cost())
            cost.calls += 1
            cost.forward += spent
            cost.size += sum(result.data.nbytes for result in results)
        self._last.time = time.thread_time()

    def before_backward(self, node: Node) -> None:
        """Nothing: the time counts from the end of the operation before."""

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        """Charge the time since the thread's previous operation to a node's vjp."""
        spent = self._time_since_last()
        with self._lock:
            self.table.setdefault(node.name, Cost()).backward += spent
        self._last.time = time.thread_time()

    def _time_since_last(self) -> float:
        """Milliseconds since this thread's previous operation ended."""
        now = time.thread_time()
        return 1e3 * (now - getattr(self._last, "time", now))

    def __str__(self) -> str:
        costs = sorted(self.table.items(), key=lambda item: -item[1].forward - item[1].backward)
        lines = [f"{'operation':<18}{'calls':>8}{'forward ms':>13}{'backward ms':>13}{'MB':>9}"]
        for name, cost in costs:
            lines.append(
                f"{name:<18}{cost.calls:>8}{cost.forward:>13.2f}{cost.backward:>13.2f}"
                f"{cost.size / 1e6:>9.1f}"
            )
        return "\n".join(lines)


def profile() -> contextlib.AbstractContextManager[Profile]:
    """Within the block, time and memory by operation. Print what the block receives.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> with profile() as measured:
    ...     (x * x).sum().backward()
    >>> print(measured)
    operation            calls   forward ms  backward ms       MB
    ...
    >>> measured.table["mul"].calls, measured.table["mul"].size
    (1, 8)
    """
    return observe(Profile())

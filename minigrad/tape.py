"""How can a program know its own derivative?

A program that computes y from x is a chain of small operations, y = f3(f2(f1(x))). The
chain rule says that its derivative is the product of the small derivatives. *Reverse
mode*, known as backpropagation where networks learn, multiplies them from the output
back. For that, an operation needs to offer one thing only, its vector-Jacobian product:

    vjp(g) = J^T g,      J = d(output)/d(input),      g = d(loss)/d(output)

It turns the gradient of the output into the gradients of the inputs. While the program
runs forward, each operation puts a `Node` on the tape, with its vjp and with links to
the nodes of its inputs. The walk back needs about ten lines:

    waiting = {output_node: np.ones(())}     # the gradient that has reached each node
    while waiting:
        node = max(waiting, key=lambda node: node.order)     # the youngest
        g = waiting.pop(node)
        if isinstance(node, Leaf):
            node.grad = g
            continue
        for parent, gradient in zip(node.parents, node.vjp(g)):
            waiting[parent] = waiting.get(parent, 0.0) + gradient

`Walk` below is this loop, and a test holds the two equal. The ten lines leave out three
cases: an input that needs no gradient (its parent is None), an operation with one input
(its vjp may return the bare array), and an operation with several results.

The walk gives the gradients of one number with respect to all inputs at once. It costs
about two forward runs: a product Y = A B has two gradients, G B^T and A^T G, each with
as many multiplications as Y. Four decisions keep the walk short and fast:

- **Nodes are numbered as they are made.** An operation is younger than its inputs. If
  the youngest node always goes first, its gradient is complete before it is passed on.
  This needs no sorting pass and no recursion, so a chain of 100,000 operations is no
  problem.
- **A vjp holds arrays, never tensors.** A tensor points to its node, and the node
  points to its vjp. If the vjp held the tensor that its operation returned, the three
  would form a cycle, and memory would wait for the garbage collector.
- **With each gradient goes a flag, `owned`,** which is true if nobody else holds this
  array. Then a second gradient is added to it in place. Otherwise the sum is a new
  array.
- **A vjp holds the arrays themselves, not copies.** So an array must not change between
  the forward pass and the backward pass: the gradient would be wrong. `detect_anomaly`
  (minigrad/debug) notices a change and names the operation.

**What happens to a tensor that is used five times?** The loss depends on it along five
paths, so its gradient is the sum of five. All five uses are younger than the tensor. So
the walk reaches it once, after the last of them, when the sum is complete.

**Who frees the graph?** A walk does, node by node, as it goes: it takes the vjp and the
parents out of each node that it visits, unless `retain_graph` is set. A graph that is
never walked is freed by reference counting the moment its last tensor goes, because it
has no cycles.

Reverse mode: S. Linnainmaa 1970. A survey: Baydin et al. 2018, arXiv:1502.05767,
section 3.
"""

import heapq
import itertools
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from numpy import ndarray

from minigrad.backend import Array, as_array, use_device

Shape = tuple[int, ...]

clock = itertools.count()
"""Numbers the nodes in the order in which they are made."""


class Leaf:
    """The end of the tape: an input of the program. Its gradient is kept here."""

    __slots__ = ("grad", "order", "shape")
    name = "leaf"

    def __init__(self, shape: Shape) -> None:
        self.order = next(clock)
        self.shape = shape
        self.grad: Array | None = None


class Node:
    """One recorded operation.

    - parents: the place on the tape of each input, None for one without a gradient.
    - vjp: see above. A walk that frees the graph sets `parents` and `vjp` to None.
    - shape: the shape of the result, or a list of shapes if there are several results.
    - source: the line of the program that called the operation.
    - checksums: those of the arrays that vjp holds.

    Only anomaly mode (minigrad/debug) fills `source` and `checksums` in.
    """

    __slots__ = ("checksums", "name", "order", "parents", "shape", "source", "vjp")
    source: str
    checksums: list[int]

    def __init__(
        self, name: str, parents: "tuple[Place | None, ...]", vjp: Callable, shape: Any
    ) -> None:
        self.order = next(clock)
        self.name = name
        self.parents: tuple[Place | None, ...] | None = parents
        self.vjp: Callable | None = vjp
        self.shape = shape


class Output:
    """One of several results of a node.

    It is younger than its node. So a walk visits all outputs before it visits the node.
    """

    __slots__ = ("index", "node", "order")

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index
        self.order = next(clock)


Place = Leaf | Node | Output
"""Where a tensor stands on the tape."""

Receiver = Callable[[Place, Array, bool], None]
"""Called as receive(place, gradient, owned) when a place's gradient is complete."""


class Monitor(Protocol):
    """An observer of operations as they are recorded and walked. See minigrad/debug."""

    def before_backward(self, node: Node) -> None:
        """Called before a node's vjp runs."""

    def forward(
        self, name: str, parents: Sequence[Any], results: Sequence[Any], node: Node | None
    ) -> None:
        """Called after an operation has computed its results."""

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        """Called after a node's vjp has computed the gradients of its inputs."""


monitor: ContextVar[Monitor | None] = ContextVar("monitor", default=None)
"""The observer of this thread, if any."""

current_walk: "ContextVar[Walk | None]" = ContextVar("current_walk", default=None)
"""The walk that is under way, for a vjp that starts a second walk (recompute.py)."""


class Walk:
    """One walk back along the tape.

    `pending` maps each place that has received a gradient to a pair (gradient, owned).
    owned means that the walk alone holds the array, so that it may be changed. For a
    node with several results the gradient is a list with one entry for each result. The
    entry is None if the result was never used.
    """

    def __init__(self, retain_graph: bool = False) -> None:
        self.retain_graph = retain_graph
        self.observer = monitor.get()
        self.pending: dict[Place, tuple[Any, bool]] = {}
        self.heap: list[tuple[int, Place]] = []  # (-order, place): the youngest is on top

    def run(
        self,
        roots: Sequence[tuple[Place, Array]],
        receive: Receiver,
        wanted: Collection[Place] = (),
    ) -> None:
        """Walk back from `roots`, pairs of a place and its gradient, to the leaves.

        receive(place, gradient, owned) gets the complete gradient of each leaf, and of
        each place in `wanted`.
        """
        for place, gradient in roots:
            self.deliver(place, gradient, owned=False)
        outer = current_walk.get()
        try:
            current_walk.set(self)
            while self.heap:
                _, place = heapq.heappop(self.heap)
                gradient, owned = self.pending.pop(place)
                cotangents = gradient if type(gradient) is list else [gradient]
                if type(gradient) is not ndarray:  # on NumPy there is no device to choose
                    use_device(*cotangents)
                if type(place) is Leaf or place in wanted:
                    receive(place, gradient, owned)
                if type(place) is Node:
                    self._step(place, cotangents)
                elif type(place) is Output:
                    self._collect(place, gradient)
        finally:
            current_walk.set(outer)

    def deliver(self, place: Place, gradient: Array, owned: bool) -> None:
        """Add `gradient` to what is pending at `place`."""
        pending = self.pending.get(place)
        if pending is None:
            self.pending[place] = gradient, owned
            heapq.heappush(self.heap, (-place.order, place))
        else:
            total, total_owned = pending
            self.pending[place] = _add_up(total, total_owned, gradient, owned), True

    def _collect(self, output: Output, gradient: Array) -> None:
        """Keep the gradient of one of several results until its node is visited."""
        node = output.node
        if node not in self.pending:
            self.pending[node] = [None] * len(node.shape), False
            heapq.heappush(self.heap, (-node.order, node))
        gradients, _ = self.pending[node]
        gradients[output.index] = gradient

    def _step(self, node: Node, cotangents: list[Array | None]) -> None:
        """Apply a node's vjp and deliver what it returns to the node's parents."""
        vjp, parents = node.vjp, node.parents
        if vjp is None or parents is None:
            raise RuntimeError(
                f"{node.name}: this graph was freed by an earlier backward; "
                "pass retain_graph=True there to walk it twice"
            )
        observer = self.observer
        if observer is not None:
            observer.before_backward(node)
        if not self.retain_graph:
            node.vjp = node.parents = None
        gradients = vjp(*cotangents)
        if type(gradients) is not tuple:
            gradients = (gradients,)
        if len(gradients) != len(parents):
            raise ValueError(
                f"{node.name}: the vjp returned {len(gradients)} gradients for {len(parents)} "
                "inputs; expected one, or None, for each"
            )
        if observer is not None:
            observer.backward(node, gradients)
        for parent, gradient in zip(parents, gradients):
            if parent is not None and gradient is not None:
                passed_on = gradient is cotangents[0]
                owned = not passed_on and _is_owned(gradient, cotangents, gradients)
                self.deliver(parent, as_array(gradient), owned)


def _add_up(first: Array, first_owned: bool, second: Array, second_owned: bool) -> Array:
    """first + second, written into one of them if the walk owns it."""
    if first_owned:
        first += second
        return first
    if second_owned:
        second += first
        return second
    return as_array(first + second)


def _is_owned(
    gradient: Array, cotangents: Sequence[Array | None], gradients: Sequence[Array | None]
) -> bool:
    """Whether nothing else that the walk holds shares memory with a vjp's `gradient`.

    A vjp may return the array that it was passed, a view of this array, or two views of
    one array. None of these may be written to. Neither may a broadcast view, in which
    one number is seen at many positions (its strides contain a 0).
    """
    memory = _memory_of(gradient)
    holders = [id(_memory_of(array)) for array in (*cotangents, *gradients)]
    return holders.count(id(memory)) == 1 and 0 not in gradient.strides


def _memory_of(array: Array | None) -> Any:
    """What owns the memory of `array`: itself, unless it is a view, of a view maybe."""
    owner = array
    while (base := getattr(owner, "base", None)) is not None:
        owner = base
    return owner

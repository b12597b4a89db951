"""Chapter 1: how can a program know its own derivative?

A program that computes y from x is a chain of small operations, y = f3(f2(f1(x))). The chain
rule says that its derivative is the product of the small ones, and reverse mode in which order
to multiply: from the output back. All that needs of an operation is its vector-Jacobian product

    vjp(g) = J^T g,      J = d(output)/d(input),      g = d(loss)/d(output),

which turns the gradient of its output into those of its inputs. So while the program runs
forward, every operation notes on a tape who its inputs were and its vjp (`record`). Walking the
tape backward (`Walk`) then gives the gradient of a number with respect to every input at once,
for about the cost of two forward runs.

Two decisions keep this short and fast:

- Nodes are numbered as they are made. An operation is younger than its inputs, so "youngest
  first" is an order in which every gradient is complete before it is passed on: no sorting, no
  recursion, and a chain of 100,000 operations is no deeper than one of two.
- A vjp holds arrays, never tensors. No reference leads from a node to its own output, so a
  graph is freed the moment the last tensor of it goes, without the garbage collector.

The operations stand in chapters 2 to 7; `minigrad/__init__.py` makes them Tensor's methods.

Reverse mode: S. Linnainmaa 1970; survey: Baydin et al. 2018, arXiv:1502.05767, section 3.
"""

import contextlib
import functools
import heapq
import itertools
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy import ndarray  # quicker than np.ndarray where every operation asks for it

from minigrad.backend import Array, array_module, as_array, backend_of, move, setting, use_device

Place = Any  # on the tape: a Leaf, a Node, or an Output of one that has several
Sink = Callable[[Place, Array, bool], None]

clock = itertools.count()
_recording: ContextVar[bool] = ContextVar("recording", default=True)
is_recording = _recording.get  # whether operations are recorded in this thread's context
_current_walk: ContextVar["Walk | None"] = ContextVar("current_walk", default=None)
# Set by minigrad.debug.detect_anomaly: sees every result and every gradient.
monitor: ContextVar[Any] = ContextVar("monitor", default=None)


class Leaf:
    """The end of the tape: an input of the program, where its gradient is kept."""

    __slots__ = ("grad", "order", "shape")
    name = "leaf"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.order, self.shape = next(clock), shape
        self.grad: Array | None = None


class Node:
    """One recorded operation. parents: the place of each input, None where it needs no gradient;
    shape: its result's, or a list of several; source: its line, if anomaly mode has noted it."""

    __slots__ = ("name", "order", "parents", "shape", "source", "vjp")

    def __init__(self, name: str, parents: tuple, vjp: Callable, shape: tuple | list) -> None:
        self.order, self.name, self.shape = next(clock), name, shape
        self.parents, self.vjp = parents, vjp  # None once a walk has come by


class Output:
    """One of several results of a node. It is younger: a walk sees all of them before the node."""

    __slots__ = ("index", "node", "order")

    def __init__(self, node: Node, index: int) -> None:
        self.node, self.index, self.order = node, index, next(clock)


class Tensor:
    """An array, and its place on the tape.
    data is a NumPy or CuPy array. A tensor made with requires_grad=True is a leaf, and `grad` holds
    its gradient, an array of the same shape, dtype and module, after `backward`."""

    __slots__ = ("__weakref__", "_place", "data")
    __array_ufunc__ = None  # so that np.float64(2) * tensor asks Tensor, not NumPy
    __hash__ = object.__hash__

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self._place: Place | None = None
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        return self._place is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted and self.data.dtype.kind not in "fc":
            raise TypeError(f"only float tensors have gradients, not dtype {self.data.dtype}")
        if not wanted and self.requires_grad and self._leaf is None:
            raise RuntimeError("the result of an operation cannot drop its graph; use detach()")
        if wanted != self.requires_grad:
            self._place = Leaf(self.data.shape) if wanted else None

    @property
    def _leaf(self) -> Leaf | None:
        return self._place if type(self._place) is Leaf else None

    @property
    def grad(self) -> Array | None:
        """The accumulated gradient of a leaf, None before the first backward."""
        return self._leaf and self._leaf.grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if self._leaf is None:
            raise RuntimeError("only a leaf that requires a gradient holds one")
        self._leaf.grad = None if value is None else _as_cotangent("grad", value, self.data)

    shape = property(lambda self: self.data.shape, doc="The size of each axis.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")
    size = property(lambda self: self.data.size, doc="The number of elements.")
    dtype = property(lambda self: self.data.dtype, doc="The type of the elements.")
    backend = property(lambda self: backend_of(self.data), doc='"numpy", "cupy" or "cupy:1".')

    def backward(self, grad: Array | None = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf), contracted with `grad`, to the .grad of every leaf.
        grad is the gradient of the loss with respect to this tensor; it may be left out where the
        tensor has one element. The graph is freed on the way unless retain_graph is set."""
        if not self.requires_grad:
            raise RuntimeError("backward: this tensor depends on nothing that requires a gradient")
        Walk(retain_graph).run([(self, grad)], _add_to_grad)

    def detach(self) -> "Tensor":
        """The same array, cut from the tape."""
        return Tensor(self.data)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (the same memory where it is one already)."""
        return move(self.data, "numpy")

    def item(self) -> float:
        """The value of a tensor with one element as a Python number."""
        return self.data.item()

    def zero_grad(self) -> None:
        """Forget the gradient."""
        if self._leaf is not None:
            self._leaf.grad = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __reduce__(self) -> tuple:
        """A copy is a leaf of its own (nodes are numbered, so none may be copied), without the
        gradient; the copy of an operation's result is a constant."""
        return type(self), (self.data, self._leaf is not None)

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __repr__(self) -> str:
        needs = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({self.data!r}{needs})"


def record(name: str, value: Array, parents: Sequence[Tensor], vjp: Callable) -> Tensor:
    """The result `value` of operation `name` as a tensor on the tape.
    vjp(g) returns one gradient (or None) for each parent; a single parent needs no tuple. It must
    not write into g, and what it returns is either new, or g, or a view."""
    result = Tensor(value if type(value) is ndarray else as_array(value))
    node = None
    if _recording.get():
        if len(parents) == 2:  # most often; without a loop, it is quicker
            places = parents[0]._place, parents[1]._place
        else:
            places = tuple([parent._place for parent in parents])
        if places[0] or any(places):
            node = result._place = Node(name, places, vjp, value.shape)
    if (watcher := monitor.get()) is not None:
        watcher.forward(name, parents, (result,), node)
    return result


def record_many(
    name: str, values: Sequence[Array], parents: Sequence[Tensor], vjp: Callable
) -> tuple[Tensor, ...]:
    """`record` for an operation with several results: its vjp takes one g for each of them,
    None for a result that nobody used."""
    results = tuple([Tensor(as_array(value)) for value in values])
    places, node = tuple([parent._place for parent in parents]), None
    if any(places) and is_recording():
        node = Node(name, places, vjp, [result.data.shape for result in results])
        for index, result in enumerate(results):
            result._place = Output(node, index)
    if (watcher := monitor.get()) is not None:
        watcher.forward(name, parents, results, node)
    return results


class Walk:
    """One walk back along the tape: gradients wait here until their place is the youngest.
    pending maps a place to its gradient, a node of several results to a list, None where there is
    none. `ours` has the ids of gradients that nobody else holds: to them a second may be added in
    place; a view or an array that was passed on unchanged is shared and is never written to."""

    def __init__(self, retain_graph: bool = False, older_than: int = -1) -> None:
        self.retain_graph = retain_graph
        self.older_than = older_than  # places before this number belong to `outer`
        self.outer, self.watcher = _current_walk.get(), monitor.get()
        self.pending: dict[Place, Any] = {}
        self.ours: set[int] = set()
        self.heap: list[tuple[int, Place]] = []

    def deliver(self, place: Place, gradient: Array, ours: bool) -> None:
        """Add a gradient to what waits at a place."""
        if place.order < self.older_than:
            self.outer.deliver(place, gradient, ours)
            return
        total = self.pending.get(place)
        if total is None:
            self.pending[place] = gradient
            heapq.heappush(self.heap, (-place.order, place))
        elif id(total) in self.ours:
            total += gradient
            return
        elif ours:
            gradient += total
            self.pending[place] = gradient
        else:
            self.pending[place] = gradient = as_array(total + gradient)
            ours = True
        if ours:
            self.ours.add(id(gradient))

    def run(
        self, roots: Sequence[tuple[Tensor, Array | None]], sink: Sink, targets: Collection = ()
    ) -> None:
        """Start from (tensor, cotangent) pairs; sink(place, gradient, ours) receives the whole
        gradient of each leaf, and that of each place in `targets`."""
        for output, cotangent in roots:
            self.deliver(output._place, _as_cotangent("backward", cotangent, output.data), False)
        token = _current_walk.set(self)
        try:
            while self.heap:
                place = heapq.heappop(self.heap)[1]
                gradient = self.pending.pop(place)
                cotangents = gradient if type(gradient) is list else [gradient]
                if type(gradient) is not ndarray:
                    use_device(*cotangents)
                if type(place) is Leaf or place in targets:
                    sink(place, gradient, id(gradient) in self.ours)
                self.ours.discard(id(gradient))  # it may be freed, and another array get its id
                if type(place) is Output:
                    node = place.node
                    if node not in self.pending:
                        self.pending[node] = [None] * len(node.shape)
                        heapq.heappush(self.heap, (-node.order, node))
                    self.pending[node][place.index] = gradient  # older: its turn comes after all
                elif type(place) is Node:
                    self._step(place, cotangents)
        finally:
            _current_walk.reset(token)

    def _step(self, node: Node, cotangents: list[Array | None]) -> None:
        vjp, parents = node.vjp, node.parents
        if vjp is None or parents is None:
            cause = "this graph was freed by an earlier backward; pass retain_graph=True there"
            raise RuntimeError(f"{node.name}: {cause} to walk it twice")
        if not self.retain_graph:
            node.vjp = node.parents = None
        gradients = vjp(*cotangents)
        if type(gradients) is not tuple:
            gradients = (gradients,)
        if self.watcher is not None:
            self.watcher.backward(node, gradients)
        for place, gradient in zip(parents, gradients):
            if place is not None and gradient is not None:
                new = gradient is not cotangents[0]
                ours = new and _is_alone(gradient, (*cotangents, *gradients))
                whole = type(gradient) is ndarray  # most often; asked here, it is quick
                self.deliver(place, gradient if whole else as_array(gradient), ours)


def _is_alone(array: Array, others: Sequence[Array | None]) -> bool:
    """Whether among `others`, itself one of them, nobody else looks at the array's memory, and no
    two of its elements are one, as in a broadcast view."""
    owners = [id(each if each is None or each.base is None else each.base) for each in others]
    own = id(array if array.base is None else array.base)
    return owners.count(own) == 1 and 0 not in array.strides


def _as_cotangent(name: str, cotangent: Any, data: Array) -> Array:
    """Check the gradient that a walk starts from; None means 1 for a single element."""
    if cotangent is None:
        if data.size != 1:
            fix = "pass the gradient of your loss with respect to it"
            raise ValueError(f"{name}: shape {data.shape} has no single derivative; {fix}")
        return array_module(data).ones_like(data)
    cotangent = cotangent.data if isinstance(cotangent, Tensor) else cotangent
    cotangent = array_module(data).asarray(cotangent, dtype=data.dtype)
    if cotangent.shape != data.shape:
        raise ValueError(f"{name}: the gradient's shape {cotangent.shape} must be {data.shape}")
    return cotangent


def _add_to_grad(leaf: Leaf, gradient: Array, ours: bool) -> None:
    if leaf.grad is None:
        leaf.grad = gradient if ours else gradient.copy()
    else:
        leaf.grad = as_array(leaf.grad + gradient)


def grad(
    output: Tensor, inputs: Sequence[Tensor], cotangent: Any = None, retain_graph: bool = False
) -> tuple[Array, ...]:
    """d(output)/d(input) for each input, contracted with `cotangent`, as arrays.
    Touches no .grad. The inputs may be leaves or results in between; one that the output does not
    depend on gets zeros. Raises ValueError for an input that requires no gradient."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for position, each in enumerate(inputs):
        if not each.requires_grad:
            raise ValueError(f"grad: input {position} does not require a gradient")
    found: dict[Place, Array | None] = {each._place: None for each in inputs}

    def sink(place: Place, gradient: Array, ours: bool) -> None:
        if place in found:
            found[place] = gradient if ours else gradient.copy()

    if output.requires_grad:
        Walk(retain_graph).run([(output, cotangent)], sink, found)
    xp, pairs = array_module(output.data), [(each.data, found[each._place]) for each in inputs]
    return tuple(xp.zeros_like(data) if g is None else g for data, g in pairs)


recording = functools.partial(setting, _recording)  # whether a block records its operations


def no_grad() -> contextlib.AbstractContextManager:
    """Within the block (or the decorated function) nothing is recorded on the tape."""
    return recording(False)

"""What does an array need to remember, so that it can be differentiated?

Two things: the numbers, and its place on the tape. A `Tensor` is this pair. A tensor
that is made with requires_grad=True is a *leaf*: its gradient is kept. A tensor that an
operation made points to the operation's node. A tensor without a place is a constant.

An operation is an ordinary function. It computes its result, and hands the tape a
nested function `vjp` that turns the gradient of the result into the gradients of the
inputs. `record` puts both together:

>>> def double(x):
...     def vjp(g):
...         return 2.0 * g
...
...     return record("double", 2.0 * x.data, (x,), vjp)
>>> x = Tensor(np.array([1.0, 3.0]), requires_grad=True)
>>> y = double(x)
>>> y.backward(np.array([1.0, 10.0]))    # the gradient of the loss with respect to y
>>> x.grad
array([ 2., 20.])

The operations stand in minigrad/ops. `minigrad/__init__.py` makes them operators and
methods of Tensor, and minigrad/declared.py lists them for editors and type checkers.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray  # a shorter look-up in `record`, which every operation calls

from minigrad.backend import Array, array_module, as_array, backend_of, move, use_device
from minigrad.declared import Declared
from minigrad.recording import is_recording
from minigrad.tape import Leaf, Node, Output, Place, Walk, monitor

Axis = int | Sequence[int] | None


class Tensor(Declared):
    """An array and its place on the tape.

    `data` is a NumPy or CuPy array. If the tensor is a leaf, `grad` holds its gradient
    after `backward`: an array of the same shape, dtype and module.
    """

    __slots__ = ("__weakref__", "_place", "data")
    __hash__ = object.__hash__

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self._place: Place | None = None
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether the tensor has a place on the tape.

        Setting it makes a constant a leaf, or a leaf a constant.
        """
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
        """The accumulated gradient of a leaf; None before the first backward."""
        return None if self._leaf is None else self._leaf.grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if self._leaf is None:
            raise RuntimeError("only a leaf that requires a gradient holds one")
        self._leaf.grad = None if value is None else as_cotangent("grad", value, self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def backend(self) -> str:
        """Where the array lives: "numpy", "cupy" or "cupy:1"."""
        return backend_of(self.data)

    def backward(self, grad: "Array | Tensor | None" = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf), contracted with `grad`, to the .grad of every leaf.

        `grad` is the gradient of the loss with respect to this tensor, of the same
        shape. It may be left out if the tensor has one element. The graph is freed on
        the way unless `retain_graph` is set. Raises RuntimeError if there is no graph,
        or if it is freed already.

        >>> x = Tensor(np.array([1.0, 3.0]), requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        array([2., 6.])
        """
        if self._place is None:
            raise RuntimeError("backward: this tensor depends on nothing that requires a gradient")
        root = (self._place, as_cotangent("backward", grad, self.data))
        Walk(retain_graph).run([root], _add_to_grad)

    def detach(self) -> "Tensor":
        """A constant with the same array: no gradient flows through it."""
        return Tensor(self.data)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, without a copy if they are one already."""
        return move(self.data, "numpy")

    def item(self) -> float:
        """The value of a tensor with one element as a Python number."""
        return self.data.item()

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __round__(self, digits: int | None = None) -> float:
        return round(self._number("round"), digits)

    def __format__(self, specification: str) -> str:
        """f"{loss:.3f}" writes the number of a tensor with one element."""
        return format(self._number("format") if specification else str(self), specification)

    def _number(self, name: str) -> float:
        """The only element as a Python number; TypeError if there are several."""
        if self.data.size != 1:
            raise TypeError(f"{name}: only a tensor of one element is a number, not {self.shape}")
        return self.data.item()

    def zero_grad(self) -> None:
        """Forget the gradient."""
        if self._leaf is not None:
            self._leaf.grad = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad and is_recording():
            raise TypeError(
                "NumPy asks for the numbers of a tensor that requires a gradient, and the "
                "gradient would be lost: pass x.numpy(), or float(x) for one element, if that "
                "is what you want"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __reduce__(self) -> tuple:
        """For copies and pickles. The copy of a leaf is a leaf without a gradient.

        The copy of any other tensor is a constant. Nodes are never copied, because
        their numbers must stay unique.
        """
        return type(self), (self.data, self._leaf is not None)

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __repr__(self) -> str:
        needs = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({self.data!r}{needs})"


def record(name: str, value: Array, parents: Sequence[Tensor], vjp: Callable) -> Tensor:
    """The result `value` of the operation `name`, as a tensor on the tape.

    This is how an operation is defined, here and in a program of yours. vjp(g) returns
    one gradient, or None, for each parent. A single parent needs no tuple. vjp must not
    write into g. What it returns is a new array, or g itself, or a view of g or of a
    new array. If no parent requires a gradient, nothing is recorded.

    vjp holds arrays, never tensors (minigrad/tape.py). `gradcheck` says whether it is
    right.

    >>> def square(x):
    ...     a = x.data
    ...     return record("square", a * a, (x,), lambda g: g * 2.0 * a)
    >>> x = Tensor(np.array([1.0, 3.0]), requires_grad=True)
    >>> square(x).sum().backward()
    >>> x.grad
    array([2., 6.])
    """
    result = Tensor(value if type(value) is ndarray else as_array(value))
    node = None
    if is_recording():
        places: tuple[Place | None, ...]
        if len(parents) == 2:  # written out: a small `add` needs about 5 % less time
            places = parents[0]._place, parents[1]._place
        else:
            places = tuple([parent._place for parent in parents])
        if places[0] or any(places):  # `places[0] or` saves another 3 %
            node = result._place = Node(name, places, vjp, value.shape)
    observer = monitor.get()
    if observer is not None:
        observer.forward(name, parents, (result,), node)
    return result


def record_many(
    name: str, values: Sequence[Array], parents: Sequence[Tensor], vjp: Callable
) -> tuple[Tensor, ...]:
    """`record` for an operation with several results.

    Its vjp is called with one gradient for each result, and with None for a result that
    was never used.
    """
    results = tuple([Tensor(as_array(value)) for value in values])
    places = tuple([parent._place for parent in parents])
    node = None
    if any(places) and is_recording():
        node = Node(name, places, vjp, [result.data.shape for result in results])
        for index, result in enumerate(results):
            result._place = Output(node, index)
    observer = monitor.get()
    if observer is not None:
        observer.forward(name, parents, results, node)
    return results


CONTAINERS = (list, tuple, deque)
"""What NumPy turns into an array by looking at what is in it."""


def holds_tensor(container: Any) -> bool:
    """Whether a tensor lies in a list, or in a list inside of it.

    >>> holds_tensor([[1.0, 2.0], [3.0, Tensor(np.ones(()))]]), holds_tensor([[1.0]])
    (True, False)
    """
    kinds = set(map(type, container))  # far fewer than elements
    if any(issubclass(kind, Tensor) for kind in kinds):
        return True
    inner = [value for value in container if isinstance(value, CONTAINERS)]
    return any(holds_tensor(value) for value in inner)


def constant(name: str, argument: str, value: Any) -> Any:
    """`value` of an argument that gets no gradient; a tensor becomes its array.

    TypeError if it is a tensor that requires a gradient, or a list with one, because
    that gradient would be lost without a word. `name` is the operation's.

    >>> constant("layer_norm", "eps", Tensor(np.array(1e-5)))
    array(1.e-05)
    """
    if isinstance(value, CONTAINERS) and holds_tensor(value):
        return [constant(name, argument, element) for element in value]
    if not isinstance(value, Tensor):
        return value
    if value.requires_grad and is_recording():
        raise TypeError(
            f"{name}: `{argument}` is a tensor that requires a gradient, and would get none; "
            "pass .detach() of it if that is what you want"
        )
    return value.data


# Two threads that walk back to the same leaf must not both read the old sum.
_one_at_a_time = threading.Lock()


def _add_to_grad(place: Place, gradient: Array, owned: bool) -> None:
    """What `backward` does with the gradient of a leaf."""
    assert isinstance(place, Leaf)
    with _one_at_a_time:
        if place.grad is None:
            place.grad = gradient if owned else gradient.copy()
        else:
            place.grad = as_array(place.grad + gradient)


def as_cotangent(name: str, cotangent: Any, data: Array) -> Array:
    """Check the gradient that a walk starts from. None means 1 for a single element.

    It is made where the result is, whatever device the thread computes on by then.
    """
    use_device(data)
    if cotangent is None:
        if data.size != 1:
            raise ValueError(
                f"{name}: shape {data.shape} has no single derivative; "
                "pass the gradient of your loss with respect to it"
            )
        return array_module(data).ones_like(data)
    values = constant(name, "cotangent", cotangent)
    values = array_module(data).asarray(values, dtype=data.dtype)
    if values.shape != data.shape:
        raise ValueError(f"{name}: the gradient's shape {values.shape} must be {data.shape}")
    return values

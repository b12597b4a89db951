"""How does a function of two tensors become an operator?

Python turns x - y into a call of x.__sub__(y). If x is no tensor, it asks y instead, by
y.__rsub__(x). For x -= y it asks x.__isub__(y), and binds the name x to the answer.

The last one holds a trap. A loop that updates its parameters like this

    with no_grad():
        w -= lr * w.grad

means the parameter itself. If the answer were a new tensor, the name w would leave the
parameter behind: the model would keep its old numbers, and the new w would have no
gradient. So the update writes into the array of the leaf, as in PyTorch (`in_place`).
"""

from collections.abc import Callable, Iterator
from typing import Any

from minigrad.backend import Array, as_array
from minigrad.recording import is_recording
from minigrad.tensor import Tensor

Operation = Callable[[Any, Any], Tensor]


def reflected(operation: Operation) -> Operation:
    """The operator that Python asks of the right operand: 2 - x is x.__rsub__(2)."""

    def operator(self: Tensor, other: Any) -> Tensor:
        return operation(other, self)

    return operator


def in_place(operation: Operation) -> Operation:
    """The operator behind x -= y.

    For a leaf under no_grad it changes the leaf's array. For a constant, or while
    operations are recorded, the name gets a new tensor: x = x - y. RuntimeError where
    this would cut a tensor off from its gradient.

    >>> import minigrad as mg
    >>> w = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> the_same = w
    >>> with mg.no_grad():
    ...     w -= 0.5
    >>> the_same
    tensor(array([0.5, 1.5], dtype=float32), requires_grad=True)
    """

    def operator(self: Tensor, other: Any) -> Tensor:
        name = operation.__name__
        is_leaf = self._leaf is not None
        if is_leaf and not is_recording():
            result = operation(self, other).data
            if result.shape != self.shape:
                raise ValueError(
                    f"{name}: in place, the shape must stay {self.shape}, not become {result.shape}"
                )
            self.data[...] = result
            return self
        if is_leaf or (self.requires_grad and not is_recording()):
            raise RuntimeError(
                f"{name}: in place, this would cut the tensor off from its gradient. To update "
                "a leaf, write `with no_grad():` around it, or change x.data. For a new tensor, "
                "write x = x - y instead of x -= y"
            )
        return operation(self, other)

    return operator


def comparison(name: str) -> Callable[[Tensor, Any], Array]:
    """A comparison of values. Its result is a boolean array, which has no gradient."""

    def compare(self: Tensor, other: Any) -> Array:
        values = other.data if isinstance(other, Tensor) else other
        return as_array(getattr(self.data, name)(values))

    return compare


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first axis, each on the tape."""
    return (self[position] for position in range(len(self)))

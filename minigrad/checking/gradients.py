"""What can be wrong with a gradient besides its value?

It can be missing, or have another shape or dtype than its input. It can share memory
with an input or with another gradient: the numbers are right until somebody adds to one
of them. The function or its vjp can change an array that belongs to the caller, or give
another result the next time. `checked_gradients` looks for all of these while it asks
the tape for gradients.

It contracts the result with a random array c, the *cotangent*, and asks for the
gradient of <c, fn>, the sum of c * fn. With ones for c, all elements of the result
would count the same. A vjp that swaps two rows, or transposes, would then pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.checking.numeric import Arrays, Function
from minigrad.derivatives import grad
from minigrad.tensor import Tensor


class GradientError(AssertionError):
    """A gradient is wrong. The message says which, where and by how much."""


class Analytic(NamedTuple):
    """What the tape says about fn: the gradients of <cotangent, fn>."""

    value: np.ndarray
    cotangent: np.ndarray
    gradients: tuple[np.ndarray, ...]


def checked_gradients(fn: Function, arrays: Arrays, seed: int) -> Analytic:
    """fn's value, a random cotangent c, and the gradients of <c, fn>.

    fn runs twice, and so does the walk back. The gradients that are returned may have
    wrong values, but no other fault. Raises GradientError for each fault that the head
    of this file names.
    """
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    output = fn(*leaves)
    value = output.data.copy()
    cotangent = np.random.default_rng(seed).standard_normal(output.shape)
    passed = cotangent.copy()
    gradients = grad(output, leaves, passed, retain_graph=True)
    repeated = grad(output, leaves, passed, retain_graph=True)
    for position, (leaf, array) in enumerate(zip(leaves, arrays)):
        _same(leaf.data, array, f"fn changes its input {position}, forward or backward")
    _same(passed, cotangent, "a vjp of fn changes the cotangent that it is passed")
    _same(value, fn(*leaves).data, "fn gives another result the second time")
    for position, array in enumerate(arrays):
        _check_form(position, gradients[position], array)
        _same(
            gradients[position],
            repeated[position],
            f"the gradient of input {position} is another one the second time",
        )
    _check_memory(gradients, repeated, leaves)
    return Analytic(value, cotangent, gradients)


def _same(first: np.ndarray, second: np.ndarray, complaint: str) -> None:
    if not np.array_equal(first, second, equal_nan=True):
        raise GradientError(f"gradcheck: {complaint}")


def _check_form(position: int, gradient: np.ndarray, array: np.ndarray) -> None:
    """A gradient has the shape and the dtype of its input."""
    if gradient.shape != array.shape or gradient.dtype != array.dtype:
        raise GradientError(
            f"gradcheck: the gradient of input {position} is {gradient.shape} {gradient.dtype}, "
            f"the input {array.shape} {array.dtype}"
        )


def _check_memory(
    gradients: Sequence[np.ndarray], repeated: Sequence[np.ndarray], leaves: Sequence[Tensor]
) -> None:
    """A gradient shares memory with no input, no other gradient and no later walk."""
    holders = {f"input {i}": leaf.data for i, leaf in enumerate(leaves)}
    for position, (gradient, later) in enumerate(zip(gradients, repeated)):
        name = f"the gradient of input {position}"
        for holder, memory in (*holders.items(), ("one of a later call", later)):
            if np.shares_memory(gradient, memory):
                raise GradientError(f"gradcheck: {name} shares memory with {holder}; copy it")
        holders[name] = gradient

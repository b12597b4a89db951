"""What happens to a gradient when elements are picked?

Picking copies some elements of x. Backward, their gradients are put back among zeros.
If an element was picked twice, its two gradients are added up:

    x = [a, b, c]      y = x[[1, 1, 2]] = [b, b, c]      g = [1, 10, 100]
    dL/dx = [0, 11, 100]

Picking is linear, too: y is the product of x with a matrix that holds a single 1 in
each row (`plain.embedding`). Copying rows is what this product amounts to, and its
transpose adds up what each row received.

`getitem` is x[index] with everything that NumPy allows between the brackets. `take`
picks along one axis. `embedding` picks rows of a table of vectors, one for each word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import (
    Array,
    add_rows,
    array_module,
    check_indices,
    move,
    on_host,
    scatter_add,
)
from minigrad.inputs import coerce, floating, tensor
from minigrad.kernels import added_rows
from minigrad.kernels.launching import choose
from minigrad.ops.reductions import normalise_axes
from minigrad.recording import is_recording
from minigrad.tensor import Tensor, constant, record

# Parts of an index that pick no element twice.
_BASIC = (int, slice, np.integer, type(None), type(Ellipsis))


def getitem(x: Any, index: Any) -> Tensor:
    """x[index] with slices, integers, None, ..., boolean masks, or arrays of indices.

    >>> getitem([[1.0, 2.0], [3.0, 4.0]], (slice(None), 0)).data.tolist()
    [1.0, 3.0]
    """
    (x,) = coerce("getitem", x)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part.data if isinstance(part, Tensor) else part for part in parts)
    is_basic = all(isinstance(part, _BASIC) for part in parts)
    xp = array_module(x.data)
    shape = x.shape
    dtype = x.dtype
    try:
        if not is_basic and not on_host(x.data):
            parts = _checked_index(xp, parts, shape)
        value = x.data[parts]
    except IndexError as error:
        raise IndexError(f"getitem: index {index} does not fit shape {shape}: {error}") from None

    def vjp(g: Array) -> Array:
        gradient = xp.zeros(shape, dtype)
        if is_basic:
            gradient[parts] = g
        else:
            scatter_add(gradient, parts, g)
        return gradient

    return record("getitem", value, (x,), vjp)


def _checked_index(xp: Any, parts: tuple, shape: tuple[int, ...]) -> tuple:
    """The index of a GPU array, with its arrays moved there; IndexError as from NumPy.

    An index that is out of range makes CuPy wrap around in silence. So NumPy applies
    the index first, to an array of the same shape that needs no memory: a single False
    that is broadcast.
    """
    parts = tuple(np.asarray(part) if isinstance(part, list) else part for part in parts)
    host_parts = tuple(move(part, "numpy") if hasattr(part, "dtype") else part for part in parts)
    np.broadcast_to(np.False_, shape)[host_parts]
    return tuple(xp.asarray(part) if isinstance(part, np.ndarray) else part for part in parts)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The slices of x at integer `indices` along one axis.

    IndexError for an index outside 0..n-1.

    >>> take([[1.0, 2.0], [3.0, 4.0]], [1, 1], axis=1).data.tolist()
    [[2.0, 2.0], [4.0, 4.0]]
    """
    (x,) = coerce("take", x)
    (axis,) = normalise_axes("take", axis, x.ndim)
    return _pick("take", x, indices, axis)


def embedding(weight: Any, ids: Any) -> Tensor:
    """The fast form of `plain.embedding`: the rows of `weight` at the integers `ids`.

    weight (V, D), ids (...) -> (..., D). IndexError for an id outside 0..V-1.

    >>> embedding([[1.0, 1.5], [2.0, 2.5]], [1, 0, 1]).data.tolist()
    [[2.0, 2.5], [1.0, 1.5], [2.0, 2.5]]
    """
    (weight,) = floating("embedding", weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be (V, D), got shape {weight.shape}")
    return _pick("embedding", weight, ids, 0)


def _pick(name: str, x: Tensor, indices: Any, axis: int) -> Tensor:
    """`take` along a non-negative axis; `name` is the operation that asks for it."""
    indices = move(tensor(constant(name, "indices", indices)).data, "numpy")
    check_indices(name, indices, x.shape[axis])
    xp = array_module(x.data)
    shape = x.shape
    dtype = x.dtype
    place = choose(x.data, portable=_placed, on_gpu=added_rows.placed)
    there, picks = place(indices, x.data, x.requires_grad and is_recording())
    value = xp.take(x.data, there, axis=axis)  # the shape of `indices` in place of the axis
    rest = (*shape[:axis], *shape[axis + 1 :])
    picked_axes = tuple(range(axis, axis + indices.ndim))
    front_axes = tuple(range(indices.ndim))

    def vjp(g: Array) -> Array:
        slices = xp.moveaxis(g, picked_axes, front_axes)  # (*indices, *rest)
        slices = slices.reshape(indices.size, *rest)  # (n, *rest)
        gradient = xp.zeros(shape, dtype)
        # gradient[..., i, ...] += the slices that were picked at i
        rows = xp.moveaxis(gradient, axis, 0)  # (V, *rest), a view
        add = choose(g, portable=add_rows, on_gpu=added_rows.add_rows)
        add(rows, picks, slices)  # (n,)
        return gradient

    return record(name, value, (x,), vjp)


def _placed(indices: np.ndarray, like: Array, needs: bool) -> tuple[Array, Any]:
    """The indices where `like` is, and in a row on the host, (n,), for `add_rows`."""
    return array_module(like).asarray(indices), indices.reshape(-1)

"""What happens to a gradient when numbers are moved?

The operations of this file compute nothing. They move numbers, repeat them, or put them
next to others. Each is linear, and its vjp is the transpose of that linear map: what
moves, moves back; what is repeated, is summed.

    broadcast_to   <->  sum over the repeated axes
    reshape        <->  reshape to the old shape
    transpose      <->  the inverse permutation
    flip           <->  flip
    tril           <->  tril: what is cut away gets 0
    concatenate    <->  split
    pad            <->  slice
    to, astype     <->  back to the old backend or dtype

Axis arguments follow NumPy: negative numbers count from the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, move, use_device
from minigrad.inputs import coerce
from minigrad.ops.basic import unbroadcast
from minigrad.ops.reductions import normalise_axes, reduced_axes
from minigrad.tensor import Axis, Tensor, constant, record, record_many

# --- one tensor in another form ---


def reshape(x: Any, *shape: Any) -> Tensor:
    """x in another shape: reshape(x, (2, 3)) or reshape(x, 2, 3); one size may be -1.

    >>> reshape([1.0, 2.0, 3.0, 4.0], 2, -1).data.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    (x,) = coerce("reshape", x)
    is_one_argument = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    new = tuple(shape[0]) if is_one_argument else shape
    old = x.shape
    try:
        value = x.data.reshape(new)  # new
    except ValueError:
        raise ValueError(f"reshape: shape {old} ({x.size} elements) does not fit {new}") from None

    def vjp(g: Array) -> Array:
        return g.reshape(old)  # shape of x

    return record("reshape", value, (x,), vjp)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes in the order `axes`; None reverses them.

    >>> x = [[[1.0, 2.0, 3.0]]]
    >>> transpose(x, (2, 0, 1)).shape, transpose([[1.0, 2.0]]).data.tolist()
    ((3, 1, 1), [[1.0], [2.0]])
    """
    (x,) = coerce("transpose", x)
    order = normalise_axes("transpose", range(x.ndim)[::-1] if axes is None else axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"transpose: axes {axes} must name all {x.ndim} axes of {x.shape}")
    inverse = tuple(order.index(i) for i in range(x.ndim))

    def vjp(g: Array) -> Array:
        return g.transpose(inverse)  # shape of x

    return record("transpose", x.data.transpose(order), (x,), vjp)  # axes in `order`


def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """x with two axes exchanged.

    >>> swapaxes([[1.0, 2.0], [3.0, 4.0]], 0, -1).data.tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    (x,) = coerce("swapaxes", x)
    (i,) = normalise_axes("swapaxes", first, x.ndim)
    (j,) = normalise_axes("swapaxes", second, x.ndim)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return transpose(x, order)


def ravel(x: Any) -> Tensor:
    """All elements of x in a row.

    >>> ravel([[1.0, 2.0], [3.0, 4.0]]).data.tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    return reshape(x, (-1,))  # (size,)


def flatten(x: Any, first: int = 0, last: int = -1) -> Tensor:
    """x with the axes from `first` to `last` as one axis.

    flatten(x, 1) makes one row of numbers of each sample in a batch.

    >>> flatten([[[1.0, 2.0], [3.0, 4.0]]], 1).data.tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """
    (x,) = coerce("flatten", x)
    if x.ndim == 0:
        return reshape(x, (1,))
    (start,) = normalise_axes("flatten", first, x.ndim)
    (end,) = normalise_axes("flatten", last, x.ndim)
    if start > end:
        raise ValueError(f"flatten: axis {first} comes after axis {last} in shape {x.shape}")
    shape = x.shape
    size = math.prod(shape[start : end + 1])
    return reshape(x, (*shape[:start], size, *shape[end + 1 :]))  # one axis for several


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """x without the axes in `axis`, which must have size 1. None: all of size 1.

    >>> squeeze([[[1.0, 2.0]]]).shape, squeeze([[[1.0, 2.0]]], axis=0).shape
    ((2,), (1, 2))
    """
    (x,) = coerce("squeeze", x)
    shape = x.shape
    if axis is None:
        return reshape(x, [n for n in shape if n != 1])
    axes = reduced_axes("squeeze", axis, x.ndim)
    if any(shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} must have size 1")
    return reshape(x, [n for i, n in enumerate(shape) if i not in axes])  # without them


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """x with new axes of size 1, which stand at `axis` in the result.

    >>> expand_dims([1.0, 2.0], 0).shape, expand_dims([1.0, 2.0], (0, -1)).shape
    ((1, 2), (1, 2, 1))
    """
    (x,) = coerce("expand_dims", x)
    new = 1 if isinstance(axis, (int, np.integer)) else len(axis)
    axes = normalise_axes("expand_dims", axis, x.ndim + new)
    sizes = iter(x.shape)
    return reshape(x, [1 if i in axes else next(sizes) for i in range(x.ndim + new)])  # longer


def flip(x: Any, axis: Axis = None) -> Tensor:
    """x in reverse order along `axis`; None: along all axes.

    >>> flip([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
    [[2.0, 1.0], [4.0, 3.0]]
    """
    (x,) = coerce("flip", x)
    axes = normalise_axes("flip", axis, x.ndim)
    xp = array_module(x.data)

    def vjp(g: Array) -> Array:
        return xp.flip(g, axes)

    return record("flip", xp.flip(x.data, axes), (x,), vjp)


def tril(x: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices (..., N, M), with 0 above it.

    `diagonal` counts the diagonals above the main one that stay; -1 cuts the main one.

    >>> tril([[1.0, 2.0], [3.0, 4.0]]).data.tolist()
    [[1.0, 0.0], [3.0, 4.0]]
    """
    (x,) = coerce("tril", x)
    if x.ndim < 2:
        raise ValueError(f"tril: needs matrices (..., N, M), got shape {x.shape}")
    diagonal = constant("tril", "diagonal", diagonal)
    xp = array_module(x.data)

    def vjp(g: Array) -> Array:
        return xp.tril(g, diagonal)

    return record("tril", xp.tril(x.data, diagonal), (x,), vjp)


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape` by the rules of broadcasting.

    >>> broadcast_to([1.0, 2.0], (2, 2)).data.tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    (x,) = coerce("broadcast_to", x)
    old = x.shape
    try:
        value = array_module(x.data).broadcast_to(x.data, tuple(shape))  # shape
    except ValueError:
        raise ValueError(f"broadcast_to: shape {old} cannot become {tuple(shape)}") from None

    def vjp(g: Array) -> Array:
        return unbroadcast(g, old)

    return record("broadcast_to", value, (x,), vjp)


def pad(x: Any, widths: Any, value: float = 0.0) -> Tensor:
    """x with a number around it; widths as in numpy.pad, (before, after) for each axis.

    >>> pad([1.0, 2.0], (1, 2)).data.tolist()
    [0.0, 1.0, 2.0, 0.0, 0.0]
    >>> pad([1.0, 2.0], 1, value=-1.0).data.tolist()
    [-1.0, 1.0, 2.0, -1.0]
    """
    (x,) = coerce("pad", x)
    value = float(constant("pad", "value", value))
    try:
        before_after = np.broadcast_to(np.asarray(widths), (x.ndim, 2))  # (ndim, 2)
    except ValueError:
        raise ValueError(
            f"pad: widths {widths} must be one pair (before, after), or one for each axis of "
            f"{x.shape}"
        ) from None
    if before_after.dtype.kind not in "iu" or before_after.min(initial=0) < 0:
        raise ValueError(f"pad: widths must be integers and not negative, got {widths}")
    pairs = before_after.tolist()
    inside = tuple(slice(before, before + n) for (before, _), n in zip(pairs, x.shape))
    # An array without axes has no pairs, and NumPy refuses an empty list of widths.
    padded = array_module(x.data).pad(  # sizes grow by the widths
        x.data, pairs if x.ndim else 0, constant_values=value
    )

    def vjp(g: Array) -> Array:
        return g[inside]

    return record("pad", padded, (x,), vjp)


# --- several tensors in one, and back ---


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors joined along an existing axis.

    >>> concatenate([[1.0, 2.0], [3.0]]).data.tolist()
    [1.0, 2.0, 3.0]
    """
    tensors = coerce("concatenate", *tensors)
    shapes = [tensor.shape for tensor in tensors]
    (axis,) = normalise_axes("concatenate", axis, tensors[0].ndim)
    xp = array_module(tensors[0].data)
    try:
        value = xp.concatenate([tensor.data for tensor in tensors], axis=axis)  # sizes add up
    except ValueError:
        raise ValueError(
            f"concatenate: shapes {shapes} must agree on every axis but {axis}"
        ) from None
    cuts = np.cumsum([shape[axis] for shape in shapes])[:-1].tolist()

    def vjp(g: Array) -> tuple[Array, ...]:
        return tuple(xp.split(g, cuts, axis=axis))

    return record("concatenate", value, tensors, vjp)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis.

    >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    tensors = coerce("stack", *tensors)
    shapes = [tensor.shape for tensor in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(f"stack: shapes {shapes} must be equal")
    (axis,) = normalise_axes("stack", axis, tensors[0].ndim + 1)
    with_axis = (*shapes[0][:axis], 1, *shapes[0][axis:])
    return concatenate([reshape(tensor, with_axis) for tensor in tensors], axis)  # (..., n, ...)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along an axis.

    sections is the number of equal parts, or a list of indices to cut before.

    >>> [part.data.tolist() for part in split([1.0, 2.0, 3.0, 4.0], [1, 3])]
    [[1.0], [2.0, 3.0], [4.0]]
    """
    (x,) = coerce("split", x)
    (axis,) = normalise_axes("split", axis, x.ndim)
    sections = constant("split", "sections", sections)
    xp = array_module(x.data)
    sections = int(sections) if isinstance(sections, np.integer) else sections
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ValueError(f"split: {x.shape[axis]} rows do not cut into {sections} equal parts")
    parts = xp.split(x.data, sections, axis=axis)
    shapes = [part.shape for part in parts]
    dtype = x.dtype
    if sum(shape[axis] for shape in shapes) != x.shape[axis]:
        raise ValueError(f"split: the indices {sections} must not decrease")

    def vjp(*gradients: Array | None) -> Array:
        # A part that was never used has no gradient: zeros stand in for it.
        filled = [xp.zeros(shape, dtype) if g is None else g for g, shape in zip(gradients, shapes)]
        return xp.concatenate(filled, axis=axis)  # shape of x

    return record_many("split", parts, (x,), vjp)


# --- another backend, another dtype ---


def to(x: Tensor, backend: str) -> Tensor:
    """x on another backend ("numpy", "cupy", "cupy:1"); its gradient travels back."""
    home = x.backend

    def vjp(g: Array) -> Array:
        return move(g, home)

    return record("to", move(x.data, backend), (x,), vjp)


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype; its gradient keeps the dtype of x. Integers have no gradient.

    >>> from minigrad import tensor
    >>> astype(tensor([1.0, 2.0]), "float64").dtype
    dtype('float64')
    """
    old = x.dtype
    use_device(x.data)
    value = x.data.astype(dtype)
    if value.dtype.kind not in "fc":
        return Tensor(value)

    def vjp(g: Array) -> Array:
        return g.astype(old)

    return record("astype", value, (x,), vjp)

"""Chapter 3: what happens to a gradient when numbers are summed, moved or picked?

Every operation of this chapter is linear or picks elements, and its vjp is the transpose of that:
what the forward pass sums is repeated, what it repeats is summed; what it moves, moves back; what
it picks, is put back among zeros, and added up where one element was picked twice.

    sum         <->  broadcast_to
    reshape     <->  reshape to the old shape
    transpose   <->  the inverse permutation
    concatenate <->  split
    pad         <->  slice
    x[index]    <->  scatter_add

Axis arguments follow NumPy: None for all axes, an int or a tuple, negative from the end.
Where several elements attain a maximum they share its gradient equally.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, move, scatter_add
from minigrad.inputs import coerce, floating
from minigrad.ops.basic import mul, unbroadcast
from minigrad.tensor import Tensor, record, record_many

Axis = int | Sequence[int] | None


def normalise_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative ints; ValueError where one is out of range or repeated."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    for each in axes:
        if not -ndim <= each < ndim:
            raise ValueError(f"{name}: axis {each} is out of range for {ndim} dimensions")
    positive = tuple(int(each) % ndim for each in axes)
    if len(set(positive)) < len(positive):
        raise ValueError(f"{name}: axis {axis} names one axis twice")
    return positive


def _reduced(name: str, x: Tensor, axis: Axis) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The axes to reduce, the shape of x with size 1 along them, and how many elements meet."""
    axes = normalise_axes(name, axis, x.ndim)
    kept = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    count = math.prod([x.shape[i] for i in axes])
    if count == 0 and math.prod(kept) > 0:
        raise ValueError(f"{name}: no elements along axis {axes} of shape {x.shape}")
    return axes, kept, count or 1


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`."""
    (x,) = coerce("sum", x)
    axes = normalise_axes("sum", axis, x.ndim)
    kept = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    xp, shape = array_module(x.data), x.shape

    def vjp(g: Array) -> Array:
        return xp.broadcast_to(g.reshape(kept), shape)  # shape of x

    return record("sum", x.data.sum(axis=axes, keepdims=keepdims), (x,), vjp)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis`. ValueError where there is nothing to average."""
    (x,) = floating("mean", x)
    axes, _, count = _reduced("mean", x, axis)
    return mul(sum(x, axes, keepdims), 1.0 / count)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The population variance over `axis`: the mean squared distance from the mean."""
    (x,) = floating("var", x)
    axes, kept, count = _reduced("var", x, axis)
    centred = x.data - x.data.sum(axis=axes, keepdims=True) / count
    value = (centred * centred).sum(axis=axes, keepdims=keepdims) / count

    def vjp(g: Array) -> Array:
        # d var/dx_i = 2 (x_i - mean) / n: the mean's own dependence on x_i sums to zero.
        return (2.0 / count) * g.reshape(kept) * centred

    return record("var", value, (x,), vjp)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over `axis`; equal ones share the gradient equally."""
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over `axis`; equal ones share the gradient equally."""
    return _extreme("min", x, axis, keepdims)


def _extreme(name: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    (x,) = coerce(name, x)
    axes, kept, _ = _reduced(name, x, axis)
    data = x.data
    best = getattr(data, name if data.size else "sum")(axis=axes, keepdims=True)

    def vjp(g: Array) -> Array:
        hit = (data.real == best.real).astype(g.dtype)
        return hit * (g.reshape(kept) / hit.sum(axis=axes, keepdims=True))

    return record(name, best if keepdims else best.squeeze(axes), (x,), vjp)  # without axes


def finite_maximum(x: Array, axis: int | tuple[int, ...]) -> Array:
    """The largest elements, kept as axes of size 1; 0 where they are infinite or NaN."""
    top = x.real.max(axis=axis, keepdims=True)
    return array_module(x).where(array_module(x).isfinite(top), top, 0.0).astype(top.dtype)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log sum exp(x) over `axis`, as m + log sum exp(x - m) with the largest element as m, so that
    nothing overflows. Its derivative is softmax(x); a slice of -inf alone gives -inf, and none."""
    (x,) = floating("logsumexp", x)
    axes, kept, _ = _reduced("logsumexp", x, axis)
    data, xp = x.data, array_module(x.data)
    if data.size == 0:
        return sum(x, axes, keepdims)
    top = finite_maximum(data, axes)
    weights = xp.exp(data - top)
    total = weights.sum(axis=axes, keepdims=True)
    empty = total.real == 0
    total += empty
    weights /= total
    value = xp.where(empty, -xp.inf, xp.log(total) + top).astype(data.dtype)

    def vjp(g: Array) -> Array:
        return g.reshape(kept) * weights

    return record("logsumexp", value if keepdims else value.squeeze(axes), (x,), vjp)  # no axes


def reshape(x: Any, *shape: Any) -> Tensor:
    """x in another shape: reshape(x, (2, 3)) or reshape(x, 2, 3); one size may be -1."""
    (x,) = coerce("reshape", x)
    wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    before = x.shape
    try:
        value = x.data.reshape(wanted)  # wanted
    except ValueError:
        found = f"shape {before} ({x.size} elements)"
        raise ValueError(f"reshape: {found} does not fit {wanted}") from None

    def vjp(g: Array) -> Array:
        return g.reshape(before)  # shape of x

    return record("reshape", value, (x,), vjp)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes in the order `axes`; None reverses them."""
    (x,) = coerce("transpose", x)
    order = normalise_axes("transpose", range(x.ndim)[::-1] if axes is None else axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"transpose: axes {axes} must name all {x.ndim} axes of {x.shape}")
    inverse = tuple(order.index(i) for i in range(x.ndim))

    def vjp(g: Array) -> Array:
        return g.transpose(inverse)  # shape of x

    return record("transpose", x.data.transpose(order), (x,), vjp)  # axes in `order`


def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """x with two axes exchanged."""
    (x,) = coerce("swapaxes", x)
    (i,), (j,) = (normalise_axes("swapaxes", axis, x.ndim) for axis in (first, second))
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return transpose(x, order)


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """x repeated to `shape` by the rules of broadcasting."""
    (x,) = coerce("broadcast_to", x)
    before = x.shape
    try:
        value = array_module(x.data).broadcast_to(x.data, tuple(shape))  # shape
    except ValueError:
        raise ValueError(f"broadcast_to: shape {before} cannot become {tuple(shape)}") from None

    def vjp(g: Array) -> Array:
        return unbroadcast(g, before)

    return record("broadcast_to", value, (x,), vjp)


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors joined along an existing axis."""
    tensors = coerce("concatenate", *tensors)
    shapes = [each.shape for each in tensors]
    (axis,) = normalise_axes("concatenate", axis, tensors[0].ndim)
    xp = array_module(tensors[0].data)
    try:
        value = xp.concatenate([each.data for each in tensors], axis=axis)  # sizes add up on axis
    except ValueError:
        expected = f"must agree on every axis but {axis}"
        raise ValueError(f"concatenate: shapes {shapes} {expected}") from None
    cuts = np.cumsum([shape[axis] for shape in shapes])[:-1].tolist()

    def vjp(g: Array) -> tuple[Array, ...]:
        return tuple(xp.split(g, cuts, axis=axis))

    return record("concatenate", value, tensors, vjp)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    tensors = coerce("stack", *tensors)
    if len({each.shape for each in tensors}) > 1:
        raise ValueError(f"stack: shapes {[each.shape for each in tensors]} must be equal")
    (axis,) = normalise_axes("stack", axis, tensors[0].ndim + 1)
    wider = (*tensors[0].shape[:axis], 1, *tensors[0].shape[axis:])
    return concatenate([reshape(each, wider) for each in tensors], axis)  # (..., n, ...)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along an axis: into `sections` equal parts, or before each index in `sections`."""
    (x,) = coerce("split", x)
    (axis,) = normalise_axes("split", axis, x.ndim)
    xp = array_module(x.data)
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ValueError(f"split: {x.shape[axis]} rows do not cut into {sections} equal parts")
    parts = xp.split(x.data, sections, axis=axis)
    shapes, dtype = [part.shape for part in parts], x.dtype
    if builtins.sum(shape[axis] for shape in shapes) != x.shape[axis]:
        raise ValueError(f"split: the indices {sections} must not decrease")

    def vjp(*gradients: Array | None) -> Array:
        filled = [xp.zeros(shape, dtype) if g is None else g for g, shape in zip(gradients, shapes)]
        return xp.concatenate(filled, axis=axis)  # shape of x

    return record_many("split", parts, (x,), vjp)


def pad(x: Any, widths: Any) -> Tensor:
    """x with zeros around it; widths as in numpy.pad, (before, after) for each axis."""
    (x,) = coerce("pad", x)
    try:
        before_after = np.broadcast_to(np.asarray(widths), (x.ndim, 2))  # (ndim, 2)
    except ValueError:
        expected = f"(before, after) for each axis of {x.shape}"
        raise ValueError(f"pad: widths {widths} are no {expected}") from None
    if before_after.dtype.kind not in "iu" or before_after.min(initial=0) < 0:
        raise ValueError(f"pad: widths must be integers and not negative, got {widths}")
    inner = tuple(slice(low, low + n) for (low, _), n in zip(before_after.tolist(), x.shape))
    # NumPy takes no empty list of widths, which is what a 0-d array has. Sizes grow by the widths.
    value = array_module(x.data).pad(x.data, before_after.tolist() if x.ndim else 0)

    def vjp(g: Array) -> Array:
        return g[inner]

    return record("pad", value, (x,), vjp)


def getitem(x: Any, index: Any) -> Tensor:
    """x[index] with slices, integers, None, ..., boolean masks, or arrays of indices."""
    (x,) = coerce("getitem", x)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part.data if isinstance(part, Tensor) else part for part in parts)
    plain = (int, slice, np.integer, type(None), type(Ellipsis))
    simple = builtins.all(isinstance(part, plain) for part in parts)
    xp, shape, dtype = array_module(x.data), x.shape, x.dtype
    try:
        if not simple and xp is not np:
            parts = _checked_index(xp, parts, shape)
        value = x.data[parts]
    except IndexError as error:
        raise IndexError(f"getitem: index {index} does not fit shape {shape}: {error}") from None

    def vjp(g: Array) -> Array:
        scattered = xp.zeros(shape, dtype)
        if simple:
            scattered[parts] = g
        else:
            scatter_add(scattered, parts, g)
        return scattered

    return record("getitem", value, (x,), vjp)


def _checked_index(xp: Any, parts: tuple, shape: tuple[int, ...]) -> tuple:
    """The index with its arrays on the device; NumPy raises here what CuPy would wrap around."""
    parts = [np.asarray(part) if isinstance(part, list) else part for part in parts]
    on_host = [move(part, "numpy") if hasattr(part, "dtype") else part for part in parts]
    np.broadcast_to(np.False_, shape)[tuple(on_host)]
    return tuple(xp.asarray(part) if isinstance(part, np.ndarray) else part for part in parts)


def to(x: Tensor, backend: str) -> Tensor:
    """x on another backend ("numpy", "cupy", "cupy:1"); its gradient travels back."""
    home = x.backend

    def vjp(g: Array) -> Array:
        return move(g, home)

    return record("to", move(x.data, backend), (x,), vjp)


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype; its gradient keeps the dtype of x."""
    before = x.dtype

    def vjp(g: Array) -> Array:
        return g.astype(before)

    value = x.data.astype(dtype)
    return record("astype", value, (x,), vjp) if value.dtype.kind in "fc" else Tensor(value)

"""What happens to a gradient when an axis is summed away?

A sum uses every element once, so every element receives the gradient of its sum: the
derivative of summing is repeating. The other reductions weight the elements.

    y = sum(x)          dy/dx_i = 1
    y = mean(x)         dy/dx_i = 1/n
    y = var(x)          dy/dx_i = 2 (x_i - mean(x)) / n
    y = norm(x)         dy/dx_i = x_i / y
    y = std(x)          dy/dx_i = (x_i - mean(x)) / (n y)
    y = max(x)          dy/dx_i = 1 for the largest element, else 0
    y = logsumexp(x)    dy/dx_i = softmax(x)_i

The mean in var(x) moves with x as well, but adds nothing: its part is a factor times
the sum of all x_i - mean(x), which is 0. The others follow from y^2 = sum of x_i^2 for
norm, from y^2 = var(x) for std, and from the derivative of the logarithm for logsumexp.

If several elements are the largest, they share the gradient equally.

`axis` follows NumPy: None for all axes, an int or a tuple, negative numbers from the
end. A single number, which has no axes, may be reduced along axis 0 or -1. `keepdims`
leaves the summed axes in place with size 1. A vjp begins with `g.reshape(kept_shape)`,
which gives g these axes back, so that it broadcasts against x.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce, floating
from minigrad.ops.basic import mul
from minigrad.tape import Shape
from minigrad.tensor import Axis, Tensor, constant, record


def normalise_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative ints.

    ValueError if one is out of range or occurs twice; `name` is the operation's name.

    >>> normalise_axes("sum", -1, ndim=3), normalise_axes("sum", None, ndim=3)
    ((2,), (0, 1, 2))
    """
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(map(operator.index, axis))
    for i in axes:
        if not -ndim <= i < ndim:
            raise ValueError(f"{name}: axis {i} is out of range for {ndim} dimensions")
    positive = tuple(int(i) % ndim for i in axes)
    if len(set(positive)) < len(positive):
        raise ValueError(f"{name}: axis {axis} names one axis twice")
    return positive


def reduced_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`normalise_axes` for reductions: a number without axes has an axis 0 to reduce.

    >>> reduced_axes("sum", -1, ndim=0), reduced_axes("sum", -1, ndim=2)
    ((), (1,))
    """
    axis = constant(name, "axis", axis)
    if ndim == 0 and axis in (0, -1):
        return ()
    return normalise_axes(name, axis, ndim)


def _kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """`shape` with size 1 along the reduced axes."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def _count(name: str, shape: Shape, axes: tuple[int, ...]) -> int:
    """How many elements become one; ValueError for a result that is made of none."""
    count = math.prod([shape[i] for i in axes])
    if count == 0 and math.prod(_kept_shape(shape, axes)) > 0:
        raise ValueError(f"{name}: no elements along axis {axes} of shape {shape}")
    return count or 1  # with 0 elements, there are no results to divide


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0).data.tolist()
    [4.0, 6.0]
    """
    (x,) = coerce("sum", x)
    axes = reduced_axes("sum", axis, x.ndim)
    shape = x.shape
    kept_shape = _kept_shape(shape, axes)
    xp = array_module(x.data)

    def vjp(g: Array) -> Array:
        return xp.broadcast_to(g.reshape(kept_shape), shape)  # size 1 -> shape of x

    return record("sum", x.data.sum(axis=axes, keepdims=keepdims), (x,), vjp)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The safe form of `plain.mean`: the sum over `axis`, divided by the count.

    ValueError if there is nothing to average.

    >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
    [1.5, 3.5]
    """
    (x,) = floating("mean", x)
    axes = reduced_axes("mean", axis, x.ndim)
    count = _count("mean", x.shape, axes)
    return mul(sum(x, axes, keepdims), 1.0 / count)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The fast form of `plain.var`: the mean of (x - mean(x))^2 over `axis`.

    >>> var([1.0, 3.0, 5.0, 7.0]).item()
    5.0
    """
    (x,) = floating("var", x)
    axes = reduced_axes("var", axis, x.ndim)
    kept_shape = _kept_shape(x.shape, axes)
    count = _count("var", x.shape, axes)
    centred = _centred(x.data, axes, count)
    value = (centred * centred).sum(axis=axes, keepdims=keepdims) / count

    def vjp(g: Array) -> Array:
        # dy/dx_i = 2 (x_i - mean) / n. That the mean also depends on x_i adds nothing:
        # its contribution is the sum of all (x_j - mean), which is 0.
        return (2.0 / count) * g.reshape(kept_shape) * centred  # g with its axes back

    return record("var", value, (x,), vjp)


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The length over `axis`: the square root of the sum of squares.

    At a vector of zeros, which has no derivative, the gradient is 0.

    >>> norm([[3.0, 4.0], [5.0, 12.0]], axis=1).data.tolist()
    [5.0, 13.0]
    """
    (x,) = floating("norm", x)
    axes = reduced_axes("norm", axis, x.ndim)
    data = x.data
    xp = array_module(data)
    scale = scale_for_squares(data, axes)
    scaled = data / scale
    length = scale * xp.sqrt((scaled * scaled).sum(axis=axes, keepdims=True))
    kept_shape = length.shape

    def vjp(g: Array) -> Array:
        divisor = length + (length == 0)  # 0 becomes 1: the zeros of x stay zeros
        return g.reshape(kept_shape) * (data / divisor)  # g with its axes back

    value = length if keepdims else length.squeeze(axes)  # without the reduced axes
    return record("norm", value, (x,), vjp)


def _centred(x: Array, axes: tuple[int, ...], count: int) -> Array:
    """x - mean(x). The mean of `count` elements over `axes` is taken away twice.

    The first mean of numbers near 1e6 is off by 0.06 in float32. What is left is small,
    so its own mean, which should be 0, is exact.
    """
    centred = x - x.sum(axis=axes, keepdims=True) / count
    centred -= centred.sum(axis=axes, keepdims=True) / count
    return centred


LARGE = 1e15
"""Squares of larger numbers come near the end of float32, 3e38."""


def scale_for_squares(x: Array, axes: tuple[int, ...]) -> Array:
    """What to divide x by before it is squared and summed over `axes`.

    It is 1 for numbers of a usual size, and the largest one for larger ones. It is kept
    with size 1 along the axes.

    >>> scale_for_squares(np.array([[3.0, 4.0], [-3e20, 4.0]]), (1,)).tolist()
    [[1.0], [3e+20]]
    """
    xp = array_module(x)
    if x.size == 0:
        return x.real.sum(axis=axes, keepdims=True) + 1.0  # no numbers, and so 1
    highest = x.real.max(axis=axes, keepdims=True)
    lowest = x.real.min(axis=axes, keepdims=True)
    largest = xp.maximum(highest, -lowest)
    return xp.where(largest > LARGE, largest, 1.0).astype(largest.dtype)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The standard deviation over `axis`: the square root of `var`.

    If all elements are equal, it is 0, and its derivative counts as 0.

    >>> std([1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0]).item()
    4.0
    """
    (x,) = floating("std", x)
    axes = reduced_axes("std", axis, x.ndim)
    kept_shape = _kept_shape(x.shape, axes)
    count = _count("std", x.shape, axes)
    xp = array_module(x.data)
    centred = _centred(x.data, axes, count)
    scale = scale_for_squares(centred, axes)
    scaled = centred / scale
    deviation = scale * xp.sqrt((scaled * scaled).sum(axis=axes, keepdims=True) / count)

    def vjp(g: Array) -> Array:
        # dy/dx_i = (x_i - mean) / (n y); where y is 0, x_i - mean is 0, too
        denominator = count * deviation + (deviation == 0)
        return g.reshape(kept_shape) * (centred / denominator)  # g with its axes back

    value = deviation if keepdims else deviation.squeeze(axes)  # without the reduced axes
    return record("std", value, (x,), vjp)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over `axis`; equal ones share the gradient equally.

    >>> from minigrad import grad, tensor
    >>> x = tensor([[1.0, 5.0, 2.0], [4.0, 4.0, 0.0]], requires_grad=True)
    >>> y = max(x, axis=1)
    >>> y.data.tolist()
    [5.0, 4.0]
    >>> grad(y, x, [1.0, 1.0])[0].tolist()
    [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    """
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over `axis`; equal ones share the gradient equally.

    >>> min([[1.0, 5.0], [4.0, 0.0]], axis=1).data.tolist()
    [1.0, 0.0]
    """
    return _extreme("min", x, axis, keepdims)


def _extreme(name: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    """`max` or `min`, as `name` says."""
    (x,) = coerce(name, x)
    axes = reduced_axes(name, axis, x.ndim)
    kept_shape = _kept_shape(x.shape, axes)
    _count(name, x.shape, axes)
    data = x.data
    if data.size == 0:
        # No element, and so no result. NumPy's max refuses; sum gives the empty array.
        extreme = data.sum(axis=axes, keepdims=True)
    elif name == "max":
        extreme = data.max(axis=axes, keepdims=True)
    else:
        extreme = data.min(axis=axes, keepdims=True)

    def vjp(g: Array) -> Array:
        is_extreme = (data.real == extreme.real).astype(g.dtype)
        ties = is_extreme.sum(axis=axes, keepdims=True)
        return is_extreme * (g.reshape(kept_shape) / ties)  # g with its axes back

    value = extreme if keepdims else extreme.squeeze(axes)  # without the reduced axes
    return record(name, value, (x,), vjp)


def finite_maximum(x: Array, axis: int | tuple[int, ...]) -> Array:
    """The largest elements of an array along `axis`, kept with size 1.

    An infinite or NaN maximum is replaced by 0, because subtracting it would turn the
    other elements into NaN.
    """
    xp = array_module(x)
    largest = x.real.max(axis=axis, keepdims=True)
    return xp.where(xp.isfinite(largest), largest, 0.0).astype(largest.dtype)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The fast form of `plain.logsumexp`: log(sum(exp(x))) over `axis`.

    It is computed as m + log(sum(exp(x - m))), m the largest element, so that nothing
    overflows. A slice of -inf alone gives -inf, and gets a gradient of zeros.

    >>> round(logsumexp([1000.0, 1000.0]).item(), 3)  # 1000 + log(2)
    1000.693
    """
    (x,) = floating("logsumexp", x)
    axes = reduced_axes("logsumexp", axis, x.ndim)
    kept_shape = _kept_shape(x.shape, axes)
    _count("logsumexp", x.shape, axes)
    data = x.data
    xp = array_module(data)
    if data.size == 0:
        return sum(x, axes, keepdims)  # the empty result
    largest = finite_maximum(data, axes)
    exponentials = xp.exp(data - largest)
    total = exponentials.sum(axis=axes, keepdims=True)
    is_hidden = total.real == 0  # a slice of -inf alone
    total += is_hidden  # 0 becomes 1: dividing by it leaves the zeros
    value = xp.where(is_hidden, -xp.inf, xp.log(total) + largest).astype(data.dtype)
    # softmax(x) = exp(x - m) / sum(exp(x - m))
    exponentials /= total
    probabilities = exponentials

    def vjp(g: Array) -> Array:
        return g.reshape(kept_shape) * probabilities  # g with its axes back

    value = value if keepdims else value.squeeze(axes)  # without the reduced axes
    return record("logsumexp", value, (x,), vjp)

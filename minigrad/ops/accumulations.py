"""What is the gradient of a running result?

`cumsum` keeps every intermediate sum. Element i is part of the sums from i on, so its
gradient is the sum of their gradients: the running sum from the other end.

    y_k = x_0 + ... + x_k           dL/dx_i = g_i + g_(i+1) + ... + g_(n-1)

`prod` multiplies all elements. The derivative with respect to one of them is the
product of all others:

    y = x_0 x_1 ... x_(n-1)         dy/dx_i = (x_0 ... x_(i-1)) (x_(i+1) ... x_(n-1))

y / x_i would be shorter, but is 0/0 where x_i is 0. So two running products, one from
each end, give the two brackets.
"""

from __future__ import annotations

import math
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce
from minigrad.ops.reductions import reduced_axes
from minigrad.tensor import Axis, Tensor, record


def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """The sums of the first elements along `axis`; None counts through all elements.

    >>> cumsum([[1.0, 2.0], [3.0, 4.0]], axis=0).data.tolist()
    [[1.0, 2.0], [4.0, 6.0]]
    >>> cumsum([[1.0, 2.0], [3.0, 4.0]]).data.tolist()
    [1.0, 3.0, 6.0, 10.0]
    """
    (x,) = coerce("cumsum", x)
    shape = x.shape
    axes = reduced_axes("cumsum", axis, x.ndim)
    xp = array_module(x.data)
    if axis is None or not shape:
        values, along = x.data.reshape(-1), 0  # all elements in a row
    else:
        values, along = x.data, axes[0]
    result_shape = values.shape if axis is None else shape

    def vjp(g: Array) -> Array:
        backwards = xp.flip(g.reshape(values_shape), along)
        return xp.flip(backwards.cumsum(axis=along), along).reshape(shape)  # shape of x

    values_shape = values.shape
    # The dtype is named, because NumPy would widen small integers.
    sums = values.cumsum(axis=along, dtype=x.dtype if x.dtype.kind in "fc" else None)
    return record("cumsum", sums.reshape(result_shape), (x,), vjp)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over `axis`; the product of no elements is 1.

    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
    [2.0, 12.0]
    """
    (x,) = coerce("prod", x)
    axes = reduced_axes("prod", axis, x.ndim)
    shape, data = x.shape, x.data
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    order = (*kept, *axes)
    count = math.prod([shape[i] for i in axes])
    xp = array_module(data)

    def vjp(g: Array) -> Array:
        # The reduced axes as one axis, the last one: (..., n)
        moved = data.transpose(order)
        factors = moved.reshape(*[shape[i] for i in kept], count)
        ones = xp.ones_like(factors[..., :1])
        before = xp.concatenate([ones, factors[..., :-1]], axis=-1).cumprod(axis=-1)
        after = xp.concatenate([ones, factors[..., :0:-1]], axis=-1).cumprod(axis=-1)
        others = before * after[..., ::-1]  # (..., n)
        spread = g.reshape(*[shape[i] for i in kept], 1) * others  # (..., n)
        inverse = [order.index(i) for i in range(len(order))]
        return spread.reshape(moved.shape).transpose(inverse)  # shape of x

    return record("prod", data.prod(axis=axes, keepdims=keepdims), (x,), vjp)

"""How does an image become smaller?

A window slides over each channel by itself (ops/windows.py), and puts one number in the
place of all that it sees: their mean, or the largest of them.

The mean is a convolution whose filter holds 1/K^2 everywhere, so it is a product of
matrices, y = A x. Its derivative is the transpose A^T: each number that was seen
receives g/K^2 from each window that saw it.

The largest number is a choice (ops/choice.py). With a matrix S that has a single 1 in
each row, at the number that was chosen, y = S x. S^T sends g to the chosen number and
nothing to the others. If numbers are equal, the first of them is chosen, as in PyTorch.

The mean of small windows before each step of 2 keeps fine patterns from turning into
coarse ones that are not there. Zhang 2019, "Making Convolutional Networks
Shift-Invariant Again", arXiv:1904.11486.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.inputs import floating
from minigrad.memory import blocks, empty
from minigrad.ops.windows import inside, make_windows, padded
from minigrad.tensor import Tensor, record


def avg_pool2d(x: Any, kernel_size: int, stride: int | None = None) -> Tensor:
    """The fast form of `plain_images.avg_pool2d`: the mean of each window.

    x (N, C, H, W) -> (N, C, H', W'), H' = (H - kernel_size) // stride + 1. Without a
    stride, the windows lie side by side: stride = kernel_size.

    >>> avg_pool2d([[[[1.0, 3.0, 5.0], [1.0, 3.0, 9.0]]]], kernel_size=2, stride=1).data
    array([[[[2., 5.]]]], dtype=float32)
    """
    (x,) = floating("avg_pool2d", x)
    stride = kernel_size if stride is None else stride
    windows = make_windows("avg_pool2d", x, (kernel_size, kernel_size), stride, padding=0)
    shape = x.shape
    data = x.data
    share = 1.0 / (windows.height * windows.width)
    y = empty((*shape[:2], windows.rows, windows.columns), data)
    every_row = slice(0, windows.rows)
    for samples in blocks(data):
        # y = the sum of what the positions see / K^2
        total = y[samples]
        total[...] = 0.0
        for _, _, index in windows.positions(every_row):
            total += data[samples][index]
        total *= share

    def vjp(g: Array) -> Array:
        to_x = empty(shape, g)
        for samples in blocks(to_x):
            # dL/dx = the sum of g / K^2 over the windows that saw x
            block = to_x[samples]
            block[...] = 0.0
            scaled = g[samples] * share
            for _, _, index in windows.positions(every_row):
                block[index] += scaled
        return to_x

    return record("avg_pool2d", y, (x,), vjp)


def max_pool2d(x: Any, kernel_size: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """The fast form of `plain_images.max_pool2d`: the largest number of each window.

    x (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel_size) // stride + 1.
    Without a stride, the windows lie side by side: stride = kernel_size. The padding
    never wins, and is at most half a window wide. The first of equal numbers has the
    gradient. A window with a NaN gives NaN.

    >>> max_pool2d([[[[1.0, 3.0, 5.0], [1.0, 3.0, 9.0]]]], kernel_size=2, stride=1).data
    array([[[[3., 9.]]]], dtype=float32)
    """
    (x,) = floating("max_pool2d", x)
    stride = kernel_size if stride is None else stride
    windows = make_windows("max_pool2d", x, (kernel_size, kernel_size), stride, padding)
    if 2 * padding > kernel_size:
        raise ValueError(
            f"max_pool2d: `padding` {padding} is more than half of the window of {kernel_size}: "
            "a window would see nothing but padding"
        )
    shape = x.shape
    data = x.data
    xp = array_module(data)
    y = empty((*shape[:2], windows.rows, windows.columns), data)
    winners = xp.zeros(y.shape, np.int32)  # the position in the window, i K + j
    every_row = slice(0, windows.rows)
    for samples in blocks(data):
        # y = the largest of what the positions see
        seen = padded(data[samples], padding, value=-math.inf)
        largest, winner = y[samples], winners[samples]
        largest[...] = -math.inf
        for i, j, index in windows.positions(every_row):
            candidate = seen[index]
            # Only a larger number wins, so the first of equal ones stays. NaN is larger
            # than nothing, and nothing is larger than NaN.
            wins = (candidate.real > largest.real) | xp.isnan(candidate)
            largest[...] = xp.where(wins, candidate, largest)
            winner[...] = xp.where(wins, i * kernel_size + j, winner)

    def vjp(g: Array) -> Array:
        to_x = empty(shape, g)
        for samples in blocks(to_x):
            # dL/dx = the sum of g over the windows in which x won. What lies in to_x
            # before is of no interest: only the shape of `padded` is wanted.
            block = padded(to_x[samples], padding)
            block[...] = 0.0
            for i, j, index in windows.positions(every_row):
                block[index] += g[samples] * (winners[samples] == i * kernel_size + j)
            to_x[samples] = inside(block, padding)
        return to_x

    return record("max_pool2d", y, (x,), vjp)

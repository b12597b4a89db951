"""How does a filter slide over an image, as a product of matrices?

A convolution has O filters. Each filter is a small image of C channels, K x K numbers
each. Its window (ops/windows.py) slides over the image. At a place p, the upper left
corner of the window, filter o is multiplied with the patch of the image that it sees
there, and the products are summed:

    Y[o, p] = sum over c, i, j of  W[o, c, i, j] X[c, p moved by (i, j)]

Write the patches as the columns of a matrix P, with one row for each (c, i, j), and the
filters as the rows of a matrix W. Then the sum is a product of matrices:

    Y = W P        (O, C K K) @ (C K K, places) -> (O, places)

P is the image with its numbers copied to several positions. Making it is known as
*im2col*. Copying is linear, so P = S(X) with a linear map S, and the derivatives are
those of any product of matrices (ops/linear.py), with G = dL/dY:

    dL/dW = G P^T
    dL/dP = W^T G
    dL/dX = S^T(dL/dP)

S^T is known as *col2im*. Where S copies a number of X to several positions in P, S^T
adds up what arrives at these positions.

With steps of 1 there is a faster way. A number of X at place q was multiplied with
W[o, c, i, j] by the window at the place (i, j) before q. So

    dL/dX[c, q] = sum over o, i, j of  W[o, c, i, j] G[o, q moved by (-i, -j)]

which is again a convolution, of G with the filters flipped. Its patches are copied, and
copying is faster than adding up. Its padding is K - 1 - padding: G has H' = H + 2
padding - K + 1 rows, and with so much around it there are H places again.

P is up to K K times as large as X, so the whole of it never exists. It is made for one
block of places at a time, used, and overwritten. For the walk back it is made again. A
filter of 1 x 1 needs no copy: P is X.

A convolution sees the same filter at all places. So it finds an edge wherever it is,
and has few parameters. LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip
Code Recognition". As a product of matrices: Chellapilla, Puri, Simard 2006, "High
Performance Convolutional Neural Networks for Document Processing".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce
from minigrad.memory import blocks_of, empty, product
from minigrad.ops.windows import Windows, inside, make_windows, padded
from minigrad.spreading import Run, spread, total
from minigrad.tensor import Tensor, record

PATCH_BLOCKS = 4
"""A block of P is so many times as large as others: 2^19 numbers, 2 MiB in float32.

P is copied once and read once by a product, which works on parts of it that fit into a
nearer cache by itself. On an Intel Xeon, of 2^17 to 2^20 this was the fastest for most
layers of RN50, by up to a fifth. And two threads (minigrad/spreading.py) take a large
block 1.7 to 1.9 times as fast as one. With small ones they wait for Python's lock.
"""

LONG_PATCH = 1024
"""Patches with more numbers count as this long when places are cut into blocks.

For long patches a block would be a handful of places, and the product would spend its
time reading the filters. So a block has at least 4 BLOCK / 1024 = 512 places, even
if P then leaves the cache.
"""


def conv2d(x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: int = 0) -> Tensor:
    """The fast form of `plain_images.conv2d`: filters slide over images.

    x (N, C, H, W), weight (O, C, K, K), bias (O,) -> (N, O, H', W'). The filters move
    in steps of `stride`, over images with `padding` rows and columns of zeros on all
    sides: H' = (H + 2 padding - K) // stride + 1. As in PyTorch, filters are not
    flipped. ValueError if the shapes do not fit.

    >>> import numpy as np
    >>> x = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> falls = np.array([[[[1.0, -1.0]]]], np.float32)   # how much each number falls
    >>> conv2d(x, falls).data
    array([[[[-1., -1.],
             [-1., -1.],
             [-1., -1.]]]], dtype=float32)
    """
    inputs = coerce("conv2d", x, weight) if bias is None else coerce("conv2d", x, weight, bias)
    x, weight = inputs[:2]
    windows = _check_conv2d(inputs, stride, padding)
    images, w = x.data, weight.data
    # Y = W P + b
    y = _convolve(images, _as_matrix(w), windows)  # (N, O, H', W')
    if bias is not None:
        y += inputs[2].data[:, None, None]
    x_needs, weight_needs = x.requires_grad, weight.requires_grad
    has_bias = bias is not None

    def vjp(g: Array) -> tuple[Array | None, ...]:
        to_x = _gradient_of_images(g, w, images.shape, windows) if x_needs else None
        to_weight = (
            _gradient_of_filters(g, images, windows).reshape(w.shape) if weight_needs else None
        )
        return (to_x, to_weight, g.sum(axis=(0, 2, 3))) if has_bias else (to_x, to_weight)

    return record("conv2d", y, inputs, vjp)


def _check_conv2d(inputs: tuple[Tensor, ...], stride: int, padding: int) -> Windows:
    """The windows of the filters; ValueError unless all shapes fit together."""
    x, weight = inputs[:2]
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"conv2d: x {x.shape} and weight {weight.shape} do not fit: expected (N, C, H, W) "
            "and (O, C, K, K)"
        )
    if len(inputs) == 3 and inputs[2].shape != weight.shape[:1]:
        raise ValueError(f"conv2d: bias {inputs[2].shape} must have shape {weight.shape[:1]}")
    return make_windows("conv2d", x, (weight.shape[2], weight.shape[3]), stride, padding)


def _row_size(images: Array, windows: Windows) -> int:
    """How many numbers of P belong to a row of places of one image.

    A patch counts as LONG_PATCH numbers if it is longer.
    """
    patch_size = images.shape[1] * windows.height * windows.width
    return min(patch_size, LONG_PATCH) * windows.columns


def _blocks_of_samples(images: Array, windows: Windows) -> Iterator[slice]:
    """Slices of samples whose patches make a block: at least one sample."""
    row_size = _row_size(images, windows) * windows.rows
    return blocks_of(len(images), row_size, like=images, times=PATCH_BLOCKS)


def _blocks_of_rows(images: Array, windows: Windows) -> Iterator[slice]:
    """Slices of rows of places that make a block; all rows if several samples do."""
    return blocks_of(windows.rows, _row_size(images, windows), like=images, times=PATCH_BLOCKS)


def _at_places(y: Array, rows: slice) -> Array:
    """Some rows of Y or G (n, O, H', W'), filters first: a view (O, n, r, W')."""
    return y[:, :, rows].swapaxes(0, 1)


def _patches(padded_images: Array, rows: slice, windows: Windows) -> Array:
    """im2col: the patches P (CKK, places) of padded images, at the places in `rows`."""
    samples, channels = padded_images.shape[:2]
    height, width = windows.height, windows.width
    count = rows.stop - rows.start
    matrix = (channels * height * width, samples * count * windows.columns)
    if samples == 1 and height == width == windows.stride == 1:
        return padded_images[0, :, rows].reshape(matrix)  # a view: P is X
    seen = windows.seen(padded_images)[..., rows, :]  # (n, C, K, K, r, W')
    p = empty((channels, height, width, samples, count, windows.columns), padded_images)
    p[...] = array_module(p).moveaxis(seen, 0, 3)  # (C, K, K, n, r, W')
    return p.reshape(matrix)


def _add_patches(to_padded: Array, to_patches: Array, rows: slice, windows: Windows) -> None:
    """col2im: add dL/dP (CKK, places) to dL/dX, where the patches were copied from."""
    samples, channels = to_padded.shape[:2]
    shape = (
        channels,
        windows.height,
        windows.width,
        samples,
        rows.stop - rows.start,
        windows.columns,
    )
    p = to_patches.reshape(shape)
    for i, j, index in windows.positions(rows):
        to_padded[index] += p[:, i, j].swapaxes(0, 1)  # (n, C, r, W')


# --- the three products ---


def _convolve(images: Array, filters: Array, windows: Windows) -> Array:
    """Y = W P: filters (O, CKK) over images (N, C, H, W) -> (N, O, H', W')."""
    y = empty((len(images), len(filters), windows.rows, windows.columns), images)

    def fill(run: Run) -> None:
        for samples in run:
            # No name holds the padded images or P: the next ones are made in their
            # memory, which is still in the cache.
            padded_images = padded(images[samples], windows.padding)
            _convolve_block(y[samples], padded_images, filters, windows)
            del padded_images

    spread(fill, _blocks_of_samples(images, windows))
    return y


def _convolve_block(y: Array, padded_images: Array, filters: Array, windows: Windows) -> None:
    """Y = W P for some samples: from (n, C, H + 2p, W + 2p) into y (n, O, H', W')."""
    for rows in _blocks_of_rows(padded_images, windows):
        target = _at_places(y, rows)  # (O, n, r, W'), a view of y
        if len(padded_images) == 1:
            # The numbers of one sample lie in y as they do in the product.
            matrix = _as_matrix(target)  # (O, places), a view too
            array_module(y).matmul(filters, _patches(padded_images, rows, windows), out=matrix)
        else:
            values = product(filters, _patches(padded_images, rows, windows))  # (O, places)
            target[...] = values.reshape(target.shape)


def _gradient_of_filters(g: Array, images: Array, windows: Windows) -> Array:
    """dL/dW = G P^T: (N, O, H', W') and (N, C, H, W) -> (O, CKK)."""
    filter_count = g.shape[1]
    patch_size = images.shape[1] * windows.height * windows.width

    def sum_over(run: Run) -> Array:
        to_filters = array_module(g).zeros((filter_count, patch_size), g.dtype)
        for samples in run:
            padded_images = padded(images[samples], windows.padding)  # (n, C, H + 2p, W + 2p)
            for rows in _blocks_of_rows(padded_images, windows):
                at_places = _as_matrix(_at_places(g[samples], rows))  # (O, places)
                to_filters += product(at_places, _patches(padded_images, rows, windows).T)
            del padded_images  # the next samples are padded in its memory
        return to_filters

    return total(spread(sum_over, _blocks_of_samples(images, windows)))


def _gradient_of_images(g: Array, weight: Array, shape: tuple[int, ...], windows: Windows) -> Array:
    """dL/dX = S^T(W^T G): (N, O, H', W') and (O, C, K, K) -> (N, C, H, W)."""
    size = windows.height  # K
    if windows.stride == 1 and size == windows.width and windows.padding < size:
        flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)  # (C, O, K, K)
        back = windows._replace(padding=size - 1 - windows.padding, rows=shape[2], columns=shape[3])
        return _convolve(g, _as_matrix(flipped), back)
    filters = _as_matrix(weight)  # (O, CKK)
    to_x = empty(shape, g)

    def fill(run: Run) -> None:
        for samples in run:
            # Only the shape of `padded` is wanted: a sum begins with zeros. Without
            # padding it is a view, and the sums arise in to_x itself.
            to_padded = padded(to_x[samples], windows.padding)  # (n, C, H + 2p, W + 2p)
            to_padded[...] = 0.0
            for rows in _blocks_of_rows(to_padded, windows):
                at_places = _as_matrix(_at_places(g[samples], rows))  # (O, places)
                _add_patches(to_padded, product(filters.T, at_places), rows, windows)
            to_x[samples] = inside(to_padded, windows.padding)

    spread(fill, _blocks_of_samples(to_x, windows))
    return to_x


def _as_matrix(x: Array) -> Array:
    """The first axis as rows, all others as one: (O, C, K, K) -> (O, CKK)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))

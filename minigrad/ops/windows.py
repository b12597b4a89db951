"""Which numbers does a sliding window see?

A window of K x K numbers slides over an image in steps of `stride`, and sees one patch
of the image at each of its places. Around the image there may be `padding` rows and
columns of a constant. Along an axis of H numbers the window has

    H' = (H + 2 padding - K) // stride + 1

places. If H + 2 padding - K is no multiple of the stride, the last rows are in no
window.

A loop may go over the places, of which there are thousands. Or it may go over the K x K
positions (i, j) in the window. What all windows see at their position (i, j) is a
strided slice of the image, with one number for each place:

    x[..., i : i + stride H' : stride, j : j + stride W' : stride]

`positions` yields these slices, nine for a window of 3 x 3. Pooling adds or compares
them. `seen` is all of them at once, without a copy: a view of the image in which the
same number stands in several patches.

Dumoulin, Visin 2016, "A guide to convolution arithmetic for deep learning",
arXiv:1603.07285.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.memory import empty
from minigrad.tensor import Tensor


class Windows(NamedTuple):
    """All places of a window on images of one size. Sizes are in numbers (pixels).

    `height` and `width` are those of the window, `rows` and `columns` count its places.
    """

    height: int
    width: int
    stride: int
    padding: int
    rows: int
    columns: int

    def positions(self, rows: slice) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """(i, j, index): what the places in `rows` see at their position (i, j).

        The index is for padded images (..., H + 2 padding, W + 2 padding), and selects
        an array (..., number of rows, columns).

        >>> windows = Windows(2, 1, stride=3, padding=0, rows=4, columns=5)
        >>> for i, j, index in windows.positions(slice(1, 3)):
        ...     print(i, j, index[1:])
        0 0 (slice(3, 9, 3), slice(0, 15, 3))
        1 0 (slice(4, 10, 3), slice(0, 15, 3))
        """
        step = self.stride
        for i in range(self.height):
            for j in range(self.width):
                down = slice(rows.start * step + i, rows.stop * step + i, step)
                right = slice(j, self.columns * step + j, step)
                yield i, j, (..., down, right)

    def seen(self, x: Array) -> Array:
        """What the places see of padded images, (n, C, H, W) -> (n, C, K, K, H', W').

        It is a view of x, and not to be written to: patches overlap.

        >>> windows = Windows(1, 2, stride=1, padding=0, rows=1, columns=3)
        >>> windows.seen(np.arange(4.0).reshape(1, 1, 1, 4)).tolist()  # K W' = 2, 3
        [[[[[[0.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]]]]]]
        """
        samples, channels, down, right = x.strides  # bytes from one number to the next
        return array_module(x).lib.stride_tricks.as_strided(
            x,
            shape=(*x.shape[:2], self.height, self.width, self.rows, self.columns),
            strides=(samples, channels, down, right, down * self.stride, right * self.stride),
        )


def make_windows(
    name: str, x: Tensor, kernel: tuple[int, int], stride: int, padding: int
) -> Windows:
    """The windows of the operation `name` on images x (N, C, H, W).

    ValueError unless x has four axes, the numbers are integers of a possible size, and
    at least one window fits into an image.

    >>> import numpy as np
    >>> x = Tensor(np.zeros((1, 3, 224, 224)))
    >>> windows = make_windows("conv2d", x, (3, 3), stride=2, padding=1)
    >>> windows.rows, windows.columns
    (112, 112)
    """
    if x.ndim != 4:
        raise ValueError(f"{name}: x {x.shape} must be images (N, C, H, W), with four axes")
    for word, number, least in (
        ("the height of the window", kernel[0], 1),
        ("the width of the window", kernel[1], 1),
        ("`stride`", stride, 1),
        ("`padding`", padding, 0),
    ):
        if not isinstance(number, int | np.integer) or number < least:
            raise ValueError(
                f"{name}: {word} must be an integer of at least {least}, got {number!r}"
            )
    height, width = x.shape[2] + 2 * padding, x.shape[3] + 2 * padding
    if kernel[0] > height or kernel[1] > width:
        raise ValueError(
            f"{name}: a window of {kernel[0]} x {kernel[1]} does not fit into images of "
            f"{x.shape[2]} x {x.shape[3]} with padding {padding}; pass larger images"
        )
    return Windows(
        height=int(kernel[0]),
        width=int(kernel[1]),
        stride=int(stride),
        padding=int(padding),
        rows=int((height - kernel[0]) // stride + 1),
        columns=int((width - kernel[1]) // stride + 1),
    )


def padded(x: Array, padding: int, value: float = 0.0) -> Array:
    """Images (..., H, W) with `padding` rows and columns of `value` on all four sides.

    Without padding it is x itself, not a copy.

    >>> import numpy as np
    >>> padded(np.ones((1, 2)), padding=1)
    array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]])
    """
    if padding == 0:
        return x
    height, width = x.shape[-2:]
    larger = empty((*x.shape[:-2], height + 2 * padding, width + 2 * padding), x)
    larger[...] = value
    inside(larger, padding)[...] = x
    return larger


def inside(x: Array, padding: int) -> Array:
    """The view of padded images (..., H, W) without their padding.

    >>> import numpy as np
    >>> inside(np.arange(12).reshape(3, 4), padding=1)
    array([[5, 6]])
    """
    height, width = x.shape[-2:]
    return x[..., padding : height - padding, padding : width - padding]

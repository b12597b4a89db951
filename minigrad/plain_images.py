"""What do the operations on images compute?

The operations of convolutional networks, as formulas: minigrad/plain.py goes on here.
A window slides over the image, and the loops go over the positions in the window. At
one position, all windows at once see a strided slice of the image
(minigrad/ops/windows.py). The tape knows the derivatives of slices, sums and products,
so nothing here needs a derivative by hand.

    conv2d(x, w, b)       the sum over positions: w at the position times what is seen
    avg_pool2d(x, k)      the mean of what is seen
    max_pool2d(x, k)      the largest number that is seen
    batch_norm(x, ...)    weight (x - mean) / sqrt(var + eps) + bias, for each channel

    >>> import minigrad as mg
    >>> from minigrad import plain_images
    >>> x = mg.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    >>> plain_images.max_pool2d(x, kernel_size=2).sum().backward()
    >>> x.grad
    array([[[[0., 0.],
             [0., 1.]]]], dtype=float32)
"""

import math
from collections.abc import Iterator

from minigrad.backend import Array, array_module
from minigrad.ops.basic import sqrt
from minigrad.ops.choice import where
from minigrad.ops.shape import concatenate, pad
from minigrad.plain import mean, var
from minigrad.tensor import Tensor


def _seen(x: Tensor, height: int, width: int, stride: int) -> Iterator[tuple[int, int, Tensor]]:
    """(i, j, what the windows see at this position), (N, C, H, W) -> (N, C, H', W')."""
    rows = (x.shape[2] - height) // stride + 1
    columns = (x.shape[3] - width) // stride + 1
    for i in range(height):
        for j in range(width):
            down = slice(i, i + stride * rows, stride)
            right = slice(j, j + stride * columns, stride)
            yield i, j, x[:, :, down, right]


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Filters (O, C, K, K) slide over images: (N, C, H, W) -> (N, O, H', W').

    >>> import minigrad as mg
    >>> x = mg.tensor([[[[1.0, 4.0, 9.0]]]])
    >>> print(conv2d(x, mg.tensor([[[[-1.0, 1.0]]]])).data)
    [[[[3. 5.]]]]
    """
    # 1. Zeros around each image.  (N, C, H + 2p, W + 2p)
    x = pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    # 2. At each position in the window: mix the channels, and add up.
    total: Tensor | float = 0.0
    for i, j, seen in _seen(x, weight.shape[2], weight.shape[3], stride):
        channels_last = seen.transpose((0, 2, 3, 1))  # (N, H', W', C)
        total = total + channels_last @ weight[:, :, i, j].transpose()  # (N, H', W', O)
    # 3. The bias, and the axes in order again.  (N, O, H', W')
    assert isinstance(total, Tensor)  # there is at least one position
    total = total if bias is None else total + bias
    return total.transpose((0, 3, 1, 2))


def avg_pool2d(x: Tensor, kernel_size: int, stride: int | None = None) -> Tensor:
    """The mean of each window: (N, C, H, W) -> (N, C, H', W').

    >>> import minigrad as mg
    >>> print(avg_pool2d(mg.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), kernel_size=2).data)
    [[[[4.]]]]
    """
    stride = kernel_size if stride is None else stride
    total: Tensor | float = 0.0
    for _, _, seen in _seen(x, kernel_size, kernel_size, stride):
        total = total + seen
    assert isinstance(total, Tensor)  # there is at least one position
    return total / kernel_size**2


def max_pool2d(x: Tensor, kernel_size: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """The largest number of each window: (N, C, H, W) -> (N, C, H', W').

    A number has to be larger than those before it. So the first of equal ones wins.

    >>> import minigrad as mg
    >>> print(max_pool2d(mg.tensor([[[[1.0, 3.0], [7.0, 5.0]]]]), kernel_size=2).data)
    [[[[7.]]]]
    """
    stride = kernel_size if stride is None else stride
    # 1. Around each image, numbers that never win.  (N, C, H + 2p, W + 2p)
    x = _surround(x, padding, -math.inf)
    # 2. Go over the positions, and keep the largest number so far.
    largest: Tensor | None = None
    for _, _, seen in _seen(x, kernel_size, kernel_size, stride):
        largest = seen if largest is None else where(seen.data > largest.data, seen, largest)
    assert largest is not None  # there is at least one position
    return largest


def _surround(x: Tensor, padding: int, value: float) -> Tensor:
    """`pad` with any value, not only 0: (N, C, H, W) -> (N, C, H + 2p, W + 2p)."""
    for axis in (2, 3):
        shape = list(x.shape)
        shape[axis] = padding
        border = array_module(x.data).full(shape, value, x.dtype)
        x = concatenate([border, x, border], axis)
    return x


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight (x - mean) / sqrt(var + eps) + bias, for each channel of x (N, C, ...).

    If `training`, mean and variance are those of the batch, over all axes except that
    of the channels, and the running ones move towards them. If not, the running ones
    are used. This form moves them also if nothing is recorded.

    >>> import minigrad as mg
    >>> mean, var = mg.tensor([0.0]), mg.tensor([1.0])
    >>> x = mg.tensor([[[[0.0, 2.0]]]])
    >>> y = batch_norm(x, mg.tensor([1.0]), mg.tensor([0.0]), mean, var, training=True)
    >>> print(y.data.round(3), mean.data, var.data)
    [[[[-1.  1.]]]] [0.1] [1.1]
    """
    channels = (1, -1, *[1] * (x.ndim - 2))  # (C,) -> (1, C, 1, ...)
    others = (0, *range(2, x.ndim))
    centre, variance = running_mean.reshape(channels), running_var.reshape(channels)
    if training:
        centre = mean(x, axis=others, keepdims=True)
        variance = var(x, axis=others, keepdims=True)
        count = x.size // x.shape[1]
        _update(running_mean, centre.data, momentum)
        _update(running_var, variance.data * count / (count - 1), momentum)
    h = (x - centre) / sqrt(variance + eps)
    return h * weight.reshape(channels) + bias.reshape(channels)


def _update(running: Tensor, batch: Array, momentum: float) -> None:
    """running = (1 - momentum) running + momentum batch, in place."""
    running.data[...] = (1.0 - momentum) * running.data + momentum * batch.reshape(running.shape)

"""What if a layer is normalised over the batch, not over the row?

`layer_norm` brings each row to mean 0 and variance 1. `batch_norm` does that with each
*channel* of a batch of images: mean and variance are over all samples and all pixels,
n = N H W numbers.

    h = (x - mean) / sqrt(var + eps)            y = w h + b

The derivatives are those of layer_norm (ops/normalisation.py), with the same two
components taken away, but now over the batch. With g = dL/dy and means over the batch:

    dL/dw = sum of g h                    dL/db = sum of g
    dL/dx = w (g - mean(g) - h mean(g h)) / sqrt(var + eps)

So the result of a sample depends on the samples beside it. When a model is used, that
would be a fault: the features of an image must not depend on the other images of its
batch. So while training, running means of both statistics are kept,

    running = (1 - momentum) running + momentum batch

and afterwards they stand in for those of the batch. They are constants then, and the
layer is one affine map for each channel, y = scale x + shift.

The running variance is an estimate for images that are not in the batch. So the batch's
sum of squares is divided by n - 1, not by n.

**When are the running means updated?** In a forward pass with training=True whose
operations are recorded, and in no other. A pass under `no_grad` is not training. This
also makes recomputation right: a checkpointed stretch (minigrad/recompute.py) runs
twice, and only the second run is recorded.

**What if the batch is divided among processes?** Then each knows the sums of its own
samples, and they exchange them (minigrad/gathering.py). Of its n_k numbers, process k
has the mean m_k and the sum of squares s_k about that mean. About the mean m of all
numbers, its squares are larger, because m_k is not m:

    n = sum of n_k        m = sum of n_k m_k / n
    var = sum of (s_k + n_k (m_k - m)^2) / n

The sums of g and of g h in dL/dx are over the whole batch as well. dL/dw and dL/db stay
those of the process's own samples: as with any layer, the gradients of all processes
are added up later. Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances".

The plain form: minigrad/plain_images.py. Ioffe, Szegedy 2015, "Batch Normalization",
arXiv:1502.03167.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from minigrad.backend import Array, array_module, row_dot, row_sum
from minigrad.gathering import Gather, current_gather, only_part
from minigrad.inputs import coerce
from minigrad.memory import blocks, empty
from minigrad.recording import is_recording
from minigrad.spreading import Run, spread, total
from minigrad.tensor import Tensor, constant, record


class Statistics(NamedTuple):
    """Mean (C,) and population variance (C,) of each channel of `numbers` numbers."""

    mean: Array
    var: Array
    numbers: int


def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The fast form of `plain_images.batch_norm`: each channel gets mean 0, variance 1.

    x (N, C, ...), all else (C,) -> (N, C, ...). If `training`, mean and variance are
    those of x, and a recorded pass moves running_mean and running_var towards them, in
    place, by the share `momentum`. If not, the running ones are used.

    >>> import numpy as np
    >>> mean, var = Tensor(np.zeros(1, np.float32)), Tensor(np.ones(1, np.float32))
    >>> x = [[[1.0, 1.0]], [[3.0, 3.0]]]      # two samples, one channel, two numbers
    >>> y = batch_norm(x, [1.0], [0.0], mean, var, training=True, momentum=0.5)
    >>> y.data.round(2).tolist()
    [[[-1.0, -1.0]], [[1.0, 1.0]]]
    >>> mean.data, var.data.round(3)
    (array([1.], dtype=float32), array([1.167], dtype=float32))
    """
    inputs = coerce("batch_norm", x, weight, bias, running_mean, running_var)
    x, weight, bias = inputs[:3]
    _check_batch_norm(inputs, running_mean, running_var, training)
    momentum = float(constant("batch_norm", "momentum", momentum))
    eps = float(constant("batch_norm", "eps", eps))
    shape = x.shape
    data = _channels_apart(x.data)  # (N, C, L)
    gather = current_gather()
    statistics = _live_or_running(data, gather, running_mean, running_var, training, momentum)
    mean = statistics.mean[:, None]  # (C, 1)
    inverse_std = (statistics.var[:, None] + eps) ** -0.5  # (C, 1)
    scale = weight.data[:, None] * inverse_std  # (C, 1)
    y = _normalised(data, mean, scale, bias.data[:, None])
    x_needs = x.requires_grad

    def vjp(g: Array) -> tuple[Array | None, Array, Array]:
        g = g.reshape(data.shape)  # (N, C, L)
        # dL/dw = sum of g h, dL/db = sum of g
        sums = _sums(g, data, mean)  # (2, C)
        sums[0] *= inverse_std[:, 0]
        to_weight, to_bias = sums
        # dL/dx = scale g, and while training: scale (g - mean(g) - h mean(g h))
        if not training:
            to_x = (g * scale).reshape(shape) if x_needs else None  # (N, C, ...)
            return to_x, to_weight, to_bias
        # The other processes wait for these sums, whether this one needs theirs or not.
        of_all = array_module(sums).stack(gather(sums)).sum(axis=0)  # (K, 2, C) -> (2, C)
        if not x_needs:
            return None, to_weight, to_bias
        mean_gh, mean_g = of_all[:, :, None] / statistics.numbers  # (C, 1) each
        to_x = _scaled_without(g, scale, data, mean, scale * inverse_std * mean_gh, scale * mean_g)
        return to_x.reshape(shape), to_weight, to_bias  # (N, C, ...)

    return record("batch_norm", y.reshape(shape), (x, weight, bias), vjp)


def _check_batch_norm(
    inputs: tuple[Tensor, ...], running_mean: Any, running_var: Any, training: bool
) -> None:
    """ValueError or TypeError unless the inputs fit together."""
    constant("batch_norm", "running_mean", running_mean)
    constant("batch_norm", "running_var", running_var)
    x = inputs[0]
    shapes = [tensor.shape for tensor in inputs[1:]]
    if x.ndim < 2 or any(shape != x.shape[1:2] for shape in shapes):
        raise ValueError(
            f"batch_norm: x {x.shape} must be (N, C, ...), and weight, bias, running_mean and "
            f"running_var {shapes} must all have the shape (C,)"
        )
    if not isinstance(running_mean, Tensor) or not isinstance(running_var, Tensor):
        raise TypeError(
            "batch_norm: `running_mean` and `running_var` must be tensors, because they are "
            "updated in place; pass mg.tensor(array)"
        )
    is_whole = current_gather() is only_part  # of a divided batch others have more numbers
    if training and is_whole and len(x) * math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"batch_norm: x {x.shape} has one number for each channel, which has no variance; "
            "pass more samples, or use training=False"
        )


def _channels_apart(x: Array) -> Array:
    """(N, C, ...) -> (N, C, L)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _normalised(data: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """(x - mean) scale + shift, in blocks: (N, C, L) and three times (C, 1)."""
    y = empty(data.shape, data)

    def fill(run: Run) -> None:
        for samples in run:
            block = array_module(data).subtract(data[samples], mean, out=y[samples])
            block *= scale
            block += shift

    spread(fill, blocks(data))
    return y


def _scaled_without(
    g: Array, scale: Array, data: Array, mean: Array, factor: Array, shift: Array
) -> Array:
    """scale g - ((x - mean) factor + shift), in blocks: (N, C, L)."""
    to_x = empty(g.shape, g)

    def fill(run: Run) -> None:
        for samples in run:
            block = array_module(g).multiply(g[samples], scale, out=to_x[samples])
            moved = data[samples] - mean
            moved *= factor
            moved += shift
            block -= moved

    spread(fill, blocks(g))
    return to_x


def _own_moments(data: Array) -> tuple[Array, Array]:
    """The mean of each channel, and the sum of squares about it: twice (C,)."""
    count = len(data) * data.shape[2]
    xp = array_module(data)

    def sum_over(run: Run) -> Array:
        numbers = xp.zeros(data.shape[1], data.dtype)  # (C,)
        for samples in run:
            numbers += row_sum(data[samples]).sum(axis=0)
        return numbers

    mean = total(spread(sum_over, blocks(data))) / count

    def squares_over(run: Run) -> Array:
        squares = xp.zeros_like(mean)  # (C,)
        for samples in run:
            centred = data[samples] - mean[:, None]
            squares += row_dot(centred, centred).sum(axis=0)
        return squares

    return mean, total(spread(squares_over, blocks(data)))


def _statistics(data: Array, gather: Gather) -> Statistics:
    """Mean and variance over samples and numbers, of all processes: (N, C, L)."""
    samples, _, length = data.shape
    own_mean, own_squares = _own_moments(data)  # (C,) each
    if gather is only_part:
        count = samples * length
        return Statistics(own_mean, own_squares / count, count)
    xp = array_module(data)
    # A number of samples is exact in float32. A number of pixels may be too large.
    own_samples = xp.full(len(own_mean), samples, data.dtype)  # (C,)
    parts = xp.stack(gather(xp.stack([own_samples, own_mean, own_squares])))  # (K, 3, C)
    samples_of, means, squares = parts.swapaxes(0, 1)  # (K, C) each, of K processes
    all_samples = int(samples_of[:, 0].real.sum())
    mean = (samples_of * means).sum(axis=0) / all_samples  # (C,)
    # s_k + n_k (m_k - m)^2
    about_mean = squares + samples_of * length * (means - mean) ** 2  # (K, C)
    count = all_samples * length
    return Statistics(mean, about_mean.sum(axis=0) / count, count)


def _live_or_running(
    data: Array,
    gather: Gather,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
) -> Statistics:
    """Mean and variance for a batch (N, C, L): its own, or the running ones.

    While training they are its own, and the running ones move towards them.
    """
    if not training or data.size == 0:
        # Copies: a later pass may move the running ones before the walk back.
        return Statistics(running_mean.data.copy(), running_var.data.copy(), numbers=1)
    statistics = _statistics(data, gather)
    count = statistics.numbers
    _move(running_mean, statistics.mean, momentum)
    _move(running_var, statistics.var * (count / (count - 1)), momentum)
    return statistics


def _move(running: Tensor, batch: Array, momentum: float) -> None:
    """running = (1 - momentum) running + momentum batch, in place, if recorded."""
    if not is_recording():
        return
    array = running.data
    array *= 1.0 - momentum
    array += momentum * batch.real


def _sums(g: Array, data: Array, mean: Array) -> Array:
    """The sums of g (x - mean) and of g for each channel, (N, C, L) -> (2, C).

    With h = (x - mean) / std, the first is std dL/dw. The second is dL/db.
    """

    def sum_over(run: Run) -> Array:
        sums = array_module(g).zeros((2, g.shape[1]), g.dtype)  # (2, C)
        for samples in run:
            sums[0] += row_dot(g[samples], data[samples] - mean).sum(axis=0)
            sums[1] += row_sum(g[samples]).sum(axis=0)
        return sums

    return total(spread(sum_over, blocks(g)))

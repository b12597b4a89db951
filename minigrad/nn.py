"""How do operations become layers with parameters?

A layer is a function with memory: a Module (minigrad/module.py) that calls an operation
with numbers that training adjusts.

Conventions are PyTorch's, so that weights carry over: Linear.weight is (out, in). A
layer that draws its initial numbers is passed the random generator to draw them from.
With None for a generator, its weights are left `unfilled`; a model that is about to be
loaded needs no random numbers.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from minigrad.backend import Array
from minigrad.half import in_full
from minigrad.module import Buffer as Buffer  # Buffer, Module and the others belong to this
from minigrad.module import Module as Module  # interface
from minigrad.module import Parameter as Parameter
from minigrad.module import count_parameters as count_parameters
from minigrad.ops.batch_norm import batch_norm
from minigrad.ops.conv import conv2d
from minigrad.ops.indexing import embedding
from minigrad.ops.linear import linear
from minigrad.ops.noise import dropout
from minigrad.ops.normalisation import layer_norm
from minigrad.recording import is_recording
from minigrad.tensor import Tensor

# --- initial weights ---


def normal(rng: np.random.Generator | None, shape: Sequence[int], std: float) -> Parameter:
    """Independent normal numbers with mean 0 and this standard deviation, float32.

    With None for a generator: `unfilled`.

    >>> weight = normal(np.random.default_rng(0), (300, 200), std=0.02)
    >>> weight.shape, round(float(weight.data.std()), 3)
    ((300, 200), 0.02)
    """
    if rng is None:
        return unfilled(shape)
    return Parameter((rng.standard_normal(shape) * std).astype(np.float32))


def uniform(rng: np.random.Generator | None, shape: Sequence[int], bound: float) -> Parameter:
    """Independent uniform numbers in [-bound, bound), float32.

    With None for a generator: `unfilled`.

    >>> weight = uniform(np.random.default_rng(0), (300, 200), bound=0.5)
    >>> weight.shape, round(float(abs(weight.data).max()), 2)
    ((300, 200), 0.5)
    """
    if rng is None:
        return unfilled(shape)
    return Parameter(rng.uniform(-bound, bound, shape).astype(np.float32))


def unfilled(shape: Sequence[int]) -> Parameter:
    """Memory without meaning, float32, which must be loaded before it is used.

    No page of it is touched. So a large model costs nothing until it is loaded.

    >>> unfilled((300, 200)).shape
    (300, 200)
    """
    return Parameter(np.empty(shape, np.float32))


def zeros(*shape: int) -> Parameter:
    """Zeros, float32.

    >>> zeros(3).data
    array([0., 0., 0.], dtype=float32)
    """
    return Parameter(np.zeros(shape, np.float32))


def ones(*shape: int) -> Parameter:
    """Ones, float32.

    >>> ones(1, 2).data
    array([[1., 1.]], dtype=float32)
    """
    return Parameter(np.ones(shape, np.float32))


# --- layers ---


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) -> (..., out_features).

    Initial weights are normal with standard deviation `std`, and the bias is zero. With
    std=None both are uniform within 1/sqrt(in_features), PyTorch's default.

    >>> layer = Linear(3, 2, np.random.default_rng(0))
    >>> layer(Tensor(np.ones((5, 3), np.float32))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | None,
        bias: bool = True,
        std: float | None = None,
    ) -> None:
        bound = 1.0 / math.sqrt(in_features)
        shape = (out_features, in_features)
        self.weight = uniform(rng, shape, bound) if std is None else normal(rng, shape, std)
        self.bias: Parameter | None = None
        if bias:
            self.bias = uniform(rng, (out_features,), bound) if std is None else zeros(out_features)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """The result, added to `residual` (..., out_features) if there is one."""
        return linear(x, in_full(self.weight), self.bias, residual)


class Conv2d(Module):
    """Filters that slide over images: (N, in_channels, H, W) -> (N, out_channels, ...).

    The weight is (out_channels, in_channels, kernel_size, kernel_size). Initial weights
    are uniform within 1/sqrt(in_channels kernel_size^2), PyTorch's default.

    >>> layer = Conv2d(3, 8, 3, np.random.default_rng(0), stride=2, padding=1)
    >>> layer(Tensor(np.ones((5, 3, 32, 32), np.float32))).shape
    (5, 8, 16, 16)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        rng: np.random.Generator | None,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        bound = 1.0 / math.sqrt(in_channels * kernel_size**2)
        self.weight = uniform(rng, shape, bound)
        self.bias = uniform(rng, (out_channels,), bound) if bias else None
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, in_full(self.weight), self.bias, self.stride, self.padding)


class LayerNorm(Module):
    """Brings each row to mean 0 and variance 1, then scales and shifts: (..., width).

    >>> LayerNorm(2)(Tensor(np.array([[1.0, 3.0]], np.float32))).data.round(2)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        self.weight = ones(width)
        self.bias = zeros(width)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class BatchNorm2d(Module):
    """Brings each channel of a batch of images to mean 0 and variance 1: (N, C, H, W).

    Then it scales and shifts. While training, the statistics are those of the batch,
    and recorded passes move the running ones, which `eval` uses (ops/batch_norm.py).
    num_batches_tracked counts these passes. It is not used here, and kept because
    published weights have it.

    >>> layer = BatchNorm2d(1)
    >>> x = Tensor(np.array([1.0, 3.0], np.float32).reshape(2, 1, 1, 1))
    >>> layer(x).data.round(2).tolist()
    [[[[-1.0]]], [[[1.0]]]]
    >>> layer.running_mean.data, layer.num_batches_tracked.data
    (array([0.2], dtype=float32), array(1))
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.weight = ones(channels)
        self.bias = zeros(channels)
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))
        self.num_batches_tracked = Buffer(np.array(0, np.int64))
        self.momentum = momentum
        self.eps = eps

    def mixes_samples(self) -> bool:
        """Whether the statistics are those of the batch."""
        return self.training

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"BatchNorm2d: x {x.shape} must be images (N, C, H, W)")
        if self.training and is_recording():
            self.num_batches_tracked.data += 1
        return batch_norm(
            x,
            self.weight,
            self.bias,
            running_mean=self.running_mean,
            running_var=self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )


class Embedding(Module):
    """A learned row for each id: integers (...) -> (..., width).

    `is_table` says that a use needs a few rows of the weight (minigrad/half.py).

    >>> Embedding(10, 4, np.random.default_rng(0))(np.array([[3, 7, 3]])).shape
    (1, 3, 4)
    """

    is_table = True

    def __init__(
        self, n_rows: int, width: int, rng: np.random.Generator | None, std: float = 0.02
    ) -> None:
        self.weight = normal(rng, (n_rows, width), std)

    def forward(self, ids: Array | Tensor) -> Tensor:
        return embedding(self.weight, ids)


class Dropout(Module):
    """Zeroes elements with probability p while training; masks are drawn from `rng`.

    >>> layer = Dropout(0.5, np.random.default_rng(0))
    >>> x = Tensor(np.array([1.0, 2.0, 3.0, 4.0], np.float32))
    >>> layer(x).data, layer.eval()(x).data
    (array([2., 4., 6., 0.], dtype=float32), array([1., 2., 3., 4.], dtype=float32))
    """

    def __init__(self, p: float, rng: np.random.Generator) -> None:
        self.p = p
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p if self.training else 0.0, self.rng)


Item = TypeVar("Item", bound=Module)


class ModuleList(Module, Generic[Item]):
    """Modules in a list; their paths are their positions in it.

    >>> layers = ModuleList([LayerNorm(2), LayerNorm(3)])
    >>> len(layers), [path for path, _ in layers.named_parameters()]
    (2, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """

    def __init__(self, modules: Sequence[Item]) -> None:
        self._items = list(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules of the list, by position: "0", "1", ..."""
        for position, module in enumerate(self._items):
            yield str(position), module

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: int) -> Item:
        return self._items[position]


class Sequential(ModuleList[Module]):
    """Modules applied one after the other.

    >>> rng = np.random.default_rng(0)
    >>> net = Sequential(Linear(2, 8, rng), LayerNorm(8), Linear(8, 1, rng))
    >>> net(Tensor(np.ones((5, 2), np.float32))).shape
    (5, 1)
    >>> [path for path, _ in net.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias', '2.weight', '2.bias']
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

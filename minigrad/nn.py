"""How do operations become layers with parameters?

A layer is a function with memory: numbers that training adjusts. `Parameter` marks such
an array. `Module` finds the parameters of a whole model by looking through its
attributes, and the names it gives them are the paths to them:

    class Net(Module):
        def __init__(self, rng):
            self.hidden = Linear(2, 8, rng)         # "hidden.weight", "hidden.bias"
            self.out = Linear(8, 1, rng)            # "out.weight", "out.bias"

        def forward(self, x):
            return self.out(relu(self.hidden(x)))

There is nothing else to a module: no hooks, no registration.

Conventions are PyTorch's, so that weights carry over: Linear.weight is (out, in). A
layer that draws its initial numbers is passed the random generator to draw them from.
With None for a generator, its weights are left `unfilled`; a model that is about to be
loaded needs no random numbers.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np

from minigrad.backend import Array, move
from minigrad.ops.indexing import embedding
from minigrad.ops.linear import linear
from minigrad.ops.noise import dropout
from minigrad.ops.normalisation import layer_norm
from minigrad.tensor import Tensor

NAMED_IN_ERRORS = 5  # the most missing or unexpected names that an error message lists


class Parameter(Tensor):
    """A tensor that a model owns and an optimizer adjusts."""

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """A piece of a model: attributes that are Parameters or Modules, and `forward`."""

    training = True
    forward: Callable[..., Any]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules directly inside this one, by attribute name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator["Module"]:
        """This module and all modules inside it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) for every parameter; a shared one under its first path.

        >>> layer = Linear(3, 2, np.random.default_rng(0))
        >>> [(path, parameter.shape) for path, parameter in layer.named_parameters()]
        [('weight', (2, 3)), ('bias', (2,))]
        """
        seen: set[int] = set()
        for path, parameter in self._all_paths(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield path, parameter

    def _all_paths(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        """Every path to every parameter: this module's own parameters first."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._all_paths(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's array, by path."""
        return {path: parameter.data.copy() for path, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array], assign: bool = False) -> None:
        """Copy the arrays into the parameters, in place; their dtype and backend stay.

        With `assign` nothing is copied: the arrays become the parameters, as they are.
        ValueError, before anything is written, if names, shapes or dtypes do not match.
        """
        parameters = dict(self.named_parameters())
        _check_state(parameters, state)
        for path, parameter in parameters.items():
            if assign:
                parameter.data = state[path]
            else:
                parameter.data[...] = move(state[path], parameter.backend)

    def train(self, on: bool = True) -> Self:
        """Switch dropout and the like on; `eval` switches them off."""
        for module in self.modules():
            module.training = on
        return self

    def eval(self) -> Self:
        """Switch dropout and the like off."""
        return self.train(False)

    def to(self, backend: str) -> Self:
        """Move every parameter to "numpy", "cupy" or "cupy:1", without gradients."""
        for parameter in self.parameters():
            parameter.data = move(parameter.data, backend)
            parameter.zero_grad()
        return self

    def astype(self, dtype: Any) -> Self:
        """Convert every parameter, for example to float64 for checking.

        A parameter that has the type already is not copied. Gradients are forgotten.
        """
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype, copy=False)
            parameter.zero_grad()
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()


def _check_state(parameters: Mapping[str, Parameter], state: Mapping[str, Array]) -> None:
    """ValueError unless `state` has exactly the parameters, in the right shapes."""
    missing = [path for path in parameters if path not in state]
    unexpected = [path for path in state if path not in parameters]
    if missing or unexpected:
        raise ValueError(
            f"load_state_dict: missing {missing[:NAMED_IN_ERRORS]} ({len(missing)} in all), "
            f"unexpected {unexpected[:NAMED_IN_ERRORS]} ({len(unexpected)} in all)"
        )
    for path, parameter in parameters.items():
        shape = tuple(state[path].shape)
        dtype = state[path].dtype
        if shape != parameter.shape or dtype.kind not in "fiu":
            raise ValueError(
                f"load_state_dict: {path} has shape {shape} and dtype {dtype}, "
                f"the model needs {parameter.shape} and {parameter.dtype}"
            )


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

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


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


class Embedding(Module):
    """A learned row for each id: integers (...) -> (..., width).

    >>> Embedding(10, 4, np.random.default_rng(0))(np.array([[3, 7, 3]])).shape
    (1, 3, 4)
    """

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


def count_parameters(module: Module) -> int:
    """How many numbers the module learns.

    >>> count_parameters(Linear(3, 2, np.random.default_rng(0)))
    8
    """
    return sum(parameter.size for parameter in module.parameters())

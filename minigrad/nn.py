"""Chapter 11: how do operations become layers with parameters?

A layer is a function with memory: numbers that training adjusts. `Parameter` marks such an
array, `Module` finds the parameters of a whole model by looking through its attributes, and
the names it gives them ("blocks.0.attn.in_proj.weight") are the paths to them. There is
nothing else to a module: no hooks, no registration.

Conventions are PyTorch's, so that weights carry over: Linear.weight is (out, in). A layer that
draws its initial numbers takes the random generator to draw them from.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, move
from minigrad.ops.indexing import embedding
from minigrad.ops.linear import linear
from minigrad.ops.noise import dropout
from minigrad.ops.normalisation import layer_norm
from minigrad.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a model owns and an optimizer adjusts."""

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """A part of a model: attributes that are Parameters or Modules, and a `forward`."""

    training = True

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
        """(path, parameter) for every parameter, a shared one under its first path only."""
        pairs = [(prefix + name, p) for name, p in vars(self).items() if isinstance(p, Parameter)]
        for name, child in self.children():
            pairs += child.named_parameters(f"{prefix}{name}.")
        first: dict[int, tuple[str, Parameter]] = {}
        for path, parameter in pairs:
            first.setdefault(id(parameter), (path, parameter))
        yield from first.values()

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's array, by path."""
        return {path: parameter.data.copy() for path, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array], assign: bool = False) -> None:
        """Copy the arrays into the parameters, in place; their dtype and backend stay. With
        `assign` nothing is copied: the arrays become the parameters, as they are.
        Raises ValueError, before anything is written, where names or shapes do not match."""
        own = dict(self.named_parameters())
        missing = [path for path in own if path not in state]
        unknown = [path for path in state if path not in own]
        if missing or unknown:
            missed = f"missing {missing[:5]} ({len(missing)} in all)"
            extra = f"unexpected {unknown[:5]} ({len(unknown)} in all)"
            raise ValueError(f"load_state_dict: {missed}, {extra}")
        for path, parameter in own.items():
            shape, dtype = tuple(state[path].shape), state[path].dtype
            if shape != parameter.shape or dtype.kind not in "fiu":
                needs = f"the model needs {parameter.shape} and {parameter.dtype}"
                found = f"{path} has shape {shape} and dtype {dtype}"
                raise ValueError(f"load_state_dict: {found}, {needs}")
        for path, parameter in own.items():
            if assign:
                parameter.data = state[path]
            else:
                parameter.data[...] = move(state[path], parameter.backend)

    def train(self, on: bool = True) -> "Module":
        """Switch dropout and the like on; `eval` switches them off."""
        for module in self.modules():
            module.training = on
        return self

    def eval(self) -> "Module":
        """Switch dropout and the like off."""
        return self.train(False)

    def to(self, backend: str) -> "Module":
        """Move every parameter to "numpy", "cupy" or "cupy:1"; gradients are forgotten."""
        for parameter in self.parameters():
            parameter.data = move(parameter.data, backend)
            parameter.zero_grad()
        return self

    def astype(self, dtype: Any) -> "Module":
        """Convert every parameter, to float64 for checking, say; what has the type already is not
        copied. Gradients are forgotten."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype, copy=False)
            parameter.zero_grad()
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()


def normal(rng: np.random.Generator | None, shape: Sequence[int], std: float) -> Parameter:
    """Independent normal numbers with mean 0 and the given standard deviation, float32. Without
    a generator, memory that a loaded weight takes the place of."""
    if rng is None:
        return Parameter(np.empty(shape, np.float32))
    return Parameter((rng.standard_normal(shape) * std).astype(np.float32))


def uniform(rng: np.random.Generator, shape: Sequence[int], bound: float) -> Parameter:
    """Independent uniform numbers in [-bound, bound), float32."""
    return Parameter(rng.uniform(-bound, bound, shape).astype(np.float32))


def zeros(*shape: int) -> Parameter:
    """Zeros, float32."""
    return Parameter(np.zeros(shape, np.float32))


def ones(*shape: int) -> Parameter:
    """Ones, float32."""
    return Parameter(np.ones(shape, np.float32))


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) -> (..., out_features). Initial weights are normal
    with deviation `std`, the bias zero; std=None: both uniform within 1/sqrt(in_features)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator,
        bias: bool = True,
        std: float | None = None,
    ) -> None:
        shape = (out_features, in_features)
        bound = 1.0 / math.sqrt(in_features)
        self.weight = uniform(rng, shape, bound) if std is None else normal(rng, shape, std)
        self.bias = None
        if bias:
            self.bias = uniform(rng, (out_features,), bound) if std is None else zeros(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class LayerNorm(Module):
    """Each row to mean 0 and variance 1, then scaled and shifted: (..., width) -> the same."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        self.weight = ones(width)
        self.bias = zeros(width)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class Embedding(Module):
    """A learned row for each id: integer (...) -> (..., width)."""

    def __init__(
        self, n_rows: int, width: int, rng: np.random.Generator, std: float = 0.02
    ) -> None:
        self.weight = normal(rng, (n_rows, width), std)

    def forward(self, ids: Array | Tensor) -> Tensor:
        return embedding(self.weight, ids)


class Dropout(Module):
    """Zeroes elements with probability p while training; masks are drawn from `rng`."""

    def __init__(self, p: float, rng: np.random.Generator) -> None:
        self.p = p
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p if self.training else 0.0, self.rng)


class ModuleList(Module):
    """Modules in a list; their paths are their positions."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self._items = list(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        for position, module in enumerate(self._items):
            yield str(position), module

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: int) -> Module:
        return self._items[position]


class Sequential(ModuleList):
    """Modules applied one after the other: Sequential(first, second, ...)."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


def count_parameters(module: Module) -> int:
    """How many numbers the module learns."""
    return sum(parameter.size for parameter in module.parameters())

"""How does a model keep its numbers?

Training adjusts the numbers of a model. `Parameter` marks such an array. `Module` finds
the parameters of a whole model by looking through its attributes, and the names it
gives them are the paths to them:

    class Net(Module):
        def __init__(self, rng):
            self.hidden = Linear(2, 8, rng)         # "hidden.weight", "hidden.bias"
            self.out = Linear(8, 1, rng)            # "out.weight", "out.bias"

        def forward(self, x):
            return self.out(relu(self.hidden(x)))

There is nothing else to a module: no hooks, no registration. A plain list is not looked
into: layers in a list go into a `ModuleList` (minigrad/nn.py).

Some layers also remember numbers that nobody learns, such as running means. `Buffer`
marks these. They are saved, loaded and moved together with the parameters, and no
optimizer sees them.

The layers: minigrad/nn.py.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

from minigrad.backend import Array, move
from minigrad.tensor import Tensor

NAMED_IN_ERRORS = 5  # the most missing or unexpected names that an error message lists


class Parameter(Tensor):
    """A tensor that a model owns and an optimizer adjusts."""

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A tensor that a model remembers and nobody learns: it never has a gradient."""

    __slots__ = ()

    def __init__(self, data: Array) -> None:
        super().__init__(data)

    def __reduce__(self) -> tuple:
        """For copies and pickles."""
        return Buffer, (self.data,)


Kept = TypeVar("Kept", Parameter, Buffer)


class Module:
    """A piece of a model: `forward`, and attributes that it keeps from call to call.

    These are Parameters, Buffers, and Modules.
    """

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

        >>> from minigrad.nn import Linear
        >>> layer = Linear(3, 2, rng=None)
        >>> [(path, parameter.shape) for path, parameter in layer.named_parameters()]
        [('weight', (2, 3)), ('bias', (2,))]
        """
        return self._named(Parameter, prefix)

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Buffer]]:
        """(path, buffer) for every buffer; a shared one under its first path.

        >>> from minigrad.nn import BatchNorm2d
        >>> for path, buffer in BatchNorm2d(3).named_buffers():
        ...     print(path, buffer.shape, buffer.dtype)
        running_mean (3,) float32
        running_var (3,) float32
        num_batches_tracked () int64
        """
        return self._named(Buffer, prefix)

    def _named(self, kind: type[Kept], prefix: str) -> Iterator[tuple[str, Kept]]:
        """Every parameter, or every buffer, once."""
        seen: set[int] = set()
        for path, tensor in self._all_paths(kind, prefix):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield path, tensor

    def _all_paths(self, kind: type[Kept], prefix: str) -> Iterator[tuple[str, Kept]]:
        """Every path to every tensor of a kind: those of this module itself first."""
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._all_paths(kind, f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def _kept(self) -> dict[str, Tensor]:
        """Every parameter and every buffer, by path."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def state_dict(self) -> dict[str, Array]:
        """A copy of the array of every parameter and buffer, by path."""
        return {path: tensor.data.copy() for path, tensor in self._kept().items()}

    def load_state_dict(self, state: Mapping[str, Array], assign: bool = False) -> None:
        """Copy the arrays into parameters and buffers; their dtype and backend stay.

        With `assign` nothing is copied: the arrays become the parameters and buffers,
        as they are, so whole numbers cannot become a parameter. ValueError, before
        anything is written, if names, shapes or dtypes do not match.
        """
        kept = self._kept()
        _check_state(kept, state, assign)
        for path, tensor in kept.items():
            if assign:
                tensor.data = state[path]
            else:
                tensor.data[...] = move(state[path], tensor.backend)

    def train(self, on: bool = True) -> Self:
        """Switch dropout and batch statistics on; `eval` switches them off."""
        for module in self.modules():
            module.training = on
        return self

    def eval(self) -> Self:
        """Switch dropout and batch statistics off."""
        return self.train(False)

    def mixes_samples(self) -> bool:
        """Whether the result for a sample depends on the samples beside it.

        It does with batch normalisation while training. A batch must not be cut into
        pieces then.

        >>> from minigrad.nn import BatchNorm2d, Sequential
        >>> layer = Sequential(BatchNorm2d(3))
        >>> layer.mixes_samples(), layer.eval().mixes_samples()
        (True, False)
        """
        return any(child.mixes_samples() for _, child in self.children())

    def to(self, backend: str) -> Self:
        """Move parameters and buffers to "numpy", "cupy" or "cupy:1".

        Gradients are forgotten.
        """
        for tensor in self._kept().values():
            tensor.data = move(tensor.data, backend)
        self.zero_grad()
        return self

    def astype(self, dtype: Any) -> Self:
        """Convert parameters and buffers, for example to float64 for checking.

        What has the type already is not copied. Buffers of integers stay integers.
        Gradients are forgotten.
        """
        for tensor in self._kept().values():
            if tensor.dtype.kind in "fc":
                tensor.data = tensor.data.astype(dtype, copy=False)
        self.zero_grad()
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()


def _check_state(kept: Mapping[str, Tensor], state: Mapping[str, Array], assign: bool) -> None:
    """ValueError unless `state` has exactly what a model keeps, in the right shapes."""
    missing = [path for path in kept if path not in state]
    unexpected = [path for path in state if path not in kept]
    if missing or unexpected:
        raise ValueError(
            f"load_state_dict: missing {missing[:NAMED_IN_ERRORS]} ({len(missing)} in all), "
            f"unexpected {unexpected[:NAMED_IN_ERRORS]} ({len(unexpected)} in all)"
        )
    for path, tensor in kept.items():
        shape = tuple(state[path].shape)
        dtype = state[path].dtype
        allowed_kinds = tensor.dtype.kind if assign else "fiu"
        if shape != tensor.shape or dtype.kind not in allowed_kinds:
            raise ValueError(
                f"load_state_dict: {path} has shape {shape} and dtype {dtype}, "
                f"the model needs {tensor.shape} and {tensor.dtype}"
            )


def count_parameters(module: Module) -> int:
    """How many numbers the module learns.

    >>> from minigrad.nn import Linear
    >>> count_parameters(Linear(3, 2, rng=None))
    8
    """
    return sum(parameter.size for parameter in module.parameters())

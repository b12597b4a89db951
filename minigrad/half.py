"""How can weights that nobody changes take half the memory?

A float32 has 4 bytes, a float16 has 2. Learning needs float32, since a step changes a
weight by less than a float16 can show. Weights that are frozen do not learn. So they
can be *stored* as float16, and become float32 in the moment when a layer uses them:

    stored (float16)  ->  data (float32), for one layer  ->  forgotten

Computing in float16 itself would be slow: no processor that NumPy runs on multiplies
matrices in it. The price is one conversion for each use. So only
the weights of the layers that threads compute at one moment are there as float32.

*What is lost?* Published weights often come as float16. They fit exactly. Others are
rounded to 11 binary digits, by at most one part in 2,048. Numbers below 6e-5 keep fewer
digits, and below 3e-8 they become 0. A number above 65,504 has no float16, and is
refused.
"""

import numpy as np

from minigrad.backend import Array, array_module, move, on_host
from minigrad.module import Module, Parameter
from minigrad.tensor import Tensor


class HalfParameter(Parameter):
    """A frozen parameter that is stored as float16, and used as float32.

    `data` is a new array in each use, which cannot be written to. Setting it stores the
    numbers as float16. ValueError for numbers that are too large for that.

    >>> parameter = HalfParameter(np.array([0.1, 0.5], np.float32))
    >>> parameter.stored.dtype, parameter.data.dtype
    (dtype('float16'), dtype('float32'))
    >>> parameter.data
    array([0.09997559, 0.5       ], dtype=float32)
    """

    __slots__ = ("stored",)
    stored: Array

    def __init__(self, data: Array) -> None:
        super().__init__(data, requires_grad=False)

    @property
    def data(self) -> Array:
        """The numbers as float32: a new array."""
        full = self.stored.astype(np.float32)
        if on_host(full):
            full.flags.writeable = False  # what is written there would be lost
        return full

    @data.setter
    def data(self, value: Array) -> None:
        xp = array_module(value)
        with np.errstate(over="ignore"):  # it becomes infinite, which is looked for next
            stored = value.astype(np.float16)
        if bool((xp.isinf(stored) & xp.isfinite(value)).any()):
            raise ValueError(
                f"a weight of {float(abs(value).max()):g} is too large for float16: keep these "
                "weights as float32"
            )
        self.stored = stored

    @property
    def requires_grad(self) -> bool:
        """Never: steps are too small for float16."""
        return False

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted:
            raise RuntimeError("weights that are stored as float16 cannot learn")

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements in use, known without converting them."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self.stored.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.stored.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.stored.size

    def __reduce__(self) -> tuple:
        """For copies and pickles."""
        return HalfParameter, (self.stored.astype(np.float32),)


def in_full(parameter: Tensor) -> Tensor:
    """The parameter as an operation uses it, converted once; others as they are.

    >>> weight = Parameter(np.ones(2, np.float32))
    >>> in_full(weight) is weight, in_full(HalfParameter(weight.data)).dtype
    (True, dtype('float32'))
    """
    return Tensor(parameter.data) if type(parameter) is HalfParameter else parameter


def store_in_half(module: Module) -> float:
    """Store the frozen matrices of a module as float16; the largest error of rounding.

    The error is relative to the largest number of its matrix, and 0 if all of them came
    as float16. Vectors stay, because they are small. Tables of embeddings stay, because
    a use needs a few rows of them, not a conversion of all.

    >>> from minigrad.nn import Linear
    >>> layer = Linear(3, 2, np.random.default_rng(0), std=1.0)
    >>> layer.weight.requires_grad = False
    >>> 0 < store_in_half(layer) < 2**-11
    True
    >>> type(layer.weight).__name__, type(layer.bias).__name__
    ('HalfParameter', 'Parameter')
    """
    largest_error = 0.0
    made: dict[int, HalfParameter] = {}
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if type(value) is not Parameter or value.requires_grad or value.ndim < 2:
                continue
            if getattr(part, "is_table", False):
                continue
            half = made.get(id(value))  # a matrix that two layers share is stored once
            if half is None:
                half = made[id(value)] = HalfParameter(value.data)
                largest_error = max(largest_error, _relative_error(half.data, value.data))
            setattr(part, name, half)
    return largest_error


def _relative_error(rounded: Array, exact: Array) -> float:
    """The largest difference, in parts of the largest number; 0 for zeros alone."""
    error = float(move(abs(rounded - exact).max(), "numpy"))
    scale = float(move(abs(exact).max(), "numpy"))
    return error / scale if scale > 0 else 0.0

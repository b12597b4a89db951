"""Why is one long array faster than hundreds of small ones?

A model has hundreds of parameters, and many of them are small. An optimizer that visits
them one by one makes a dozen calls of NumPy for each parameter. For a bias of 64
numbers, these calls cost more than the arithmetic. `Flat` puts all parameters of a
group into one long buffer. Each parameter becomes a view of its stretch of the buffer,
so the model notices nothing:

    parameters    a (3,)        b (2, 2)          c (2,)
    buffer        a a a         b b b b           c c              9 numbers
    starts        0             3                 7
    stops         3             7                 9

The optimizer then updates the buffer in blocks of a size that suits the cache
(minigrad/memory.py), wherever the parameters begin and end. It needs the gradients in
the same layout. They come from the walk back as separate arrays, so the ones that a
block covers are copied together. The block 2:8 covers the last number of a, all of b,
and the first number of c.
"""

import bisect
from collections.abc import Iterator, Sequence

import numpy as np

from minigrad.backend import Array, array_module, backend_of, on_host, use_device
from minigrad.kernels import flat_gradients
from minigrad.kernels.launching import choose
from minigrad.memory import BLOCK
from minigrad.nn import Parameter


class Flat:
    """The parameters of one group as views of one buffer.

    ValueError if they differ in dtype or backend.

    >>> a = Parameter(np.array([1.0, 2.0, 3.0]))
    >>> b = Parameter(np.array([[4.0, 5.0], [6.0, 7.0]]))
    >>> flat = Flat([a, b])
    >>> flat.data[:] *= 10.0
    >>> b.data
    array([[40., 50.],
           [60., 70.]])
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0].data
        for parameter in self.parameters:
            if parameter.dtype != first.dtype or parameter.backend != backend_of(first):
                raise ValueError(
                    f"optimizer: a group must share one dtype and backend, got {parameter.dtype} "
                    f"on {parameter.backend} and {first.dtype} on {backend_of(first)}; convert the "
                    "model with .astype or .to, or put the parameters into separate groups"
                )
        use_device(first)
        self.stops: list[int] = np.cumsum(
            [parameter.size for parameter in self.parameters]
        ).tolist()
        self.starts = [0, *self.stops[:-1]]
        self.move_to(array_module(first).empty(self.stops[-1], first.dtype))

    def move_to(self, buffer: Array) -> None:
        """Let the parameters be views of `buffer`, with the numbers that they have.

        It may lie in memory that several processes see.
        """
        self.data = buffer
        for parameter, start, stop in zip(self.parameters, self.starts, self.stops):
            view = self.data[start:stop].reshape(parameter.shape)  # (n,) -> shape of it
            view[...] = parameter.data
            parameter.data = view

    def intact(self) -> bool:
        """Whether every parameter is a view of the buffer; `.to` ends that."""
        return all(parameter.data.base is self.data for parameter in self.parameters)

    def blocks(self) -> Iterator[slice]:
        """Slices of the buffer where there are gradients.

        On a CPU they are at most BLOCK long. On a GPU they are as long as they can be.

        >>> a, b, c = [Parameter(np.zeros(size)) for size in (3, 4, 2)]
        >>> flat = Flat([a, b, c])
        >>> a.grad, c.grad = np.ones(3), np.ones(2)
        >>> list(flat.blocks())
        [slice(0, 3, None), slice(7, 9, None)]
        """
        for start, stop in self._runs():
            step = BLOCK if on_host(self.data) else max(stop - start, 1)
            for low in range(start, stop, step):
                yield slice(low, min(low + step, stop))

    def _runs(self) -> list[tuple[int, int]]:
        """(start, stop) of each unbroken run of parameters that have gradients."""
        runs: list[tuple[int, int]] = []
        for parameter, start, stop in zip(self.parameters, self.starts, self.stops):
            if parameter.grad is None:
                continue
            if runs and runs[-1][1] == start:
                start = runs.pop()[0]  # the run before goes on
            runs.append((start, stop))
        return runs

    def gradient(self, block: slice) -> Array:
        """A new array with the gradients of the numbers in `block`.

        >>> a, b, c = [Parameter(np.zeros(size)) for size in (3, 4, 2)]
        >>> flat = Flat([a, b, c])
        >>> a.grad, b.grad, c.grad = np.full(3, 1.0), np.full(4, 2.0), np.full(2, 3.0)
        >>> flat.gradient(slice(2, 8))
        array([1., 2., 2., 2., 2., 3.])
        """
        pieces = []
        # `stops` rises, so a binary search finds the first parameter with a stop beyond
        # the start of the block.
        index = bisect.bisect_right(self.stops, block.start)
        while index < len(self.starts) and self.starts[index] < block.stop:
            start = self.starts[index]
            # The parameter and the block have the numbers low .. high - 1 in common.
            low = max(start, block.start)
            high = min(self.stops[index], block.stop)
            gradient = self.parameters[index].grad
            assert gradient is not None  # `blocks` leaves parameters without a gradient out
            pieces.append(gradient.reshape(-1)[low - start : high - start])  # (n,)
            index += 1
        gather = choose(self.data, portable=_join, on_gpu=flat_gradients.gather)
        return gather(pieces, self.data)


def _join(pieces: Sequence[Array], like: Array) -> Array:
    """One array of all numbers, one after the other, in the dtype of `like`."""
    return array_module(like).concatenate(pieces, dtype=like.dtype)

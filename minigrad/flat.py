"""Why is one long array faster than hundreds of small ones?"""

import bisect
from collections.abc import Iterator, Sequence

import numpy as np

from minigrad.backend import Array, array_module, backend_of, use_device
from minigrad.memory import BLOCK
from minigrad.nn import Parameter


class Flat:
    """The parameters of one group as views of one buffer."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        first = self.parameters[0].data
        for each in self.parameters:
            if each.dtype != first.dtype or each.backend != backend_of(first):
                found = f"{each.dtype} on {each.backend} beside {first.dtype}"
                raise ValueError(f"optimizer: a group must share dtype and backend; found {found}")
        use_device(first)
        self.stops = np.cumsum([each.size for each in self.parameters]).tolist()
        self.starts = [0, *self.stops[:-1]]
        self.data = array_module(first).empty(self.stops[-1], first.dtype)
        for each, start, stop in zip(self.parameters, self.starts, self.stops):
            view = self.data[start:stop].reshape(each.shape)  # shape of the parameter
            view[...] = each.data
            each.data = view

    def intact(self) -> bool:
        """Whether every parameter still is a view of the buffer (`.to` and `.astype` end that)."""
        return all(each.data.base is self.data for each in self.parameters)

    def blocks(self) -> Iterator[slice]:
        """Slices of the buffer, at most BLOCK long, that cover every parameter with a gradient."""
        runs: list[list[int]] = []
        for each, start, stop in zip(self.parameters, self.starts, self.stops):
            if each.grad is not None and runs and runs[-1][1] == start:
                runs[-1][1] = stop
            elif each.grad is not None:
                runs.append([start, stop])
        for start, stop in runs:
            step = BLOCK if type(self.data) is np.ndarray else max(stop - start, 1)
            for low in range(start, stop, step):
                yield slice(low, min(low + step, stop))

    def gradient(self, block: slice) -> Array:
        """A new array with the gradients of the numbers in `block`."""
        gathered = array_module(self.data).empty(block.stop - block.start, self.data.dtype)
        position = bisect.bisect_right(self.stops, block.start)
        while position < len(self.starts) and self.starts[position] < block.stop:
            start, stop = self.starts[position], self.stops[position]
            low, high = max(start, block.start), min(stop, block.stop)
            flat = self.parameters[position].grad.reshape(-1)  # (n,)
            gathered[low - block.start : high - block.start] = flat[low - start : high - start]
            position += 1
        return gathered

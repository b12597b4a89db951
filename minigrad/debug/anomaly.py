"""Which operation made the first NaN, and which gradient is wrong for another reason?

When a loss is NaN, the cause is hundreds of operations back. `detect_anomaly` looks at
each result and each gradient as it is made. It stops at the first one that is not
finite, and names the operation and the line of the program that called it.

A gradient can also be finite and wrong. A vjp holds the arrays of its operation, not
copies. If the program writes into one of them before the backward pass, with
`x.data += 1` for instance, the vjp computes with the new numbers. So `detect_anomaly`
keeps a checksum of each array that a vjp holds, and compares it before the vjp runs.
"""

import contextlib
import os
import pathlib
import sys
import types
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, array_module, move
from minigrad.debug.observing import observe
from minigrad.tape import Node
from minigrad.tensor import Tensor

PACKAGE = str(pathlib.Path(__file__).parent.parent) + os.sep  # ".../minigrad/"


class AnomalyMonitor:
    """Looks at results and gradients. Raises at the first one that is not finite."""

    def forward(
        self, name: str, parents: Sequence[Tensor], results: Sequence[Tensor], node: Node | None
    ) -> None:
        """Check the results of an operation, and note the line that called it."""
        line = _calling_line()
        if node is not None:
            node.source = line
            node.checksums = [_checksum(array) for array in _held_arrays(node.vjp)]
        if all(_is_finite(result.data) for result in results):
            return
        shapes = ", ".join(str(parent.shape) for parent in parents)
        culprits = [i for i, parent in enumerate(parents) if not _is_finite(parent.data)]
        origin = f"; input {culprits[0]} already held one" if culprits else ""
        raise FloatingPointError(
            f"{name} of shapes {shapes} gave a NaN or an infinity{origin}, called at {line}"
        )

    def before_backward(self, node: Node) -> None:
        """Compare what the vjp holds with what it held when it was recorded."""
        checksums = getattr(node, "checksums", None)
        if checksums is None:  # recorded outside of the block
            return
        for array, checksum in zip(_held_arrays(node.vjp), checksums):
            if _checksum(array) != checksum:
                raise RuntimeError(
                    f"{node.name}: an array {array.shape} that its gradient needs has changed "
                    f"since the forward pass; called at {node.source}. Write into a copy, or call "
                    "backward first"
                )

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        """Check the gradients that a vjp has computed."""
        for position, gradient in enumerate(gradients):
            if gradient is not None and not _is_finite(gradient):
                line = getattr(node, "source", "a line outside of detect_anomaly()")
                raise FloatingPointError(
                    f"the gradient of {node.name} (result shape {node.shape}) with respect to "
                    f"its input {position} holds a NaN or an infinity; called at {line}"
                )


def detect_anomaly() -> contextlib.AbstractContextManager:
    """Within the block, a NaN, an infinity or a changed array raises an error.

    The first NaN or infinity raises FloatingPointError. An array that changes between
    the forward pass and the backward pass raises RuntimeError, if a gradient needs it.

    The message names the operation, its shapes and the line of the program that called
    it. For a gradient it names that line if the operation ran inside the block. Every
    operation becomes slower.

    >>> import numpy as np
    >>> import minigrad as mg
    >>> with detect_anomaly(), np.errstate(invalid="ignore"):
    ...     mg.log(mg.tensor([-1.0]))
    Traceback (most recent call last):
    FloatingPointError: log of shapes (1,) gave a NaN or an infinity, called at ...
    """
    return observe(AnomalyMonitor())


def _calling_line() -> str:
    """ "file:line" of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _held_arrays(value: Any) -> list[Array]:
    """The arrays that a vjp holds: in its closure, in lists and in functions there."""
    held: list[Array] = []
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            value = value.data
        if isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, types.FunctionType):
            waiting += map(_content, value.__closure__ or ())
        elif hasattr(value, "dtype") and hasattr(value, "strides"):
            held.append(value)
    return held


def _content(cell: types.CellType) -> Any:
    """What a variable of a closure holds; None if it holds nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _checksum(array: Array) -> int:
    """A number that changes when an element does."""
    return zlib.crc32(np.ascontiguousarray(move(array, "numpy")).data.cast("B"))


def _is_finite(array: Array) -> bool:
    return array.dtype.kind not in "fc" or bool(array_module(array).isfinite(array).all())

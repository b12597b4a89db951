"""Which operation made the first NaN?

When a loss is NaN, the cause is hundreds of operations back. `detect_anomaly` looks at
each result and each gradient as it is made. It stops at the first one that is not
finite, and names the operation and the line of the program that called it.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

from minigrad.backend import Array, array_module
from minigrad.context import setting
from minigrad.tape import Node, monitor
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
        if all(_is_finite(result.data) for result in results):
            return
        shapes = ", ".join(str(parent.shape) for parent in parents)
        culprits = [i for i, parent in enumerate(parents) if not _is_finite(parent.data)]
        origin = f"; input {culprits[0]} already held one" if culprits else ""
        raise FloatingPointError(
            f"{name} of shapes {shapes} gave a NaN or an infinity{origin}, called at {line}"
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
    """Within the block, the first NaN or infinity raises FloatingPointError.

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
    return setting(monitor, AnomalyMonitor())


def _calling_line() -> str:
    """ "file:line" of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_finite(array: Array) -> bool:
    return array.dtype.kind not in "fc" or bool(array_module(array).isfinite(array).all())

"""Which operation ran out of memory?

A MemoryError says how many bytes were wanted, but not which operation wanted them.
`explain_memory` reads the call stack of the error. It finds the operation, and the
shapes of the arrays that the operation worked on.
"""

import contextlib
import os
import sys
import traceback
import types
from collections.abc import Iterator

from minigrad.debug.anomaly import PACKAGE

OPERATIONS = PACKAGE + "ops" + os.sep


@contextlib.contextmanager
def explain_memory(advice: str) -> Iterator[None]:
    """Within the block, a MemoryError says what wanted the memory, and what to do.

    Its message names the operation, the shapes that it worked on, and the size of
    CuPy's pool if the error is CuPy's. It ends with `advice`.

    >>> import minigrad as mg
    >>> huge = mg.broadcast_to(mg.tensor(1.0), (10**9, 10**9))
    >>> with explain_memory("Use smaller batches."):
    ...     huge + huge
    Traceback (most recent call last):
    MemoryError: add: out of memory with ... (1000000000, 1000000000)... Use smaller ...
    """
    try:
        yield
    except MemoryError as error:
        calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        frames = _frames_of_interest(calls[1:])  # the first is this function
        name = frames[0].f_code.co_qualname.partition(".")[0]
        reason = str(error).rstrip(".")
        raise MemoryError(
            f"{name}: out of memory with {_shapes_in(frames)}. {reason}.{_pool_size(error)} "
            f"{advice}"
        ) from error


def _frames_of_interest(calls: list[types.FrameType]) -> list[types.FrameType]:
    """The calls inside operations, else the last call in minigrad, or the last."""
    operations = [call for call in calls if call.f_code.co_filename.startswith(OPERATIONS)]
    if operations:
        return operations
    in_package = [call for call in calls if call.f_code.co_filename.startswith(PACKAGE)]
    return (in_package or calls)[-1:]


def _shapes_in(frames: list[types.FrameType]) -> str:
    """ "x (8, 3), y (8, 3)": the local variables with a shape, an inner call's last."""
    variables = {name: value for frame in frames for name, value in frame.f_locals.items()}
    shapes = {name: getattr(value, "shape", None) for name, value in variables.items()}
    arrays = {name: shape for name, shape in shapes.items() if isinstance(shape, tuple)}
    return ", ".join(f"{name} {shape}" for name, shape in arrays.items()) or "no arrays"


def _pool_size(error: MemoryError) -> str:
    """The size of CuPy's pool of memory, if it was CuPy that ran out."""
    if not type(error).__module__.startswith("cupy"):
        return ""
    pool = sys.modules["cupy"].get_default_memory_pool()
    return f" CuPy's pool holds {pool.total_bytes():,} bytes."

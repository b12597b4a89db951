"""Chapter 14: what did the program really do?

Two tools look at the tape. `detect_anomaly` stops at the first operation whose result or
gradient holds a NaN or an infinity and names the line that called it: by the time a loss is
NaN, the cause is hundreds of operations back. `draw` writes the graph behind a tensor as
Mermaid text, which GitHub, many editors and https://mermaid.live show as a picture, and which
can be read as it is.
"""

import contextlib
import os
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence

from minigrad.backend import Array, array_module
from minigrad.context import setting
from minigrad.tape import Leaf, Node, Output, monitor
from minigrad.tensor import Tensor

Tensors = Sequence[Tensor]
_PACKAGE = str(pathlib.Path(__file__).parent) + os.sep


def _calling_line() -> str:
    """ "file:line" of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_finite(array: Array) -> bool:
    return array.dtype.kind not in "fc" or bool(array_module(array).isfinite(array).all())


class _AnomalyWatcher:
    """Sees each result and each gradient, and raises at the first that is not finite."""

    def forward(self, name: str, parents: Tensors, results: Tensors, node: Node | None) -> None:
        line = _calling_line()
        if node is not None:
            node.source = line
        if not all(_is_finite(result.data) for result in results):
            call = f"{name} of shapes {', '.join(str(parent.shape) for parent in parents)}"
            bad = [i for i, parent in enumerate(parents) if not _is_finite(parent.data)]
            origin = f"; input {bad[0]} already held one" if bad else ""
            raise FloatingPointError(f"{call} gave a NaN or an infinity{origin}, called at {line}")

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        for position, gradient in enumerate(gradients):
            if gradient is not None and not _is_finite(gradient):
                line = getattr(node, "source", "a line outside of detect_anomaly()")
                which = f"{node.name} (result shape {node.shape}) with respect to its input"
                holds = f"{position} holds a NaN or an infinity; called at {line}"
                raise FloatingPointError(f"the gradient of {which} {holds}")


def detect_anomaly() -> contextlib.AbstractContextManager:
    """Within the block, the first NaN or infinity raises FloatingPointError.
    The message names the operation, its shapes and the source line that called it, for a gradient
    too if its operation ran inside the block. Every operation becomes slower."""
    return setting(monitor, _AnomalyWatcher())


@contextlib.contextmanager
def explain_memory(advice: str) -> Iterator[None]:
    """Within the block, a MemoryError names the operation that wanted too much, the shapes that it
    worked on, the size of CuPy's pool of memory where there is one, and ends with `advice`."""
    try:
        yield
    except MemoryError as error:
        calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        ours = [f for f in calls if f.f_code.co_filename.startswith(_PACKAGE)] or calls
        inside = [f for f in ours if os.sep + "ops_" in f.f_code.co_filename] or ours[-1:]
        name = inside[0].f_code.co_qualname.partition(".")[0]
        found = {key: value for f in inside for key, value in f.f_locals.items()}
        shapes = [f"{key} {value.shape}" for key, value in found.items() if hasattr(value, "shape")]
        pool = ""
        if type(error).__module__.startswith("cupy"):
            memory = sys.modules["cupy"].get_default_memory_pool()
            pool = f" CuPy's pool holds {memory.total_bytes():,} bytes."
        what = f"{name}: no memory to go on from {', '.join(shapes)}: {error}"
        raise MemoryError(f"{what}{pool} {advice}") from error


def draw(tensor: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    """The graph that made `tensor`, inputs first, as Mermaid flowchart text.
    Boxes are operations with their result's shape, rounded ones leaves; `names` labels leaves,
    dict(model.named_parameters()) for instance. Call it before backward, which frees the graph."""
    if tensor._place is None:
        return f'flowchart TD\n    n0["constant {tensor.shape}"]'
    labels = {t._place: name for name, t in (names or {}).items() if t._place is not None}
    start, _ = _node_and_output(tensor._place)
    found, waiting, arrows = {start}, [start], []
    while waiting:
        node = waiting.pop()
        for place in filter(None, getattr(node, "parents", None) or ()):
            parent, output = _node_and_output(place)
            arrows.append((parent.order, output, node.order))
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    lines = ["flowchart TD"]
    for node in sorted(found, key=lambda each: each.order):
        shapes = node.shape if isinstance(node.shape, list) else [node.shape]
        text = f'"{labels.get(node, node.name)} {" ".join(map(str, shapes))}"'
        box = f"[{text}]" if isinstance(node, Node) else f"({text})"
        lines.append(f"    n{node.order}{box}")
    for parent, output, child in sorted(arrows):
        label = "" if output < 0 else f"|output {output}|"
        lines.append(f"    n{parent} -->{label} n{child}")
    return "\n".join(lines)


def _node_and_output(place: Leaf | Node | Output) -> tuple[Leaf | Node, int]:
    """The node of a place on the tape, and which of several results it is, or -1."""
    return (place.node, place.index) if isinstance(place, Output) else (place, -1)


class Profile:
    """What `profile` measured: rows of (operation, calls, forward ms, backward ms, bytes)."""

    def __init__(self) -> None:
        self.table: dict[str, list[float]] = {}
        self._last = threading.local()  # when this thread's previous operation ended
        self._lock = threading.Lock()

    def _charge(self, name: str, column: int, calls: int, size: int) -> None:
        now = time.thread_time()
        spent = now - getattr(self._last, "time", now)
        with self._lock:
            row = self.table.setdefault(name, [0, 0.0, 0.0, 0])
            row[0] += calls
            row[column] += 1e3 * spent
            row[3] += size
        self._last.time = time.thread_time()

    def forward(self, name: str, parents: Tensors, results: Tensors, node: Node | None) -> None:
        self._charge(name, 1, 1, sum(result.data.nbytes for result in results))

    def backward(self, node: Node, gradients: Sequence[Array | None]) -> None:
        self._charge(node.name, 2, 0, 0)

    def __str__(self) -> str:
        rows = sorted(self.table.items(), key=lambda row: -row[1][1] - row[1][2])
        lines = [f"{'operation':<18}{'calls':>8}{'forward ms':>13}{'backward ms':>13}{'MB':>9}"]
        for name, (calls, forward, backward, size) in rows:
            lines.append(f"{name:<18}{calls:>8}{forward:>13.2f}{backward:>13.2f}{size / 1e6:>9.1f}")
        return "\n".join(lines)


def profile() -> contextlib.AbstractContextManager[Profile]:
    """Within the block, time and memory by operation; print what it yields.
    The time between two operations of a thread is charged to the later one, so the columns add up
    to all the time that the threads spent; bytes are those of the results."""
    return setting(monitor, Profile())

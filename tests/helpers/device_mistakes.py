"""Mistakes that cost a program on a GPU its correctness or its speed, to be planted.

Most of them compute the right numbers on NumPy. Each has a check that notices it
(device_checks.py), and what the complaint says.
"""

import ast
import importlib
import inspect
import pathlib
import tempfile
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import device_checks as checks
import numpy as np
import pytest
from device_runs import MICRO, TOKENIZER, a_model, batches, losses_of
from op_table import TABLE

import minigrad as mg
from clip_np.training import training_step
from clip_np.weights import read_checkpoint, save_checkpoint
from minigrad.backend import move
from minigrad.optim import AdamW


class Mistake(NamedTuple):
    """In the function `path`, `new` stands in place of `old`.

    check notices, and complaint is a pattern for what it says.
    """

    path: str
    old: str
    new: str
    check: Callable[[], None]
    complaint: str


def function_at(path: str) -> Any:
    """The function or method that a dotted path names, without its decorators."""
    names, after = path.split("."), []
    while True:
        try:
            found = importlib.import_module(".".join(names))
            break
        except ModuleNotFoundError:
            after.insert(0, names.pop())
    for name in after:
        found = getattr(found, name)
    return inspect.unwrap(found)


def plant(monkeypatch: pytest.MonkeyPatch, path: str, old: str, new: str) -> None:
    """Let the function `path` do what its changed source says, whoever holds it."""
    function = function_at(path)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) >= 1, f"{old!r} stands no more in {path}"
    tree = ast.parse(source.replace(old, new))
    tree.body[0].decorator_list = []
    made: dict[str, Any] = {}
    exec(compile(tree, function.__code__.co_filename, "exec"), function.__globals__, made)
    monkeypatch.setattr(function, "__code__", made[function.__name__].__code__)


# --- what notices ---


def five_steps() -> None:
    losses, reads = losses_of("cupy", 5)
    assert not reads, f"read {reads} from the device"
    np.testing.assert_allclose(losses, losses_of("numpy", 5)[0], rtol=1e-12)


def a_bad_id() -> None:
    embedding = importlib.import_module("minigrad.ops.indexing").embedding
    with pytest.raises(IndexError):
        embedding(mg.tensor(np.ones((4, 2)), backend="cupy"), np.array([1, 4]))


def a_repeated_row() -> None:
    x = mg.tensor(np.ones((2, 2)), requires_grad=True, backend="cupy")
    gradient = mg.grad(x[np.array([0, 0, 1])], [x], np.array([[1.0, 2.0], [2.0, 1.0], [5.0, 5.0]]))
    found = move(gradient[0], "numpy").tolist()
    assert found == [[3.0, 3.0], [5.0, 5.0]], f"{found}, not [[3.0, 3.0], [5.0, 5.0]]"


def a_checkpoint() -> None:
    model = a_model("cupy", "float32", MICRO.for_tokenizer(TOKENIZER))
    optimizer = AdamW(model.parameters())
    training_step(model, optimizer, *next(batches(1, np.float32)))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "checkpoint.npz")
        save_checkpoint(path, model, TOKENIZER, optimizer, {})
        assert read_checkpoint(path).optimizer_state["group0.moment0"].dtype == np.float32


def rows_of(name: str) -> None:
    """check_row for all samples of an operation."""
    for row in TABLE:
        if row.name == name:
            for sample in row.samples:
                checks.check_row(row, sample)


# --- the mistakes ---

CLAMP = "clip_np.losses.similarity.clamp_logit_scale"
ARRANGE, SOURCES = "clip_np.training.meeting.arrange", "xp.asarray(sources)"
LAYER_NORM = "minigrad.kernels.layer_norm_rows.forward"
TANH = "minigrad.ops.activation.tanh"
VECTOR = "bias = contiguous(x), contiguous(weight), contiguous(bias)"
MASK_OF_THE_HOST = "block(x, mask and np.tri(x.shape[1], dtype=bool))"
SLOPE = "return g * (1.0 - y * y)"

WRONG = {
    "float(x) in the step": Mistake(
        *(CLAMP, "logit_scale.data", "logit_scale.data * 1; float(scale)"),
        *(five_steps, "read .*float"),
    ),
    "if x.any()": Mistake(
        *(ARRANGE, SOURCES, SOURCES + " if everything.any() else sources"),
        *(five_steps, "read .*bool"),
    ),
    "a product of two backends": Mistake(
        *("clip_np.losses.similarity.similarity_logits", "images @", 'images.to("numpy") @'),
        *(five_steps, "different backends"),
    ),
    "last-write-wins rows": Mistake(
        *("minigrad.ops.indexing.getitem", "scatter_add(gradient, parts, g)"),
        *("gradient[parts] += g", a_repeated_row, r"\[\[3.0, 3.0\]"),
    ),
    "an out-of-range id": Mistake(
        *("minigrad.ops.indexing._pick", "check_indices(", "print("), *(a_bad_id, "DID NOT RAISE")
    ),
    "an np. function on a device array": Mistake(
        *(CLAMP, "array_module(scale).clip", "np.clip"),
        *(five_steps, "numpy.clip was given an array of the device"),
    ),
    "a function that CuPy lacks": Mistake(
        *(ARRANGE, SOURCES, f"xp.vecdot(everything, everything) and {SOURCES}"),
        *(five_steps, "no attribute 'vecdot'"),
    ),
    "a where= reduction": Mistake(
        *(ARRANGE, SOURCES, f"xp.sum(everything, where=everything != 0) and {SOURCES}"),
        *(five_steps, "unexpected keyword argument 'where'"),
    ),
    "a device Generator.permutation": Mistake(
        *(ARRANGE, SOURCES),
        *("xp.random.default_rng(0).permutation(len(sources))", five_steps),
        "'cupy.random.Generator' has no attribute 'permutation'",
    ),
    "a checkpoint that stores a device array": Mistake(
        *("clip_np.weights.checkpoints.save_checkpoint", 'move(array, "numpy")', "array"),
        *(a_checkpoint, "Implicit conversion|was given an array of the device"),
    ),
}
"""What CuPy refuses, or computes otherwise."""

FLOAT64 = {
    "a float64 vector in layer_norm": Mistake(
        *(LAYER_NORM, VECTOR, VECTOR.replace("(bias)", "(bias.astype(float))")),
        *(partial(rows_of, "layer_norm"), "float64"),
    ),
    "a float64 vector in a step": Mistake(
        *("minigrad.ops.basic.exp", "return g * y", "return g * (y * array_module(y).ones(()))"),
        *(checks.check_step, "float64"),
    ),
    "a number of NumPy's in a vjp": Mistake(
        *(TANH, SLOPE, "return g * (array_module(y).ones(()) - y * y)"),
        *(partial(rows_of, "tanh"), "activation.* float64|tanh: float64"),
    ),
    "zeros of the usual type": Mistake(
        *("minigrad.ops.indexing._pick", "xp.zeros(shape, dtype)", "xp.zeros(shape)"),
        *(partial(rows_of, "embedding"), "float64"),
    ),
}
"""float64 that nobody asked for: right, and slow."""

WAITING = {
    ".tolist() inside a vjp": Mistake(
        *(TANH, SLOPE, "return g * (1.0 - y * y) if y.tolist() else g"),
        *(partial(rows_of, "tanh"), "tolist"),
    ),
    ".item() in the step": Mistake(
        *(ARRANGE, SOURCES, SOURCES + " if everything[0, 0].item() else sources"),
        *(checks.check_step, "item"),
    ),
    "a boolean index": Mistake(
        *(TANH, SLOPE, "return g * (1.0 - y * y) if y[y > 0].size else g"),
        *(partial(rows_of, "tanh"), "boolean index"),
    ),
}
"""What makes the program wait for the device."""

COPYING = {
    "a mask of the host at each block": Mistake(
        *("clip_np.encoders.pooled.pooled_transformer", "block(x, mask)", MASK_OF_THE_HOST),
        *(checks.check_copies, "copies: "),
    ),
    "a number of the host in a vjp": Mistake(
        *(TANH, SLOPE, "return g * (array_module(y).asarray(1.0, y.dtype) - y * y)"),
        *(partial(rows_of, "tanh"), "activation"),
    ),
}
"""Copies from the host, again and again."""

LOOPING = {
    "a loop over rows": Mistake(
        *(ARRANGE, f"everything[{SOURCES}]", "xp.stack([row for row in everything])"),
        *(checks.check_launches, "a loop over the .* rows"),
    ),
    "a loop over the numbers of rows": Mistake(
        *(ARRANGE, f"everything[{SOURCES}]", "xp.stack([everything[row] for row in sources])"),
        *(checks.check_launches, "launches: "),
    ),
}
"""Python at work, row by row."""

MISTAKES = WRONG | FLOAT64 | WAITING | COPYING | LOOPING

LEFT_OUT = {
    "minigrad.optim": checks.check_optimizers,
    "minigrad.flat": checks.check_optimizers,
    "minigrad.tape": checks.check_walk,
    "minigrad.tensor": checks.check_walk,
    "minigrad.inputs": partial(rows_of, "exp"),
    "minigrad.ops.shape": partial(rows_of, "astype"),
}
"""Modules that call `use_device`, and what notices if one of them does not.

The arrays then live on another device than the thread computes on.
"""

"""The table of operations: every public operation of minigrad, with inputs to try it on.

test_gradients.py runs every row through the same checks, and compares the table with the
package's public names: an operation without a row fails the suite. A row says what the
operation computes in plain NumPy (`reference`), where it is smooth (`analytic`: the forward
pass also computes with complex numbers, so that its derivative can be had to the last digits),
where it has kinks and what the convention is there, and whether it is linear: "jointly" in all
of its inputs, or in "each" of them while the others stay.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg

NOT_OPERATIONS = {
    *("GradientError", "Tensor", "backend", "checking", "checkpoint", "debug", "detect_anomaly"),
    *("draw", "grad", "gradcheck", "hvp", "nn", "no_grad", "optim", "taylor_slope", "tensor"),
}


@dataclass(frozen=True)
class Sample:
    """float64 inputs that get gradients, and the operation's other arguments."""

    inputs: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kink:
    """A point without a derivative; rule(left, right) is what the gradient is there, from the
    one-sided derivatives along each element of the first input."""

    sample: Sample
    rule: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Row:
    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    samples: Sequence[Sample]
    analytic: bool = True
    linear: str = "no"
    kinks: Sequence[Kink] = ()
    # How the property tests draw inputs: "unary", "binary", "reduction" or "" for no such test,
    # and domain(rng, shape) -> values.
    kind: str = ""
    domain: Callable[..., np.ndarray] | None = None


# --- domains: where to draw values from --------------------------------------------------------

Generator = np.random.Generator


def anywhere(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def positive(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.3, 3.0, shape)


def away_from_zero(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """No two elements closer than 0.1."""
    count = math.prod(shape)
    return rng.permutation(np.arange(count) * 0.1 - 0.05 * count + 0.013).reshape(shape)


def between_bounds(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Below, between and above -0.5 and 0.8, and not near them."""
    return rng.choice([-0.9, 0.1, 1.2], shape) + rng.uniform(-0.2, 0.2, shape)


def draw(name: str, domain: Callable[..., np.ndarray], *shapes: tuple[int, ...]) -> tuple:
    rng = np.random.default_rng(zlib.crc32(f"{name}{shapes}".encode()))
    values = domain(rng, (sum(math.prod(shape) for shape in shapes),))  # drawn together: distinct
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return tuple(part.reshape(shape) for part, shape in zip(np.split(values, cuts), shapes))


# --- shapes ------------------------------------------------------------------------------------

UNARY = ((), (1,), (5,), (3, 4), (2, 3, 2), (0,), (2, 0, 3))
BINARY = (
    *(((3, 4), (3, 4)), ((), ()), ((2, 3), ()), ((), (2, 3)), ((1,), ()), ((1,), (2, 3))),
    *(((3, 1), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (1, 3, 1)), ((1, 1), (1,))),
    *(((2, 3), (1, 1, 1)), ((0, 3), (1, 3)), ((2, 0), (1,)), ((3, 0), ()), ((), (0,))),
)
REDUCED = (
    *(((), None), ((), ()), ((4,), None), ((4,), 0), ((1,), -1), ((3, 4), None), ((3, 4), 0)),
    *(((3, 4), -1), ((3, 4), (0, 1)), ((2, 3, 4), (0, -1)), ((2, 3, 4), (-2,)), ((2, 3, 4), ())),
    *(((1, 3), 0), ((0, 3), 1), ((2, 0, 3), (0, 2))),
)


def unary(name: str, function: Callable, reference: Callable, **more: Any) -> Row:
    """A row for an elementwise operation of one input."""
    domain = more.setdefault("domain", anywhere)
    samples = [Sample(draw(name, domain, shape)) for shape in UNARY]
    samples += more.pop("samples", [])
    return Row(name, function, reference, samples, kind="unary", **more)


def binary(name: str, function: Callable, reference: Callable, **more: Any) -> Row:
    """A row for an elementwise operation of two inputs that broadcast."""
    domain = more.setdefault("domain", anywhere)
    samples = [Sample(draw(name, domain, *shapes)) for shapes in BINARY]
    return Row(name, function, reference, samples, kind="binary", **more)


def reduction(name: str, function: Callable, reference: Callable, **more: Any) -> Row:
    """A row for a reduction over axes."""
    domain = more.setdefault("domain", anywhere)
    samples = [
        Sample(draw(name, domain, shape), {"axis": axis, "keepdims": keepdims})
        for shape, axis in REDUCED
        for keepdims in (False, True)
    ]
    samples += [Sample(inputs, {}) for inputs in more.pop("extra", [])]
    return Row(name, function, reference, samples, kind="reduction", **more)


def cases(name: str, *listed: tuple, domain: Callable = anywhere) -> list[Sample]:
    """Samples from (shape, shape, ..., options) tuples."""
    return [Sample(draw(name, domain, *each[:-1]), each[-1]) for each in listed]


def at(*inputs: Any, **options: Any) -> Sample:
    return Sample(tuple(np.array(each, dtype=np.float64) for each in inputs), options)


def left_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left


def right_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return right


def middle(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return 0.5 * (left + right)


# --- plain NumPy for what NumPy lacks ----------------------------------------------------------

plain_erf = np.vectorize(math.erf, otypes=[float])


def plain_logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def plain_gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    if approximate == "none":
        return x * 0.5 * (1.0 + plain_erf(x / math.sqrt(2.0)))
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def plain_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    if x.size == 0:
        return x
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def plain_logsumexp(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def plain_cross_entropy(logits: np.ndarray, labels: Any, reduction: str = "mean") -> np.ndarray:
    labels = np.asarray(labels)
    losses = np.zeros(labels.shape)
    for index in np.ndindex(labels.shape):
        losses[index] = -math.log(plain_softmax(logits[index])[labels[index]])
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def plain_layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    if x.size == 0:
        return x
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return weight * (x - mean) / np.sqrt(variance + eps) + bias


def plain_normalize(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def plain_attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Any = None, dropout: float = 0, seed: int = 0
) -> np.ndarray:
    """One query at a time. A query that sees no key gets zeros."""
    shape = (*q.shape[:-1], k.shape[-2])
    if isinstance(mask, str):
        mask = np.arange(shape[-2])[:, None] >= np.arange(shape[-1])[None, :]
    mask = np.zeros(shape) if mask is None else np.asarray(mask)
    if mask.dtype == bool:
        mask = np.where(mask, 0.0, -np.inf)
    mask = np.broadcast_to(mask, shape)
    kept = np.random.default_rng(seed).random(shape, np.float32) >= dropout
    out = np.zeros(q.shape)
    for index in np.ndindex(q.shape[:-1]):
        seen = [j for j in range(shape[-1]) if mask[index][j] > -np.inf]
        scores = [
            q[index] @ k[index[:-1]][j] / math.sqrt(q.shape[-1] or 1) + mask[index][j] for j in seen
        ]
        for j, p in zip(seen, plain_softmax(np.array(scores))):
            out[index] += p * kept[index][j] / (1.0 - dropout) * v[index[:-1]][j]
    return out


def plain_self_attention(qkv: np.ndarray, heads: int, mask: Any = None) -> np.ndarray:
    width = qkv.shape[-1] // 3
    size = width // heads
    columns = []
    for head in range(heads):
        parts = [qkv[..., i * width + head * size :][..., :size] for i in range(3)]
        columns.append(plain_attention(*parts, mask=mask))
    return np.concatenate(columns, axis=-1)


def plain_pooled_attention(
    q: np.ndarray, kv: np.ndarray, heads: int, lengths: Any = None
) -> np.ndarray:
    size = q.shape[1] // heads
    out = np.zeros(q.shape)
    for b in range(len(q)):
        n = kv.shape[1] if lengths is None else lengths[b]
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            k, v = kv[b, :n, part], kv[b, :n, q.shape[1] :][:, part]
            out[b, part] = plain_attention(q[b : b + 1, part], k, v)[0]
    return out


def seeded_dropout(x: Any, p: float, seed: int) -> mg.Tensor:
    return mg.dropout(x, p, np.random.default_rng(seed))


def plain_dropout(x: np.ndarray, p: float, seed: int) -> np.ndarray:
    kept = np.random.default_rng(seed).random(x.shape, np.float32) >= p
    return np.where(kept, x / (1.0 - p), 0.0)


def seeded_attention(q: Any, k: Any, v: Any, seed: int = 0, **options: Any) -> mg.Tensor:
    return mg.attention(q, k, v, rng=np.random.default_rng(seed), **options)


# --- the rows ----------------------------------------------------------------------------------

ARITHMETIC = [
    binary("add", mg.add, np.add, linear="jointly"),
    binary("sub", mg.sub, np.subtract, linear="jointly"),
    binary("mul", mg.mul, np.multiply, linear="each"),
    binary("div", mg.div, np.true_divide, domain=away_from_zero),
    binary("power", mg.power, np.power, domain=positive),
    Row(
        "power",
        mg.power,
        lambda x, b: x**b,
        [
            *(Sample(draw("p", away_from_zero, (2, 3)), {"b": b}) for b in (2, 3, -1, -2, 0, 1.0)),
            *(Sample(draw("p", positive, (2, 3)), {"b": b}) for b in (0.5, -0.5, 2.5, 1)),
            *(at([0.0, 0.0, 2.0], b=b) for b in (0, 1, 2, 3.0)),
            *(at(0.7, b=2), at(np.zeros((0, 2)), b=2), at(np.zeros((0, 2)), b=0)),
            *(at(-1.5, b=np.float64(2)), at([1.5, -2.0], b=np.int64(3)), at(2.0, b=True)),
        ],
    ),
    binary(
        "maximum",
        mg.maximum,
        np.maximum,
        domain=distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
    ),
    binary(
        "minimum",
        mg.minimum,
        np.minimum,
        domain=distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
    ),
    unary("neg", mg.neg, np.negative, linear="jointly"),
    unary("exp", mg.exp, np.exp),
    unary("log", mg.log, np.log, domain=positive),
    unary("sqrt", mg.sqrt, np.sqrt, domain=positive),
    unary("abs", mg.abs, np.abs, domain=away_from_zero, kinks=[Kink(at([0.0, 0.0]), middle)]),
    Row(
        "clip",
        mg.clip,
        lambda x, low, high: np.clip(x, low, high),
        [
            Sample(draw("clip", between_bounds, shape), bounds)
            for shape in ((), (1,), (3, 4), (0, 2))
            for bounds in (
                {"low": -0.5, "high": 0.8},
                {"low": -0.5, "high": None},
                {"low": None, "high": 0.8},
                {"low": None, "high": None},
            )
        ],
        kinks=[
            Kink(at([-0.5], low=-0.5, high=0.8), right_side),
            Kink(at([0.8], low=-0.5, high=0.8), left_side),
        ],
    ),
    Row(
        "where",
        lambda a, b, condition: mg.where(condition, a, b),
        lambda a, b, condition: np.where(condition, a, b),
        cases(
            "where",
            ((3,), (3,), {"condition": np.array([True, False, True])}),
            ((), (), {"condition": True}),
            ((2, 3), (), {"condition": np.array([[True], [False]])}),
            ((3, 1), (1, 4), {"condition": np.array(False)}),
            ((1,), (3,), {"condition": np.ones((2, 3), bool)}),
            ((0,), (1,), {"condition": np.ones((2, 1), bool)}),
        ),
        linear="jointly",
    ),
]

ACTIVATIONS = [
    unary("tanh", mg.tanh, np.tanh),
    unary("sigmoid", mg.sigmoid, plain_logistic, samples=[at([-40.0, -8.0, 0.0, 8.0, 40.0])]),
    unary("relu", mg.relu, lambda x: np.maximum(x, 0), domain=away_from_zero,
          kinks=[Kink(at([0.0, 0.0]), left_side)]),
    unary("quick_gelu", mg.quick_gelu, lambda x: x * plain_logistic(1.702 * x)),
    unary("gelu", mg.gelu, plain_gelu, analytic=False, samples=[at([-7.0, -1.4, 0.0, 1.4, 9.0])]),
    Row("gelu", mg.gelu, plain_gelu, cases(
        "gelu", *((shape, {"approximate": "tanh"}) for shape in UNARY))),
    unary("erf", mg.erf, plain_erf, analytic=False,
          samples=[at([-7.0, -6.0, -1.0, -1e-3, 0.0, 0.999, 1.0, 1.001, 5.9, 30.0])]),
]  # fmt: skip

REDUCTIONS = [
    reduction("sum", mg.sum, np.sum, linear="jointly", extra=[(np.zeros((0, 3)),)]),
    Row("sum", mg.sum, np.sum, cases("sum", ((0, 3), {"axis": 0}), ((2, 0), {"axis": -1}))),
    reduction("mean", mg.mean, np.mean, linear="jointly"),
    reduction("var", mg.var, np.var),
    reduction("max", mg.max, np.max, domain=distinct, kinks=[
        Kink(at([2.0, 1.0, 2.0]), middle),
        Kink(at([2.0, 2.0, 2.0]), lambda left, right: right / 3.0),
    ]),
    reduction("min", mg.min, np.min, domain=distinct, kinks=[
        Kink(at([1.0, 2.0, 1.0]), middle),
        Kink(at([1.0, 1.0, 1.0]), lambda left, right: left / 3.0),
    ]),
    reduction("logsumexp", mg.logsumexp, plain_logsumexp),
]  # fmt: skip

SHAPES = [
    Row("reshape", lambda x, shape: mg.reshape(x, shape), np.reshape, cases(
        "reshape",
        ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": (-1,)}), ((6,), {"shape": (1, 2, 3)}),
        ((), {"shape": (1, 1)}), ((1,), {"shape": ()}), ((0, 3), {"shape": (3, 0)}),
        ((2, 3), {"shape": (2, 3)}), ((2, 0), {"shape": (-1,)}),
    ), linear="jointly"),
    Row("transpose", mg.transpose, np.transpose, cases(
        "transpose",
        ((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axes": (2, 0, 1)}), ((), {}), ((3,), {}),
        ((2, 3, 4), {"axes": (-1, 0, -2)}), ((2, 0), {}), ((1, 3), {"axes": (0, 1)}),
    ), linear="jointly"),
    Row("swapaxes", mg.swapaxes, lambda x, first, second: np.swapaxes(x, first, second), cases(
        "swapaxes",
        ((2, 3, 4), {"first": 0, "second": 2}), ((2, 3, 4), {"first": -1, "second": -2}),
        ((2, 3), {"first": 1, "second": 1}), ((0, 3), {"first": 0, "second": -1}),
        ((1,), {"first": 0, "second": 0}),
    ), linear="jointly"),
    Row("broadcast_to", mg.broadcast_to, np.broadcast_to, cases(
        "broadcast_to",
        ((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((3, 1), {"shape": (2, 3, 4)}),
        ((1,), {"shape": (0,)}), ((2, 3), {"shape": (2, 3)}), ((), {"shape": ()}),
        ((1, 1), {"shape": (1, 4)}), ((0, 1), {"shape": (2, 0, 3)}),
    ), linear="jointly"),
    Row("concatenate", lambda *xs, axis=0: mg.concatenate(xs, axis),
        lambda *xs, axis=0: np.concatenate(xs, axis), cases(
        "concatenate",
        ((2,), (3,), {}), ((2, 3), (2, 1), {"axis": 1}), ((2, 3), (0, 3), (1, 3), {"axis": -2}),
        ((1,), {}), ((0,), (0,), {}), ((1, 2, 2), (1, 2, 3), (1, 2, 1), {"axis": -1}),
    ), linear="jointly"),
    Row("stack", lambda *xs, axis=0: mg.stack(xs, axis), lambda *xs, axis=0: np.stack(xs, axis),
        cases(
        "stack",
        ((), (), {}), ((2, 3), (2, 3), {}), ((2, 3), (2, 3), {"axis": 1}), ((1,), {"axis": -1}),
        ((2, 3), (2, 3), (2, 3), {"axis": -1}), ((0, 2), (0, 2), {"axis": 2}),
    ), linear="jointly"),
    Row("split", mg.split, lambda x, sections, axis=0: np.split(x, sections, axis), cases(
        "split",
        ((6,), {"sections": 3}), ((5, 2), {"sections": [1, 3]}), ((4,), {"sections": 1}),
        ((2, 4), {"sections": 2, "axis": -1}), ((3,), {"sections": [0, 3]}),
        ((0, 2), {"sections": 2}), ((1,), {"sections": 1}), ((4,), {"sections": [-1]}),
        ((4,), {"sections": [2, 9]}),
    ), linear="jointly"),
    Row("pad", mg.pad, lambda x, widths: np.pad(x, widths), cases(
        "pad",
        ((3,), {"widths": 1}), ((2, 3), {"widths": ((0, 1), (2, 0))}), ((), {"widths": 2}),
        ((2, 3), {"widths": (1, 2)}), ((0, 2), {"widths": 1}), ((2,), {"widths": 0}),
    ), linear="jointly"),
    Row("getitem", mg.getitem, lambda x, index: x[index], cases(
        "getitem",
        ((5,), {"index": 2}), ((5,), {"index": -1}), ((5,), {"index": np.int64(1)}),
        ((4, 3), {"index": slice(None, None, -2)}), ((4, 3), {"index": (slice(1, 3), 0)}),
        ((4, 3), {"index": (..., None, -1)}), ((), {"index": ()}), ((), {"index": None}),
        ((2, 3), {"index": True}), ((3,), {"index": slice(0, 0)}), ((0, 3), {"index": slice(9)}),
        ((4, 3), {"index": [1, 1, -1, 1]}), ((4, 3), {"index": np.array([[0, 3], [3, 3]])}),
        ((4, 3), {"index": (np.array([0, 0, 2]), np.array([1, 1, 2]))}),
        ((4, 3), {"index": (slice(None), [2, 0, 2])}), ((4,), {"index": np.zeros(0, int)}),
        ((2, 2), {"index": np.array([[True, False], [True, True]])}),
        ((3, 2), {"index": np.array([False, True, True])}),
    ), linear="jointly"),
    Row("take", mg.take, np.take, cases(
        "take",
        ((5,), {"indices": [1, 1, 1, 2], "axis": 0}), ((4, 3), {"indices": 2, "axis": -1}),
        ((2, 3, 4), {"indices": np.array([[0, 2, 2], [1, 1, 0]]), "axis": 1}),
        ((4, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((4, 3), {"indices": np.zeros((2, 0), int), "axis": 1}),
        ((0, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((3, 0), {"indices": [0, 2, 2], "axis": 0}), ((3,), {"indices": np.uint8(1), "axis": 0}),
        ((1, 2), {"indices": [0], "axis": -2}), ((1,), {"indices": [0, 0], "axis": -1}),
    ), linear="jointly"),
    Row("to", mg.to, lambda x, backend: x,
        cases("to", *((shape, {"backend": "numpy"}) for shape in UNARY)), linear="jointly"),
    Row("astype", lambda x: mg.astype(x, x.dtype), lambda x: x,
        cases("astype", *((shape, {}) for shape in UNARY)), linear="jointly"),
]  # fmt: skip

PRODUCTS = [
    Row("matmul", mg.matmul, np.matmul, cases(
        "matmul",
        ((2, 3), (3, 4), {}), ((3,), (3,), {}), ((3,), (3, 4), {}), ((2, 3), (3,), {}),
        ((5, 2, 3), (3, 4), {}), ((2, 3), (5, 3, 4), {}), ((5, 2, 3), (5, 3, 4), {}),
        ((5, 1, 2, 3), (6, 3, 4), {}), ((1, 2, 3), (5, 3, 4), {}), ((5, 2, 3), (1, 3, 4), {}),
        ((3,), (5, 3, 4), {}), ((5, 2, 3), (3,), {}), ((1, 1), (1, 1), {}),
        ((0, 3), (3, 4), {}), ((2, 0), (0, 4), {}), ((2, 3), (3, 0), {}), ((0,), (0,), {}),
        ((0, 2, 3), (3, 4), {}), ((0, 2, 3), (0, 3, 4), {}), ((0, 3), (3,), {}), ((2, 0), (0,), {}),
        ((0,), (0, 4), {}), ((5, 2, 0), (0, 4), {}), ((5, 0, 3), (5, 3, 4), {}),
    ), linear="each"),
    Row("linear", mg.linear, lambda x, w, b=0.0: np.einsum("...i,oi->...o", x, w) + b, cases(
        "linear",
        ((2, 3), (4, 3), (4,), {}), ((3,), (4, 3), (4,), {}), ((2, 5, 3), (4, 3), (4,), {}),
        ((2, 5, 3), (1, 3), {}), ((3,), (4, 3), {}), ((0, 3), (4, 3), (4,), {}),
        ((2, 0, 3), (4, 3), {}), ((2, 0), (4, 0), (4,), {}), ((2, 3), (0, 3), (0,), {}),
        ((1, 1), (1, 1), (1,), {}), ((0,), (4, 0), (4,), {}),
    )),
    Row("einsum", lambda *xs, formula: mg.einsum(formula, *xs),
        lambda *xs, formula: np.einsum(formula, *xs), cases(
        "einsum",
        ((2, 3), (3, 4), {"formula": "ij,jk->ik"}), ((2, 3), {"formula": "ij->ji"}),
        ((2, 3), {"formula": "ij->"}), ((2, 3), {"formula": "ij->i"}), ((3, 3), {"formula": "ii"}),
        ((3, 3), {"formula": "ii->i"}), ((2, 3, 3), {"formula": "bii->b"}),
        ((2, 3), (2, 4), {"formula": "ij,ik"}), ((), (3,), {"formula": ",i->i"}),
        ((2, 3, 4, 5), (2, 3, 6, 5), {"formula": "bhqd,bhkd->bhqk"}),
        ((2, 3, 4), (4, 5), {"formula": "...i,ij->...j"}), ((4,), (2, 4), {"formula": "...,..."}),
        ((2, 3), (3, 4), (4, 2), {"formula": "ij,jk,kl->il"}), ((2, 3), {"formula": "ab -> ba"}),
        ((2, 3), (2, 3), {"formula": "ij,ij->"}), ((2, 3), (4,), {"formula": "ij,k->jk"}),
        ((2, 3), (1, 4), {"formula": "ij,jk->ik"}), ((2, 1), (3, 4), {"formula": "ij,jk->ik"}),
        ((1, 3), (2, 3), {"formula": "ij,ij->ij"}), ((3, 3), (1,), {"formula": "ii,i->i"}),
        ((0, 3), (3, 4), {"formula": "ij,jk->ik"}), ((2, 0), (0, 4), {"formula": "ij,jk->ik"}),
        ((), {"formula": "->"}), ((2, 3, 1), (1, 3), {"formula": "...i,i...->..."}),
    ), linear="each"),
    Row("embedding", mg.embedding, lambda w, ids: w[ids], cases(
        "embedding",
        ((5, 3), {"ids": np.array([1, 1, 1, 2])}), ((5, 3), {"ids": np.array([[0, 4], [4, 0]])}),
        ((5, 3), {"ids": np.array(3)}), ((5, 3), {"ids": np.zeros((0,), int)}),
        ((5, 3), {"ids": np.zeros((2, 0), int)}), ((0, 3), {"ids": np.zeros((0,), int)}),
        ((5, 0), {"ids": np.array([1, 2])}), ((1, 1), {"ids": np.array([0], np.uint8)}),
    ), linear="jointly"),
]  # fmt: skip

AXES = (((), None), ((1,), -1), ((5,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1))
EMPTY = (((0, 3), -1), ((0, 3), 0), ((3, 0), -1))
ALONG = [(shape, {"axis": axis}) for shape, axis in (*AXES[1:], *EMPTY)]
LARGE = [
    at([[1000.0, 0.0, 999.0], [-1000.0, -1001.0, -2000.0]], axis=-1),
    at([[-1000.0, -1001.0], [-999.0, -1000.0]], axis=-1),
]

NEURAL = [
    Row("softmax", mg.softmax, plain_softmax, [*cases("softmax", *ALONG), *LARGE]),
    Row("log_softmax", mg.log_softmax, lambda x, axis: np.log(plain_softmax(x, axis)),
        [*cases("log_softmax", *ALONG), at([[50.0, 0.0, 49.0]], axis=-1)]),
    Row("cross_entropy", mg.cross_entropy, plain_cross_entropy, cases(
        "cross_entropy",
        ((4, 3), {"labels": [0, 2, 1, 2]}), ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "sum"}),
        ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "none"}), ((3,), {"labels": 1}),
        ((3,), {"labels": 1, "reduction": "none"}), ((2, 2, 3), {"labels": [[0, 1], [2, 2]]}),
        ((2, 2, 3), {"labels": [[0, 1], [2, 2]], "reduction": "none"}),
        ((2, 1), {"labels": [0, 0]}), ((1, 1), {"labels": [0]}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "sum"}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "none"}),
    )),
    Row("layer_norm", mg.layer_norm, plain_layer_norm, cases(
        "layer_norm",
        ((4,), (4,), (4,), {}), ((3, 4), (4,), (4,), {}), ((2, 3, 4), (4,), (4,), {"eps": 1e-3}),
        ((0, 4), (4,), (4,), {}), ((2, 0, 4), (4,), (4,), {}), ((2, 1), (1,), (1,), {}),
        ((2, 0), (0,), (0,), {}),
    )),
    Row("normalize", mg.normalize, plain_normalize, cases("normalize", *ALONG)),
    Row("dropout", seeded_dropout, plain_dropout, cases(
        "dropout",
        ((20,), {"p": 0.5, "seed": 1}), ((3, 4), {"p": 0.1, "seed": 2}),
        ((), {"p": 0.3, "seed": 3}),
        ((0, 2), {"p": 0.5, "seed": 4}), ((3,), {"p": 0.0, "seed": 5}),
    ), linear="jointly"),
]  # fmt: skip

ROW_HIDDEN = np.array([[True, False, True], [False, False, False], [True, True, True]])
BIAS = np.array([[0.3, -1.0, 0.0], [100.0, 0.5, 99.0], [-110.0, -110.0, -110.0]])

ATTENTION = [
    Row("attention", seeded_attention, plain_attention, cases(
        "attention",
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {}),
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {"mask": "causal"}),
        ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4), {}),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), {"mask": ROW_HIDDEN}),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), {"mask": BIAS}),
        ((2, 1, 3, 4), (2, 1, 3, 4), (2, 1, 3, 4), {"mask": ROW_HIDDEN[:2, None, None, :]}),
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {"dropout": 0.4, "seed": 7}),
        ((1, 1, 3, 1), (1, 1, 3, 1), (1, 1, 3, 1), {"dropout": 0.4, "mask": "causal"}),
        ((1, 1, 0, 2), (1, 1, 0, 2), (1, 1, 0, 2), {"mask": "causal"}),
        ((1, 1, 2, 2), (1, 1, 0, 2), (1, 1, 0, 2), {}),
        ((1, 1, 0, 2), (1, 1, 3, 2), (1, 1, 3, 2), {"dropout": 0.4}),
        ((0, 1, 2, 2), (0, 1, 2, 2), (0, 1, 2, 2), {}), ((3, 4), (3, 4), (3, 4), {}),
        ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), {}), ((1, 2, 0), (1, 2, 0), (1, 2, 0), {}),
    )),
    Row("self_attention", mg.self_attention, plain_self_attention, cases(
        "self_attention",
        ((2, 3, 12), {"heads": 2}), ((2, 3, 12), {"heads": 1, "mask": "causal"}),
        ((1, 3, 6), {"heads": 2, "mask": ROW_HIDDEN}), ((1, 3, 6), {"heads": 2, "mask": BIAS}),
        ((2, 0, 6), {"heads": 2, "mask": "causal"}), ((0, 3, 6), {"heads": 1}),
        ((1, 1, 3), {"heads": 1}),
    )),
    Row("pooled_attention", mg.pooled_attention, plain_pooled_attention, cases(
        "pooled_attention",
        ((2, 4), (2, 3, 8), {"heads": 2}), ((2, 4), (2, 3, 8), {"heads": 1, "lengths": [1, 3]}),
        ((3, 4), (3, 5, 8), {"heads": 4, "lengths": np.array([5, 0, 2])}),
        ((0, 4), (0, 3, 8), {"heads": 2}), ((2, 4), (2, 0, 8), {"heads": 2}),
        ((1, 1), (1, 1, 2), {"heads": 1}),
    )),
]  # fmt: skip

TABLE = [*ARITHMETIC, *ACTIVATIONS, *REDUCTIONS, *SHAPES, *PRODUCTS, *NEURAL, *ATTENTION]

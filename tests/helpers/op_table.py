"""The table of operations: every public operation, with inputs to try it on.

test_gradients.py runs every row through the same checks, and compares the table with
the package's public names: an operation without a row fails the suite. A row says

- what the operation computes in NumPy (`reference`) and, if it is fused, in small
  operations (`composed`, mostly a function of minigrad.plain);
- fixed `samples` to try, the awkward ones among them, and a strategy that draws more
  (`drawn`);
- whether the operation is smooth (`analytic`): the forward pass then also computes with
  complex numbers, which gives its derivative to the last digits;
- its kinks, and the convention there;
- whether it is linear: "jointly" in all of its inputs, or in "each" of them while the
  others stay.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import drawing as d
import drawing_images
import numpy as np
import reference
import small
from drawing import Sample, anywhere, away_from_zero, between_bounds, distinct, positive
from hypothesis import strategies as st

import minigrad as mg
from minigrad import plain, plain_images

NOT_OPERATIONS = {
    *("GradientError", "Tensor", "backend", "backward_into", "checking", "checkpoint", "debug"),
    *("detect_anomaly", "draw", "grad", "gradcheck", "hvp", "nn", "no_grad", "optim", "profile"),
    *("jvp", "record", "taylor_slope", "tensor", "value_and_grad"),
}

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Kink:
    """A point without a derivative, and the convention for the gradient there.

    rule(left, right) gives the gradient from the one-sided derivatives along each
    element of the first input.
    """

    sample: Sample
    rule: Rule


@dataclass(frozen=True, repr=False)
class Row:
    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    samples: Sequence[Sample]
    drawn: st.SearchStrategy[Sample] | None = None  # None: another row of the name draws
    composed: Callable[..., Any] | None = None
    analytic: bool = True
    linear: str = "no"
    kinks: Sequence[Kink] = ()
    # Samples with some elements at a kink, and the rule for each element of the first
    # input.
    drawn_kinks: tuple[st.SearchStrategy[Sample], Rule] | None = None

    def __repr__(self) -> str:
        return self.name


# --- fixed samples ---


def draw(name: str, domain: d.Domain, *shapes: d.Shape) -> tuple:
    rng = np.random.default_rng(zlib.crc32(f"{name}{shapes}".encode()))
    values = domain(rng, (sum(math.prod(shape) for shape in shapes),))  # drawn together: distinct
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return tuple(part.reshape(shape) for part, shape in zip(np.split(values, cuts), shapes))


UNARY = ((), (1,), (5,), (3, 4), (2, 3, 2), (0,), (2, 0, 3))
BINARY = (
    *(((3, 4), (3, 4)), ((), ()), ((2, 3), ()), ((), (2, 3)), ((1,), ()), ((1,), (2, 3))),
    *(((3, 1), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (1, 3, 1)), ((1, 1), (1,))),
    *(((2, 3), (1, 1, 1)), ((0, 3), (1, 3)), ((2, 0), (1,)), ((3, 0), ()), ((), (0,))),
)
REDUCED = (
    *(((), None), ((), ()), ((4,), None), ((4,), 0), ((1,), -1), ((3, 4), None), ((3, 4), 0)),
    *(((3, 4), -1), ((3, 4), (0, 1)), ((2, 3, 4), (0, -1)), ((2, 3, 4), (-2,)), ((2, 3, 4), ())),
    *(((1, 3), 0), ((0, 3), 1), ((2, 0, 3), (0, 2)), ((), 0), ((), -1)),
)


def unary(
    name: str, function: Callable, reference: Callable, domain: d.Domain = anywhere, **more: Any
) -> Row:
    """A row for an elementwise operation of one input."""
    samples = [Sample(draw(name, domain, shape)) for shape in UNARY]
    samples += more.pop("samples", [])
    return Row(name, function, reference, samples, d.one_input(domain), **more)


def binary(
    name: str, function: Callable, reference: Callable, domain: d.Domain = anywhere, **more: Any
) -> Row:
    """A row for an elementwise operation of two inputs that broadcast."""
    samples = [Sample(draw(name, domain, *shapes)) for shapes in BINARY]
    return Row(name, function, reference, samples, d.broadcast_inputs(domain), **more)


def reduction(
    name: str, function: Callable, reference: Callable, domain: d.Domain = anywhere, **more: Any
) -> Row:
    """A row for a reduction over axes."""
    samples = [
        Sample(draw(name, domain, shape), {"axis": axis, "keepdims": keepdims})
        for shape, axis in REDUCED
        for keepdims in (False, True)
    ]
    drawn = more.pop("drawn", d.reductions(domain))

    def of_axes(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
        axis = None if x.ndim == 0 else axis  # NumPy's mean refuses the axis 0 of a number
        return reference(x, axis=axis, keepdims=keepdims)

    return Row(name, function, of_axes, samples, drawn, **more)


def cases(name: str, *listed: tuple, domain: Callable = anywhere) -> list[Sample]:
    """Samples from (shape, shape, ..., options) tuples."""
    return [Sample(draw(name, domain, *each[:-1]), each[-1]) for each in listed]


def at(*inputs: Any, **options: Any) -> Sample:
    return Sample(tuple(np.array(each, dtype=np.float64) for each in inputs), options)


def left_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left


def right_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return right


def steeper_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(np.abs(left) > np.abs(right), left, right)


def middle(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return 0.5 * (left + right)


def seeded_dropout(x: Any, p: float, seed: int) -> mg.Tensor:
    return mg.dropout(x, p, np.random.default_rng(seed))


def seeded_plain_dropout(x: mg.Tensor, p: float, seed: int) -> mg.Tensor:
    kept = np.random.default_rng(seed).random(x.shape, np.float32) >= p
    return plain.dropout(x, kept, p)


def seeded_attention(q: Any, k: Any, v: Any, seed: int = 0, **options: Any) -> mg.Tensor:
    return mg.attention(q, k, v, rng=np.random.default_rng(seed), **options)


def seeded_plain_attention(
    q: mg.Tensor, k: mg.Tensor, v: mg.Tensor, mask: Any = None, dropout: float = 0, seed: int = 0
) -> mg.Tensor:
    leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    shape = (*leading, q.shape[-2], k.shape[-2])
    kept = np.random.default_rng(seed).random(shape, np.float32) >= dropout
    return plain.attention(q, k, v, mask, kept, dropout)


def seeded_batch_norm(x: Any, weight: Any, bias: Any, seed: int = 0, **options: Any) -> mg.Tensor:
    """mg.batch_norm with running statistics that are drawn, and forgotten."""
    return with_statistics(mg.batch_norm, x, weight, bias, seed, options)


def seeded_plain_batch_norm(
    x: mg.Tensor, weight: mg.Tensor, bias: mg.Tensor, seed: int = 0, **options: Any
) -> mg.Tensor:
    return with_statistics(plain_images.batch_norm, x, weight, bias, seed, options)


def with_statistics(
    function: Callable, x: Any, weight: Any, bias: Any, seed: int, options: dict
) -> mg.Tensor:
    mean, variance = [
        mg.tensor(each.astype(x.data.real.dtype), backend=x.backend)
        for each in reference.running_statistics(x.shape[1], seed)
    ]
    return function(x, weight, bias, running_mean=mean, running_var=variance, **options)


def first_wins(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """For one window of equal numbers: the first moves the maximum up, none down."""
    first = np.arange(left.size).reshape(left.shape) == 0
    return np.where(first, right, left)


def interleaved(operands: Sequence[Any], axes: Sequence[list]) -> list:
    """Each operand with the numbers of its axes behind it."""
    return [each for pair in zip(operands, axes) for each in pair]


# --- the rows ---

ARITHMETIC = [
    binary("add", mg.add, np.add, linear="jointly"),
    binary("sub", mg.sub, np.subtract, linear="jointly", composed=lambda a, b: a + b * -1.0),
    binary("mul", mg.mul, np.multiply, linear="each"),
    binary("div", mg.div, np.true_divide, away_from_zero, composed=lambda a, b: a * b**-1),
    binary("power", mg.power, np.power, positive, composed=lambda a, b: mg.exp(b * mg.log(a))),
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
        d.one_input(away_from_zero, b=st.sampled_from((2, 3, -1, -2, 0, 1.0))),
    ),
    binary(
        "maximum",
        mg.maximum,
        np.maximum,
        distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
        drawn_kinks=(d.equal_inputs(d.at_kinks(0.0, 1.0)), middle),
    ),
    binary(
        "minimum",
        mg.minimum,
        np.minimum,
        distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
        drawn_kinks=(d.equal_inputs(d.at_kinks(0.0, 1.0)), middle),
    ),
    Row(  # broadcast shapes, and quotients away from integers
        "floor_divide",
        mg.floor_divide,
        np.floor_divide,
        [Sample(draw("//", d.between_integers, *shapes)) for shapes in BINARY],
        d.broadcast_inputs(d.between_integers),
    ),
    Row(
        "remainder",
        mg.remainder,
        np.remainder,
        [Sample(draw("%", d.between_integers, *shapes)) for shapes in BINARY],
        d.broadcast_inputs(d.between_integers),
        composed=lambda a, b: a - b * mg.floor_divide(a, b),
    ),
    unary("square", mg.square, np.square, composed=lambda x: x**2),
    unary("sin", mg.sin, np.sin),
    unary("cos", mg.cos, np.cos, composed=lambda x: mg.sin(x + math.pi / 2)),
    unary("log1p", mg.log1p, np.log1p, positive, composed=lambda x: mg.log(1.0 + x)),
    unary("neg", mg.neg, np.negative, linear="jointly"),
    unary("exp", mg.exp, np.exp),
    unary("log", mg.log, np.log, positive),
    unary("sqrt", mg.sqrt, np.sqrt, positive, composed=lambda x: x**0.5),
    unary(
        "abs",
        mg.abs,
        np.abs,
        away_from_zero,
        kinks=[Kink(at([0.0, 0.0]), middle)],
        drawn_kinks=(d.one_input(d.at_kinks(0.0)), middle),
    ),
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
        d.one_input(
            between_bounds, low=st.sampled_from((-0.5, None)), high=st.sampled_from((0.8, None))
        ),
        kinks=[
            Kink(at([-0.5], low=-0.5, high=0.8), right_side),
            Kink(at([0.8], low=-0.5, high=0.8), left_side),
        ],
        drawn_kinks=(
            d.one_input(d.at_kinks(-0.5, 0.8), low=st.just(-0.5), high=st.just(0.8)),
            steeper_side,
        ),
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
        d.where_inputs(),
        lambda a, b, condition: a * np.where(condition, 1.0, 0.0) + b * np.where(condition, 0.0, 1),
        linear="jointly",
    ),
]

ACTIVATIONS = [
    unary("tanh", mg.tanh, np.tanh),
    unary("sigmoid", mg.sigmoid, reference.logistic, samples=[at([-40.0, -8.0, 0.0, 8.0, 40.0])],
          composed=plain.sigmoid),
    unary("relu", mg.relu, lambda x: np.maximum(x, 0), domain=away_from_zero,
          kinks=[Kink(at([0.0, 0.0]), left_side)],
          drawn_kinks=(d.one_input(d.at_kinks(0.0)), left_side)),
    unary("silu", mg.silu, lambda x: x * reference.logistic(x),
          composed=lambda x: x * plain.sigmoid(x), samples=[at([-40.0, 0.0, 40.0])]),
    unary("softplus", mg.softplus, lambda x: np.log1p(np.exp(x)), composed=plain.softplus,
          samples=[at([-40.0, -8.0, 0.0, 8.0, 40.0])]),
    unary("quick_gelu", mg.quick_gelu, lambda x: x * reference.logistic(1.702 * x),
          composed=plain.quick_gelu),
    unary("gelu", mg.gelu, reference.gelu, composed=plain.gelu,
          samples=[at([-7.0, -1.4, 0.0, 1.4, 9.0])]),
    Row("gelu", mg.gelu, reference.gelu, cases(
        "gelu", *((shape, {"approximate": "tanh"}) for shape in UNARY)),
        d.one_input(approximate=st.just("tanh")), plain.gelu),
    unary("erf", mg.erf, reference.erf,
          samples=[at([-7.0, -6.0, -1.0, -1e-3, 0.0, 0.999, 1.0, 1.001, 5.9, 30.0])]),
]  # fmt: skip

REDUCTIONS = [
    reduction("sum", mg.sum, np.sum, linear="jointly", drawn=d.reductions(empty=True)),
    Row("sum", mg.sum, np.sum, cases(
        "sum", ((0, 3), {"axis": 0}), ((2, 0), {"axis": -1}), ((0, 3), {}))),
    reduction("mean", mg.mean, np.mean, linear="jointly", composed=plain.mean),
    reduction("var", mg.var, np.var, composed=plain.var),
    reduction("norm", mg.norm, reference.norm, domain=away_from_zero, composed=small.norm,
              kinks=[Kink(at([0.0, 0.0, 0.0]), middle)]),
    reduction("std", mg.std, reference.std, domain=distinct,
              composed=lambda x, axis=None, keepdims=False: mg.sqrt(mg.var(x, axis, keepdims))
              if mg.var(x, axis).data.all() else mg.var(x, axis, keepdims)),
    reduction("prod", mg.prod, np.prod, domain=away_from_zero,
              drawn=d.reductions(d.at_kinks(0.0), empty=True)),
    Row("prod", mg.prod, np.prod, [
        at([0.0, 2.0, 3.0]), at([[0.0, 2.0, 0.0], [4.0, 5.0, 6.0]], axis=1), at([[0.0]]),
        *cases("prod", ((0, 3), {"axis": 0}), ((2, 0), {"axis": -1}), ((0, 3), {})),
    ]),
    Row("cumsum", mg.cumsum, reference.cumsum, cases(
        "cumsum",
        ((), {}), ((), {"axis": 0}), ((4,), {"axis": 0}), ((3, 4), {"axis": -1}), ((3, 4), {}),
        ((2, 3, 4), {"axis": 1}), ((0, 3), {"axis": 0}), ((2, 0), {}), ((1,), {"axis": -1}),
    ), d.along_axis(), linear="jointly"),
    reduction("max", mg.max, np.max, domain=distinct, kinks=[
        Kink(at([2.0, 1.0, 2.0]), middle),
        Kink(at([2.0, 2.0, 2.0]), lambda left, right: right / 3.0),
    ]),
    reduction("min", mg.min, np.min, domain=distinct, kinks=[
        Kink(at([1.0, 2.0, 1.0]), middle),
        Kink(at([1.0, 1.0, 1.0]), lambda left, right: left / 3.0),
    ]),
    reduction("logsumexp", mg.logsumexp, reference.logsumexp, composed=plain.logsumexp),
]  # fmt: skip

SHAPES = [
    Row("reshape", lambda x, shape: mg.reshape(x, shape), np.reshape, cases(
        "reshape",
        ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": (-1,)}), ((6,), {"shape": (1, 2, 3)}),
        ((), {"shape": (1, 1)}), ((1,), {"shape": ()}), ((0, 3), {"shape": (3, 0)}),
        ((2, 3), {"shape": (2, 3)}), ((2, 0), {"shape": (-1,)}),
    ), d.reshape_inputs(), linear="jointly"),
    Row("transpose", mg.transpose, np.transpose, cases(
        "transpose",
        ((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axes": (2, 0, 1)}), ((), {}), ((3,), {}),
        ((2, 3, 4), {"axes": (-1, 0, -2)}), ((2, 0), {}), ((1, 3), {"axes": (0, 1)}),
    ), d.transpose_inputs(), linear="jointly"),
    Row("swapaxes", mg.swapaxes, lambda x, first, second: np.swapaxes(x, first, second), cases(
        "swapaxes",
        ((2, 3, 4), {"first": 0, "second": 2}), ((2, 3, 4), {"first": -1, "second": -2}),
        ((2, 3), {"first": 1, "second": 1}), ((0, 3), {"first": 0, "second": -1}),
        ((1,), {"first": 0, "second": 0}),
    ), d.swapaxes_inputs(), linear="jointly"),
    Row("broadcast_to", mg.broadcast_to, np.broadcast_to, cases(
        "broadcast_to",
        ((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((3, 1), {"shape": (2, 3, 4)}),
        ((1,), {"shape": (0,)}), ((2, 3), {"shape": (2, 3)}), ((), {"shape": ()}),
        ((1, 1), {"shape": (1, 4)}), ((0, 1), {"shape": (2, 0, 3)}),
    ), d.broadcast_to_inputs(), linear="jointly"),
    Row("ravel", mg.ravel, np.ravel, cases("ravel", *((shape, {}) for shape in UNARY)),
        d.one_input(), linear="jointly"),
    Row("flatten", mg.flatten, reference.flatten, cases(
        "flatten",
        ((), {}), ((3,), {}), ((2, 3, 4), {}), ((2, 3, 4), {"first": 1}), ((0, 3), {"first": 0}),
        ((2, 3, 4), {"first": -3, "last": -2}), ((2, 0, 3), {"first": 1}), ((1,), {"last": 0}),
    ), d.flatten_inputs(), linear="jointly"),
    Row("squeeze", mg.squeeze, np.squeeze, cases(
        "squeeze",
        ((), {}), ((1,), {}), ((1, 3, 1), {}), ((1, 3, 1), {"axis": 0}), ((1, 0, 1), {"axis": -1}),
        ((1, 3, 1), {"axis": (0, -1)}), ((2, 3), {}), ((2, 3), {"axis": ()}), ((), {"axis": 0}),
    ), d.squeeze_inputs(), linear="jointly"),
    Row("expand_dims", mg.expand_dims, np.expand_dims, cases(
        "expand_dims",
        ((), {"axis": 0}), ((3,), {"axis": -1}), ((2, 3), {"axis": 1}), ((0, 3), {"axis": 2}),
        ((2, 3), {"axis": (0, -1)}), ((), {"axis": (0, 1)}), ((2,), {"axis": ()}),
    ), d.expand_dims_inputs(), linear="jointly"),
    Row("flip", mg.flip, np.flip, cases(
        "flip",
        ((), {}), ((4,), {}), ((3, 4), {}), ((3, 4), {"axis": 0}), ((3, 4), {"axis": (0, -1)}),
        ((2, 3, 4), {"axis": -2}), ((0, 3), {"axis": 0}), ((1,), {"axis": 0}), ((3,), {"axis": ()}),
    ), d.flip_inputs(), linear="jointly"),
    Row("tril", mg.tril, lambda x, diagonal=0: np.tril(x, diagonal), cases(
        "tril",
        ((3, 3), {}), ((2, 4), {"diagonal": 1}), ((4, 2), {"diagonal": -1}), ((1, 1), {}),
        ((2, 3, 3), {}), ((0, 3), {}), ((2, 0, 3), {"diagonal": 5}),
    ), d.tril_inputs(), linear="jointly"),
    Row("concatenate", lambda *xs, axis=0: mg.concatenate(xs, axis),
        lambda *xs, axis=0: np.concatenate(xs, axis), cases(
        "concatenate",
        ((2,), (3,), {}), ((2, 3), (2, 1), {"axis": 1}), ((2, 3), (0, 3), (1, 3), {"axis": -2}),
        ((1,), {}), ((0,), (0,), {}), ((1, 2, 2), (1, 2, 3), (1, 2, 1), {"axis": -1}),
    ), d.concatenate_inputs(), linear="jointly"),
    Row("stack", lambda *xs, axis=0: mg.stack(xs, axis), lambda *xs, axis=0: np.stack(xs, axis),
        cases(
        "stack",
        ((), (), {}), ((2, 3), (2, 3), {}), ((2, 3), (2, 3), {"axis": 1}), ((1,), {"axis": -1}),
        ((2, 3), (2, 3), (2, 3), {"axis": -1}), ((0, 2), (0, 2), {"axis": 2}),
    ), d.stack_inputs(), linear="jointly"),
    Row("split", mg.split, lambda x, sections, axis=0: np.split(x, sections, axis), cases(
        "split",
        ((6,), {"sections": 3}), ((5, 2), {"sections": [1, 3]}), ((4,), {"sections": 1}),
        ((2, 4), {"sections": 2, "axis": -1}), ((3,), {"sections": [0, 3]}),
        ((0, 2), {"sections": 2}), ((1,), {"sections": 1}), ((4,), {"sections": [-1]}),
        ((4,), {"sections": [2, 9]}),
    ), d.split_inputs(), linear="jointly"),
    Row("pad", mg.pad, lambda x, widths: np.pad(x, widths), cases(
        "pad",
        ((3,), {"widths": 1}), ((2, 3), {"widths": ((0, 1), (2, 0))}), ((), {"widths": 2}),
        ((2, 3), {"widths": (1, 2)}), ((0, 2), {"widths": 1}), ((2,), {"widths": 0}),
    ), d.pad_inputs(), linear="jointly"),
    Row("pad", mg.pad, lambda x, widths, value: np.pad(x, widths, constant_values=value), cases(
        "pad",
        ((3,), {"widths": 1, "value": 2.5}), ((2, 3), {"widths": ((0, 1), (2, 0)), "value": -1}),
        ((), {"widths": 2, "value": 3.0}), ((0, 2), {"widths": 1, "value": np.float64(0.5)}),
    )),
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
    ), d.getitem_inputs(), linear="jointly"),
    Row("take", mg.take, np.take, cases(
        "take",
        ((5,), {"indices": [1, 1, 1, 2], "axis": 0}), ((4, 3), {"indices": 2, "axis": -1}),
        ((2, 3, 4), {"indices": np.array([[0, 2, 2], [1, 1, 0]]), "axis": 1}),
        ((4, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((4, 3), {"indices": np.zeros((2, 0), int), "axis": 1}),
        ((0, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((3, 0), {"indices": [0, 2, 2], "axis": 0}), ((3,), {"indices": np.uint8(1), "axis": 0}),
        ((1, 2), {"indices": [0], "axis": -2}), ((1,), {"indices": [0, 0], "axis": -1}),
    ), d.take_inputs(), small.take, linear="jointly"),
    Row("to", mg.to, lambda x, backend: x,
        cases("to", *((shape, {"backend": "numpy"}) for shape in UNARY)),
        d.one_input(backend=st.just("numpy")), linear="jointly"),
    Row("astype", lambda x: mg.astype(x, x.dtype), lambda x: x,
        cases("astype", *((shape, {}) for shape in UNARY)), d.one_input(), linear="jointly"),
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
    ), d.matmul_inputs(), small.matmul, linear="each"),
    Row("linear", mg.linear, lambda x, w, b=0.0: np.einsum("...i,oi->...o", x, w) + b, cases(
        "linear",
        ((2, 3), (4, 3), (4,), {}), ((3,), (4, 3), (4,), {}), ((2, 5, 3), (4, 3), (4,), {}),
        ((2, 5, 3), (1, 3), {}), ((3,), (4, 3), {}), ((0, 3), (4, 3), (4,), {}),
        ((2, 0, 3), (4, 3), {}), ((2, 0), (4, 0), (4,), {}), ((2, 3), (0, 3), (0,), {}),
        ((1, 1), (1, 1), (1,), {}), ((0,), (4, 0), (4,), {}),
    ), d.linear_inputs(), plain.linear),
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
    ), d.einsum_inputs(), linear="each"),
    Row("einsum", lambda *xs, axes, output: mg.einsum(*interleaved(xs, axes), output),
        lambda *xs, axes, output: np.einsum(*interleaved(xs, axes), output), cases(
        "einsum",
        ((2, 3), (3, 4), {"axes": [[0, 1], [1, 2]], "output": [0, 2]}),
        ((3, 3), {"axes": [[5, 5]], "output": []}),
        ((2, 3, 4), (4,), {"axes": [[..., 1], [1]], "output": [...]}),
    )),
    Row("einsum", lambda *xs, formula: mg.einsum(formula, list(xs)),
        lambda *xs, formula: np.einsum(formula, *xs),
        cases("einsum", ((2, 3), (3, 4), {"formula": "ij,jk->ik"}))),
    Row("embedding", mg.embedding, lambda w, ids: w[ids], cases(
        "embedding",
        ((5, 3), {"ids": np.array([1, 1, 1, 2])}), ((5, 3), {"ids": np.array([[0, 4], [4, 0]])}),
        ((5, 3), {"ids": np.array(3)}), ((5, 3), {"ids": np.zeros((0,), int)}),
        ((5, 3), {"ids": np.zeros((2, 0), int)}), ((0, 3), {"ids": np.zeros((0,), int)}),
        ((5, 0), {"ids": np.array([1, 2])}), ((1, 1), {"ids": np.array([0], np.uint8)}),
        ((3, 65), {"ids": np.array([1, 0, 1, 2, 2])}),  # a wide row
    ), d.embedding_inputs(), plain.embedding, linear="jointly"),
]  # fmt: skip

AXES = (((), None), ((1,), -1), ((5,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1))
EMPTY = (((0, 3), -1), ((0, 3), 0), ((3, 0), -1))
ALONG = [(shape, {"axis": axis}) for shape, axis in (*AXES[1:], *EMPTY)]
LARGE = [
    at([[1000.0, 0.0, 999.0], [-1000.0, -1001.0, -2000.0]], axis=-1),
    at([[-1000.0, -1001.0], [-999.0, -1000.0]], axis=-1),
]

NEURAL = [
    Row("softmax", mg.softmax, reference.softmax,
        [*cases("softmax", *ALONG, ((), {"axis": 0}), ((), {"axis": -1})), *LARGE],
        d.along_axis(), plain.softmax),
    Row("log_softmax", mg.log_softmax, lambda x, axis: np.log(reference.softmax(x, axis)),
        [*cases("log_softmax", *ALONG, ((), {"axis": -1})), at([[50.0, 0.0, 49.0]], axis=-1)],
        d.along_axis(), plain.log_softmax),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy, cases(
        "cross_entropy",
        ((4, 3), {"labels": [0, 2, 1, 2]}), ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "sum"}),
        ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "none"}), ((3,), {"labels": 1}),
        ((3,), {"labels": 1, "reduction": "none"}), ((2, 2, 3), {"labels": [[0, 1], [2, 2]]}),
        ((2, 2, 3), {"labels": [[0, 1], [2, 2]], "reduction": "none"}),
        ((2, 1), {"labels": [0, 0]}), ((1, 1), {"labels": [0]}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "sum"}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "none"}),
    ), d.cross_entropy_inputs(), plain.cross_entropy),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy, cases(
        "cross_entropy",
        *(((4, 3), {"labels": [0, 2, 1, 2], "reduction": reduction} | options)
          for reduction in ("mean", "sum", "none")
          for options in (
              {"label_smoothing": 0.1}, {"ignore_index": 2}, {"weight": [0.5, 2.0, 1.0]},
              {"label_smoothing": 0.3, "ignore_index": 0, "weight": [0.5, 0.0, 3.0]},
          )),
        ((4, 3), {"labels": [0, -100, 1, -100], "ignore_index": -100}),
        ((2, 2, 3), {"labels": [[0, 1], [2, 2]], "label_smoothing": 0.2, "reduction": "none"}),
        ((3,), {"labels": 1, "label_smoothing": 0.2, "weight": [1.0, 2.0, 3.0]}),
        ((0, 3), {"labels": np.zeros(0, int), "label_smoothing": 0.1, "reduction": "sum"}),
    ), d.cross_entropy_options()),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy_of_shares, cases(
        "cross_entropy",
        *(((4, 3), (4, 3), {"reduction": reduction} | options)
          for reduction in ("mean", "sum", "none")
          for options in ({}, {"label_smoothing": 0.1}, {"weight": [0.5, 2.0, 1.0]})),
        ((3,), (3,), {}), ((2, 2, 3), (2, 2, 3), {"reduction": "none"}),
        ((0, 3), (0, 3), {"reduction": "sum"}),
    )),
    Row("layer_norm", mg.layer_norm, reference.layer_norm, cases(
        "layer_norm",
        ((4,), (4,), (4,), {}), ((3, 4), (4,), (4,), {}), ((2, 3, 4), (4,), (4,), {"eps": 1e-3}),
        ((0, 4), (4,), (4,), {}), ((2, 0, 4), (4,), (4,), {}), ((2, 1), (1,), (1,), {}),
        ((2, 0), (0,), (0,), {}),
    ), d.layer_norm_inputs(), plain.layer_norm),
    Row("normalize", mg.normalize, reference.normalize,
        cases("normalize", *ALONG, ((), {"axis": 0}), domain=away_from_zero),
        d.along_axis(away_from_zero), plain.normalize),
    Row("normalize", mg.normalize, reference.normalize, cases(
        "normalize",
        *((shape, {"axis": axis, "p": p}) for shape, axis in (*AXES[1:], *EMPTY)
          for p in (1, 1.5, 3.0, math.inf)), domain=away_from_zero),
        # Of two largest elements, one alone raises the norm, and none lowers it.
        kinks=[Kink(at([2.0, 1.0, 2.0], axis=-1, p=math.inf), middle)]),
    Row("dropout", seeded_dropout, reference.dropout, cases(
        "dropout",
        ((20,), {"p": 0.5, "seed": 1}), ((3, 4), {"p": 0.1, "seed": 2}),
        ((), {"p": 0.3, "seed": 3}),
        ((0, 2), {"p": 0.5, "seed": 4}), ((3,), {"p": 0.0, "seed": 5}),
    ), d.one_input(p=st.sampled_from((0.0, 0.3, 0.5)), seed=d.seeds), seeded_plain_dropout,
    linear="jointly"),
]  # fmt: skip

ROW_HIDDEN = np.array([[True, False, True], [False, False, False], [True, True, True]])
BIAS = np.array([[0.3, -1.0, 0.0], [100.0, 0.5, 99.0], [-110.0, -110.0, -110.0]])

ATTENTION = [
    Row("attention", seeded_attention, reference.attention, cases(
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
        ((2, 2, 3, 4), (2, 1, 3, 4), (3, 5), {"mask": "causal"}),  # leading axes broadcast
        ((3, 4), (2, 1, 5, 4), (1, 2, 5, 4), {"dropout": 0.4}), ((3, 4), (2, 5, 4), (2, 5, 1), {}),
        ((1, 3, 4), (0, 2, 4), (1, 2, 4), {}),
    ), d.attention_inputs(), seeded_plain_attention),
    Row("self_attention", mg.self_attention, reference.self_attention, cases(
        "self_attention",
        ((2, 3, 12), {"heads": 2}), ((2, 3, 12), {"heads": 1, "mask": "causal"}),
        ((1, 3, 6), {"heads": 2, "mask": ROW_HIDDEN}), ((1, 3, 6), {"heads": 2, "mask": BIAS}),
        ((2, 3, 6), {"heads": 2, "mask": ROW_HIDDEN[:2, None, None, :]}),  # one for each sample
        ((2, 0, 6), {"heads": 2, "mask": "causal"}), ((0, 3, 6), {"heads": 1}),
        ((1, 1, 3), {"heads": 1}),
    ), d.self_attention_inputs(), plain.self_attention),
]  # fmt: skip

IMAGES = [
    Row("conv2d", mg.conv2d, reference.conv2d, cases(
        "conv2d",
        ((2, 3, 5, 6), (4, 3, 3, 3), {"padding": 1}), ((2, 3, 5, 6), (4, 3, 3, 3), {}),
        ((2, 3, 6, 5), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
        ((3, 2, 4, 4), (5, 2, 1, 1), {}), ((1, 2, 4, 4), (5, 2, 1, 1), {}),
        ((2, 2, 5, 5), (3, 2, 1, 1), {"stride": 2}), ((2, 2, 3, 3), (3, 2, 1, 1), {"padding": 1}),
        ((2, 2, 8, 8), (3, 2, 2, 2), {"stride": 3}), ((1, 2, 5, 4), (2, 2, 2, 3), {"padding": 1}),
        ((2, 1, 3, 3), (2, 1, 2, 2), {"padding": 2}), ((1, 2, 4, 4), (3, 2, 4, 4), {"stride": 4}),
        ((1, 1, 1, 1), (1, 1, 1, 1), {}), ((0, 2, 4, 4), (3, 2, 3, 3), {}),
        ((1, 2, 4, 4), (3, 2, 2, 2), {"stride": 2}),
        ((2, 0, 4, 4), (3, 0, 3, 3), {}), ((2, 2, 4, 4), (0, 2, 3, 3), {}),
        ((2, 2, 0, 4), (3, 2, 1, 1), {"padding": 1}), ((0, 2, 4, 4), (3, 2, 3, 3), {"stride": 2}),
    ), drawing_images.conv2d_inputs(), plain_images.conv2d, linear="each"),
    Row("conv2d", mg.conv2d, reference.conv2d, cases(
        "conv2d with bias",
        ((2, 3, 5, 6), (4, 3, 3, 3), (4,), {"stride": 2, "padding": 1}),
        ((1, 2, 3, 3), (3, 2, 1, 1), (3,), {}), ((0, 2, 3, 3), (3, 2, 1, 1), (3,), {}),
    ), None, plain_images.conv2d),
    Row("avg_pool2d", mg.avg_pool2d, reference.avg_pool2d, cases(
        "avg_pool2d",
        ((2, 3, 4, 6), {"kernel_size": 2}), ((2, 3, 5, 4), {"kernel_size": 2}),
        ((2, 3, 5, 6), {"kernel_size": 3, "stride": 2}), ((1, 1, 1, 1), {"kernel_size": 1}),
        ((2, 2, 7, 7), {"kernel_size": 2, "stride": 3}), ((0, 2, 4, 4), {"kernel_size": 2}),
        ((2, 0, 4, 4), {"kernel_size": 2}),
    ), drawing_images.pooled_inputs(padded=False), plain_images.avg_pool2d, linear="jointly"),
    Row("max_pool2d", mg.max_pool2d, reference.max_pool2d, cases(
        "max_pool2d",
        ((2, 3, 4, 6), {"kernel_size": 2}), ((2, 3, 5, 4), {"kernel_size": 2}),
        ((2, 3, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((1, 1, 1, 1), {"kernel_size": 1}), ((2, 2, 4, 4), {"kernel_size": 2, "padding": 1}),
        ((2, 2, 7, 7), {"kernel_size": 2, "stride": 3}), ((0, 2, 4, 4), {"kernel_size": 2}),
        ((2, 0, 4, 4), {"kernel_size": 2}),
        domain=distinct,
    ), drawing_images.pooled_inputs(padded=True), plain_images.max_pool2d,
        kinks=[Kink(at(np.full((1, 1, 2, 2), 0.7), kernel_size=2), first_wins)]),
    Row("batch_norm", seeded_batch_norm, reference.batch_norm, cases(
        "batch_norm",
        ((4, 3, 2, 5), (3,), (3,), {"training": True}), ((4, 3), (3,), (3,), {"training": True}),
        ((4, 3, 2, 5), (3,), (3,), {"training": False}), ((4, 3), (3,), (3,), {"training": False}),
        ((2, 3, 4), (3,), (3,), {"training": True, "eps": 1e-2}),
        ((1, 2, 3, 1), (2,), (2,), {"training": True}), ((1, 1), (1,), (1,), {"training": False}),
        ((0, 3, 2, 2), (3,), (3,), {"training": True}), ((2, 0, 2), (0,), (0,), {"training": True}),
        ((0, 3, 2, 2), (3,), (3,), {"training": False}),
        ((2, 3, 0, 2), (3,), (3,), {"training": True}),
    ), drawing_images.batch_norm_inputs(), seeded_plain_batch_norm),
]  # fmt: skip

TABLE = [
    *(*ARITHMETIC, *ACTIVATIONS, *REDUCTIONS, *SHAPES, *PRODUCTS, *NEURAL, *ATTENTION, *IMAGES)
]

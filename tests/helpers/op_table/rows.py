"""What a row of the table of operations is made of."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import drawing as d
import numpy as np
import reference
from drawing import Sample, anywhere
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

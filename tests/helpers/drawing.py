"""How inputs for an operation are drawn: values, memory layouts, shapes and arguments.

A domain is where values come from: domain(rng, shape). A strategy of hypothesis draws a
`Sample`: shapes that may be 0-d, empty, of size 1 or broadcast, an odd memory layout
for each input, and the operation's other arguments. Values come from a seed that
hypothesis draws.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

Generator = np.random.Generator
Shape = tuple[int, ...]
Domain = Callable[[Generator, Shape], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """float64 inputs that get gradients, and the operation's other arguments."""

    inputs: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)


# --- domains ---


def anywhere(rng: Generator, shape: Shape) -> np.ndarray:
    return rng.standard_normal(shape)


def positive(rng: Generator, shape: Shape) -> np.ndarray:
    return rng.uniform(0.3, 3.0, shape)


def away_from_zero(rng: Generator, shape: Shape) -> np.ndarray:
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(rng: Generator, shape: Shape) -> np.ndarray:
    """No two elements closer than 0.1."""
    count = math.prod(shape)
    return rng.permutation(np.arange(count) * 0.1 - 0.05 * count + 0.013).reshape(shape)


def between_bounds(rng: Generator, shape: Shape) -> np.ndarray:
    """Below, between and above -0.5 and 0.8, and not near them."""
    return rng.choice([-0.9, 0.1, 1.2], shape) + rng.uniform(-0.2, 0.2, shape)


def at_kinks(*points: float) -> Domain:
    """Some elements exactly at the given points, the others not near them."""

    def domain(rng: Generator, shape: Shape) -> np.ndarray:
        return rng.choice([*points, -0.2, 0.3, 1.7], shape)

    return domain


def between_integers(rng: Generator, shape: Shape) -> np.ndarray:
    """The quotient of two of these is no integer."""
    count = math.prod(shape)
    return rng.permutation(np.sqrt(np.arange(count) + 1.3)).reshape(shape) * rng.choice(
        [-1.0, 1.0], shape
    )


# --- memory layouts ---


def transposed(a: np.ndarray) -> np.ndarray:
    return a.copy(order="F")


def reversed_strides(a: np.ndarray) -> np.ndarray:
    backward = (..., *(slice(None, None, -1) for _ in a.shape))
    return a[backward].copy()[backward]


def sliced(a: np.ndarray) -> np.ndarray:
    wide = np.full([2 * n + 1 for n in a.shape], np.nan, a.dtype)
    view = wide[(..., *(slice(1, None, 2) for _ in a.shape))]
    view[...] = a
    return view


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = (transposed, reversed_strides, sliced, read_only)


# --- what strategies are made of ---

seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from((np.copy, *LAYOUTS))
widths = st.integers(0, 3)


def shapes(dims: int = 4, least_dims: int = 0) -> st.SearchStrategy[Shape]:
    return arrays_of.array_shapes(min_dims=least_dims, max_dims=dims, min_side=0, max_side=3)


def filled(draw: Callable, domain: Domain, *wanted: Shape) -> tuple[np.ndarray, ...]:
    """Arrays of these shapes, drawn together so that all values can be distinct."""
    sizes = [math.prod(shape) for shape in wanted]
    values = domain(np.random.default_rng(draw(seeds)), (sum(sizes),))
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return tuple(draw(layouts)(part.reshape(shape)) for part, shape in zip(parts, wanted))


def chosen(draw: Callable, options: dict[str, Any]) -> dict[str, Any]:
    return {name: draw(strategy) for name, strategy in options.items()}


def axis_of(draw: Callable, ndim: int) -> int:
    return draw(st.integers(-ndim, ndim - 1))


# --- elementwise operations and reductions ---


@st.composite
def one_input(draw: Callable, domain: Domain = anywhere, **options: Any) -> Sample:
    """Any shape; options are strategies for the other arguments."""
    return Sample(filled(draw, domain, draw(shapes())), chosen(draw, options))


@st.composite
def broadcast_inputs(draw: Callable, domain: Domain = anywhere) -> Sample:
    drawn = draw(arrays_of.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3))
    return Sample(filled(draw, domain, *drawn.input_shapes))


@st.composite
def equal_inputs(draw: Callable, domain: Domain) -> Sample:
    """Two inputs of one shape."""
    shape = draw(shapes())
    return Sample(filled(draw, domain, shape, shape))


@st.composite
def where_inputs(draw: Callable) -> Sample:
    drawn = draw(arrays_of.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3))
    *inputs, condition = drawn.input_shapes
    return Sample(
        filled(draw, anywhere, *inputs), {"condition": draw(arrays_of.arrays(bool, condition))}
    )


@st.composite
def reductions(draw: Callable, domain: Domain = anywhere, empty: bool = False) -> Sample:
    """empty: whether there may be nothing to reduce."""
    shape = draw(shapes())
    axes = st.none() | arrays_of.valid_tuple_axes(len(shape))
    axis = draw(axes if not shape else axes | st.integers(-len(shape), len(shape) - 1))
    if not empty:
        listed = range(len(shape)) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
        reduced = {each % len(shape) for each in listed}
        shape = tuple(max(n, 1) if i in reduced else n for i, n in enumerate(shape))
    return Sample(filled(draw, domain, shape), {"axis": axis, "keepdims": draw(st.booleans())})


@st.composite
def along_axis(draw: Callable, domain: Domain = anywhere) -> Sample:
    shape = draw(shapes(least_dims=1))
    return Sample(filled(draw, domain, shape), {"axis": axis_of(draw, len(shape))})


# --- products ---


def picked(draw: Callable, size: int, dims: int) -> np.ndarray:
    """An array of indices below `size`, with repetitions."""
    least = 0 if size else 1
    sides = {"min_side": 0, "max_side": 4 if size else 0}
    shape = draw(arrays_of.array_shapes(min_dims=least, max_dims=max(dims, least), **sides))
    rng = np.random.default_rng(draw(seeds))
    return np.asarray(rng.integers(0, max(size, 1), shape))


@st.composite
def matmul_inputs(draw: Callable) -> Sample:
    drawn = draw(
        arrays_of.mutually_broadcastable_shapes(
            signature="(n?,k),(k,m?)->(n?,m?)", min_side=0, max_side=3, max_dims=2
        )
    )
    return Sample(filled(draw, anywhere, *drawn.input_shapes))


@st.composite
def linear_inputs(draw: Callable) -> Sample:
    n_in, n_out = draw(widths), draw(widths)
    wanted = [(*draw(shapes(dims=3)), n_in), (n_out, n_in), (n_out,)]
    return Sample(filled(draw, anywhere, *wanted[: draw(st.integers(2, 3))]))


@st.composite
def einsum_inputs(draw: Callable) -> Sample:
    """One to three operands over four letters.

    With diagonals, an ellipsis, an implied output and sizes 1 that broadcast.
    """
    sizes = {letter: draw(widths) for letter in "abcd"}
    dots, leading = draw(st.sampled_from((("", ()), ("...", ()), ("...", (2,)))))
    terms, wanted = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("abcd", max_size=3))
        narrow = draw(st.integers(0, 9))  # which letter, if any, is of size 1 here
        shape = [
            1 if i == narrow and letters.count(letter) == 1 else sizes[letter]
            for i, letter in enumerate(letters)
        ]
        terms.append(dots + letters)
        wanted.append((*leading, *shape))
    formula = ",".join(terms)
    if draw(st.booleans()):
        used = sorted({letter for letter in formula if letter.isalpha()})
        output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))] if used else []
        formula += f"->{dots}{''.join(output)}"
    return Sample(filled(draw, anywhere, *wanted), {"formula": formula})


@st.composite
def embedding_inputs(draw: Callable) -> Sample:
    rows = draw(st.integers(0, 5))
    inputs = filled(draw, anywhere, (rows, draw(widths)))
    return Sample(inputs, {"ids": picked(draw, rows, 2)})


# --- neural operations ---


@st.composite
def cross_entropy_inputs(draw: Callable) -> Sample:
    leading, classes = draw(shapes(dims=2)), draw(st.integers(1, 4))
    labels = np.random.default_rng(draw(seeds)).integers(0, classes, leading)
    forms = ("mean", "sum", "none") if math.prod(leading) else ("sum", "none")
    options = {"labels": labels, "reduction": draw(st.sampled_from(forms))}
    return Sample(filled(draw, anywhere, (*leading, classes)), options)


@st.composite
def cross_entropy_options(draw: Callable) -> Sample:
    """With weights of the classes, a label to ignore, and smoothing."""
    sample = draw(cross_entropy_inputs())
    classes, labels = sample.inputs[0].shape[-1], sample.options["labels"]
    options = {"label_smoothing": draw(st.sampled_from((0.0, 0.1, 0.5)))}
    if draw(st.booleans()):
        options["weight"] = positive(np.random.default_rng(draw(seeds)), (classes,)).tolist()
    if draw(st.booleans()):
        options["ignore_index"] = draw(st.integers(0, classes - 1))
        if sample.options["reduction"] == "mean" and (labels == options["ignore_index"]).all():
            options["ignore_index"] = classes  # something must be left to average
    return Sample(sample.inputs, sample.options | options)


@st.composite
def layer_norm_inputs(draw: Callable) -> Sample:
    """Distinct values: a row that hardly varies is divided by next to nothing."""
    width = draw(st.integers(0, 4))
    inputs = filled(draw, distinct, (*draw(shapes(dims=2)), width), (width,), (width,))
    return Sample(inputs, {"eps": draw(st.sampled_from((1e-5, 1e-3, 0.5)))})


def drawn_mask(draw: Callable, scores: Shape) -> Any:
    """None, "causal", booleans, or numbers to add; rows may be hidden altogether."""
    forms = [None, "boolean", "numbers", *(["causal"] if scores[-2] == scores[-1] else [])]
    form = draw(st.sampled_from(forms))
    if form in (None, "causal"):
        return form
    shape = list(scores[draw(st.integers(0, len(scores) - 2)) :])
    shape = [1 if draw(st.integers(0, 3)) == 0 else n for n in shape]
    rng = np.random.default_rng(draw(seeds))
    visible = rng.random(shape) < 0.7
    return visible if form == "boolean" else np.where(visible, rng.standard_normal(shape), -np.inf)


@st.composite
def attention_inputs(draw: Callable) -> Sample:
    queries, width, mixed = draw(widths), draw(widths), draw(widths)
    keys = draw(st.just(queries) | widths)
    drawn = draw(
        arrays_of.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=2)
    )
    leading = drawn.result_shape
    ends = ((queries, width), (keys, width), (keys, mixed))
    wanted = [(*front, *end) for front, end in zip(drawn.input_shapes, ends)]
    options = {"mask": drawn_mask(draw, (*leading, queries, keys))}
    options |= {"dropout": draw(st.sampled_from((0.0, 0.3))), "seed": draw(seeds)}
    return Sample(filled(draw, anywhere, *wanted), options)


@st.composite
def self_attention_inputs(draw: Callable) -> Sample:
    batch, length, heads = draw(widths), draw(widths), draw(st.integers(1, 3))
    width = 3 * heads * draw(widths)
    if draw(st.booleans()):
        lengths = draw(st.lists(widths, min_size=1, max_size=4))
        mask = draw(st.sampled_from((None, "causal")))
        inputs = filled(draw, anywhere, (sum(lengths), width))
        return Sample(inputs, {"heads": heads, "mask": mask, "lengths": lengths})
    inputs = filled(draw, anywhere, (batch, length, width))
    mask = drawn_mask(draw, (batch, heads, length, length))
    return Sample(inputs, {"heads": heads, "mask": mask})


@st.composite
def padded_inputs(draw: Callable) -> Sample:
    lengths = draw(st.lists(widths, min_size=1, max_size=4))
    return Sample(filled(draw, anywhere, (sum(lengths), draw(widths))), {"lengths": lengths})

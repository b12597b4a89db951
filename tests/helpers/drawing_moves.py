"""How inputs are drawn for operations that move numbers and compute nothing."""

from collections.abc import Callable

from drawing import Sample, anywhere, axis_of, filled, picked, shapes, widths
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of


@st.composite
def reshape_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(dims=3))
    wanted = [*draw(st.permutations(shape)), *draw(st.lists(st.just(1), max_size=2))]
    if len(wanted) > 1 and draw(st.booleans()):
        wanted[:2] = [wanted[0] * wanted[1]]
    if wanted and 0 not in wanted and draw(st.booleans()):
        wanted[draw(st.integers(0, len(wanted) - 1))] = -1
    return Sample(filled(draw, anywhere, shape), {"shape": tuple(wanted)})


@st.composite
def transpose_inputs(draw: Callable) -> Sample:
    shape = draw(shapes())
    axes = draw(st.permutations(range(len(shape))))
    axes = [each - len(shape) * draw(st.booleans()) for each in axes]
    return Sample(filled(draw, anywhere, shape), {"axes": draw(st.sampled_from((None, axes)))})


@st.composite
def swapaxes_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(least_dims=1))
    options = {"first": axis_of(draw, len(shape)), "second": axis_of(draw, len(shape))}
    return Sample(filled(draw, anywhere, shape), options)


@st.composite
def broadcast_to_inputs(draw: Callable) -> Sample:
    drawn = draw(arrays_of.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3))
    inputs = filled(draw, anywhere, drawn.input_shapes[0])
    return Sample(inputs, {"shape": drawn.result_shape})


@st.composite
def flatten_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(least_dims=1))
    first = draw(st.integers(0, len(shape) - 1))
    last = draw(st.integers(first, len(shape) - 1)) - len(shape) * draw(st.booleans())
    return Sample(filled(draw, anywhere, shape), {"first": first, "last": last})


@st.composite
def squeeze_inputs(draw: Callable) -> Sample:
    shape = draw(shapes())
    single = [i for i, n in enumerate(shape) if n == 1]
    chosen_axes = draw(st.lists(st.sampled_from(single), unique=True)) if single else []
    axis = draw(st.sampled_from((None, tuple(chosen_axes))))
    return Sample(filled(draw, anywhere, shape), {"axis": axis})


@st.composite
def expand_dims_inputs(draw: Callable) -> Sample:
    shape, new = draw(shapes(dims=3)), draw(st.integers(1, 2))
    ndim = len(shape) + new
    axes = draw(st.lists(st.integers(0, ndim - 1), min_size=new, max_size=new, unique=True))
    axes = [each - ndim * draw(st.booleans()) for each in axes]
    return Sample(filled(draw, anywhere, shape), {"axis": axes[0] if new == 1 else tuple(axes)})


@st.composite
def flip_inputs(draw: Callable) -> Sample:
    shape = draw(shapes())
    axis = draw(st.none() | arrays_of.valid_tuple_axes(len(shape)))
    return Sample(filled(draw, anywhere, shape), {"axis": axis})


@st.composite
def tril_inputs(draw: Callable) -> Sample:
    inputs = filled(draw, anywhere, draw(shapes(least_dims=2)))
    return Sample(inputs, {"diagonal": draw(st.integers(-3, 3))})


@st.composite
def concatenate_inputs(draw: Callable) -> Sample:
    shape = list(draw(shapes(dims=3, least_dims=1)))
    axis, parts = axis_of(draw, len(shape)), []
    for size in draw(st.lists(widths, min_size=1, max_size=4)):
        shape[axis] = size
        parts.append(tuple(shape))
    return Sample(filled(draw, anywhere, *parts), {"axis": axis})


@st.composite
def stack_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(dims=3))
    inputs = filled(draw, anywhere, *[shape] * draw(st.integers(1, 4)))
    return Sample(inputs, {"axis": axis_of(draw, len(shape) + 1)})


@st.composite
def split_inputs(draw: Callable) -> Sample:
    shape = list(draw(shapes(dims=3, least_dims=1)))
    axis = axis_of(draw, len(shape))
    sections = draw(st.integers(1, 3) | st.lists(st.integers(0, 6), max_size=3).map(sorted))
    shape[axis] = sections * draw(widths) if isinstance(sections, int) else draw(st.integers(0, 6))
    return Sample(filled(draw, anywhere, tuple(shape)), {"sections": sections, "axis": axis})


@st.composite
def pad_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(dims=3))
    pair = st.tuples(widths, widths)
    forms = [widths, pair] if shape else [widths]
    if shape:
        forms.append(st.tuples(*[pair] * len(shape)))
    return Sample(filled(draw, anywhere, shape), {"widths": draw(st.one_of(forms))})


@st.composite
def getitem_inputs(draw: Callable) -> Sample:
    shape = draw(arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=5)
    index = draw(
        arrays_of.basic_indices(shape, allow_newaxis=True)
        | arrays_of.integer_array_indices(shape)
        | arrays_of.arrays(bool, shape)
        | arrays_of.arrays(bool, shape[:1])
        | rows
        | st.tuples(rows, st.just(Ellipsis))
    )
    return Sample(filled(draw, anywhere, shape), {"index": index})


@st.composite
def take_inputs(draw: Callable) -> Sample:
    shape = draw(shapes(dims=3, least_dims=1))
    axis = axis_of(draw, len(shape))
    return Sample(
        filled(draw, anywhere, shape), {"indices": picked(draw, shape[axis], 2), "axis": axis}
    )

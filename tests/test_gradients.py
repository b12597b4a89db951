"""Every operation of the table: its value, its gradient, and what it promises about both."""

import operator
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from op_table import BINARY, NOT_OPERATIONS, REDUCED, TABLE, Kink, Row, Sample, anywhere

import minigrad as mg
from minigrad.autograd import Leaf, Node

pytestmark = pytest.mark.filterwarnings(
    "error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"
)

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 6e-6


def label(row, position):
    return f"{row.name}-{position}"


EVERY = [
    pytest.param(row, sample, id=label(row, i))
    for row in TABLE
    for i, sample in enumerate(row.samples)
]
LINEAR = [
    pytest.param(row, sample, id=label(row, i))
    for row in TABLE
    if row.linear != "no"
    for i, sample in enumerate(row.samples)
]
KINKS = [
    pytest.param(row, kink, id=label(row, i)) for row in TABLE for i, kink in enumerate(row.kinks)
]
every_sample = pytest.mark.parametrize(("row", "sample"), EVERY)


# --- the machinery -----------------------------------------------------------------------------


def outputs_of(row: Row, inputs, options) -> tuple:
    result = row.function(*inputs, **options)
    return result if isinstance(result, tuple) else (result,)


def evaluate(row: Row, arrays, options) -> list[np.ndarray]:
    """The outputs' arrays for constant inputs."""
    return [each.data for each in outputs_of(row, [mg.Tensor(a) for a in arrays], options)]


def random_cotangents(outputs, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal(each.shape).astype(each.dtype) for each in outputs]
    for each in found:
        each.flags.writeable = False  # a vjp that wrote into its g would raise
    return found


def gradients_of(row: Row, arrays, options, cotangents=None, needs=None):
    """(gradients, outputs, cotangents) of a row for inputs given as arrays."""
    needs = needs or [True] * len(arrays)
    leaves = [mg.Tensor(a, requires_grad=need) for a, need in zip(arrays, needs)]
    outputs = outputs_of(row, leaves, options)
    cotangents = cotangents or random_cotangents(outputs, zlib.crc32(row.name.encode()))
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if len(outputs) == 1:
        return mg.grad(outputs[0], wanted, cotangents[0]), outputs, cotangents
    weighted = [mg.sum(each * c) for each, c in zip(outputs, cotangents)]
    return mg.grad(mg.sum(mg.stack(weighted)), wanted), outputs, cotangents


def inner(firsts, seconds) -> float:
    return float(sum((a * b).sum() for a, b in zip(firsts, seconds)))


def numeric_slope(row: Row, arrays, directions, options, cotangents) -> float:
    """d/dt <cotangents, f(arrays + t directions)> at t = 0, without any calculus."""
    if row.analytic:
        moved = [a + 1j * COMPLEX_STEP * d for a, d in zip(arrays, directions)]
        values = evaluate(row, moved, options)
        assert all(each.dtype == np.complex128 for each in values)
        return inner([each.imag / COMPLEX_STEP for each in values], cotangents)
    ahead = evaluate(row, [a + CENTRAL_STEP * d for a, d in zip(arrays, directions)], options)
    behind = evaluate(row, [a - CENTRAL_STEP * d for a, d in zip(arrays, directions)], options)
    return inner([(p - m) / (2 * CENTRAL_STEP) for p, m in zip(ahead, behind)], cotangents)


def check_gradient(row: Row, arrays, options, seed: int = 0) -> None:
    """One random direction and one random cotangent: every wrong element shows."""
    gradients, _, cotangents = gradients_of(row, arrays, options)
    rng = np.random.default_rng(seed)
    directions = [rng.standard_normal(a.shape) for a in arrays]
    numeric = numeric_slope(row, arrays, directions, options, cotangents)
    size = sum(np.abs(g * d).sum() for g, d in zip(gradients, directions))
    tolerance = 1e-11 if row.analytic else 1e-7
    assert abs(inner(gradients, directions) - numeric) <= tolerance * size + 1e-15


def assert_agree(actual, expected, tolerance: float) -> None:
    """Equal to `tolerance`, measured against the largest element."""
    assert actual.shape == expected.shape
    if expected.size:
        floor = 1e-7 if actual.dtype == np.float32 else 1e-15
        assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max() + floor


# --- the table is complete ---------------------------------------------------------------------


def test_every_public_operation_has_a_row():
    assert {row.name for row in TABLE} == set(mg.__all__) - NOT_OPERATIONS


def test_every_other_public_name_is_in_all():
    assert set(mg.__all__) >= NOT_OPERATIONS


def test_samples_cover_empty_arrays_and_single_elements():
    sizes: dict[str, set[int]] = {}
    for row in TABLE:
        found = {array.size for sample in row.samples for array in sample.inputs}
        sizes.setdefault(row.name, set()).update(found)
    smallest = {"self_attention": 3}  # a query, a key and a value
    for name, found in sizes.items():
        assert found >= {0, smallest.get(name, 1)}, name


# --- values ------------------------------------------------------------------------------------


@every_sample
def test_value_is_that_of_plain_numpy(row, sample):
    reference = row.reference(*sample.inputs, **sample.options)
    reference = reference if isinstance(reference, (tuple, list)) else [reference]
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-5)):
        outputs = outputs_of(row, [mg.Tensor(a.astype(dtype)) for a in sample.inputs],
                             sample.options)  # fmt: skip
        assert len(outputs) == len(reference)
        for output, expected in zip(outputs, reference):
            assert isinstance(output.data, np.ndarray)  # 0-d results are arrays too
            assert output.dtype == dtype
            assert_agree(output.data, np.asarray(expected), tolerance)


@every_sample
def test_complex_value_agrees_with_the_real_one(row, sample):
    if not row.analytic:
        with pytest.raises(TypeError, match="complex128"):
            evaluate(row, [a.astype(np.complex128) for a in sample.inputs], sample.options)
        return
    real = evaluate(row, sample.inputs, sample.options)
    values = evaluate(row, [a.astype(np.complex128) for a in sample.inputs], sample.options)
    for value, expected in zip(values, real):
        assert value.dtype == np.complex128
        assert not value.imag.any()
        assert_agree(value.real, expected, 1e-13)


# --- gradients ---------------------------------------------------------------------------------


@every_sample
def test_gradient_is_the_numeric_one(row, sample):
    check_gradient(row, sample.inputs, sample.options)


@every_sample
def test_gradient_has_shape_dtype_and_module_of_its_input(row, sample):
    double, outputs, cotangents = gradients_of(row, sample.inputs, sample.options)
    single = [a.astype(np.float32) for a in sample.inputs]
    narrow = [c.astype(np.float32) for c in cotangents]
    singles, single_outputs, _ = gradients_of(row, single, sample.options, narrow)
    for inputs, gradients, results in (
        (sample.inputs, double, outputs),
        (single, singles, single_outputs),
    ):
        assert all(each.dtype == inputs[0].dtype for each in results)
        for array, gradient in zip(inputs, gradients):
            assert type(gradient) is np.ndarray
            assert gradient.shape == array.shape
            assert gradient.dtype == array.dtype
    for wide, thin in zip(double, singles):
        assert_agree(thin, wide, 2e-4)


@every_sample
def test_inputs_stay_and_a_second_run_is_the_same(row, sample):
    arrays = [a.copy() for a in sample.inputs]
    first, outputs, cotangents = gradients_of(row, arrays, sample.options)
    for array, before in zip(arrays, sample.inputs):
        assert np.array_equal(array, before)
    for array in arrays:
        array.flags.writeable = False
    kept = [c.copy() for c in cotangents]
    second, again, _ = gradients_of(row, arrays, sample.options, cotangents)
    for before, after in zip([*outputs, *first], [*again, *second]):
        assert np.array_equal(before, after)
    for before, after in zip(kept, cotangents):
        assert np.array_equal(before, after)


@every_sample
def test_vjp_leaves_its_cotangent_alone(row, sample):
    """The vjp itself, on arrays that it could write to."""
    leaves = [mg.Tensor(a, requires_grad=True) for a in sample.inputs]
    outputs = outputs_of(row, leaves, sample.options)
    node = outputs[0]._edge[0]
    if not isinstance(node, Node):
        return  # dropout with p=0 is no operation
    cotangents = [c.copy() for c in random_cotangents(outputs, 5)]
    before = [c.copy() for c in cotangents]
    data = [o.data.copy() for o in outputs]
    node.vjp(*cotangents)
    for was, now in zip([*before, *data], [*cotangents, *[o.data for o in outputs]]):
        assert np.array_equal(was, now)


@every_sample
def test_each_input_alone_gets_the_same_gradient(row, sample):
    """No gradient depends on whether the other inputs need one."""
    together, _, cotangents = gradients_of(row, sample.inputs, sample.options)
    for i, gradient in enumerate(together):
        needs = [j == i for j in range(len(sample.inputs))]
        (alone,), _, _ = gradients_of(row, sample.inputs, sample.options, cotangents, needs)
        assert np.array_equal(alone, gradient)


def transposed(a):
    return a.copy(order="F")


def reversed_strides(a):
    backward = (..., *(slice(None, None, -1) for _ in a.shape))
    return a[backward].copy()[backward]


def sliced(a):
    wide = np.full([2 * n + 1 for n in a.shape], np.nan, a.dtype)
    view = wide[(..., *(slice(1, None, 2) for _ in a.shape))]
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = (transposed, reversed_strides, sliced, read_only)


@every_sample
def test_memory_layout_does_not_matter(row, sample):
    plain, outputs, cotangents = gradients_of(row, sample.inputs, sample.options)
    for layout in LAYOUTS:
        arrays = [layout(a) for a in sample.inputs]
        odd = [layout(c) for c in cotangents]
        gradients, results, _ = gradients_of(row, arrays, sample.options, odd)
        for actual, expected in zip(gradients, plain):
            assert_agree(actual, expected, 1e-13)
        for actual, expected in zip(results, outputs):
            assert_agree(actual.data, expected.data, 1e-13)


@pytest.mark.parametrize(("row", "sample"), LINEAR)
def test_vjp_of_a_linear_operation_is_its_adjoint(row, sample):
    """<g, A x> = <A^T g, x> for every x, to rounding."""
    gradients, _, cotangents = gradients_of(row, sample.inputs, sample.options)
    rng = np.random.default_rng(11)
    tried = [rng.standard_normal(a.shape) for a in sample.inputs]
    if row.linear == "jointly":
        sides = [(tried, inner(gradients, tried))]
    else:
        sides = []
        for i, x in enumerate(tried):
            arrays = [x if j == i else a for j, a in enumerate(sample.inputs)]
            sides.append((arrays, inner([gradients[i]], [x])))
    for arrays, pulled_back in sides:
        outputs = evaluate(row, arrays, sample.options)
        size = sum(np.abs(o * c).sum() for o, c in zip(outputs, cotangents))
        assert abs(inner(outputs, cotangents) - pulled_back) <= 1e-13 * size + 1e-15


@pytest.mark.parametrize(("row", "kink"), KINKS)
def test_gradient_at_a_kink_follows_the_convention(row: Row, kink: Kink):
    sample = kink.sample
    gradients, _, cotangents = gradients_of(row, sample.inputs, sample.options)
    first, *others = sample.inputs
    here = inner(evaluate(row, sample.inputs, sample.options), cotangents)
    left, right = np.zeros(first.shape), np.zeros(first.shape)
    for index in np.ndindex(first.shape):
        for side, step in ((left, -1e-7), (right, 1e-7)):
            moved = first.copy()
            moved[index] += step
            value = inner(evaluate(row, [moved, *others], sample.options), cotangents)
            side[index] = (value - here) / step
    assert np.abs(left - right).max() > 0.1  # it is a kink
    assert_agree(gradients[0], kink.rule(left, right), 1e-6)


@pytest.mark.parametrize(("row", "kink"), KINKS)
def test_inputs_that_tie_share_the_gradient(row: Row, kink: Kink):
    if len(kink.sample.inputs) == 2:
        gradients, _, (g,) = gradients_of(row, kink.sample.inputs, kink.sample.options)
        assert np.array_equal(gradients[0] + gradients[1], g)


# --- what a tape may hold ----------------------------------------------------------------------


def held_by(function):
    """Everything a closure reaches through nested functions, lists, tuples and dicts."""
    waiting, seen = [function], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        for cell in getattr(value, "__closure__", None) or ():
            try:
                waiting.append(cell.cell_contents)
            except ValueError:  # a variable that was never assigned
                continue


@every_sample
def test_tape_holds_no_tensor(row, sample):
    leaves = [mg.Tensor(a, requires_grad=True) for a in sample.inputs]
    outputs = outputs_of(row, leaves, sample.options)
    waiting = [output._edge[0] for output in outputs]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Leaf):
            continue
        for value in held_by(node.vjp):
            assert not isinstance(value, (mg.Tensor, Node, Leaf)), f"{node.name} holds {value!r}"
        waiting += [edge[0] for edge in node.parents if edge is not None]


# --- drawn by hypothesis -----------------------------------------------------------------------

UNARY_ROWS = [row for row in TABLE if row.kind == "unary"]
BINARY_ROWS = [row for row in TABLE if row.kind == "binary"]
REDUCTION_ROWS = [row for row in TABLE if row.kind == "reduction"]
seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from((*LAYOUTS, np.copy))
small_shapes = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@pytest.mark.parametrize("row", UNARY_ROWS, ids=operator.attrgetter("name"))
@given(shape=small_shapes, layout=layouts, seed=seeds)
def test_unary_gradient_for_drawn_shapes(row, shape, layout, seed):
    array = np.asarray(row.domain(np.random.default_rng(seed), shape))
    check_gradient(row, [layout(array)], {}, seed)


@pytest.mark.parametrize("row", BINARY_ROWS, ids=operator.attrgetter("name"))
@given(
    shapes=arrays_of.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3),
    layout=layouts,
    seed=seeds,
)
def test_binary_gradient_for_drawn_shapes(row, shapes, layout, seed):
    rng = np.random.default_rng(seed)
    joined = row.domain(rng, (2, *shapes.result_shape))  # so that distinct values stay distinct
    arrays = []
    for values, shape in zip(joined, shapes.input_shapes):
        extra = len(shapes.result_shape) - len(shape)
        first = (0,) * extra + tuple(slice(0, n) for n in shape)
        arrays.append(layout(np.array(values[first]) if values.size else np.ones(shape)))
    check_gradient(row, arrays, {}, seed)


@pytest.mark.parametrize("row", REDUCTION_ROWS, ids=operator.attrgetter("name"))
@given(data=st.data(), shape=arrays_of.array_shapes(min_dims=0, max_dims=4, max_side=3),
       keepdims=st.booleans(), layout=layouts, seed=seeds)  # fmt: skip
def test_reduction_gradient_for_drawn_axes(row, data, shape, keepdims, layout, seed):
    axes = st.none() | arrays_of.valid_tuple_axes(len(shape))
    axis = data.draw(axes if not shape else axes | st.integers(-len(shape), len(shape) - 1))
    array = layout(np.asarray(row.domain(np.random.default_rng(seed), shape)))
    check_gradient(row, [array], {"axis": axis, "keepdims": keepdims}, seed)


@given(
    shapes=arrays_of.mutually_broadcastable_shapes(
        signature="(n?,k),(k,m?)->(n?,m?)", min_side=0, max_side=3, max_dims=2
    ),
    seed=seeds,
)
def test_matmul_gradient_for_drawn_shapes(shapes, seed):
    (row,) = [row for row in TABLE if row.name == "matmul"]
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(anywhere(rng, shape)) for shape in shapes.input_shapes]
    check_gradient(row, arrays, {}, seed)


smooth = pytest.mark.parametrize(
    "name", ["exp", "tanh", "sigmoid", "quick_gelu", "softmax", "log_softmax", "logsumexp"]
)


@smooth
@given(
    values=arrays_of.arrays(np.float64, (2, 3), elements=st.floats(-30, 30, allow_subnormal=False))
)
def test_gradient_for_drawn_values(name, values):
    row = next(row for row in TABLE if row.name == name)
    gradients, _, cotangents = gradients_of(row, [values], {})
    directions = np.random.default_rng(0).standard_normal(values.shape)
    numeric = numeric_slope(row, [values], [directions], {}, cotangents)
    # 1e-11 of what goes in, not of what is left: these functions saturate.
    size = np.abs(cotangents[0]).sum() * np.abs(directions).sum() + np.abs(gradients[0]).sum()
    assert abs(inner(gradients, [directions]) - numeric) <= 1e-11 * size


@given(
    data=st.data(),
    shape=arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4),
    seed=seeds,
)
def test_getitem_gradient_for_drawn_indices(data, shape, seed):
    index = data.draw(
        arrays_of.basic_indices(shape, allow_newaxis=True)
        | arrays_of.integer_array_indices(shape)
        | arrays_of.arrays(bool, shape)
    )
    (row,) = [row for row in TABLE if row.name == "getitem"]
    check_gradient(row, [anywhere(np.random.default_rng(seed), shape)], {"index": index}, seed)


# --- single promises ---------------------------------------------------------------------------


def test_gradient_of_astype_keeps_the_dtype_of_its_input():
    x = mg.tensor(np.arange(3.0), requires_grad=True)
    (gradient,) = mg.grad(mg.astype(x, np.float32), [x], np.array([1.0, -2.0, 0.5], np.float32))
    assert gradient.dtype == np.float64
    assert gradient.tolist() == [1.0, -2.0, 0.5]


def test_repeated_ids_receive_every_contribution():
    weight = mg.tensor(np.zeros((4, 2), np.float32), requires_grad=True)
    g = np.arange(8, dtype=np.float32).reshape(4, 2) + 1
    for rows in (mg.embedding(weight, [1, 1, 1, 2]), mg.take(weight, [1, 1, 1, 2]),
                 weight[[1, 1, 1, 2]]):  # fmt: skip
        (gradient,) = mg.grad(rows, [weight], g)
        assert gradient.tolist() == [[0, 0], [1 + 3 + 5, 2 + 4 + 6], [7, 8], [0, 0]]


def test_many_repeated_ids_sum_like_a_matrix_product():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 7, 500)
    weight = mg.tensor(rng.standard_normal((7, 3)), requires_grad=True)
    g = rng.standard_normal((500, 3))
    (gradient,) = mg.grad(mg.embedding(weight, ids), [weight], g)
    assert np.allclose(gradient, np.eye(7)[ids].T @ g, rtol=1e-13)


def test_normalize_has_a_finite_gradient_at_zero():
    x = mg.tensor(np.zeros((2, 3)), requires_grad=True)
    g = np.random.default_rng(0).standard_normal((2, 3))
    y = mg.normalize(x)
    assert y.data.tolist() == [[0.0] * 3] * 2
    (gradient,) = mg.grad(y, [x], g)
    assert np.allclose(gradient, g / 1e-12, rtol=1e-12)
    short = mg.tensor(np.array([[3e-13, 4e-13]]), requires_grad=True)  # shorter than eps: x / eps
    y = mg.normalize(short)
    assert np.allclose(y.data, [[0.3, 0.4]], rtol=1e-14)
    assert np.allclose(mg.grad(y, [short], g[:1, :2])[0], g[:1, :2] / 1e-12, rtol=1e-12)


def test_dropout_of_nothing_needs_no_generator():
    x = mg.tensor([1.0, 2.0])
    assert mg.dropout(x, 0.0, None).data is x.data


def test_dropout_keeps_the_mean_and_zeroes_the_share():
    x = mg.tensor(np.ones(20_000, np.float32), requires_grad=True)
    y = mg.dropout(x, 0.25, np.random.default_rng(0))
    assert abs(float((y.data == 0).mean()) - 0.25) < 0.01
    assert abs(float(y.data.mean()) - 1.0) < 0.02
    (gradient,) = mg.grad(y, [x], np.ones(20_000, np.float32))
    assert np.array_equal(gradient, y.data)


def test_binary_and_reduced_shapes_cover_every_kind():
    pairs = [(len(a), len(b)) for a, b in BINARY]
    assert any(a < b for a, b in pairs) and any(a > b for a, b in pairs)
    assert any(isinstance(axis, int) and axis < 0 for _, axis in REDUCED)
    assert isinstance(TABLE[0].samples[0], Sample)

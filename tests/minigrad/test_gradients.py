"""Every operation of the table: its value, its gradient, its promises about both."""

import operator

import numpy as np
import pytest
from drawing import LAYOUTS, filled, layouts, seeds, shapes
from gradient_checks import CHECKS, check_kink, gradients_of, inner, numeric_slope
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from op_table import BINARY, NOT_OPERATIONS, REDUCED, TABLE, Kink, Row, Sample

import minigrad as mg

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]

by_name = operator.attrgetter("name")


# --- the table is complete ---


def test_every_public_operation_has_a_row():
    assert {row.name for row in TABLE} == set(mg.__all__) - NOT_OPERATIONS


def test_every_operation_is_drawn():
    assert {row.name for row in TABLE if row.drawn is not None} == {row.name for row in TABLE}


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


def test_binary_and_reduced_shapes_cover_every_kind():
    pairs = [(len(a), len(b)) for a, b in BINARY]
    assert any(a < b for a, b in pairs) and any(a > b for a, b in pairs)
    assert any(isinstance(axis, int) and axis < 0 for _, axis in REDUCED)
    assert isinstance(TABLE[0].samples[0], Sample)


# --- the promises, for fixed and for drawn samples ---


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        pytest.param(row, sample, id=f"{row.name}-{i}")
        for row in TABLE
        for i, sample in enumerate(row.samples)
    ],
)
@pytest.mark.parametrize("check", CHECKS, ids=operator.attrgetter("__name__"))
def test_sample(check, row, sample):
    check(row, sample)


@pytest.mark.parametrize("row", [row for row in TABLE if row.drawn is not None], ids=by_name)
@given(data=st.data())
def test_drawn_sample(row, data):
    sample = data.draw(row.drawn)
    for check in CHECKS:
        check(row, sample)


# --- kinks ---


@pytest.mark.parametrize(
    ("row", "kink"),
    [
        pytest.param(row, kink, id=f"{row.name}-{i}")
        for row in TABLE
        for i, kink in enumerate(row.kinks)
    ],
)
def test_gradient_at_a_kink_follows_the_convention(row: Row, kink: Kink):
    left, right = check_kink(row, kink)
    assert np.abs(left - right).max() > 0.1  # it is a kink


@pytest.mark.parametrize("row", [row for row in TABLE if row.drawn_kinks], ids=by_name)
@given(data=st.data())
def test_gradient_at_drawn_kinks(row, data):
    strategy, rule = row.drawn_kinks
    check_kink(row, Kink(data.draw(strategy), rule))


@pytest.mark.parametrize("name", ["max", "min"])
@given(data=st.data())
def test_equal_extremes_share_the_gradient(name, data):
    """The gradient of each is what arrives, over how many they are."""
    shape = tuple(n + 1 for n in data.draw(shapes(dims=3, least_dims=1)))
    axis = data.draw(arrays_of.valid_tuple_axes(len(shape), min_size=1))
    (values,) = filled(data.draw, lambda rng, shape: rng.integers(0, 3, shape) * 1.0, shape)
    row = next(row for row in TABLE if row.name == name)
    sample = Sample((values,), {"axis": axis, "keepdims": True})
    (gradient,), (output,), (g,) = gradients_of(row.function, sample)
    hit = values == output.data
    share = np.broadcast_to(g / hit.sum(axis=axis, keepdims=True), shape)
    assert np.allclose(gradient, np.where(hit, share, 0.0), rtol=1e-15, atol=0)


# --- values drawn one by one ---

SMOOTH = ("exp", "tanh", "sigmoid", "quick_gelu", "softmax", "log_softmax", "logsumexp")


@pytest.mark.parametrize("name", SMOOTH)
@given(
    values=arrays_of.arrays(np.float64, (2, 3), elements=st.floats(-30, 30, allow_subnormal=False))
)
def test_gradient_for_drawn_values(name, values):
    row = next(row for row in TABLE if row.name == name)
    gradients, _, cotangents = gradients_of(row.function, Sample((values,)))
    directions = np.random.default_rng(0).standard_normal(values.shape)
    numeric = numeric_slope(row, [values], [directions], {}, cotangents)
    # 1e-11 of what goes in, not of what is left: these functions saturate.
    size = np.abs(cotangents[0]).sum() * np.abs(directions).sum() + np.abs(gradients[0]).sum()
    assert abs(inner(gradients, [directions]) - numeric) <= 1e-11 * size


@given(data=st.data(), shape=shapes(), seed=seeds)
def test_layouts_keep_the_values(data, shape, seed):
    """The layouts keep the numbers, and no check compares an array with itself."""
    array = np.asarray(np.random.default_rng(seed).standard_normal(shape))
    moved = data.draw(layouts)(array)
    assert np.array_equal(moved, array) and not np.shares_memory(moved, array)
    wide = np.arange(12.0).reshape(3, 4)
    strides = {layout(wide).strides for layout in LAYOUTS}
    assert len(strides) == len(LAYOUTS)


# --- single promises ---


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

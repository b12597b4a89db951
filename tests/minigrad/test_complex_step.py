"""jvp and hvp: exact where a function is analytic, differences where it is not."""

import numpy as np
import pytest
from op_table import TABLE
from planted import POINT, operation, right

import minigrad as mg
from minigrad.tensor import record

pytestmark = pytest.mark.gradient


def direction(seed=1, shape=POINT.shape):
    return np.random.default_rng(seed).standard_normal(shape)


# --- jvp ---


def as_one(row, options):
    """The operation of a row as a function with a single result."""

    def fn(*inputs):
        result = row.function(*inputs, **options)
        return mg.concatenate(result) if isinstance(result, tuple) else result

    return fn


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_jvp_is_the_transpose_of_the_walk_back(row):
    """<c, J v> = <J^T c, v> for every operation."""
    for sample in row.samples:
        fn = as_one(row, sample.options)
        vectors = [direction(i, a.shape) for i, a in enumerate(sample.inputs)]
        vectors = [np.asarray(v) for v in vectors]
        found = mg.jvp(fn, list(sample.inputs), vectors)
        leaves = [mg.tensor(a, requires_grad=True) for a in sample.inputs]
        output = fn(*leaves)
        assert found.shape == output.shape and found.dtype == np.float64
        c = np.asarray(direction(9, output.shape))
        gradients = mg.grad(output, leaves, c)
        products = [g * v for g, v in zip(gradients, vectors)]
        size = sum(np.abs(p).sum() for p in products) + np.abs(c * found).sum()
        assert abs((c * found).sum() - sum(p.sum() for p in products)) <= 1e-12 * size + 1e-14


def test_jvp_scales_with_its_vectors():
    v = direction()
    once = mg.jvp(mg.tanh, [POINT], [v])
    for factor in (0.0, 1e-8, 1e6):
        assert np.allclose(mg.jvp(mg.tanh, [POINT], [v * factor]), once * factor, rtol=1e-14)


def test_jvp_of_a_function_that_is_not_analytic():
    """A rule that takes absolute values of complex numbers: differences serve."""

    def signed_square(x):
        a = x.data
        return record("signed square", a * np.abs(a), (x,), lambda g: g * 2 * np.abs(a))

    v = direction()
    expected = 2 * np.abs(POINT) * v
    assert np.allclose(mg.jvp(signed_square, [POINT], [v]), expected, rtol=1e-8, atol=1e-9)
    only_real = mg.jvp(lambda x: mg.exp(mg.tensor(x.data.real)), [POINT], [v])
    assert np.allclose(only_real, np.exp(POINT) * v, rtol=1e-8)


def test_jvp_does_not_rest_on_a_wrong_gradient():
    wrong = operation(lambda g, a: right(g, a) * 1.5)
    v = direction()
    assert np.allclose(mg.jvp(wrong, [POINT], [v]), 2 * POINT * v, rtol=1e-9, atol=1e-9)


def test_jvp_of_a_constant_is_zero():
    assert mg.jvp(lambda x: mg.tensor(np.ones(3)), [POINT], [POINT]).tolist() == [0.0] * 3


def test_jvp_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"jvp: vectors \[\(3, 2\)\] .* inputs, \[\(2, 3\)\]"):
        mg.jvp(mg.exp, [POINT], [POINT.T])
    with pytest.raises(TypeError, match="jvp: input 0 has dtype float32"):
        mg.jvp(mg.exp, [POINT.astype(np.float32)], [POINT])


# --- hvp ---


def test_hvp_of_a_quadratic_form_is_its_matrix():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 4))
    x, v = rng.standard_normal((2, 4))
    (found,) = mg.hvp(lambda x: x @ mg.tensor(a) @ x, [x], [v])
    assert found.dtype == np.float64
    assert np.allclose(found, (a + a.T) @ v, rtol=1e-14, atol=1e-14)


def test_hvp_of_several_inputs_has_the_mixed_derivatives():
    x, y, u, v = (direction(i) for i in range(4))
    found = mg.hvp(lambda x, y: mg.sum(mg.exp(x) * y * y), [x, mg.tensor(y)], [u, v])
    e = np.exp(x)
    assert np.allclose(found[0], e * y * y * u + 2 * e * y * v, rtol=1e-13, atol=1e-13)
    assert np.allclose(found[1], 2 * e * y * u + 2 * e * v, rtol=1e-13, atol=1e-13)


def test_hvp_scales_with_its_vectors_whatever_their_size():
    def fn(x):
        return mg.sum(mg.tanh(x) * x)

    v = direction()
    (once,) = mg.hvp(fn, [POINT], [v])
    for factor in (1e-8, 1e6):
        (found,) = mg.hvp(fn, [POINT], [v * factor])
        assert np.allclose(found, once * factor, rtol=1e-12)
    assert mg.hvp(fn, [POINT], [v * 0])[0].tolist() == np.zeros(POINT.shape).tolist()


def test_hvp_agrees_with_the_curvature_of_the_values():
    """v H v = (f(x + h v) - 2 f(x) + f(x - h v)) / h^2, without any gradient."""
    w = np.random.default_rng(3).standard_normal((3, 3))

    def fn(x):
        return mg.sum(mg.softmax(mg.tanh(x @ mg.tensor(w)) @ mg.tensor(w.T)) * mg.tensor(POINT))

    v, h = direction(), 1e-4
    (found,) = mg.hvp(fn, [POINT], [v])
    ahead, here, behind = (fn(mg.tensor(POINT + t * v)).item() for t in (h, 0.0, -h))
    assert (v * found).sum() == pytest.approx((ahead - 2 * here + behind) / h**2, rel=1e-5)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_hvp_is_the_slope_of_the_gradients(row):
    """H v = (grad f(x + h v) - grad f(x - h v)) / 2h for every operation."""
    for sample in row.samples:
        output = as_one(row, sample.options)(*map(mg.tensor, sample.inputs))
        c = mg.tensor(np.asarray(direction(9, output.shape)))
        vectors = [np.asarray(direction(i, a.shape)) for i, a in enumerate(sample.inputs)]

        def fn(*inputs, options=sample.options, c=c):
            return mg.sum(as_one(row, options)(*inputs) * c)

        def gradients(step, fn=fn, inputs=sample.inputs, vectors=vectors):
            leaves = [mg.tensor(a + step * v, requires_grad=True) for a, v in zip(inputs, vectors)]
            return mg.grad(fn(*leaves), leaves)

        h = 1e-5
        found = mg.hvp(fn, list(sample.inputs), vectors)
        for product, ahead, behind in zip(found, gradients(h), gradients(-h)):
            size = np.abs(ahead).max(initial=0.0) + np.abs(product).max(initial=0.0)
            slope = (ahead - behind) / (2 * h)
            assert np.abs(product - slope).max(initial=0.0) <= 1e-6 * size + 1e-9


def test_hvp_is_symmetric():
    """<u, H v> = <H u, v>."""

    def fn(x):
        return mg.logsumexp(x * x) * mg.sum(mg.sigmoid(x))

    u, v = direction(1), direction(2)
    (left,), (right,) = mg.hvp(fn, [POINT], [v]), mg.hvp(fn, [POINT], [u])
    assert (u * left).sum() == pytest.approx((right * v).sum(), rel=1e-13)


def test_hvp_leaves_everything_alone():
    array, tensor = POINT.copy(), mg.tensor(POINT.copy(), requires_grad=True)
    v = direction()
    mg.hvp(lambda x, y: mg.sum(x * y), [array, tensor], [v, v])
    assert np.array_equal(array, POINT) and np.array_equal(tensor.data, POINT)
    assert tensor.grad is None


def test_hvp_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"hvp: fn must return a single .* shape \(2, 3\)"):
        mg.hvp(mg.exp, [POINT], [POINT])
    with pytest.raises(ValueError, match=r"hvp: vectors \[\(3, 2\)\] .* inputs, \[\(2, 3\)\]"):
        mg.hvp(mg.sum, [POINT], [POINT.T])
    with pytest.raises(ValueError, match="hvp: vectors"):
        mg.hvp(mg.sum, [POINT], [POINT, POINT])


def test_hvp_of_a_function_that_is_not_analytic():
    """Its gradient is right for real numbers, and differences of it are taken."""

    def cube_of_length(x):
        a = x.data
        length = np.abs(a)
        return record("cube", (a * a * length).sum(), (x,), lambda g: g * 3 * a * length)

    v = direction()
    (found,) = mg.hvp(cube_of_length, [POINT], [v])
    assert np.allclose(found, 6 * np.abs(POINT) * v, rtol=1e-8, atol=1e-8)


def test_hvp_keeps_the_programs_own_type_error():
    def fn(x):
        raise TypeError("of the program")

    with pytest.raises(TypeError, match="of the program"):
        mg.hvp(fn, [POINT], [POINT])


def test_hvp_of_a_constant_is_zero():
    (found,) = mg.hvp(lambda x: mg.tensor(np.array(2.0)), [POINT], [POINT])
    assert not found.any()

"""hvp and taylor_slope: what a gradient says along one direction."""

import math

import numpy as np
import pytest
from planted import POINT, WRONG, operation, right

import minigrad as mg

pytestmark = pytest.mark.gradient


# --- hvp ------------------------------------------------------------------------------


def direction(seed=1, shape=POINT.shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_hvp_of_a_quadratic_form_is_its_matrix():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 4))
    x, v = rng.standard_normal((2, 4))
    (found,) = mg.hvp(lambda x: x @ mg.tensor(a) @ x, [x], [v])
    assert found.dtype == np.float64
    assert np.allclose(found, (a + a.T) @ v, rtol=1e-9, atol=1e-9)


def test_hvp_of_several_inputs_has_the_mixed_derivatives():
    x, y, u, v = (direction(i) for i in range(4))
    found = mg.hvp(lambda x, y: mg.sum(mg.exp(x) * y * y), [x, mg.tensor(y)], [u, v])
    e = np.exp(x)
    assert np.allclose(found[0], e * y * y * u + 2 * e * y * v, rtol=1e-8, atol=1e-8)
    assert np.allclose(found[1], 2 * e * y * u + 2 * e * v, rtol=1e-8, atol=1e-8)


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


def test_hvp_is_symmetric():
    """<u, H v> = <H u, v>."""

    def fn(x):
        return mg.logsumexp(x * x) * mg.sum(mg.sigmoid(x))

    u, v = direction(1), direction(2)
    (left,), (right,) = mg.hvp(fn, [POINT], [v]), mg.hvp(fn, [POINT], [u])
    assert (u * left).sum() == pytest.approx((right * v).sum(), rel=1e-7)


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


# --- taylor_slope ---------------------------------------------------------------------


def test_slope_is_two_where_the_gradient_is_right():
    for fn in (mg.exp, mg.tanh, lambda x: mg.sum(mg.gelu(x)), mg.softmax):
        assert mg.taylor_slope(fn, [POINT], [direction()]) == pytest.approx(2.0, abs=0.02)
    inputs = [POINT, direction(2).T]
    assert mg.taylor_slope(mg.matmul, inputs, [direction(3), direction(4, (3, 2))]) == (
        pytest.approx(2.0, abs=0.02)
    )


@pytest.mark.parametrize("name", WRONG)
def test_slope_is_one_where_it_is_wrong(name):
    if name == "not a number":
        assert math.isnan(mg.taylor_slope(operation(WRONG[name]), [POINT], [direction()]))
    else:
        found = mg.taylor_slope(operation(WRONG[name]), [POINT], [direction()])
        assert found == pytest.approx(1.0, abs=0.05)


def test_slope_of_a_straight_line_is_infinite():
    assert mg.taylor_slope(lambda x: x * 3.0, [POINT], [direction()]) == math.inf
    wrong = operation(lambda g, a: g * 3.1, lambda a: a * 3.0)
    assert mg.taylor_slope(wrong, [POINT], [direction()]) == pytest.approx(1.0, abs=1e-3)


def test_slope_along_zero_is_infinite():
    assert mg.taylor_slope(mg.exp, [POINT], [POINT * 0]) == math.inf


def test_slope_notices_what_gradcheck_notices():
    with pytest.raises(mg.GradientError, match=r"input 0 is \(3, 2\) float64"):
        mg.taylor_slope(operation(lambda g, a: right(g, a).T), [POINT], [direction()])
    with pytest.raises(ValueError, match=r"taylor_slope: vectors \[\(3, 2\)\]"):
        mg.taylor_slope(mg.exp, [POINT], [POINT.T])


def test_slope_takes_a_lone_array_and_its_direction():
    assert mg.taylor_slope(mg.exp, POINT, direction()) == pytest.approx(2.0, abs=0.02)

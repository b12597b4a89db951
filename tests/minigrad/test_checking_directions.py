"""taylor_slope: what a gradient says along one direction."""

import math

import numpy as np
import pytest
from planted import POINT, WRONG, operation, right

import minigrad as mg

pytestmark = pytest.mark.gradient


def direction(seed=1, shape=POINT.shape):
    return np.random.default_rng(seed).standard_normal(shape)


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

"""Pooling at its edges: equal numbers, padding, NaN, integers."""

import numpy as np
import pytest

import minigrad as mg

pytestmark = [pytest.mark.gradient, pytest.mark.filterwarnings("error::RuntimeWarning")]


def test_the_first_of_equal_numbers_gets_the_gradient():
    x = mg.tensor(np.array([[[[1.0, 2.0, 2.0, 2.0], [2.0, 0.0, 2.0, 2.0]]]]), requires_grad=True)
    y = mg.max_pool2d(x, 2)
    (gradient,) = mg.grad(y, [x], np.array([[[[3.0, 5.0]]]]))
    assert gradient.tolist() == [[[[0.0, 3.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]]


def test_a_window_with_a_nan_gives_nan():
    x = np.array([[[[1.0, np.nan, 7.0, 2.0], [9.0, 0.0, 2.0, 2.0]]]])
    y = mg.max_pool2d(x, 2).data
    assert np.isnan(y[..., 0]).all() and y[..., 1].item() == 7.0


def test_numbers_below_all_others_win_over_the_padding():
    x = np.full((1, 1, 3, 3), -1e300)
    assert (mg.max_pool2d(x, 3, stride=1, padding=1).data == -1e300).all()


def test_integers_become_floats():
    x = np.arange(4).reshape(1, 1, 2, 2)
    for pool, value in ((mg.avg_pool2d, 1.5), (mg.max_pool2d, 3.0)):
        y = pool(x, 2)
        assert y.dtype == np.float32 and y.item() == value


def test_sizes_may_be_integers_of_numpy_and_the_type_stays():
    x = mg.tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    two = np.int64(2)
    for result, right in [
        (mg.avg_pool2d(x, two), mg.avg_pool2d(x, 2)),
        (mg.max_pool2d(x, two, stride=two), mg.max_pool2d(x, 2)),
        (mg.conv2d(x, x, stride=two, padding=two), mg.conv2d(x, x, stride=2, padding=2)),
    ]:
        assert result.dtype == np.float32
        assert np.array_equal(result.data, right.data)

"""The polynomial behind erf is as exact as the dtype; the slow form is Python's own."""

import math

import numpy as np
import pytest

from minigrad.ops.error_function import END, _r, check_erf_dtype, erf_and_decay, slow_erf

POINTS = np.concatenate([np.linspace(-8.0, 8.0, 4001), [-1e-300, 0.0, 1e-300, -np.inf, np.inf]])


@pytest.mark.parametrize(("dtype", "units"), [(np.float64, 8), (np.float32, 4)])
def test_the_fast_erf_is_the_slow_one_up_to_a_few_units(dtype, units):
    x = POINTS.astype(dtype)
    fast, _ = erf_and_decay(x)
    slow = slow_erf(x)
    assert fast.dtype == dtype
    assert np.abs(fast - slow).max() <= units * np.finfo(dtype).eps


def test_the_sign_of_zero_stays():
    fast, _ = erf_and_decay(np.array([-0.0, 0.0]))
    assert np.signbit(fast).tolist() == [True, False]


def test_decay_is_the_gaussian():
    x = np.linspace(-5.0, 5.0, 101)
    _, decay = erf_and_decay(x)
    assert np.allclose(decay, np.exp(-x * x), rtol=1e-13, atol=1e-16)


def test_the_end_is_far_enough():
    assert math.erf(END) == 1.0
    assert 1.0 + math.expm1(-END * END) < np.finfo(np.float64).eps / 100


@pytest.mark.parametrize("t", [-1.0, -0.3, 0.2, 0.9])
def test_r_satisfies_its_equation(t):
    x = 2.0 / ((1.0 + 1.0 / (1.0 + END)) + t * (1.0 - 1.0 / (1.0 + END))) - 1.0
    expected = 1.0 - math.exp(-x * x) * (1.0 - x * _r(t))
    assert math.erf(x) == pytest.approx(expected, rel=1e-12)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="erf: expected float32 or float64, got complex64"):
        check_erf_dtype(np.zeros(2, np.complex64))


@pytest.mark.gradient
def test_a_complex_step_is_right_to_first_order():
    """erf and exp(-x^2) along a tiny imaginary step have their known derivatives."""
    a, h = np.linspace(-4.0, 4.0, 81), 1e-30
    y, decay = erf_and_decay(a + 1j * h)
    gaussian = np.exp(-a * a)
    assert np.array_equal(y.real, erf_and_decay(a)[0])
    assert np.allclose(y.imag / h, 2.0 / math.sqrt(math.pi) * gaussian, rtol=1e-13, atol=0)
    assert np.allclose(decay.imag / h, -2.0 * a * gaussian, rtol=1e-13, atol=0)


def test_a_large_imaginary_part_is_refused():
    with pytest.raises(ValueError, match=r"erf: complex numbers are for complex .* got 0\.5"):
        erf_and_decay(np.array([1.0 + 0.5j]))
    with pytest.raises(ValueError, match="complex steps"):
        erf_and_decay(np.array([0.0 + 1e-7j]))

"""A step with clipped gradients: in one go it is the same as in two."""

import math

import numpy as np
import pytest

from minigrad.clipping import clip_grad_norm, clipped_step
from minigrad.nn import Parameter
from minigrad.optim import SGD, AdamW

SHAPES = {"weight": (5, 7), "bias": (7,), "table": (3, 2, 2), "scale": ()}


def generator(seed=0):
    return np.random.default_rng(seed)


def parameters_with_gradients(without=()):
    rng = generator()
    parameters = {name: Parameter(rng.standard_normal(shape)) for name, shape in SHAPES.items()}
    for name, parameter in parameters.items():
        gradient = rng.standard_normal(parameter.shape)
        parameter.grad = None if name in without else np.asarray(gradient)
    return list(parameters.values())


def sgd(parameters):
    return SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.2)


def adamw(parameters):
    return AdamW(parameters, lr=0.1, weight_decay=0.2)


@pytest.mark.parametrize("make", [sgd, adamw])
@pytest.mark.parametrize("max_norm", [None, 1.0, 1e9])
@pytest.mark.parametrize("without", [(), ("bias",), ("table", "scale")])
def test_one_call_does_what_two_do(make, max_norm, without):
    together, apart = parameters_with_gradients(without), parameters_with_gradients(without)
    one, other = make(together), make(apart)
    for _ in range(3):
        norm = clipped_step(one, together, max_norm)
        gradients = [None if p.grad is None else p.grad.copy() for p in apart]
        expected = clip_grad_norm(apart, max_norm)
        other.step()
        assert norm.shape == () and norm.dtype == together[0].dtype
        np.testing.assert_allclose(norm, expected, rtol=1e-14)
        for parameter, twin, gradient in zip(together, apart, gradients):
            np.testing.assert_allclose(parameter.data, twin.data, rtol=1e-13, atol=1e-15)
            assert (parameter.grad is None) == (gradient is None)
            if gradient is not None:
                assert np.array_equal(parameter.grad, gradient)  # not scaled
                twin.grad = gradient
    assert one.step_count == other.step_count == 3


def test_parameters_of_nobody_count():
    """A trained parameter that no optimizer moves is a part of the gradient."""
    mine, other = Parameter(np.zeros(2)), Parameter(np.zeros(3))
    mine.grad, other.grad = np.array([3.0, 0.0]), np.array([0.0, 4.0, 0.0])
    norm = clipped_step(sgd([mine]), [mine, other], max_norm=1.0)
    assert norm == 5.0
    np.testing.assert_allclose(mine.data, [-0.1 * 3.0 / 5.0, 0.0], rtol=1e-6)


def test_a_check_that_fails_leaves_all_as_it_was():
    parameters = parameters_with_gradients()
    before = [parameter.data.copy() for parameter in parameters]
    optimizer = adamw(parameters)

    def refuse(norm):
        raise ArithmeticError("too long")

    with pytest.raises(ArithmeticError, match="too long"):
        clipped_step(optimizer, parameters, 1.0, check=refuse)
    assert optimizer.step_count == 0
    for parameter, data in zip(parameters, before):
        assert np.array_equal(parameter.data, data)


def test_a_gradient_that_is_not_finite_is_seen_in_the_norm():
    parameter = Parameter(np.ones(3))
    parameter.grad = np.array([1.0, np.nan, 2.0])
    assert math.isnan(clipped_step(sgd([parameter]), [parameter], max_norm=1.0))


def test_a_gradient_of_zeros_is_not_divided_by():
    parameter = Parameter(np.ones(3))
    parameter.grad = np.zeros(3)
    assert clipped_step(SGD([parameter], lr=0.1), [parameter], max_norm=0.0) == 0.0
    assert np.array_equal(parameter.data, np.ones(3))


def test_a_gradient_is_needed():
    parameter = Parameter(np.ones(3))
    with pytest.raises(ValueError, match="clipped_step: no parameter has a gradient"):
        clipped_step(sgd([parameter]), [parameter], max_norm=1.0)

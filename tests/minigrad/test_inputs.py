"""`coerce` is the fast form of `unify`: the same tensors or errors for all inputs."""

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad.inputs import coerce, floating, unify

NARROW = mg.tensor([0.5, 1.5])
WIDE = mg.tensor(np.array([0.5, 1.5]), requires_grad=True)
VALUES = {
    "float32 tensor": NARROW,
    "float32 leaf": mg.tensor([2.5, 3.5], requires_grad=True),
    "float64 leaf": WIDE,
    "float64 constant": mg.tensor(np.array([2.5, 3.5])),
    "complex tensor": mg.tensor(np.array([1j, 2.0])),
    "integer tensor": mg.tensor([1, 2]),
    "boolean tensor": mg.tensor([True, False]),
    "parameter": mg.nn.Parameter(np.ones(2, np.float32)),
    "float32 array": np.ones(2, np.float32),
    "float64 array": np.ones(2),
    "integer array": np.arange(2),
    "0-d array": np.array(0.1),
    "NumPy scalar": np.float64(0.1),
    "complex number": 1j,
    "float": 0.1,
    "int": 2,
    "bool": True,
    "list of floats": [0.1, 0.2],
    "list of ints": [1, 2],
    "word": "word",
}


def outcome(function):
    """The dtypes and numbers that a call gives, or its error."""
    try:
        tensors = function()
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return [(tensor.dtype, tensor.shape, tensor.data.tolist()) for tensor in tensors]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_coerce_is_unify(count):
    for names in itertools.product(VALUES, repeat=count):
        values = [VALUES[name] for name in names]
        expected = outcome(lambda values=values: unify("op", values))
        assert outcome(lambda values=values: coerce("op", *values)) == expected, names


def test_tensors_that_fit_are_passed_on_unchanged():
    for values in ([NARROW], [NARROW, NARROW], [WIDE, WIDE, WIDE]):
        for result in (coerce("op", *values), unify("op", values)):
            assert all(value is tensor for value, tensor in zip(values, result, strict=True))


def test_digits_of_a_number_survive():
    """0.1 goes straight to float64: by way of float32 it would become 0.10000000149."""
    assert coerce("op", WIDE, 0.1)[1].item() == 0.1
    assert coerce("op", 0.1, WIDE)[0].item() == 0.1
    assert coerce("op", NARROW, 0.1)[1].dtype == np.float32


def test_a_real_constant_may_meet_complex_numbers_but_no_leaf():
    point = mg.tensor(np.array([1j, 2.0]))
    constant = mg.tensor(np.array([2.0, 3.0]))
    assert [tensor.dtype for tensor in coerce("op", point, constant)] == [np.complex128] * 2
    with pytest.raises(TypeError, match="op: inputs have dtypes complex128, float64"):
        coerce("op", point, WIDE)
    with pytest.raises(TypeError, match="op: inputs have dtypes float32, complex128"):
        coerce("op", NARROW, point)


def test_floating_makes_floats_of_integers_only():
    assert floating("op", [1, 2])[0].dtype == np.float32
    assert [tensor.dtype for tensor in floating("op", 1, True)] == [np.float32] * 2
    assert floating("op", WIDE, 1)[1].dtype == np.float64


def test_no_values_are_an_error():
    with pytest.raises(ValueError, match="op: needs at least one tensor"):
        coerce("op")

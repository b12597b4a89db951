"""Frozen weights in 16 bits: exact if they came so, never written to, never trained."""

import copy
import pickle

import numpy as np
import pytest

from minigrad import no_grad
from minigrad.backend import array_module, move
from minigrad.half import HalfParameter, in_full, store_in_half
from minigrad.nn import Embedding, LayerNorm, Linear, Parameter, Sequential


def frozen(module):
    for parameter in module.parameters():
        parameter.requires_grad = False
    return module


def net(seed=0):
    rng = np.random.default_rng(seed)
    return Sequential(Linear(5, 7, rng), LayerNorm(7), Linear(7, 3, rng))


def test_weights_that_came_as_float16_compute_the_same_bits():
    model, x = net(), np.ones((2, 5), np.float32)
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float16).astype(np.float32)
    expected = model(x).numpy()
    state = model.state_dict()
    assert store_in_half(frozen(model)) == 0.0
    with no_grad():
        np.testing.assert_array_equal(model(x).numpy(), expected)
    np.testing.assert_array_equal(model(x).numpy(), expected)
    for name, array in model.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[name])


def test_other_weights_are_rounded_and_the_error_is_named():
    model = frozen(net())
    before = model.state_dict()
    error = store_in_half(model)
    assert 0 < error <= 2**-11
    after = model.state_dict()
    worst = max(
        np.abs(after[name] - before[name]).max() / np.abs(before[name]).max()
        for name in before
        if before[name].ndim == 2
    )
    assert error == pytest.approx(worst)
    np.testing.assert_array_equal(
        after["0.weight"], before["0.weight"].astype(np.float16).astype(np.float32)
    )


def test_a_matrix_takes_half_the_bytes():
    model = frozen(net())
    store_in_half(model)
    assert model[0].weight.stored.nbytes == 2 * 5 * 7
    assert type(model[0].bias) is Parameter


def test_what_learns_and_tables_stay():
    model = net()
    model[0].weight.requires_grad = False
    table = frozen(Embedding(4, 2, np.random.default_rng(0)))
    assert store_in_half(table) == 0.0
    store_in_half(model)
    assert type(model[0].weight) is HalfParameter
    assert type(model[2].weight) is type(table.weight) is Parameter


def test_a_shared_matrix_stays_shared():
    model = frozen(net())
    model[2].weight = model[0].weight
    store_in_half(model)
    assert model[2].weight is model[0].weight


def test_numbers_too_large_for_float16_are_refused():
    with pytest.raises(ValueError, match="a weight of 70000 is too large for float16"):
        HalfParameter(np.array([70000.0, 1.0], np.float32))


def test_it_cannot_learn_and_what_is_written_is_not_lost_in_silence():
    parameter = HalfParameter(np.ones((2, 2), np.float32))
    parameter.requires_grad = False
    with pytest.raises(RuntimeError, match="cannot learn"):
        parameter.requires_grad = True
    with pytest.raises(ValueError, match="read-only"):
        parameter.data[0] = 2.0
    parameter.data = np.full((2, 2), 3.0, np.float32)
    assert parameter.data.sum() == 12


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_equal(again):
    parameter = HalfParameter(np.ones((2, 2), np.float32))
    copied = again(parameter)
    assert type(copied) is HalfParameter
    np.testing.assert_array_equal(copied.data, parameter.data)


def test_it_moves_with_its_module(backend="numpy"):
    model = frozen(net())
    store_in_half(model)
    before = move(model[0].weight.data, "numpy")
    model.to(backend)
    assert array_module(model[0].weight.stored) is np
    np.testing.assert_array_equal(in_full(model[0].weight).data, before)


def test_the_type_is_known_without_converting_the_weights(monkeypatch):
    weight = HalfParameter(np.ones((3, 2), np.float32))
    monkeypatch.setattr(HalfParameter, "data", property(lambda self: pytest.fail("converted")))
    assert (weight.dtype, weight.shape, weight.ndim, weight.size) == (np.float32, (3, 2), 2, 6)


def test_a_matrix_of_zeros_has_no_error_of_rounding():
    layer = frozen(Linear(3, 2, np.random.default_rng(0)))
    layer.weight.data = layer.weight.data * 0
    assert store_in_half(layer) == 0.0

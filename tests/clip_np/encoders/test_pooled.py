"""One row of a block is that row of the whole block: values, gradients, work."""

import numpy as np
import pytest
from small_models import SMALL, batch, small_model

import minigrad as mg
from clip_np.encoders import Block, Transformer, pooled_block, pooled_transformer
from clip_np.encoders.pooled import pick_rows, pooled_cost
from clip_np.encoders.transformer import block_cost

FORMS = {"block": (Block, pooled_block), "stack": (Transformer, pooled_transformer)}


def make(kind, seed=0):
    """A block or a stack in float64, its biases and gains away from 0 and 1."""
    rng = np.random.default_rng(seed)
    module = FORMS[kind][0](SMALL.vision, rng).astype(np.float64)
    for parameter in module.parameters():
        parameter.data[...] += 0.3 * rng.standard_normal(parameter.shape)
    return module


@pytest.mark.gradient
@pytest.mark.parametrize("mask", [None, "causal"])
@pytest.mark.parametrize("kind", FORMS)
def test_pooled_is_forward_and_then_the_row(kind, mask):
    module = make(kind)
    rng = np.random.default_rng(1)
    x = mg.tensor(rng.standard_normal((4, 5, SMALL.vision.width)), requires_grad=True)
    positions = np.array([0, 4, 2, 2])
    cotangent = rng.standard_normal((4, SMALL.vision.width))
    leaves = [x, *module.parameters()]
    plain = pick_rows(module(x, mask), positions)
    fast = FORMS[kind][1](module, x, positions, mask)
    np.testing.assert_allclose(fast.data, plain.data, rtol=1e-12, atol=1e-13)
    expected = mg.grad(plain, leaves, cotangent)
    for gradient, want in zip(mg.grad(fast, leaves, cotangent), expected, strict=True):
        np.testing.assert_allclose(gradient, want, rtol=1e-10, atol=1e-12)


def test_the_bias_of_the_keys_changes_nothing():
    block = make("block")
    x = mg.tensor(np.random.default_rng(2).standard_normal((2, 3, SMALL.vision.width)))
    before = block(x).data
    width = SMALL.vision.width
    block.attn.in_proj.bias.data[width : 2 * width] += 7.0
    np.testing.assert_allclose(block(x).data, before, rtol=1e-10)


@pytest.mark.gradient
@pytest.mark.parametrize("name", ["vision", "text"])
def test_both_encoders_equal_their_plain_form(name):
    model = small_model()
    inputs = dict(zip(("vision", "text"), batch(4)))[name]
    encoder = model.encoders[name]
    cotangent = np.random.default_rng(3).standard_normal((4, 6))
    fast, plain = encoder(inputs), encoder.plain_forward(inputs)
    np.testing.assert_allclose(fast.data, plain.data, rtol=1e-12, atol=1e-14)
    leaves = encoder.parameters()
    expected = mg.grad(plain, leaves, cotangent)
    for gradient, want in zip(mg.grad(fast, leaves, cotangent), expected, strict=True):
        assert np.abs(gradient - want).max() <= 1e-11 * np.abs(want).max() + 1e-13


@pytest.mark.parametrize("length", [5, 17, 50, 77])
def test_a_pooled_block_costs_about_one_part_in_its_length(length):
    config = SMALL.vision.__class__(32, 8, width=512, layers=1, heads=8)
    share = pooled_cost(config, length) / block_cost(config, length)
    assert 1.0 <= share * length <= 1.3


def test_costs_count_the_multiplications():
    """Written out for a block of one token, in which both forms do the same work."""
    config = SMALL.vision.__class__(8, 8, width=6, layers=1, heads=1, mlp_width=10)
    expected = 4 * 6 * 6 + 2 * 6 * 10 + 2 * 6
    assert block_cost(config, 1) == pooled_cost(config, 1) == expected

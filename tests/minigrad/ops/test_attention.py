"""Masks of every kind become numbers to add."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.masks import additive_mask, broadcasts_to

LIKE = np.zeros((2, 4, 3, 5), np.float32)  # (B, H, T, D)


def test_no_mask_stays_none():
    assert additive_mask("attention", None, LIKE, 3, 3) is None


def test_a_causal_mask_hides_what_comes_later():
    mask = additive_mask("attention", "causal", LIKE, 3, 3)
    hidden = -np.inf
    assert mask.tolist() == [[0.0, hidden, hidden], [0.0, 0.0, hidden], [0.0, 0.0, 0.0]]
    assert mask.dtype == np.float32


def test_booleans_say_where_a_query_may_look():
    mask = additive_mask("attention", np.array([[True, False, True]]), LIKE, 3, 3)
    assert mask.tolist() == [[0.0, -np.inf, 0.0]]


def test_numbers_and_tensors_are_taken_as_they_are():
    numbers = np.array([[0.5, -1.0, 0.0]])
    for mask in (numbers, mg.tensor(numbers).to("numpy")):
        added = additive_mask("attention", mask, LIKE, 3, 3)
        assert added.tolist() == numbers.tolist()
        assert added.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((), True),
        ((3,), True),
        ((1, 3), True),
        ((2, 1, 1, 3), True),
        ((1, 1, 3, 3), True),
        ((2,), False),
        ((4, 3), False),
        ((1, 2, 4, 3, 3), False),
        ((0,), False),
    ],
)
def test_which_masks_broadcast_to_the_scores(shape, fits):
    assert broadcasts_to(shape, (2, 4, 3, 3)) == fits


def test_a_mask_for_each_sample_is_cut_into_blocks(monkeypatch):
    """One sample a block: each must see its own mask."""
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((3, 4, 12))
    mask = rng.random((3, 1, 4, 4)) < 0.6
    whole = mg.self_attention(qkv, 2, mask).data
    monkeypatch.setattr("minigrad.memory.BLOCK", 1)
    assert np.allclose(mg.self_attention(qkv, 2, mask).data, whole, rtol=1e-13)
    for i in range(3):
        alone = mg.self_attention(qkv[i : i + 1], 2, mask[i]).data
        assert np.allclose(alone[0], whole[i], rtol=1e-13)

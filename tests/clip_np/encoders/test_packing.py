"""Packed captions: the plain, packed and padded forms are equal, with gradients."""

import numpy as np
import pytest

import minigrad as mg
from clip_np.encoders import TEXT_ENCODERS, TextConfig
from clip_np.encoders.packing import pack

END = 19
KINDS = {
    "gpt": {"kind": "gpt"},
    "bert, cls": {"kind": "bert", "pooling": "cls"},
    "bert, mean": {"kind": "bert", "pooling": "mean"},
}
LENGTHS = {"unsorted": [4, 2, 7, 2, 3], "equal": [3, 3, 3], "one": [5], "none": []}


def encoder_of(kind):
    config = TextConfig(20, context_length=8, width=12, layers=2, heads=3, **KINDS[kind])
    encoder = TEXT_ENCODERS[config.kind](config, 5, np.random.default_rng(0))
    return encoder.astype(np.float64)


def captions(lengths):
    """Ids (B, 8): words, an end token, and zeros behind it."""
    ids = np.random.default_rng(1).integers(1, END, (len(lengths), 8))
    for row, length in zip(ids, lengths):
        row[length - 1 :] = [END] + [0] * (8 - length)
    return ids


def features_and_gradients(form, encoder, ids):
    """What a form computes, and the gradients of a sum with random weights."""
    encoder.zero_grad()
    features = form(ids)
    weights = np.random.default_rng(2).standard_normal(features.shape)
    (features * weights).sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    return [features.data, *(np.zeros(1) if g is None else g for g in gradients)]


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_three_forms_are_equal(monkeypatch, kind, lengths):
    encoder, ids = encoder_of(kind), captions(lengths)
    module = "clip_np.encoders.text" if kind == "gpt" else "clip_np.encoders.bert"
    packed = features_and_gradients(encoder, encoder, ids)
    monkeypatch.setattr(f"{module}.on_host", lambda array: False)
    padded = features_and_gradients(encoder, encoder, ids)
    plain = features_and_gradients(encoder.plain_forward, encoder, ids)
    for first, second, third in zip(packed, padded, plain):
        np.testing.assert_allclose(first, third, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(second, third, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_layer_sees_padding(monkeypatch, kind):
    """All but the rows that one row of each caption looks at once more are tokens."""
    seen = []
    linear = mg.linear

    def watched(x, *rest):
        seen.append(x.shape)
        return linear(x, *rest)

    monkeypatch.setattr("minigrad.nn.linear", watched)
    encoder_of(kind)(captions([4, 2, 7, 2, 3]))
    rows = {int(np.prod(shape[:-1])) for shape in seen}
    assert rows <= {4 + 2 + 7 + 2 + 3, 5}
    assert 18 in rows


def test_a_caption_does_not_depend_on_its_neighbours():
    encoder = encoder_of("gpt")
    ids = captions([4, 2, 7, 2, 3])
    together = encoder(ids).data
    for row, features in zip(ids, together):
        np.testing.assert_allclose(encoder(row[None]).data[0], features, rtol=1e-12)


def test_packing_and_unpacking():
    packing = pack(np.array([4, 2, 3, 2]))
    assert packing.order.tolist() == [1, 3, 2, 0]
    assert packing.lengths.tolist() == [2, 2, 3, 4]
    assert packing.ends.tolist() == [1, 3, 6, 10]
    assert packing.visible.sum(axis=1).tolist() == [2, 2, 3, 4]
    places = packing.rows * 10 + packing.columns
    assert places.tolist() == [10, 11, 30, 31, 20, 21, 22, 0, 1, 2, 3]
    rows = mg.tensor(packing.order[:, None] * 1.0)
    assert packing.in_order_of_batch(rows).data[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]

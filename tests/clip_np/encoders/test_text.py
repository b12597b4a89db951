"""The text encoder: plain and fast form, end tokens, padding, clear errors."""

import numpy as np
import pytest
from plain_clip import plain_encode_text
from small_models import batch, small_model


def test_the_plain_form_is_the_definition():
    model, (_, tokens) = small_model(), batch()
    expected = plain_encode_text(model, tokens).data
    plain = model.text.plain_forward(tokens).data
    np.testing.assert_allclose(plain, expected, rtol=1e-12)
    np.testing.assert_allclose(model.text(tokens).data, plain, rtol=1e-12)


def test_the_length_of_a_caption_ends_with_its_end_token():
    text = small_model().text
    assert text.lengths(np.array([[4, 19, 0, 0], [4, 4, 4, 19], [19, 0, 0, 0]])).tolist() == [
        2,
        4,
        1,
    ]


def test_captions_see_only_what_stands_before():
    model, (_, tokens) = small_model(), batch()
    longer = tokens.copy()
    longer[:, 6] = 3  # behind every end token, which stands at position 5 at the latest
    first, second = model.encode_text(tokens), model.encode_text(longer)
    np.testing.assert_array_equal(first.data, second.data)


def test_eos_token_id_finds_the_first_end():
    by_rule, by_id = small_model(), small_model(eos_token_id=19)
    _, tokens = batch()
    twice = tokens.copy()
    twice[:, 6] = 19
    np.testing.assert_array_equal(by_rule.encode_text(tokens).data, by_id.encode_text(twice).data)
    with pytest.raises(ValueError, match="row 1 has no end token"):
        by_id.encode_text(np.array([[3, 19], [3, 4]]))


def test_wrong_tokens():
    model = small_model(np.float32)
    with pytest.raises(ValueError, match=r"T at most 7, got int64 \(1, 8\)"):
        model.encode_text(np.zeros((1, 8), np.int64))
    with pytest.raises(ValueError, match="expected integer tokens"):
        model.encode_text(np.zeros((1, 7), np.float32))
    with pytest.raises(IndexError, match="index 20 is out of range; expected 0 to 19"):
        model.encode_text(np.array([[1, 20]]))

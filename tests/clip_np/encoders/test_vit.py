"""The vision encoder: plain and fast form, attention maps, clear errors."""

import numpy as np
import pytest
from plain_clip import plain_encode_image
from small_models import batch, small_model

import minigrad as mg


def test_the_plain_form_is_the_definition():
    model, (images, _) = small_model(), batch()
    expected = plain_encode_image(model, images).data
    plain = model.vision.plain_forward(images).data
    np.testing.assert_allclose(plain, expected, rtol=1e-12)
    np.testing.assert_allclose(model.vision(images).data, plain, rtol=1e-12)


def test_every_image_has_all_its_tokens():
    vision = small_model().vision
    assert vision.lengths(np.zeros((2, 3, 8, 8))).tolist() == [5, 5]


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 3, 8, 4), np.float32), r"expected images of shape \(B, 3, 8, 8\)"),
        (np.zeros((3, 8, 8), np.float32), r"got \(3, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.float32), r"got \(2, 8, 8, 3\)"),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(ValueError, match=message):
        small_model(np.float32).encode_image(images)


def test_wrong_dtype_names_the_op():
    with pytest.raises(TypeError, match="linear: inputs have dtypes float64, float32"):
        small_model(np.float32).encode_image(np.zeros((1, 3, 8, 8)))


def test_attention_maps_are_probabilities():
    model, (images, _) = small_model(), batch()
    maps = model.attention_maps(images).data
    assert maps.shape == (2, 3, 2, 5, 5)
    np.testing.assert_allclose(maps.sum(-1), 1.0)


def test_attention_maps_are_those_of_the_forward_pass():
    model, (images, _) = small_model(), batch()
    block = model.vision.transformer.resblocks[0]
    x = block.ln_1(model.vision.tokens(images))
    values = block.attn.in_proj(x).data[..., 16:].reshape(3, 5, 2, 4).transpose(0, 2, 1, 3)
    mixed = model.attention_maps(images).data[0] @ values  # (B, H, T, D)
    merged = mg.tensor(mixed.transpose(0, 2, 1, 3).reshape(3, 5, 8))  # (B, T, W)
    found = block.attn.out_proj(merged).data
    np.testing.assert_allclose(found, block.attn(x, None).data, rtol=1e-12, atol=1e-14)


def test_images_can_be_differentiated():
    model, (images, _) = small_model(), batch(2)
    mg.gradcheck(lambda x: model.encode_image(x), [images[:1]])

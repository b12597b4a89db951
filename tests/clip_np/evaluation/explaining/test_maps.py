"""Where an image speaks for a text: the maps, from inside and from outside."""

import numpy as np
import pytest
from small_models import small_model

import clip_np
import minigrad as mg
from clip_np.evaluation.explaining import METHODS, centre, resized, strongest
from clip_np.evaluation.explaining.attention_maps import gradient_attention, last_attention, rollout
from clip_np.evaluation.explaining.occlusion import CELLS, hidden_images, occlusion_maps
from clip_np.evaluation.explaining.resnet_maps import grad_cam, resnet_maps
from clip_np.evaluation.explaining.vit_maps import trace, vit_maps


def an_image(seed=0):
    return np.random.default_rng(seed).standard_normal((3, 8, 8))


@pytest.fixture(scope="module")
def texts():
    return mg.normalize(mg.tensor(np.random.default_rng(3).standard_normal((2, 6)))).data


def test_a_mixture_is_the_plain_form_of_attention():
    attention = small_model().vision.transformer.resblocks[0].attn
    x = mg.tensor(np.random.default_rng(0).standard_normal((2, 5, 8)))
    mixed = attention.mix(attention.probabilities(x), x)
    np.testing.assert_allclose(mixed.data, attention(x).data, rtol=1e-12)


def test_the_trace_computes_the_features_of_the_encoder():
    vision = small_model().vision
    images = an_image()[None]
    kept = trace(vision, mg.tensor(images, requires_grad=True))
    np.testing.assert_allclose(kept.features.data, mg.normalize(vision(images)).data, rtol=1e-12)
    probabilities = np.stack([block.data for block in kept.probabilities])
    np.testing.assert_allclose(probabilities, vision.attention_maps(images).data, rtol=1e-12)


@pytest.mark.gradient
def test_gradients_by_attention_are_slopes_of_the_cosine(texts):
    """Where a probability grows a little, the cosine grows by its gradient."""
    vision = small_model().vision
    first, last = vision.transformer.resblocks
    x = vision.tokens(an_image()[None])

    def cosine(change):
        normed = first.ln_1(x)
        entering = x + first.attn.mix(first.attn.probabilities(normed) + change, normed)
        entering = entering + first.mlp(first.ln_2(entering))
        features = vision.ln_post(last(entering)[:, 0]) @ vision.proj
        return (mg.normalize(features) * texts[0]).sum()

    mg.gradcheck(cosine, [np.zeros((1, 2, 5, 5))])
    kept = trace(vision, mg.tensor(an_image()[None], requires_grad=True))
    change = mg.tensor(np.zeros((1, 2, 5, 5)), requires_grad=True)
    (found,) = mg.grad((kept.features * texts[0]).sum(), [kept.probabilities[0]])
    np.testing.assert_allclose(found, mg.grad(cosine(change), [change])[0], rtol=1e-10, atol=1e-15)


def test_rollout_is_a_product_and_rows_sum_to_one():
    rng = np.random.default_rng(0)
    layers = mg.softmax(mg.tensor(rng.standard_normal((3, 2, 5, 5)))).data
    steps = (layers.mean(axis=1) + np.eye(5)) / 2
    product = steps[2] @ steps[1] @ steps[0]
    np.testing.assert_allclose(rollout(layers), product[0, 1:])
    np.testing.assert_allclose(product.sum(axis=1), 1.0)
    np.testing.assert_allclose(last_attention(layers), layers[2].mean(axis=0)[0, 1:])


def test_attention_with_gradients_follows_two_layers():
    """Layer 1 brings patch 2 to patch 1, layer 2 brings patch 1 to the class token."""
    layers = np.full((2, 1, 3, 3), 0.5)
    gradients = np.zeros((2, 1, 3, 3))
    gradients[0, 0, 1, 2] = gradients[1, 0, 0, 1] = 4.0
    assert gradient_attention(layers, gradients).tolist() == [2.0, 4.0]
    assert gradient_attention(layers, -gradients).tolist() == [0.0, 0.0]


def test_grad_cam_averages_gradients_over_places():
    rng = np.random.default_rng(0)
    activations, gradients = rng.standard_normal((2, 4, 3, 3))
    expected = sum(gradients[k].mean() * activations[k] for k in range(4))
    np.testing.assert_allclose(grad_cam(activations, gradients), expected.clip(0))


def test_the_maps_of_a_vision_transformer(texts):
    vision = small_model().vision
    image = mg.tensor(an_image()[None], requires_grad=True)
    first, second = vit_maps(vision, image, texts)
    assert {values.shape for values in first.values()} == {(2, 2)}
    assert all(values.min() >= 0 for values in first.values())
    for name in ("attention", "rollout"):  # the text plays no role
        np.testing.assert_array_equal(first[name], second[name])
    for name in ("gradient_attention", "grad_cam"):
        assert abs(first[name] - second[name]).max() > 0.1 * first[name].max() > 0
    expected = vision.attention_maps(image).data[-1, 0].mean(axis=0)[0, 1:].reshape(2, 2)
    np.testing.assert_allclose(first["attention"], expected)


def test_hiding_the_part_that_matters_lowers_the_cosine(texts):
    """An encoder that sees one pixel only, at row 2 and column 13 of 16."""
    image = np.zeros((3, 16, 16))
    image[:, 2, 13] = 1.0

    def encode(images):
        seen = images[:, 0, 2, 13][:, None]  # (B, 1)
        return mg.tensor(seen * texts[0] + (1 - seen) * texts[1])

    (values,) = occlusion_maps(encode, image, texts[:1], temperature=100.0)
    assert values.shape == (CELLS, CELLS)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert (row, column) == (1, 6)
    assert values.max() == pytest.approx(1 - texts[0] @ texts[1])
    assert (values[4:] == 0).all() and (values[:, :4] == 0).all()
    (nothing,) = occlusion_maps(encode, image, texts[:1], temperature=1e-3)
    assert (nothing == 0).all()


def test_a_card_has_the_median_colour_and_every_pixel_is_hidden():
    image = np.random.default_rng(0).standard_normal((3, 20, 20))
    image[:, 10:] = np.array([1.0, 2.0, 3.0])[:, None, None]
    median = np.median(image, axis=(1, 2))
    hidden = np.zeros((20, 20), bool)
    for copy in hidden_images(image):
        changed = (copy != image).any(axis=0)
        hidden |= changed
        rows, columns = np.nonzero(changed)
        np.testing.assert_array_equal(copy[:, rows, columns].T, np.tile(median, (len(rows), 1)))
    assert hidden[:10].all()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 1), (2, 3)])
def test_points_of_a_map_with_one_spot(row, column):
    values = np.zeros((4, 4))
    values[row, column] = 2.0
    spot = ((column + 0.5) / 4, (row + 0.5) / 4)
    assert centre(values) == pytest.approx(spot, abs=0.07)
    assert strongest(values) == pytest.approx(spot, abs=0.07)
    assert centre(3 * values) == centre(values)


def test_weak_parts_do_not_move_the_centre():
    values = np.full((8, 8), 0.4)
    values[6, 1] = 1.0
    assert centre(values) == pytest.approx((1.5 / 8, 6.5 / 8), abs=0.02)
    assert centre(np.zeros((8, 8))) is None and strongest(np.zeros((8, 8))) is None
    assert resized(values, 8).shape == (8, 8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_explain_has_every_method_for_every_text(clip, tokenizer, dtype):
    model = clip.astype(dtype)
    image = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    words = ["a small red circle", "a large ring", "a dog"]
    explanations = clip_np.explain(model, tokenizer, image, words)
    model.astype("float32")
    assert [explanation.text for explanation in explanations] == words
    for explanation in explanations:
        assert list(explanation.maps) == list(METHODS)
        assert all(np.isfinite(values).all() for values in explanation.maps.values())
    images = mg.normalize(model.encode_image(image[None]))
    texts = mg.normalize(model.encode_text(tokenizer(words)))
    cosines = (images @ texts.T).data[0]
    np.testing.assert_allclose([row.cosine for row in explanations], cosines, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_explain_refuses_what_it_cannot_look_at(clip, tokenizer):
    with pytest.raises(ValueError, match=r"expected an image \(3, 32, 32\) .* got \(32, 32, 3\)"):
        clip_np.explain(clip, tokenizer, np.zeros((32, 32, 3), np.float32), ["a dog"])
    with pytest.raises(ValueError, match=r"at least one text, got .* and 0 texts"):
        clip_np.explain(clip, tokenizer, np.zeros((3, 32, 32), np.float32), [])


def test_a_published_size_is_explained():
    """ViT-B/32 with random weights, at a size that it was not made for."""
    config = clip_np.PRESETS["ViT-B/32"]
    tokenizer = clip_np.Tokenizer([], context_length=77)
    model = clip_np.CLIP(config, np.random.default_rng(0))
    model.resize(96)
    image = np.random.default_rng(1).standard_normal((3, 96, 96)).astype(np.float32)
    (explanation,) = clip_np.explain(model, tokenizer, image, ["a diagram"])
    assert {name: values.shape for name, values in explanation.maps.items()} == {
        name: (8, 8) if name == "occlusion" else (3, 3) for name in METHODS
    }


class Pool(mg.nn.Module):
    """The mean of all positions, and an even look at them."""

    def forward(self, positions):
        return positions.reshape(*positions.shape[:2], -1).mean(axis=2)

    def probabilities(self, positions):
        tokens = 1 + positions.shape[2] * positions.shape[3]
        return mg.tensor(np.full((len(positions), 2, 1, tokens), 1 / tokens))


class Convolutions(mg.nn.Module):
    """Six channels of a grid of 2 x 2 positions, each a sum of 4 x 4 pixels."""

    def __init__(self):
        self.attnpool = Pool()
        self.mix = np.random.default_rng(0).standard_normal((3, 6))

    def positions(self, images):
        sums = images.reshape(len(images), 3, 2, 4, 2, 4).sum(axis=(3, 5))  # (B, 3, 2, 2)
        return mg.tanh(sums.transpose((0, 2, 3, 1)) @ self.mix).transpose((0, 3, 1, 2))


def test_the_maps_of_a_resnet(texts):
    vision = Convolutions()
    image = mg.tensor(an_image()[None], requires_grad=True)
    first, second = resnet_maps(vision, image, texts)
    positions = vision.positions(image)
    cosine = (mg.normalize(vision.attnpool(positions)) * texts[0]).sum()
    (gradient,) = mg.grad(cosine, [positions])
    np.testing.assert_allclose(first["grad_cam"], grad_cam(positions.data[0], gradient[0]))
    np.testing.assert_allclose(first["attention"], np.full((2, 2), 0.2))
    assert abs(first["grad_cam"] - second["grad_cam"]).max() > 1e-6

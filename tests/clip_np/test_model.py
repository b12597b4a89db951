"""The whole model: exact shortcuts, published sizes, the loss before training."""

import numpy as np
import pytest
from plain_clip import plain_encode_image, plain_encode_text
from small_models import batch, small_model

import minigrad as mg
from clip_np import CLIP, PRESETS, contrastive_loss


def gradients(model, loss):
    return dict(
        zip([name for name, _ in model.named_parameters()], mg.grad(loss, model.parameters()))
    )


def test_pooling_and_trimming_change_nothing():
    model, (images, tokens) = small_model(), batch()
    fast = contrastive_loss(
        model.encode_image(images), model.encode_text(tokens), model.logit_scale
    )
    plain = contrastive_loss(
        plain_encode_image(model, images), plain_encode_text(model, tokens), model.logit_scale
    )
    assert fast.item() == pytest.approx(plain.item(), rel=1e-13)
    expected = gradients(model, plain)
    for name, found in gradients(model, fast).items():
        scale = max(np.abs(expected[name]).max(), 1e-12)
        assert np.abs(found - expected[name]).max() <= 1e-11 * scale + 1e-15, name


def test_whole_loss_by_complex_step():
    model, (images, tokens) = small_model(), batch()

    def loss():
        return contrastive_loss(
            model.encode_image(images), model.encode_text(tokens), model.logit_scale
        )

    rng = np.random.default_rng(3)
    directions = [rng.standard_normal(p.shape) for p in model.parameters()]
    found = sum((g * d).sum() for g, d in zip(mg.grad(loss(), model.parameters()), directions))
    for parameter, direction in zip(model.parameters(), directions):
        parameter.data = parameter.data + 1e-30j * direction
    with mg.no_grad():
        expected = loss().data.imag / 1e-30
    assert found == pytest.approx(expected, rel=1e-9)


def test_model_returns_logits_both_ways():
    model, (images, tokens) = small_model(), batch()
    per_image, per_text = model(images, tokens)
    np.testing.assert_array_equal(per_image.data.T, per_text.data)
    assert per_image.shape == (3, 3)
    assert np.abs(per_image.data).max() <= np.exp(model.logit_scale.item()) * (1 + 1e-12)


def test_published_sizes():
    class Counter:
        """Stands in for a random generator; only the sizes are wanted."""

        def standard_normal(self, shape):
            return np.broadcast_to(np.float32(0), shape)

    model = CLIP.__new__(CLIP)
    CLIP.__init__(model, PRESETS["ViT-B/32"], Counter())
    sizes = {name: parameter.size for name, parameter in model.named_parameters()}
    assert sum(sizes.values()) == 151_277_313
    assert len(sizes) == 302
    assert sum(n for name, n in sizes.items() if name.startswith("vision.")) == 87_849_216


def test_initial_loss_is_near_ln_n():
    config = PRESETS["tiny"]
    model = CLIP(config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    tokens = np.concatenate([rng.integers(1, 500, (32, 9)), np.full((32, 1), 513)], axis=1)
    images = rng.standard_normal((32, 3, 32, 32)).astype(np.float32)
    loss = contrastive_loss(
        model.encode_image(images), model.encode_text(tokens), model.logit_scale
    )
    assert abs(loss.item() - np.log(32)) < 1.0
    assert loss.dtype == np.float32


def test_encoders_are_named_once():
    model = small_model()
    assert model.encoders == {"vision": model.vision, "text": model.text}
    paths = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert paths == {"vision", "text", "logit_scale"}

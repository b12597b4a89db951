"""The sigmoid loss: value, gradient, pairs left out, parameters, files and training."""

import dataclasses
import math

import numpy as np
import pytest
from small_models import SMALL, batch, small_model

import clip_np
import minigrad as mg
from clip_np import CLIP
from clip_np.losses import (
    MAX_LOGIT_SCALE,
    SigmoidLoss,
    loss_for,
    plain_sigmoid_loss,
    sigmoid_loss,
    similarity_logits,
)
from clip_np.training import TrainingOptions, loss_and_gradients, training_step
from clip_np.weights import convert, export_arrays, save_pretrained

WITH_BIAS = dataclasses.replace(SMALL, logit_bias=-10.0)


def sigmoid_model(dtype=np.float64) -> CLIP:
    """A small model with a bias, its weights as in `small_model`."""
    model = CLIP(WITH_BIAS, np.random.default_rng(0)).astype(dtype)
    model.load_state_dict({**small_model(dtype).state_dict(), "logit_bias": np.asarray(-3.0)})
    return model


def leaves(count=5, width=4, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [*rng.standard_normal((2, count, width)), np.array(1.5), np.array(-2.0)]
    return [mg.tensor(array, requires_grad=True) for array in arrays]


@pytest.mark.gradient
def test_the_sigmoid_loss_is_its_plain_twin():
    images, texts, scale, bias = inputs = leaves()
    safe = sigmoid_loss(images, texts, scale, bias)
    plain = plain_sigmoid_loss(similarity_logits(images, texts, scale) + bias)
    assert safe.item() == pytest.approx(plain.item(), rel=1e-14)
    for gradient, want in zip(mg.grad(safe, inputs), mg.grad(plain, inputs), strict=True):
        np.testing.assert_allclose(gradient, want, rtol=1e-11, atol=1e-15)


@pytest.mark.gradient
@pytest.mark.parametrize("left_out", [False, True])
def test_the_sigmoid_loss_has_the_slope_of_its_gradient(left_out):
    positives = np.eye(5, dtype=bool)
    positives[0, 3] = positives[3, 0] = left_out
    mg.gradcheck(lambda *tensors: sigmoid_loss(*tensors, positives=positives), leaves())


@pytest.mark.gradient
def test_the_gradient_of_the_logits_is_probability_minus_answer():
    images, texts, scale, bias = leaves()
    (found,) = mg.grad(sigmoid_loss(images, texts, scale, bias), [bias])
    logits = (similarity_logits(images, texts, scale) + bias).detach()
    expected = (mg.sigmoid(logits).data - np.eye(5)) / 5
    assert float(found) == pytest.approx(float(expected.sum()), rel=1e-12)


@pytest.mark.gradient
def test_pairs_that_are_left_out_change_nothing():
    images, texts, scale, bias = leaves()
    positives = np.zeros((5, 5), bool)
    positives[1, 2] = True
    z = 2 * np.eye(5) - 1
    logits = (similarity_logits(images, texts, scale) + bias).detach().data
    terms = np.logaddexp(0, -z * logits)
    found = sigmoid_loss(images, texts, scale, bias, positives).item()
    assert found == pytest.approx((terms.sum() - terms[1, 2]) / 5, rel=1e-12)
    everything = sigmoid_loss(images, texts, scale, bias, np.ones((5, 5), bool))
    assert everything.item() == pytest.approx(np.diag(terms).sum() / 5, rel=1e-12)
    for left, right in zip(
        mg.grad(sigmoid_loss(images, texts, scale, bias, positives), [images]),
        mg.grad(sigmoid_loss(images, texts, scale, bias), [images]),
    ):
        assert abs(left - right).max(axis=1).nonzero()[0].tolist() == [1]
    with pytest.raises(ValueError, match=r"sigmoid_loss: positives \(2, 2\) must be \(5, 5\)"):
        sigmoid_loss(images, texts, scale, bias, positives[:2, :2])
    with pytest.raises(ValueError, match=r"must have one shape \(N, E\), N at least 1"):
        sigmoid_loss(images[:2], texts, scale, bias)


def test_large_logits_are_no_overflow():
    features = mg.tensor(np.eye(3, dtype=np.float32), requires_grad=True)
    wrong = mg.tensor(np.eye(3, dtype=np.float32)[::-1].copy())
    scale, bias = mg.tensor(MAX_LOGIT_SCALE), mg.tensor(-300.0)
    loss = sigmoid_loss(features, wrong, scale, bias)
    assert loss.item() == pytest.approx((300 + 300 + 200) / 3, rel=1e-6)
    assert np.isfinite(mg.grad(loss, [features])[0]).all()


@pytest.mark.parametrize("count", [1, 2, 160])
def test_guessing_is_the_lowest_loss_of_a_constant_answer(count):
    guess = SigmoidLoss.guessing(count)
    if count == 1:
        assert guess == 0.0
        return
    same = mg.tensor(np.ones((count, 4)))

    def loss(probability):
        # exp(logit_scale) times a cosine of 1, and a bias that makes up for it
        bias = math.log(probability / (1 - probability)) - 1.0
        return sigmoid_loss(same, same, mg.tensor(np.array(0.0)), mg.tensor(np.array(bias))).item()

    assert loss(1 / count) == pytest.approx(guess, rel=1e-12)
    assert min(loss(0.9 / count), loss(1.1 / count)) > guess


def test_a_model_has_a_bias_only_if_its_configuration_names_one():
    model = CLIP(WITH_BIAS, np.random.default_rng(0))
    assert (model.logit_bias.item(), round(math.exp(model.logit_scale.item()), 4)) == (-10.0, 10.0)
    assert not hasattr(small_model(), "logit_bias")
    with pytest.raises(ValueError, match=r'"sigmoid" needs a model with a bias: CLIPConfig'):
        loss_for(small_model(), "sigmoid")
    for wrong in ("x", math.nan, True):
        with pytest.raises(ValueError, match="logit_bias must be None or a number"):
            dataclasses.replace(SMALL, logit_bias=wrong)


@pytest.mark.gradient
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_sigmoid_loss_is_exact_in_shards(shards, workers):
    model, (images, tokens) = sigmoid_model(), batch(8)
    loss = loss_for(model, "sigmoid")
    positives = np.eye(8, dtype=bool)
    positives[0, 5] = True
    value = loss(model.vision(images), model.text(tokens), positives)
    expected = mg.grad(value, model.parameters())
    found = loss_and_gradients(
        model, images, tokens, shards=shards, workers=workers, loss="sigmoid", positives=positives
    )
    assert float(found) == pytest.approx(value.item(), rel=1e-12)
    for parameter, want in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-9, atol=1e-14)
    assert abs(model.logit_bias.grad) > 1e-3


def test_a_step_moves_the_bias_and_clamps_the_temperature_only():
    model, (images, tokens) = sigmoid_model(np.float32), batch(6, np.float32)
    optimizer = mg.optim.AdamW(model.parameters(), lr=50.0)
    training_step(model, optimizer, images, tokens, loss="sigmoid")
    assert 0.0 <= model.logit_scale.item() <= MAX_LOGIT_SCALE
    assert abs(model.logit_bias.item()) > 40.0


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("layout", ["openai", "hf"])
def test_a_bias_goes_out_and_comes_in(layout, shape, tmp_path):
    """open_clip's has the shape (), or (1,) as in transformers' SigLIP."""
    model = sigmoid_model(np.float32)
    folder = tmp_path / "hf"
    save_pretrained(model, folder)
    path = folder
    if layout == "openai":
        path = tmp_path / "model.safetensors"
        convert(folder, path, layout="openai")
    again = clip_np.load(path)[0]
    assert again.config == model.config
    assert again.logit_bias.item() == -3.0
    assert export_arrays(model, layout)["logit_bias"].shape == ()
    if layout == "hf":  # a file of another library, whose configuration has no such word
        plain = small_model(np.float32)
        save_pretrained(plain, folder)
        arrays = export_arrays(plain, "hf") | {"logit_bias": np.full(shape, -7.0, np.float32)}
        clip_np.files.write_safetensors(folder / "model.safetensors", arrays)
        loaded = clip_np.load(folder)[0]
        assert (loaded.logit_bias.item(), loaded.config.logit_bias) == (-7.0, -10.0)
        images, tokens = batch(2, np.float32)
        np.testing.assert_array_equal(
            loaded(images, tokens)[0].numpy(), plain(images, tokens)[0].numpy()
        )


def test_a_configuration_that_names_a_bias_needs_one_in_the_file(tmp_path):
    save_pretrained(sigmoid_model(np.float32), tmp_path)
    arrays = export_arrays(small_model(np.float32), "hf")
    clip_np.files.write_safetensors(tmp_path / "model.safetensors", arrays)
    with pytest.raises(ValueError, match=r"missing \['logit_bias'\]"):
        clip_np.load(tmp_path)


def test_an_unknown_loss_is_no_option():
    with pytest.raises(ValueError, match="`loss` must be one of clip, sigmoid, got 'hinge'"):
        TrainingOptions(loss="hinge")

"""The contrastive loss: value, gradient, pairs left out; the loss as a module."""

import math

import numpy as np
import pytest
from small_models import small_model

import minigrad as mg
from clip_np import contrastive_loss
from clip_np.losses import (
    MAX_LOGIT_SCALE,
    ContrastiveLoss,
    Loss,
    loss_for,
    match_probabilities,
    plain_contrastive_loss,
    similarity_logits,
)


def test_loss_gradient_is_the_difference_of_softmaxes_and_identity():
    rng = np.random.default_rng(0)
    logits = mg.tensor(rng.standard_normal((5, 5)), requires_grad=True)
    labels = np.arange(5)
    loss = (mg.cross_entropy(logits, labels) + mg.cross_entropy(logits.T, labels)) * 0.5
    rows = mg.softmax(logits.detach(), axis=1).data
    columns = mg.softmax(logits.detach(), axis=0).data
    (found,) = mg.grad(loss, [logits])
    np.testing.assert_allclose(found, (rows + columns - 2 * np.eye(5)) / 10, atol=1e-15)


def test_loss_of_a_model_that_knows_nothing_is_ln_n():
    same = mg.tensor(np.ones((8, 4)))
    assert contrastive_loss(same, same, mg.tensor(np.zeros(()))).item() == pytest.approx(np.log(8))


def test_positives_are_left_out_of_the_comparison():
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((2, 3, 4))
    texts[1] = texts[0]
    same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    scale = mg.tensor(np.zeros(()))
    found = contrastive_loss(mg.tensor(images), mg.tensor(texts), scale, same).item()
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
    logits = np.where(same & ~np.eye(3, dtype=bool), -np.inf, unit[0] @ unit[1].T)
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(0)) - np.diag(logits)
    assert found == pytest.approx((rows.mean() + columns.mean()) / 2)
    with pytest.raises(ValueError, match=r"positives \(2, 2\) must be \(3, 3\)"):
        contrastive_loss(mg.tensor(images), mg.tensor(texts), scale, same[:2, :2])


def smoothed_cross_entropy(logits, share):
    """-(1 - e) log p_ii - e (mean of log p_ij over finite logits), a mean over rows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    means = [row[np.isfinite(row)].mean() for row in log_p]
    return -((1 - share) * np.diag(log_p) + share * np.array(means)).mean()


@pytest.mark.gradient
@pytest.mark.parametrize("has_positives", [False, True])
def test_label_smoothing_spreads_a_share_over_all_choices(has_positives):
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((2, 4, 3))
    scale = np.array(0.5)
    positives = np.zeros((4, 4), bool)
    positives[0, 2] = positives[2, 0] = positives[1, 3] = True
    positives = positives if has_positives else None
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
    logits = np.exp(0.5) * unit[0] @ unit[1].T
    if has_positives:
        logits = np.where(positives, -np.inf, logits)
    rows, columns = (smoothed_cross_entropy(each, 0.2) for each in (logits, logits.T))

    def loss(images, texts, scale):
        return contrastive_loss(images, texts, scale, positives, label_smoothing=0.2)

    found = loss(*map(mg.tensor, (images, texts, scale)))
    assert found.item() == pytest.approx((rows + columns) / 2)
    assert mg.gradcheck(loss, [images, texts, scale])


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_impossible_label_smoothing(share):
    with pytest.raises(ValueError, match=r"`label_smoothing` must lie in \[0, 1\), got"):
        ContrastiveLoss(small_model().logit_scale, share)


def test_temperature_is_clamped():
    model = small_model()
    loss = loss_for(model, "clip")
    model.logit_scale.data[...] = 9.0
    loss.clamp()
    assert model.logit_scale.item() == MAX_LOGIT_SCALE == math.log(100)
    model.logit_scale.data[...] = -1.0
    loss.clamp()
    assert model.logit_scale.item() == 0.0


@pytest.mark.gradient
def test_the_loss_is_its_plain_twin():
    rng = np.random.default_rng(0)
    images, texts = (mg.tensor(rng.standard_normal((5, 4)), requires_grad=True) for _ in range(2))
    logit_scale = mg.tensor(np.array(1.5), requires_grad=True)
    leaves = [images, texts, logit_scale]
    fast = contrastive_loss(images, texts, logit_scale)
    plain = plain_contrastive_loss(similarity_logits(images, texts, logit_scale))
    assert fast.item() == pytest.approx(plain.item(), rel=1e-14)
    for gradient, want in zip(mg.grad(fast, leaves), mg.grad(plain, leaves), strict=True):
        np.testing.assert_allclose(gradient, want, rtol=1e-11, atol=1e-15)


@pytest.mark.gradient
def test_positives_get_no_gradient_from_each_other():
    rng = np.random.default_rng(1)
    images, texts = (mg.tensor(rng.standard_normal((3, 4)), requires_grad=True) for _ in range(2))
    positives = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1]], bool)
    loss = contrastive_loss(images, texts, mg.tensor(np.array(1.0)), positives)
    assert loss.item() == 0.0  # each answer is the only choice
    for gradient in mg.grad(loss, [images, texts]):
        np.testing.assert_array_equal(gradient, 0.0)


def test_shapes_that_do_not_match():
    rng = np.random.default_rng(0)
    three, two = mg.tensor(rng.standard_normal((3, 4))), mg.tensor(rng.standard_normal((2, 4)))
    scale = mg.tensor(np.zeros(()))
    with pytest.raises(
        ValueError, match=r"\(2, 4\) and text features \(3, 4\) must have one shape"
    ):
        contrastive_loss(two, three, scale)
    with pytest.raises(ValueError, match=r"must be \(N, E\) and \(M, E\)"):
        similarity_logits(three, mg.tensor(rng.standard_normal((3, 5))), scale)


def test_match_probabilities_are_the_softmax_of_the_logits():
    rng = np.random.default_rng(2)
    images, texts = mg.tensor(rng.standard_normal((3, 4))), mg.tensor(rng.standard_normal((5, 4)))
    cosines = similarity_logits(images, texts, mg.tensor(np.zeros(()))).data
    logits = similarity_logits(images, texts, mg.tensor(np.array(2.0)))
    probabilities = match_probabilities(cosines, logit_scale=2.0)
    np.testing.assert_allclose(probabilities, mg.softmax(logits).data, rtol=1e-13)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert match_probabilities(cosines.astype(np.float32), 2.0).dtype == np.float32


def test_the_loss_module_shares_the_parameter_of_the_model():
    model = small_model()
    loss = loss_for(model, "clip")
    assert isinstance(loss, ContrastiveLoss)
    assert [id(parameter) for parameter in loss.parameters()] == [id(model.logit_scale)]
    rng = np.random.default_rng(3)
    features = [mg.tensor(rng.standard_normal((4, 6))) for _ in range(2)]
    positives = np.eye(4, dtype=bool)
    expected = contrastive_loss(*features, model.logit_scale, positives)
    assert loss(*features, positives).item() == loss(*features).item() == expected.item()


def test_a_loss_of_ones_own_is_taken_as_it_is():
    class Zero(Loss):
        def forward(self, image_features, text_features, positives=None):
            return (image_features - text_features).sum()

    loss = Zero()
    assert loss_for(small_model(), loss) is loss
    assert loss.clamp() is None and loss.parameters() == []


@pytest.mark.parametrize("wrong", ["softmax", None, contrastive_loss])
def test_an_unknown_loss_names_what_exists(wrong):
    with pytest.raises(
        ValueError, match=r'loss must be "clip", "sigmoid" or a module of class .*Loss, got'
    ):
        loss_for(small_model(), wrong)

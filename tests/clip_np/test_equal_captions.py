"""Equal captions of a batch: which they are, what guessing costs, and the gradients."""

import math

import numpy as np
import pytest
from small_models import batch, small_model

import minigrad as mg
from clip_np import contrastive_loss, sigmoid_loss
from clip_np.losses import ContrastiveLoss, Loss, SigmoidLoss, equal_captions
from clip_np.training import loss_and_gradients
from minigrad.nn import Parameter


def tokens_of(captions: str) -> np.ndarray:
    """A row for each letter; equal letters, equal rows."""
    return np.array([[1, ord(letter), 2] for letter in captions])


@pytest.mark.parametrize("captions", ["a", "abc", "dcba"])
def test_no_two_captions_are_equal(captions):
    assert equal_captions(tokens_of(captions)) is None


@pytest.mark.parametrize("captions", ["aa", "aba", "abcab", "aaaa"])
def test_equal_rows_and_no_others(captions):
    tokens = tokens_of(captions)
    found = equal_captions(np.asfortranarray(tokens))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, [[a == b for b in captions] for a in captions])


def logits_that_say_nothing(count: int, bias: float, loss: type[Loss]):
    """Features of a model for which all pairs look the same, in `loss`."""
    same = mg.tensor(np.ones((count, 4)))
    scale = Parameter(np.array(0.0))
    if loss is ContrastiveLoss:
        return lambda positives: ContrastiveLoss(scale)(same, same, positives).item()
    module = SigmoidLoss(scale, Parameter(np.array(bias - 1.0)))  # 1 is the cosine
    return lambda positives: module(same, same, positives).item()


@pytest.mark.parametrize("captions", ["a", "ab", "aba", "aabbccdd", "aaab", "aaaa"])
def test_guessing_costs_what_equal_features_cost(captions):
    positives = equal_captions(tokens_of(captions))
    count = len(captions)
    value = logits_that_say_nothing(count, 0.0, ContrastiveLoss)(positives)
    assert ContrastiveLoss.guessing(count, positives) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("captions", ["ab", "aba", "aabbccdd", "aaab"])
def test_guessing_in_the_sigmoid_loss_is_the_best_constant_answer(captions):
    positives = equal_captions(tokens_of(captions))
    count = len(captions)
    counted = count**2 if positives is None else (~positives | np.eye(count, dtype=bool)).sum()
    share = count / counted

    def loss(share):
        bias = math.log(share / (1 - share))
        return logits_that_say_nothing(count, bias, SigmoidLoss)(positives)

    guess = SigmoidLoss.guessing(count, positives)
    assert guess == pytest.approx(loss(share), rel=1e-12)
    assert guess < min(loss(share * 0.9), loss(1 - (1 - share) * 0.9))


def test_guessing_among_equal_captions_alone_costs_nothing():
    positives = np.ones((5, 5), bool)
    assert ContrastiveLoss.guessing(5, positives) == SigmoidLoss.guessing(5, positives) == 0.0


def test_the_floor_is_gone():
    """Two captions in a batch of 8: perfect features have a loss of 0, not of ln 4."""
    tokens = tokens_of("abababab")
    features = mg.tensor(np.eye(2)[tokens[:, 1] - ord("a")])
    scale = mg.tensor(np.array(math.log(100)))
    without = contrastive_loss(features, features, scale)
    assert without.item() == pytest.approx(math.log(4))
    assert contrastive_loss(features, features, scale, equal_captions(tokens)).item() < 1e-12
    bias = mg.tensor(np.array(-50.0))
    assert sigmoid_loss(features, features, scale, bias).item() > 100
    assert sigmoid_loss(features, features, scale, bias, equal_captions(tokens)).item() < 1e-12


@pytest.mark.gradient
@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
@pytest.mark.parametrize("shards, workers", [(1, 1), (1, 2), (3, 1), (3, 2), (8, 3), (11, 2)])
def test_every_cut_gives_the_whole_gradient(shards, workers, loss):
    model, (images, tokens) = small_model(), batch(11)
    tokens[[4, 9]] = tokens[1]
    tokens[7] = tokens[2]
    positives = equal_captions(tokens)
    assert positives.sum() == 11 + 6 + 2
    bias = Parameter(np.array(-2.0))
    module = (
        ContrastiveLoss(model.logit_scale)
        if loss == "clip"
        else SigmoidLoss(model.logit_scale, bias)
    )
    value = module(model.encode_image(images), model.encode_text(tokens), positives)
    parameters = [*model.parameters(), *([bias] if loss == "sigmoid" else [])]
    expected = mg.grad(value, parameters)
    found = loss_and_gradients(
        model, images, tokens, shards=shards, workers=workers, positives=positives, loss=module
    )
    assert found.item() == pytest.approx(value.item(), rel=1e-14)
    for parameter, want in zip(parameters, expected, strict=True):
        assert np.abs(parameter.grad - want).max() <= 1e-12 * np.abs(want).max() + 1e-15

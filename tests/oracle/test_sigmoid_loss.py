"""The sigmoid loss against open_clip's SigLipLoss, alone and through a whole step."""

import dataclasses

import numpy as np
import pytest

from clip_np import CLIP, CLIPConfig, TextConfig, VisionConfig
from clip_np.losses import sigmoid_loss
from clip_np.training import loss_and_gradients

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
from clip_torch import TorchCLIP, load_arrays  # noqa: E402
from theirs import image_batch, open_clip, token_batch  # noqa: E402

import minigrad as mg  # noqa: E402

SMALL = CLIPConfig(
    embed_dim=12,
    vision=VisionConfig(image_size=12, patch_size=4, width=16, layers=2, heads=2),
    text=TextConfig(vocab_size=40, context_length=9, width=24, layers=3, heads=3),
)
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-13}
precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def siglip_loss(images, texts, scale, bias):
    """open_clip's, of unit features; scale is a logarithm."""
    loss = open_clip().loss.SigLipLoss()
    unit = [torch.nn.functional.normalize(features, dim=-1) for features in (images, texts)]
    return loss(*unit, scale.exp(), bias)


def assert_agree(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max() + tolerance / 10


@precisions
@pytest.mark.parametrize(("scale", "bias"), [(np.log(10), -10.0), (4.6, -12.0), (1.0, 3.0)])
def test_the_loss_and_its_gradients_by_the_features(scale, bias, dtype):
    rng = np.random.default_rng(0)
    arrays = [*rng.standard_normal((2, 33, 16)), np.array(scale), np.array(bias)]
    arrays = [array.astype(dtype) for array in arrays]
    ours = [mg.tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    loss, wanted = sigmoid_loss(*ours), siglip_loss(*theirs)
    wanted.backward()
    assert_agree(loss.data, wanted.detach().numpy(), TOLERANCE[dtype])
    for found, tensor in zip(mg.grad(loss, ours), theirs, strict=True):
        assert_agree(found, tensor.grad.numpy(), TOLERANCE[dtype])


@precisions
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_every_gradient_of_a_step_that_is_cut(shards, dtype):
    config = dataclasses.replace(SMALL, logit_bias=-10.0)
    model = CLIP(config, np.random.default_rng(0)).astype(dtype)
    state = model.state_dict()
    bias = torch.tensor(state.pop("logit_bias"), requires_grad=True)
    reference = load_arrays(TorchCLIP(SMALL), state)
    images = image_batch(8, 12).astype(dtype)
    tokens = token_batch(8, 9, 40, 39)
    found = loss_and_gradients(model, images, tokens, shards=shards, loss="sigmoid")
    wanted = siglip_loss(
        reference.vision(torch.from_numpy(images)),
        reference.text(torch.from_numpy(tokens)),
        reference.logit_scale,
        bias,
    )
    wanted.backward()
    gradients = {name: tensor.grad for name, tensor in reference.named_parameters()}
    gradients["logit_bias"] = bias.grad
    # The gradients pass through all layers here, so float32 keeps a digit less.
    tolerance = 10 * TOLERANCE[dtype]
    assert_agree(found, wanted.detach().numpy(), tolerance)
    for name, parameter in model.named_parameters():
        assert_agree(parameter.grad, gradients[name].reshape(parameter.shape).numpy(), tolerance)

"""A training step of a model with a frozen encoder: the same gradients, less work."""

import dataclasses

import numpy as np
import pytest
from small_models import batch, small_model

from clip_np import CLIP, CLIPConfig, TextConfig
from clip_np.encoders import ResNetConfig, choose_encoders
from clip_np.training import loss_and_gradients, make_plan, training_step
from clip_np.training.parameter_groups import layer_distances, parameter_groups
from minigrad.backend import move
from minigrad.half import store_in_half
from minigrad.optim import AdamW
from minigrad.plain_adamw import adamw_update
from minigrad.recording import is_recording

OTHER = {"vision": "text", "text": "vision"}


def gradients(model, **sizes) -> dict[str, np.ndarray | None]:
    images, tokens = batch(6)
    loss_and_gradients(model, images, tokens, **sizes)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def with_bias(loss):
    model = small_model()
    if loss == "clip":
        return model
    config = dataclasses.replace(model.config, logit_bias=-10.0)
    new = CLIP(config, np.random.default_rng(0)).astype(np.float64)
    new.load_state_dict(model.state_dict() | {"logit_bias": np.array(-10.0)})
    return new


@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
@pytest.mark.parametrize("shards, workers", [(1, 1), (1, 2), (3, 1), (3, 2), (6, 2)])
@pytest.mark.parametrize("encoder", ["vision", "text"])
def test_the_other_gradients_are_those_of_the_whole_model(encoder, shards, workers, loss):
    whole = gradients(with_bias(loss), shards=shards, workers=workers, loss=loss)
    model = with_bias(loss)
    model.freeze(encoder)
    frozen = gradients(model, shards=shards, workers=workers, loss=loss)
    for name, gradient in whole.items():
        if name.startswith(f"{encoder}."):
            assert frozen[name] is None
        else:
            np.testing.assert_allclose(frozen[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("encoder", ["vision", "text"])
def test_a_frozen_encoder_runs_once_and_leaves_no_graph(encoder, shards, monkeypatch):
    model = small_model()
    model.freeze(encoder)
    rows = []
    forward = getattr(model, encoder).forward

    def spy(inputs):
        features = forward(inputs)
        rows.append(len(inputs))
        assert not features.requires_grad
        return features

    monkeypatch.setattr(getattr(model, encoder), "forward", spy)
    gradients(model, shards=shards, workers=1)
    assert sum(rows) == 6
    assert is_recording()


def test_both_encoders_are_shared_out_among_all_workers():
    model = small_model()
    model.freeze("vision")
    lengths = {"vision": np.full(8, 5), "text": np.full(8, 6)}
    for shards in (1, 4):
        plan = make_plan(model.encoders, lengths, shards, workers=2, parameter_count=0)
        for load in plan:
            for encoder in ("vision", "text"):
                assert sum(unit.size for unit in load if unit.encoder == encoder) == 4


def test_a_frozen_resnet_keeps_its_statistics_and_may_be_cut():
    config = CLIPConfig(
        embed_dim=6,
        vision=ResNetConfig(image_size=32, width=8, layers=(1, 1), heads=2),
        text=TextConfig(vocab_size=20, context_length=7, width=8, layers=1, heads=2),
    )
    model = CLIP(config, np.random.default_rng(0))
    model.freeze("vision")
    model.train()
    before = {name: buffer.data.copy() for name, buffer in model.named_buffers()}
    images = np.random.default_rng(0).standard_normal((6, 3, 32, 32), dtype=np.float32)
    _, tokens = batch(6)
    optimizer = AdamW(parameter_groups(model), lr=1e-3)
    training_step(model, optimizer, images, tokens, shards=3, workers=2)
    for name, buffer in model.named_buffers():
        np.testing.assert_array_equal(buffer.data, before[name])


def test_half_storage_takes_the_steps_of_rounded_weights():
    steps = []
    for is_half in (True, False):
        model = small_model(np.float32)
        model.freeze("vision")
        for parameter in model.vision.parameters():
            if parameter.ndim >= 2:
                parameter.data = parameter.data.astype(np.float16).astype(np.float32)
        if is_half:
            assert store_in_half(model.vision) == 0.0
        optimizer = AdamW(parameter_groups(model), lr=1e-3)
        images, tokens = batch(6, np.float32)
        for _ in range(3):
            training_step(model, optimizer, images, tokens, shards=3, workers=2)
        steps.append(model.state_dict())
    for name, array in steps[0].items():
        np.testing.assert_array_equal(array, steps[1][name])


def test_a_factor_of_the_rate_is_the_plain_formula_at_that_rate():
    model = small_model()
    images, tokens = batch(6)
    before = {name: move(p.data, "numpy").copy() for name, p in model.named_parameters()}
    groups = parameter_groups(model, layer_decay=0.5)
    optimizer = AdamW(groups, lr=0.01, weight_decay=0.1)
    factor_of = {id(p): group["lr_factor"] for group in groups for p in group["params"]}
    loss_and_gradients(model, images, tokens)
    optimizer.step()
    assert sorted(set(factor_of.values())) == [0.125, 0.25, 0.5, 1.0]
    for name, parameter in model.named_parameters():
        plain = adamw_update(
            before[name],
            move(parameter.grad, "numpy"),
            mean=np.zeros(parameter.shape),
            square=np.zeros(parameter.shape),
            step=1,
            lr=0.01 * factor_of[id(parameter)],
            weight_decay=0.1 if parameter.ndim >= 2 else 0.0,
        )
        moved = move(parameter.data, "numpy")
        np.testing.assert_allclose(moved, plain.parameter, rtol=1e-10, err_msg=name)


def test_layers_of_a_resnet_are_its_stages():
    config = choose_encoders("tiny", vision="resnet")
    model = CLIP(config, np.random.default_rng(0))
    distances = layer_distances([name for name, _ in model.named_parameters()])
    assert distances["vision.attnpool.c_proj.weight"] == distances["logit_scale"] == 0
    assert distances["vision.layer2.0.bn3.bias"] == 1
    assert distances["vision.layer1.0.downsample.0.weight"] == 2
    assert distances["vision.conv1.weight"] == distances["vision.bn3.weight"] == 3

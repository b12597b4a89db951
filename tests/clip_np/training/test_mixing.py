"""An encoder that mixes samples: never cut, trained live, measured as it is in use."""

import dataclasses

import numpy as np
import pytest
from small_models import SMALL, batch, small_model
from small_runs import at_step, numbers_of, press_ctrl_c, trainer_of

import minigrad as mg
from clip_np import CLIP, ResNetConfig, contrastive_loss
from clip_np.encoders.presets import OTHER_VISION_ENCODERS
from clip_np.evaluation import embed_images
from clip_np.training import TrainingError, loss_and_gradients, make_plan, training_step
from clip_np.training.health import fault_of
from clip_np.training.plan import Unit, cut_around
from clip_np.weights import read_checkpoint
from minigrad.optim import AdamW

RESNET = {"vision": "resnet", "steps": 12, "shift": 1}


@pytest.fixture(autouse=True)
def micro_resnet(small, monkeypatch):
    micro = ResNetConfig(image_size=32, width=4, layers=(1, 1), heads=2)
    monkeypatch.setitem(OTHER_VISION_ENCODERS["resnet"], "micro", micro)


def model_with_resnet(dtype=np.float64) -> CLIP:
    vision = ResNetConfig(image_size=8, width=4, layers=(1, 1), heads=2)
    model = CLIP(dataclasses.replace(SMALL, vision=vision), np.random.default_rng(0))
    for parameter in model.parameters():
        noise = np.random.default_rng(1).standard_normal(parameter.shape)
        parameter.data[...] += 0.1 * noise
    return model.astype(dtype)


def test_a_single_number_for_each_channel_is_refused_by_name():
    model = model_with_resnet()  # the last stage has one place
    images, tokens = batch(1)
    with pytest.raises(ValueError, match=r"batch_norm: .* has one number for each channel"):
        loss_and_gradients(model, images, tokens)


# --- the plan ---


def plan_for(model, workers, shards=1):
    lengths = {"vision": np.full(8, 2), "text": np.arange(1, 9)}
    return make_plan(model.encoders, lengths, shards, workers, parameter_count=0)


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_such_an_encoder_is_one_unit(workers):
    units = [unit for load in plan_for(model_with_resnet(), workers) for unit in load]
    assert [unit.rows for unit in units if unit.encoder == "vision"] == [slice(0, 8)]
    text = [row for u in units if u.encoder == "text" for row in range(u.rows.start, u.rows.stop)]
    assert sorted(text) == list(range(8))


def test_in_use_it_is_cut_as_any_other():
    model = model_with_resnet()
    model.eval()
    units = [unit for load in plan_for(model, workers=2, shards=4) for unit in load]
    assert sum(unit.encoder == "vision" for unit in units) == 4


def test_a_whole_unit_stays_whole_wherever_the_cuts_fall():
    def loads(whole, rest, workers):
        whole_unit, rest_unit = Unit("a", slice(0, 8), whole), Unit("b", slice(0, 8), rest)
        plan = cut_around([whole_unit], [rest_unit], workers, price=0.0)
        return [[(u.encoder, u.rows.start, u.rows.stop) for u in load] for load in plan]

    assert loads(10.0, 90.0, 2) == [[("a", 0, 8), ("b", 0, 3)], [("b", 3, 8)]]
    assert loads(90.0, 10.0, 2) == [[("a", 0, 8)], [("b", 0, 8)]]
    assert loads(50.0, 50.0, 3) == [[("a", 0, 8)], [("b", 0, 4)], [("b", 4, 8)]]
    assert loads(50.0, 50.0, 1) == [[("a", 0, 8), ("b", 0, 8)]]
    both = [Unit("a", slice(0, 8), 3.0), Unit("b", slice(0, 8), 5.0)]
    assert cut_around(both, [], 2, price=0.0) == [[both[1]], [both[0]]]


# --- the step ---


@pytest.mark.gradient
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_gradient_is_that_of_the_whole_batch(workers):
    model, (images, tokens) = model_with_resnet(), batch(9)
    loss = contrastive_loss(model.vision(images), model.text(tokens), model.logit_scale)
    expected = mg.grad(loss, model.parameters())
    found = loss_and_gradients(model, images, tokens, workers=workers)
    assert found.item() == pytest.approx(loss.item(), rel=1e-13)
    for (name, parameter), want in zip(model.named_parameters(), expected):
        assert np.abs(parameter.grad - want).max() <= 1e-11 * np.abs(want).max() + 1e-15, name


def test_several_shards_are_refused_with_the_reason():
    model, (images, tokens) = model_with_resnet(), batch(6)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"`shards` must be 1, got 2: the vision encoder mixes"):
        loss_and_gradients(model, images, tokens, shards=2)
    assert all((array == before[name]).all() for name, array in model.state_dict().items())
    model.eval()
    whole = loss_and_gradients(model, images, tokens, workers=1)
    in_pieces = loss_and_gradients(model, images, tokens, shards=3, workers=1)
    assert in_pieces.item() == pytest.approx(whole.item(), rel=1e-12)


def test_one_step_moves_the_statistics_once():
    model, (images, tokens) = model_with_resnet(np.float32), batch(6, np.float32)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    for count in (1, 2, 3):
        training_step(model, optimizer, images, tokens)
        counted = {b.item() for name, b in model.named_buffers() if name.endswith("tracked")}
        assert counted == {count}


# --- the run ---


def test_the_same_seed_gives_the_same_bits_and_so_does_a_resumed_run(task, tmp_path):
    whole = trainer_of(task, tmp_path / "whole", **RESNET)
    whole.run()
    trainer_of(task, tmp_path / "again", **RESNET).run()
    half = trainer_of(task, tmp_path / "half", **RESNET)
    at_step(half, 10, press_ctrl_c)
    half.run()
    assert half.interrupted
    trainer_of(task, tmp_path / "half", resume=True, **RESNET).run()
    numbers = numbers_of(tmp_path / "whole")
    assert "model/vision.bn1.running_var" in numbers
    assert numbers_of(tmp_path / "again") == numbers
    assert numbers_of(tmp_path / "half") == numbers
    tracked = read_checkpoint(tmp_path / "whole").model.vision.bn1.num_batches_tracked
    assert tracked.data == 12
    assert tracked.dtype == np.int64


def test_training_is_live_and_measuring_is_not(task, tmp_path, monkeypatch):
    """Validation in the middle of a run uses the running statistics, and moves none."""
    trainer = trainer_of(task, tmp_path, validate_every=10, **RESNET)
    modes = []
    encode = CLIP.encode_image

    def watched(model, images):
        modes.append(model.vision.mixes_samples())
        return encode(model, images)

    monkeypatch.setattr(CLIP, "encode_image", watched)
    at_step(trainer, 10, lambda: modes.append(trainer.model.vision.mixes_samples()))
    trainer.run()
    assert modes[0] is False  # the validation at step 10
    assert True in modes  # and the training right after it
    assert not trainer.model.vision.mixes_samples()
    assert trainer.model.vision.bn1.num_batches_tracked.data == 12


def test_several_shards_end_a_run_before_it_begins(task, tmp_path):
    with pytest.raises(ValueError, match="`shards` must be 1"):
        trainer_of(task, tmp_path, shards=2, **RESNET).run()
    assert not list(tmp_path.glob("*.npz"))


def test_a_spoiled_buffer_is_noticed(task, tmp_path):
    trainer = trainer_of(task, tmp_path, **RESNET)
    optimizer = trainer.optimizer
    assert fault_of(trainer.model, optimizer) is None
    trainer.model.vision.bn2.running_var.data[0] = np.inf
    assert "vision.bn2.running_var holds a NaN or an inf" in fault_of(trainer.model, optimizer)
    with pytest.raises(TrainingError, match="running_var"):
        trainer.save()


# --- figures ---


def test_features_of_an_image_do_not_depend_on_the_images_beside_it():
    model = model_with_resnet(np.float32)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        embed_images(model, images)[:1], embed_images(model, images[:1]), atol=1e-6
    )
    assert model.training
    assert model.vision.bn1.num_batches_tracked.data == 0
    assert not small_model().vision.mixes_samples()

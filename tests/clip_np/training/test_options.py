"""Options: where they come from, and which values no run can have."""

import dataclasses
import math

import pytest

from clip_np.data import AUGMENTATIONS, Augmentation
from clip_np.training import TrainingOptions


def test_settings_of_task_preset_and_user():
    settings = {"preset": "small", "steps": None, "seconds": 240.0, "shift": 3, "batch_size": 64}
    assert TrainingOptions.of(settings) == TrainingOptions(**settings)
    found = TrainingOptions.of(settings, preset="tutorial", learning_rate=0.5)
    assert (found.steps, found.seconds, found.batch_size) == (5000, None, 32)
    assert (found.warmup, found.weight_decay, found.learning_rate, found.shift) == (
        0.1,
        0.1,
        0.5,
        3,
    )
    found = TrainingOptions.of(settings, steps=7)
    assert (found.steps, found.seconds, found.preset) == (7, None, "small")


@pytest.mark.parametrize(
    "choices, vision",
    [
        ({}, "resnet"),
        ({"preset": "tiny"}, "resnet"),
        ({"preset": "ViT-B/32"}, None),
        ({"preset": "tutorial"}, None),
        ({"shards": 1}, "resnet"),
        ({"shards": 4}, None),
        ({"shards": 4, "vision": "resnet"}, "resnet"),
        ({"vision": "vit"}, "vit"),
    ],
)
def test_the_vision_encoder_of_a_task_gives_way_where_it_cannot_be_used(choices, vision):
    settings = {"preset": "small", "vision": "resnet"}
    assert TrainingOptions.of(settings, **choices).vision == vision


@pytest.mark.parametrize(
    "options, message",
    [
        ({"preset": "giant"}, "`preset` 'giant' is none of tiny, small"),
        ({"steps": None}, "training needs an end: `steps`, `seconds` or both"),
        ({"steps": 0}, "`steps` must be positive, got 0"),
        ({"seconds": -1.0}, r"`seconds` must be positive, got -1\.0"),
        ({"seconds": math.nan}, "`seconds` must be a finite number, got nan"),
        ({"seconds": math.inf}, "`seconds` must be a finite number, got inf"),
        ({"batch_size": 0}, "`batch_size` must be positive, got 0"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be positive, got 0\.0"),
        ({"learning_rate": math.nan}, "`learning_rate` must be a finite number, got nan"),
        ({"workers": 0}, "`workers` must be positive, got 0"),
        ({"workers": 100_000}, "`workers` must lie in 0..256, got 100000"),
        ({"processes": 1000}, "`processes` must lie in 0..256, got 1000"),
        ({"data_workers": 257}, "`data_workers` must lie in 0..256, got 257"),
        ({"shards": -2}, "`shards` must be positive, got -2"),
        ({"warmup": -1}, "`warmup` must not be negative, got -1"),
        ({"weight_decay": math.nan}, "`weight_decay` must be a finite number, got nan"),
        ({"augment": "wild"}, "`augment` must be one of none, light, strong, got 'wild'"),
        ({"crop": 1.0}, "`crop` must lie in 0..0.99, got 1.0"),
        ({"hue": 0.6}, "`hue` must lie in 0..0.5, got 0.6"),
        ({"shift": -3}, "`shift` must not be negative, got -3"),
        ({"zoom": math.nan}, "`zoom` must be a finite number, got nan"),
        ({"seed": -1}, "`seed` must not be negative, got -1"),
        ({"log_every": 0}, "`log_every` must be positive, got 0"),
        ({"validate_every": 0}, "`validate_every` must be positive, got 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


def test_a_strength_that_is_set_replaces_that_of_augment():
    chosen = TrainingOptions(augment="strong", hue=0.0, shift=1).augmentation
    expected = dataclasses.replace(AUGMENTATIONS["strong"], hue=0.0, shift=1)
    assert chosen == expected != AUGMENTATIONS["strong"]
    assert TrainingOptions().augmentation == Augmentation()
    assert TrainingOptions(flip=0.5).augmentation == Augmentation(flip=0.5)


def test_only_who_asks_for_flips_gets_them():
    assert {kind.flip for kind in AUGMENTATIONS.values()} == {0.0}


def test_a_checkpoint_from_before_there_was_augment_keeps_its_variation():
    saved = {"preset": "small", "steps": None, "seconds": 240.0, "shift": 3, "zoom": 0.1}
    assert TrainingOptions.of(saved).augmentation == Augmentation(shift=3, zoom=0.1)


def test_label_smoothing_is_for_new_models_and_the_contrastive_loss():
    settings = {"label_smoothing": 0.1}
    assert TrainingOptions.of(settings).label_smoothing == 0.1
    assert TrainingOptions.of(settings, loss="sigmoid").label_smoothing == 0.0
    assert TrainingOptions.of(settings, init="model").label_smoothing == 0.0
    with pytest.raises(ValueError, match="`label_smoothing` is for the loss clip, not for sigmoid"):
        TrainingOptions(loss="sigmoid", label_smoothing=0.1)
    with pytest.raises(ValueError, match="`label_smoothing` must lie in"):
        TrainingOptions(label_smoothing=1.0)

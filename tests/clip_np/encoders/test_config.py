"""Configurations: checked when made, never changed, saved and read."""

import copy
import dataclasses

import pytest
from small_models import SMALL

from clip_np import PRESETS, CLIPConfig, TextConfig, Tokenizer, VisionConfig


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 9}, "width 9 is not a multiple of 2 heads"),
        ({"layers": 0}, "layers must be a positive integer, got 0"),
        ({"activation": "relu"}, "activation 'relu' is none of"),
        ({"patch_size": 3}, "image_size 8 is not a multiple of patch_size 3"),
        ({"heads": 2.0}, "heads must be a positive integer"),
    ],
)
def test_impossible_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL.vision, **change)


def test_configuration_round_trip_and_damage():
    assert CLIPConfig.from_dict(SMALL.to_dict()) == SMALL
    record = SMALL.to_dict()
    del record["text"]["width"]
    with pytest.raises(ValueError, match=r"not a model configuration: .*width"):
        CLIPConfig.from_dict(record)
    with pytest.raises(ValueError, match=r"not a model configuration: .*colour"):
        CLIPConfig.from_dict({**SMALL.to_dict(), "vision": {"colour": 3}})


def test_mlp_width_is_four_widths_unless_it_is_passed():
    text = TextConfig(10, 5, width=6, layers=1, heads=2)
    assert text.mlp_width == 24
    assert dataclasses.replace(text, mlp_width=7).mlp_width == 7
    assert text == TextConfig(10, 5, width=6, layers=1, heads=2, mlp_width=24)
    assert hash(text) == hash(copy.deepcopy(text))
    assert "mlp_width=24" in repr(text)
    assert TextConfig(10, 5, 6, 1, 2, None).mlp_width == 24
    for wrong in (0, 2.0, "7"):
        with pytest.raises(ValueError, match="mlp_width must be a positive integer"):
            dataclasses.replace(text, mlp_width=wrong)


def test_a_configuration_does_not_change():
    for name in ("width", "mlp_width"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(SMALL.vision, name, 3)


def test_end_token_must_be_an_id_of_the_vocabulary():
    with pytest.raises(ValueError, match="must be None or one of the 10 ids, got 'end'"):
        TextConfig(10, 5, width=6, layers=1, heads=2, eos_token_id="end")
    for wrong in (-1, 10, True, 10**12):
        with pytest.raises(ValueError, match="eos_token_id must be None or one of the 10 ids"):
            TextConfig(10, 5, width=6, layers=1, heads=2, eos_token_id=wrong)
    assert TextConfig(10, 5, width=6, layers=1, heads=2, eos_token_id=9).eos_token_id == 9


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(name):
    assert CLIPConfig.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_a_tokenizer_brings_its_vocabulary():
    tokenizer = Tokenizer([], context_length=9)
    config = SMALL.for_tokenizer(tokenizer)
    assert (config.text.vocab_size, config.text.context_length) == (tokenizer.vocab_size, 9)
    assert config.vision == SMALL.vision


def test_tokens_of_an_image():
    assert VisionConfig(32, 8, width=8, layers=1, heads=1).n_tokens == 17

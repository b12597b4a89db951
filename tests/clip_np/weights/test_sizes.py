"""What shapes do not show, and nothing else says, is not guessed."""

import numpy as np
import pytest
from published_models import expected, tiny_model

from clip_np import CLIP, PRESETS
from clip_np.files import FileError, write_safetensors
from clip_np.weights import load
from clip_np.weights.sizes import infer_config


def test_heads_that_nothing_says_are_not_guessed(tmp_path):
    weights, _, _ = expected("hf")
    write_safetensors(tmp_path / "a.safetensors", weights)
    with pytest.raises(
        FileError, match=r"number of heads is unknown for width 24; add a config\.json"
    ):
        load(tmp_path / "a.safetensors")


def test_the_shapes_of_the_presets_say_their_sizes():
    for name in ("tiny", "small"):
        model = CLIP(PRESETS[name], np.random.default_rng(0))
        stated = {"vision": {"heads": 4}, "text": {"heads": 4}}
        assert infer_config(model.state_dict(), stated) == PRESETS[name]


@pytest.mark.parametrize("width, heads", [(1280, 16), (1408, 16), (1664, 16), (768, 12)])
def test_the_heads_of_published_vision_transformers(width, heads):
    """ViT-H, ViT-g and ViT-bigG have heads that are wider than 64."""
    state = dict(tiny_model().state_dict())
    state["vision.conv1.weight"] = np.zeros((width, 192), np.float32)
    assert infer_config(state).vision.heads == heads

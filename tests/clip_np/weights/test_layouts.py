"""Names and forms of arrays; files whose arrays are no CLIP's are refused."""

import numpy as np
import pytest
from published_models import expected, tiny_model, write_json

from clip_np.files import FileError, write_safetensors
from clip_np.weights import export_arrays, load
from clip_np.weights.known_layouts import LAYOUTS, recognise_layout


def test_exported_names():
    model = tiny_model()
    arrays = export_arrays(model)
    assert len(arrays) == 12 * 6 + 14
    assert arrays["visual.conv1.weight"].shape == (64, 3, 8, 8)
    assert arrays["transformer.resblocks.0.attn.in_proj_weight"].shape == (192, 64)
    assert np.shares_memory(arrays["text_projection"], model.text.text_projection.data)
    theirs = export_arrays(model, "hf")
    assert len(theirs) == 16 * 6 + 14
    assert (arrays["text_projection"] == theirs["text_projection.weight"].T).all()
    assert export_arrays(model, grad=True) == {}
    with pytest.raises(ValueError, match="`layout` 'torch' is none of openai, hf"):
        export_arrays(model, "torch")


def spoil(weights: dict, change: str) -> dict:
    """Weights of Hugging Face's layout, with one thing wrong."""
    layer, vision = "text_model.encoder.layers.0.self_attn.", "vision_model.embeddings."
    match change:
        case "a missing array":
            del weights["visual_projection.weight"]
        case "an unknown array":
            weights["text_model.extra"] = np.zeros(3, np.float32)
        case "a missing part":
            del weights[layer + "q_proj.weight"]
        case "keys alone":
            del weights[layer + "q_proj.weight"], weights[layer + "v_proj.weight"]
        case "parts of different widths":
            weights[layer + "q_proj.weight"] = np.zeros((3, 4), np.float32)
        case "a wrong shape":
            weights["text_model.final_layer_norm.bias"] = np.zeros(3, np.float32)
        case "a flat convolution":
            weights[vision + "patch_embedding.weight"] = np.zeros((24, 192), np.float32)
        case "patches that are no squares":
            weights[vision + "patch_embedding.weight"] = np.zeros((24, 3, 8, 4), np.float32)
        case "patches of four colours":
            weights[vision + "patch_embedding.weight"] = np.zeros((24, 4, 8, 8), np.float32)
        case "a grid that is no square":
            weights[vision + "position_embedding.weight"] = np.zeros((14, 24), np.float32)
        case "integers":
            weights["text_model.final_layer_norm.bias"] = np.zeros(32, np.int64)
        case "an empty array":
            weights["visual_projection.weight"] = np.zeros((0, 24), np.float32)
        case "two scales":
            weights["logit_scale"] = np.zeros(2, np.float32)
        case "the same under two names":
            weights["visual.proj"] = np.zeros((24, 20), np.float32)
        case "a layer left out":
            name = "text_model.encoder.layers.2.layer_norm1.weight"
            weights[name] = np.zeros(32, np.float32)
    return weights


SPOILT = ["a missing array", "an unknown array", "a missing part", "keys alone"]
SPOILT += ["parts of different widths"]
SPOILT += ["a wrong shape", "a flat convolution", "patches that are no squares"]
SPOILT += ["patches of four colours", "a grid that is no square", "integers", "an empty array"]
SPOILT += ["two scales", "the same under two names", "a layer left out"]


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("change", SPOILT)
def test_weights_that_are_not_a_clip_are_refused(tmp_path, change, with_config):
    weights, config, _ = expected("hf")
    write_safetensors(tmp_path / "model.safetensors", spoil(weights, change))
    if with_config:
        write_json(tmp_path / "config.json", config)
    with pytest.raises(FileError, match=r"model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("visual.trunk.patch_embed.weight", "a vision encoder of the timm library"),
        ("encoder.weight", "holds no CLIP: its names are"),
    ],
)
def test_models_of_another_kind_are_named(tmp_path, name, message):
    write_safetensors(tmp_path / "a.safetensors", {name: np.zeros(3, np.float32)})
    with pytest.raises(FileError, match=message):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_goes_there_and_back(layout):
    state = tiny_model().state_dict()
    translator = LAYOUTS[layout]
    assert all(translator.path_of(translator.name_of(path)) == path for path in state)
    again = translator.to_ours(translator.from_ours(state))
    assert again.keys() == state.keys()
    for path, array in state.items():
        assert again[path].shape == array.shape
        assert (again[path] == array).all()


def test_every_layout_knows_its_own_files():
    for layout in LAYOUTS:
        assert recognise_layout(export_arrays(tiny_model(), layout)) == layout


def test_queries_there_whole_and_in_parts_are_refused():
    arrays = export_arrays(tiny_model(), "hf")
    arrays["text.transformer.resblocks.0.attn.in_proj.bias"] = np.zeros(192, np.float32)
    with pytest.raises(FileError, match="whole and in three parts"):
        LAYOUTS["hf"].to_ours(arrays)

"""Hugging Face's configurations: what they say is followed, or refused."""

import pytest
from published_models import expected, published, write_json

from clip_np.data import Preprocess
from clip_np.files import FileError
from clip_np.weights import convert, load

CONTRADICTIONS = [
    (("vision_config", "hidden_size", 32), "vision width is 32, but 24 in the weights"),
    (("vision_config", "image_size", 64), "vision image_size is 64, but 32 in the weights"),
    (("vision_config", "patch_size", 4), "vision patch_size is 4, but 8 in the weights"),
    (("text_config", "vocab_size", 10**12), "text vocab_size is 1000000000000, but 99 in the we"),
    (("text_config", "max_position_embeddings", 77), "text context_length is 77, but 12"),
    (("text_config", "num_hidden_layers", 2), "text layers is 2, but 1 in the weights"),
    (("text_config", "intermediate_size", "48"), "text mlp_width is '48', but 48 in the weights"),
    (("text_config", "num_attention_heads", 5), "width 32 is not a multiple of 5 heads"),
    (("text_config", "num_attention_heads", 0), "heads must be a positive integer"),
    (("text_config", "num_attention_heads", [4]), "heads must be a positive integer"),
    (("text_config", "hidden_act", "relu"), "activation 'relu' is none of"),
    (("text_config", "hidden_act", ["gelu"]), "activation"),
    (("text_config", "layer_norm_eps", 1e-6), "layer_norm_eps is 1e-06"),
    (("text_config", "eos_token_id", "end"), "eos_token_id"),
    (("projection_dim", None, 21), "embed_dim is 21, but 20 in the weights"),
    (("model_type", None, "siglip"), "a model of type 'siglip', expected 'clip'"),
    (("text_config", None, None), "config.json"),
    (("vision_config", None, "large"), "config.json"),
]


@pytest.mark.parametrize("change, message", CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))
def test_a_configuration_that_contradicts_the_weights_is_refused(tmp_path, change, message):
    path = published(tmp_path, "hf")
    config, (key, inner, value) = expected("hf")[1], change
    if inner is None:
        config[key] = value
    else:
        config[key][inner] = value
    write_json(tmp_path / "config.json", config)
    with pytest.raises(FileError, match=message.replace("[", r"\[")):
        load(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "nonsense", '"text"', "[" * 100_000, '{"a": 1}'])
def test_damaged_configurations_are_refused(tmp_path, text):
    path = published(tmp_path, "hf")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FileError, match=r"config\.json"):
        load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"resample": 2}, r"preprocessor_config\.json: the settings ask for resample 2, "),
        ({"image_mean": "grey"}, "could not convert"),
        ({"image_std": [1.0, 2.0]}, "not enough values"),
        ({"image_std": [0.0, 1.0, 1.0]}, "positive"),
        ({"image_std": [float("nan"), 1.0, 1.0]}, "finite"),
        ({"image_mean": [float("inf"), 1.0, 1.0]}, "finite"),
        ({"size": {"shortest_edge": 48}}, "to have size {'shortest_edge': 48}, the model sees 32"),
        ({"crop_size": 48}, "to have crop_size 48"),
        ({"do_normalize": False}, "do_normalize False"),
    ],
)
def test_preprocessing_that_is_not_clips_is_refused(tmp_path, change, message):
    path = published(tmp_path, "hf")
    write_json(tmp_path / "preprocessor_config.json", change)
    with pytest.raises(FileError, match=message):
        load(path)


def test_other_colours_are_taken_over_and_passed_on(tmp_path):
    path = published(tmp_path, "hf")
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3}
    half |= {"size": 32, "crop_size": {"height": 32, "width": 32}, "do_resize": True}
    write_json(tmp_path / "preprocessor_config.json", half)
    wanted = Preprocess(32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert load(path)[1] == wanted
    convert(path, tmp_path / "a.safetensors", "openai")
    convert(path, tmp_path / "again", "hf")
    assert load(tmp_path / "a.safetensors")[1] == load(tmp_path / "again")[1] == wanted

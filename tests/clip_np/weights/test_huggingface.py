"""Hugging Face's configurations: what they say is followed, or refused."""

import numpy as np
import pytest
from PIL import Image
from published_models import expected, published, write_json

from clip_np.data import Preprocess
from clip_np.files import FileError
from clip_np.weights import convert, load, save_pretrained

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


@pytest.mark.parametrize(
    "gap", ["projection_dim", "text_config", "vision_config", "hidden_size", "num_hidden_layers"]
)
def test_what_a_configuration_leaves_out_is_seen_in_the_shapes(tmp_path, gap):
    path = published(tmp_path, "hf")
    whole = load(path).model.config
    config = expected("hf")[1]
    if gap.endswith("_config"):  # early files have the same under another name
        config[f"{gap}_dict"] = config[gap]
        config[gap] = None
    for part in (config, config["text_config"], config["vision_config"]):
        if part is not None and not gap.endswith("_config"):
            part.pop(gap, None)
    write_json(tmp_path / "config.json", config)
    assert load(path).model.config == whole


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
        ({"do_center_crop": False}, "no do_center_crop"),
        ({"do_pad": True}, "do_pad"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "longest_edge"),
        ({"size": {"height": 32, "width": 48}}, "to have size"),
        ({"image_processor_type": "SiglipImageProcessor"}, "are for 'SiglipImageProcessor'"),
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


@pytest.mark.parametrize(
    "change, is_squashed",
    [
        ({"size": {"height": 32, "width": 32}}, True),
        ({"size": {"height": 32, "width": 32, "shortest_edge": None}}, True),
        ({"size": [32, 32]}, True),
        ({"size": 32, "default_to_square": True}, True),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, True),
        ({"size": 32}, False),
        ({"size": {"shortest_edge": 32}}, False),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_images_are_squashed_or_cropped_as_their_size_says(
    tmp_path, change, is_squashed, is_nested
):
    path = published(tmp_path, "hf")
    if is_nested:  # as version 5 of transformers writes it; the other file is older then
        write_json(tmp_path / "processor_config.json", {"image_processor": change})
        write_json(tmp_path / "preprocessor_config.json", {"size": 99})
    else:
        write_json(tmp_path / "preprocessor_config.json", change)
    preprocess = load(path).preprocess
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    image = Image.fromarray(pixels)
    assert preprocess.squash == is_squashed
    expected_image = image.resize((32, 32), Image.Resampling.BICUBIC) if is_squashed else image
    cropped = Preprocess(32, mean=preprocess.mean, std=preprocess.std)
    assert (preprocess(image) == cropped(expected_image)).all()


def test_a_saved_folder_prepares_images_as_before(tmp_path):
    """A newer file, which libraries would read first, is removed."""
    path = published(tmp_path, "hf")
    write_json(tmp_path / "processor_config.json", {"image_processor": {"size": [32, 32]}})
    model = load(path).model
    assert load(path).preprocess.squash
    for squash in (False, True):
        save_pretrained(model, tmp_path, preprocess=Preprocess(32, squash=squash))
        assert load(path).preprocess == Preprocess(32, squash=squash)

"""A ResNet's files: published names, sizes from shapes, buffers, missing layouts."""

import dataclasses

import numpy as np
import pytest
from published_models import write_json

import minigrad as mg
from clip_np import CLIP, PRESETS, ResNetConfig, Tokenizer, training_step
from clip_np.data import Preprocess
from clip_np.encoders import choose_encoders
from clip_np.evaluation.index import fingerprint
from clip_np.files import FileError, read_safetensors, write_safetensors
from clip_np.weights import (
    convert,
    export_arrays,
    load,
    read_checkpoint,
    save_checkpoint,
    save_pretrained,
)
from clip_np.weights.open_clip import parse_sizes
from clip_np.weights.shapes import parameter_shapes, require_shapes
from clip_np.weights.sizes import infer_config
from minigrad.optim import AdamW

TOKENIZER = Tokenizer.train(["a red circle", "a blue star"] * 3, 530, 20)
CONFIG = choose_encoders("tiny", vision="resnet").for_tokenizer(TOKENIZER)
IMAGES = np.random.default_rng(1).standard_normal((4, 3, 32, 32)).astype(np.float32)
TOKENS = TOKENIZER(["a red circle", "a blue star", "a blue circle", "a star"])


@pytest.fixture(scope="module")
def model() -> CLIP:
    """A model after two steps: its running statistics have moved."""
    model = CLIP(CONFIG, np.random.default_rng(0))
    optimizer = AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        training_step(model, optimizer, IMAGES, TOKENS)
    return model.eval()


def features(model) -> np.ndarray:
    with mg.no_grad():
        return model.encode_image(IMAGES).data


def assert_equal_states(found: CLIP, wanted: CLIP) -> None:
    found_state, state = found.state_dict(), wanted.state_dict()
    assert found_state.keys() == state.keys()
    for name, array in state.items():
        assert found_state[name].dtype == array.dtype, name
        assert found_state[name].tobytes() == array.tobytes(), name


def test_names_are_the_published_ones(model):
    names = export_arrays(model).keys()
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert {n.removeprefix("visual.bn1.") for n in names if n.startswith("visual.bn1.")} == norm
    assert "visual.layer2.0.downsample.0.weight" in names
    assert "visual.layer2.0.downsample.1.running_mean" in names
    assert {n for n in names if n.startswith("visual.attnpool.")} == {
        "visual.attnpool.positional_embedding",
        *(f"visual.attnpool.{p}_proj.{part}" for p in "kqvc" for part in ("weight", "bias")),
    }
    assert export_arrays(model)["visual.conv1.weight"].shape == (8, 3, 3, 3)
    assert export_arrays(model, grad=True) == {}


def test_checkpoints_keep_buffers(model, tmp_path):
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    assert_equal_states(read_checkpoint(tmp_path / "a.npz").model, model)
    loaded = load(tmp_path / "a.npz").model
    assert not loaded.vision.mixes_samples()
    np.testing.assert_array_equal(features(loaded), features(model))
    assert read_checkpoint(tmp_path / "a.npz", "gelu").model.config.text.activation == "gelu"


def test_convert_to_openai_and_back(model, tmp_path):
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    convert(tmp_path / "a.npz", tmp_path / "b.safetensors", "openai")
    again = load(tmp_path / "b.safetensors").model
    assert again.config == model.config
    assert_equal_states(again, model)
    convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors", "openai")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()


def test_double_precision_leaves_counters_whole(model, tmp_path):
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    convert(tmp_path / "a.npz", tmp_path / "b.safetensors", "openai")
    for name in ("a.npz", "b.safetensors"):
        double = load(tmp_path / name, dtype="float64").model
        assert double.vision.bn1.running_mean.dtype == np.float64
        assert double.vision.bn1.num_batches_tracked.dtype == np.int64
        assert double.encode_image(IMAGES.astype(np.float64)).dtype == np.float64


def test_hugging_face_has_no_resnet(model, tmp_path):
    message = "no names for a vision encoder of kind 'resnet', only for vit; take another one "
    message += r"\(`layout` 'openai' has ResNets\), or train .* \(`vision` 'vit'\)"
    with pytest.raises(ValueError, match=message):
        save_pretrained(model, tmp_path / "hf")
    with pytest.raises(ValueError, match=message):
        export_arrays(model, "hf")
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "a.npz", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("preset", ["RN50", "RN101", "RN50x4"])
def test_shapes_show_the_published_sizes(preset):
    config = PRESETS[preset]
    state = {
        path: np.broadcast_to(np.zeros((), {"f": np.float32, "i": np.int64}[kind]), shape)
        for path, shape, kind in parameter_shapes(config)
    }
    require_shapes(state, config)
    assert infer_config(state) == config


def test_a_file_alone_shows_heads_of_64_numbers(tmp_path):
    config = dataclasses.replace(CONFIG, vision=ResNetConfig(32, 16, (1, 1)))
    text = dataclasses.replace(CONFIG.text, heads=1)
    model = CLIP(dataclasses.replace(config, text=text), np.random.default_rng(0))
    write_safetensors(tmp_path / "a.safetensors", export_arrays(model))
    loaded = load(tmp_path / "a.safetensors", activation="quick_gelu").model
    assert loaded.config == model.config
    assert loaded.config.vision.heads == 2


def test_open_clip_describes_a_resnet_by_a_list():
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    vision = {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}
    sizes = parse_sizes({"embed_dim": 1024, "vision_cfg": vision, "text_cfg": text})
    assert sizes["vision"] == {
        "kind": "resnet",
        "heads": 32,
        "image_size": 224,
        "layers": [3, 4, 6, 3],
        "width": 64,
    }
    assert sizes["text"]["activation"] == "gelu"


def published_folder(model, folder, **vision):
    arrays = export_arrays(model)
    write_safetensors(folder / "open_clip_model.safetensors", arrays)
    sizes = {"image_size": 32, "layers": [1, 1], "width": 16, **vision}
    text = {"context_length": 20, "vocab_size": CONFIG.text.vocab_size, "width": 64}
    config = {"embed_dim": 64, "vision_cfg": sizes, "text_cfg": text | {"heads": 4, "layers": 3}}
    write_json(folder / "open_clip_config.json", {"model_cfg": config})


def test_a_configuration_must_not_contradict_the_weights(model, tmp_path):
    published_folder(model, tmp_path, layers=[1, 2])
    with pytest.raises(FileError, match=r"layers is \[1, 2\], but \[1, 1\] in the weights"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("visual.bn1.running_var", None, "missing .*vision.bn1.running_var"),
        ("visual.bn1.num_batches_tracked", np.zeros((), np.float32), "needs .* whole numbers"),
        ("visual.bn1.num_batches_tracked", np.zeros(2, np.int64), "has shape"),
        ("visual.layer1.0.bn1.running_mean", np.zeros(3, np.float32), "has shape"),
        ("visual.bn1.running_mean", np.zeros(8, np.int64), "not floating-point numbers"),
        ("visual.layer1.0.bn4.weight", np.zeros(3, np.float32), "unexpected"),
        ("visual.layer2.0.bn1.running_var", np.full(32, np.nan, np.float32), "holds a NaN"),
    ],
)
def test_damaged_files_are_refused(model, tmp_path, name, array, message):
    arrays = dict(export_arrays(model))
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    path = tmp_path / "a.safetensors"
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    convert(tmp_path / "a.npz", path, "openai")
    note = read_safetensors(path)[1]
    write_safetensors(path, arrays, note)
    with pytest.raises(FileError, match=message):
        load(path)


def test_models_that_differ_in_their_statistics_are_told_apart(model, tmp_path):
    save_checkpoint(tmp_path / "a.npz", model, TOKENIZER)
    other = load(tmp_path / "a.npz").model
    assert fingerprint(other, Preprocess(32)) == fingerprint(model, Preprocess(32))
    other.vision.bn1.running_mean.data[0] += 1.0
    assert fingerprint(other, Preprocess(32)) != fingerprint(model, Preprocess(32))

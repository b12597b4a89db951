"""Published weights give their makers' numbers; damaged ones are refused."""

import os

import numpy as np
import pytest
from published_models import TINY, expected, published, tiny_model, write_json

import clip_np
import minigrad as mg
from clip_np import CLIP, Tokenizer
from clip_np.data import Preprocess
from clip_np.files import FileError, write_safetensors
from clip_np.losses import contrastive_loss
from clip_np.weights import convert, export_arrays, load, read_published, save_checkpoint
from minigrad.optim import AdamW


@pytest.mark.parametrize("layout", ["hf", "openai"])
def test_published_models_give_the_numbers_of_their_makers(tmp_path, layout):
    """tests/oracle/test_makers.py wrote the numbers, and compares more models."""
    path = published(tmp_path, layout)
    _, _, wanted = expected(layout)
    model, preprocess, _ = load(path)
    assert preprocess == Preprocess(32)
    features = model.encode_image(wanted["images"]), model.encode_text(wanted["tokens"])
    loss = contrastive_loss(*features, model.logit_scale)
    loss.backward()
    found = {"image_features": features[0], "text_features": features[1], "loss": loss}
    found = {name: value.numpy() for name, value in found.items()}
    found["logits"] = model(wanted["images"], wanted["tokens"])[0].numpy()
    gradients = export_arrays(model, layout, grad=True)
    names = {key.removeprefix("grad ") for key in wanted if key.startswith("grad ")}
    assert names <= gradients.keys()
    found |= {f"grad {name}": gradients[name] for name in names}
    for name, array in found.items():
        assert array.shape == wanted[name].shape
        error = np.abs(array - wanted[name]).max()
        assert error <= 2e-5 * np.abs(wanted[name]).max() + 1e-7, name


def test_what_the_files_say_is_believed(tmp_path):
    config = load(published(tmp_path, "hf"))[0].config
    assert (config.vision.heads, config.vision.mlp_width, config.vision.activation) == (
        3,
        40,
        "gelu",
    )
    assert (config.text.heads, config.text.eos_token_id, config.embed_dim) == (4, 98, 20)
    config = load(published(tmp_path, "hf"), activation="quick_gelu")[0].config
    assert config.vision.activation == config.text.activation == "quick_gelu"
    folder = tmp_path / "openai"
    folder.mkdir()
    config = load(published(folder, "openai"))[0].config
    assert (config.vision.heads, config.text.heads, config.text.eos_token_id) == (2, 1, None)
    assert config.vision.activation == "quick_gelu"


def test_weights_stay_in_the_file_until_they_are_written(tmp_path):
    convert_to = tmp_path / "model.safetensors"
    save_checkpoint(tmp_path / "a.npz", tiny_model(), Tokenizer([]))
    convert(tmp_path / "a.npz", convert_to, "openai")
    before = convert_to.read_bytes()
    model, _, _ = load(convert_to)
    for name, parameter in model.named_parameters():
        base = parameter.data
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        assert "mmap" in repr(type(base)) or isinstance(base, memoryview), name
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, 3, 32, 32), dtype=np.float32)
    tokens = np.tile([512, 5, 6, 513], (4, 1))
    weight = model.vision.proj.numpy().copy()
    clip_np.training_step(model, AdamW(model.parameters(), lr=1e-2), images, tokens)
    assert (model.vision.proj.numpy() != weight).any()
    assert convert_to.read_bytes() == before


def test_half_precision_is_widened(tmp_path):
    weights, config, _ = expected("hf")
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    write_safetensors(tmp_path / "model.safetensors", halves)
    write_json(tmp_path / "config.json", config)
    assert read_published(tmp_path / "model.safetensors").stored == ["float16"]
    for dtype in ("float32", "float64"):
        model, _, _ = load(tmp_path, dtype=dtype)
        assert {str(p.dtype) for p in model.parameters()} == {dtype}
        assert (model.vision.proj.numpy() == halves["visual_projection.weight"].T).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    weights, config, _ = expected("hf")
    weights["text_model.final_layer_norm.bias"][3] = value
    write_safetensors(tmp_path / "model.safetensors", weights)
    write_json(tmp_path / "config.json", config)
    with pytest.raises(FileError, match=r"text\.ln_final\.bias holds a NaN or an infinity"):
        load(tmp_path)


def test_the_largest_numbers_are_numbers(tmp_path):
    """Though their sum is infinite."""
    weights, config, _ = expected("hf")
    weights["text_model.final_layer_norm.bias"][:] = 3e38
    write_safetensors(tmp_path / "model.safetensors", weights)
    write_json(tmp_path / "config.json", config)
    assert (load(tmp_path)[0].text.ln_final.bias.numpy() == np.float32(3e38)).all()


ODD = [None, True, -1, 0, 1, 2, 3, 7, 31, 10**6, 10**12, 2**63, 1.5, float("nan"), "", "gelu", "x"]
ODD += [[], [1], {}, {"a": 1}, [[]], "9" * 400, [0.5, 0.5, 0.5]]


def damage(value, rng: np.random.Generator):
    """A JSON value with something else somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = list(value)[rng.integers(len(value))]
        if rng.random() < 0.15:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: damage(value[key], rng)}
    return ODD[rng.integers(len(ODD))]


def test_damaged_models_are_read_or_refused(tmp_path, monkeypatch):
    """Any configurations, names, shapes and types: FileError or a model."""
    monkeypatch.setattr(os, "fsync", lambda number: None)
    rng, weights, config = np.random.default_rng(0), *expected("hf")[:2]
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3}
    names, refused = list(weights), 0
    for number in range(400):
        arrays, name = dict(weights), names[rng.integers(len(names))]
        match number % 8:
            case 0:
                shape = [int(n) for n in rng.integers(0, 9, rng.integers(0, 5))]
                arrays[name] = np.ones(shape, np.float32)
            case 1:
                arrays[name] = arrays[name].astype(["i4", "f8", "f2", "?"][rng.integers(4)])
            case 2:
                arrays[names[rng.integers(len(names))] + "x" * int(rng.integers(2))] = arrays[name]
            case 3:
                del arrays[name]
        said, told = (damage(each, rng) for each in (config, colours))
        write_safetensors(tmp_path / "model.safetensors", arrays)
        write_json(tmp_path / "config.json", config if number % 8 < 4 else said)
        write_json(tmp_path / "preprocessor_config.json", told if number % 8 > 5 else colours)
        try:
            load(tmp_path)
        except FileError as error:
            assert str(tmp_path) in str(error)
            refused += 1
    assert 150 < refused < 400


def test_rng_none_leaves_the_numbers_to_the_file():
    model = CLIP(TINY, None)
    assert model.vision.proj.shape == (64, 64)
    state = tiny_model().state_dict()
    model.load_state_dict(state, assign=True)
    assert all(p.data is state[name] for name, p in model.named_parameters())
    assert mg.nn.count_parameters(model) == mg.nn.count_parameters(tiny_model())

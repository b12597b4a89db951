"""Published weights: what their makers' code computes, and what is refused."""

import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from paths import EXPECTED, ROOT

import clip_np
import minigrad as mg
from clip_np import CLIP, PRESETS, Tokenizer
from clip_np.data import Preprocess, training_preprocess
from clip_np.files import FileError, read_safetensors, write_safetensors
from clip_np.losses import contrastive_loss
from clip_np.weights import (
    convert,
    export_arrays,
    load,
    locate,
    read_published,
    save_checkpoint,
    save_pretrained,
)
from minigrad.optim import AdamW

TINY = PRESETS["tiny"]


def write_json(path: pathlib.Path, content) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def expected(layout: str) -> tuple[dict, dict, dict]:
    """Weights, configuration and results of a model that its makers' code made."""
    with np.load(EXPECTED / f"{layout}.npz") as file:
        content = dict(file)
    weights = {
        k.removeprefix("weights/"): a for k, a in content.items() if k.startswith("weights/")
    }
    return weights, json.loads(str(content["config"])), content


def published(folder: pathlib.Path, layout: str) -> pathlib.Path:
    """The model of `expected` as the files that people have."""
    weights, config, _ = expected(layout)
    write_safetensors(folder / "model.safetensors", weights)
    if config:
        write_json(folder / "config.json", config)
    return folder / "model.safetensors"


def small_model(seed: int = 0, **changes) -> CLIP:
    return CLIP(TINY, np.random.default_rng(seed))


# --- their numbers --------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["hf", "openai"])
def test_published_models_give_the_numbers_of_their_makers(tmp_path, layout):
    """tests/oracle/test_makers.py wrote the numbers, and holds more models against them."""
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


# --- round trips ----------------------------------------------------------------------


def test_ours_to_hugging_face_and_back_is_bit_equal(tmp_path):
    model = small_model()
    save_pretrained(model, tmp_path / "hf", preprocess=training_preprocess(32))
    again, preprocess, _ = load(tmp_path / "hf")
    assert again.config == model.config
    assert preprocess == training_preprocess(32)
    for (name, a), (_, b) in zip(model.named_parameters(), again.named_parameters()):
        assert a.data.tobytes() == b.data.tobytes(), name
        assert a.shape == b.shape
    save_pretrained(again, tmp_path / "more", preprocess=preprocess)
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "hf" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


def test_hugging_face_to_ours_and_back_is_bit_equal(tmp_path):
    weights, _, _ = expected("hf")
    model, _, _ = load(published(tmp_path, "hf"))
    save_pretrained(model, tmp_path / "again")
    found = read_safetensors(tmp_path / "again" / "model.safetensors")[0]
    assert found.keys() == weights.keys()
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)


@pytest.mark.parametrize("layout", ["hf", "openai"])
def test_convert_keeps_what_shapes_do_not_show(tmp_path, layout):
    source = tmp_path / "run.npz"
    tokenizer = Tokenizer.train(["a red circle", "a blue star"], 530)
    model = CLIP(TINY.for_tokenizer(tokenizer), np.random.default_rng(0))
    save_checkpoint(source, model, tokenizer)
    target = tmp_path / ("out" if layout == "hf" else "out.safetensors")
    convert(source, target, layout)
    again, preprocess, words = load(target)
    assert again.config == model.config  # 4 heads of 16: not what the width says
    assert preprocess == training_preprocess(32)
    state = model.state_dict()
    assert all((state[name] == array).all() for name, array in again.state_dict().items())
    if layout == "hf":
        assert words.merges == tokenizer.merges
        assert words.context_length == tokenizer.context_length
    else:
        with pytest.raises(FileNotFoundError):
            words(["a red circle"])


def test_save_pretrained_writes_no_broken_model(tmp_path):
    model = small_model()
    save_pretrained(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model.vision.proj.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"visual_projection.weight holds a NaN"):
        save_pretrained(model, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_exported_names():
    model = small_model()
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


# --- memory ---------------------------------------------------------------------------


def test_weights_stay_in_the_file_until_they_are_written(tmp_path):
    convert_to = tmp_path / "model.safetensors"
    save_checkpoint(tmp_path / "a.npz", small_model(), Tokenizer([]))
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


# --- finding the files ----------------------------------------------------------------


def test_shards(tmp_path):
    weights, config, _ = expected("hf")
    names = sorted(weights)
    parts = {"model-1.safetensors": names[:20], "model-2.safetensors": names[20:]}
    for file, some in parts.items():
        write_safetensors(tmp_path / file, {name: weights[name] for name in some})
    index = {name: file for file, some in parts.items() for name in some}
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": index})
    write_json(tmp_path / "config.json", config)
    model, _, _ = load(tmp_path)
    assert model.config.embed_dim == 20
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors"):
        load(tmp_path)
    for elsewhere in ("../model-1.safetensors", "/etc/passwd", "a/b.bin", "x.index.json"):
        write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": elsewhere}})
        with pytest.raises(FileError, match="is not the name of a file next to it"):
            load(tmp_path)


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"holds no model; looked for checkpoint\.npz, model"
    ):
        load(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    with pytest.raises(FileError, match=r"weights are read from \.safetensors, \.pt"):
        load(tmp_path / "cat.png")
    with pytest.raises(ValueError, match="`activation` must be one of"):
        load(tmp_path, activation="relu")
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        load(tmp_path, dtype="float16")


def test_a_model_of_the_hub(tmp_path, monkeypatch):
    """huggingface_hub brings a directory; what kind of weights it has is tried in turn."""
    published(tmp_path, "hf")
    asked = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        assert name == "openai/some-clip"
        asked.append(allow_patterns[-1])
        return str(tmp_path)

    module = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    model, _, _ = load("openai/some-clip")
    assert model.config.embed_dim == 20
    assert asked == ["merges.txt", "model*.safetensors"]
    (tmp_path / "model.safetensors").rename(tmp_path / "elsewhere")
    asked.clear()
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load("openai/some-clip")
    assert asked[1:3] == ["model*.safetensors", "pytorch_model*.bin"]
    assert asked[3:] == ["open_clip_model*.safetensors", "open_clip_pytorch_model*.bin"]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"minigrad-clip\[hub\]"):
        load("openai/some-clip")


def test_a_folder_with_files_for_two_libraries(tmp_path):
    """config.json and model.safetensors of an image encoder alone, beside open_clip's files."""
    arrays = export_arrays(small_model())
    write_safetensors(tmp_path / "open_clip_model.safetensors", arrays)
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
    text = {"context_length": 77, "vocab_size": 514, "width": 64, "heads": 4, "layers": 3}
    sizes = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}
    write_json(tmp_path / "open_clip_config.json", {"model_cfg": sizes})
    write_safetensors(tmp_path / "model.safetensors", {"blocks.0.weight": np.ones(3, np.float32)})
    write_json(tmp_path / "config.json", {"architecture": "vit_base_patch32_clip_224"})
    assert load(tmp_path)[0].config.vision.heads == 4
    both = tmp_path / "both"
    both.mkdir()
    published(both, "hf")
    write_json(both / "open_clip_config.json", {})
    assert load(both)[0].config.embed_dim == 20


def test_a_model_in_the_cache_of_the_hub(tmp_path):
    """The library itself, without a network, on a cache of its own form."""
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    folder = tmp_path / "models--openai--some-clip"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    published(snapshot, "hf")
    program = "import clip_np; print(clip_np.load('openai/some-clip')[0].config.embed_dim)"
    offline = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    root = ROOT
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "20", run.stderr


def test_a_run_is_still_a_run(tmp_path):
    tokenizer = Tokenizer([], context_length=9)
    model = CLIP(TINY.for_tokenizer(tokenizer), np.random.default_rng(0))
    save_checkpoint(tmp_path / "checkpoint.npz", model, tokenizer)
    assert locate(tmp_path) == tmp_path / "checkpoint.npz"
    again, preprocess, words = load(tmp_path, dtype="float64")
    assert preprocess == training_preprocess(32)
    assert words.context_length == 9
    assert again.vision.proj.dtype == np.float64


# --- what must be refused -------------------------------------------------------------


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


CONTRADICTIONS = [
    (("vision_config", "hidden_size", 32), "vision width is 32, but 24 in the weights"),
    (("vision_config", "image_size", 64), "vision image_size is 64, but 32 in the weights"),
    (("vision_config", "patch_size", 4), "vision patch_size is 4, but 8 in the weights"),
    (("text_config", "vocab_size", 10**12), "text vocab_size is 1000000000000, but 99 in the we"),
    (("text_config", "max_position_embeddings", 77), "text context_length is 77, but 12"),
    (("text_config", "num_hidden_layers", 2), "text layers is 2, but 1 in the weights"),
    (("text_config", "intermediate_size", "48"), "text mlp_width is '48', but 48 in the weights"),
    (("text_config", "num_attention_heads", 5), "width 32 is no multiple of 5 heads"),
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
        ({"resample": 2}, r"preprocessor_config\.json: images are to be prepared with resample 2"),
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
        ("visual.layer1.0.conv1.weight", "has a ResNet as image encoder"),
        ("visual.trunk.patch_embed.weight", "an image encoder of the timm library"),
        ("encoder.weight", "holds no CLIP with a vision transformer"),
    ],
)
def test_models_of_another_kind_are_named(tmp_path, name, message):
    write_safetensors(tmp_path / "a.safetensors", {name: np.zeros(3, np.float32)})
    with pytest.raises(FileError, match=message):
        load(tmp_path / "a.safetensors")


def test_what_belongs_to_another_model_in_the_folder_is_left_alone(tmp_path):
    """Weights of a name of their own, in a folder with the files of a text model."""
    weights, _, _ = expected("openai")
    write_safetensors(tmp_path / "my-clip.safetensors", weights)
    for name in ("config.json", "preprocessor_config.json"):
        write_json(tmp_path / name, {"model_type": "bert", "hidden_size": 7, "do_resize": False})
    write_json(tmp_path / "tokenizer.json", {"model": {"type": "WordPiece", "vocab": {}}})
    model, preprocess, tokenizer = load(tmp_path / "my-clip.safetensors")
    assert preprocess == Preprocess(model.config.vision.image_size)
    with pytest.raises(FileNotFoundError, match=r"texts of this model need .*tokenizer\.json"):
        tokenizer(["a dog"])
    (tmp_path / "my-clip.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(FileError, match=r"config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileError, match=r"tokenizer\.json"):
        load(tmp_path)


def test_heads_that_nothing_says_are_not_guessed(tmp_path):
    weights, _, _ = expected("hf")
    write_safetensors(tmp_path / "a.safetensors", weights)
    with pytest.raises(
        FileError, match=r"how many heads a width of 24 has, a config\.json must say"
    ):
        load(tmp_path / "a.safetensors")


def test_open_clip_configurations(tmp_path):
    model = small_model()
    arrays = export_arrays(model)
    write_safetensors(tmp_path / "open_clip_model.safetensors", arrays)
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
    text = {"context_length": 77, "vocab_size": 514, "width": 64, "heads": 4, "layers": 3}
    sizes = {"embed_dim": 64, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    colours = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
    beside = tmp_path / "open_clip_config.json"
    write_json(
        beside, {"model_cfg": sizes, "preprocess_cfg": colours | {"resize_mode": "shortest"}}
    )
    again, preprocess, _ = load(tmp_path)
    assert again.config == model.config
    assert preprocess.mean == (0.5, 0.5, 0.5)
    write_json(beside, {"model_cfg": sizes | {"quick_gelu": False}})
    assert load(tmp_path)[0].config.text.activation == "gelu"
    name = "open_clip_model.safetensors"
    (tmp_path / name).rename(tmp_path / "part.safetensors")
    write_json(tmp_path / f"{name}.index.json", {"weight_map": {"all": "part.safetensors"}})
    assert load(tmp_path)[0].config.text.activation == "gelu"  # as its configuration says
    (tmp_path / "part.safetensors").rename(tmp_path / name)
    for change, message in [
        ({"vision_cfg": vision | {"pool_type": "avg"}}, "asks for pool_type"),
        ({"text_cfg": text | {"no_causal_mask": True}}, "asks for no_causal_mask"),
        ({"vision_cfg": vision | {"head_width": 0}}, "ZeroDivision"),
        ({"vision_cfg": vision | {"mlp_ratio": 3.0}}, "mlp_width is 192, but 256 in the weights"),
    ]:
        write_json(beside, {"model_cfg": sizes | change})
        with pytest.raises(FileError, match=message):
            load(tmp_path)
    write_json(beside, {"model_cfg": sizes, "preprocess_cfg": {"resize_mode": "squash"}})
    with pytest.raises(FileError, match="squash"):
        load(tmp_path)


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
    """Configurations, names, shapes and types of any kind: FileError or a model, nothing else."""
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
    state = small_model().state_dict()
    model.load_state_dict(state, assign=True)
    assert all(p.data is state[name] for name, p in model.named_parameters())
    assert mg.nn.count_parameters(model) == mg.nn.count_parameters(small_model())

"""Checkpoints: what is saved comes back to the last bit, what is damaged is refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.data import training_preprocess
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.files import FileError, read_npz, write_npz
from clip_np.tokens import Tokenizer
from clip_np.weights import CHECKPOINT, read_checkpoint, save_checkpoint
from minigrad.optim import AdamW

CAPTIONS = ["a small red circle", "a large blue star above a ring", "an ä, a 日本 and a 🎈"]
TRAINING = {"step": 7, "elapsed": 1.5, "options": {"preset": "tiny"}, "source": {"task": "shapes"}}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CAPTIONS * 3, 560, context_length=23)


def new_model(tokenizer, seed: int = 0) -> clip_np.CLIP:
    config = CLIPConfig(
        embed_dim=8,
        vision=VisionConfig(image_size=16, patch_size=8, width=16, layers=2, heads=2),
        text=TextConfig(514, 77, width=12, layers=1, heads=3, mlp_width=20),
    )
    return clip_np.CLIP(config.for_tokenizer(tokenizer), np.random.default_rng(seed))


@pytest.fixture
def model(tokenizer) -> clip_np.CLIP:
    return new_model(tokenizer)


@pytest.fixture
def saved(tmp_path, model, tokenizer):
    """A run directory with the checkpoint of a model after one step."""
    optimizer = AdamW(model.parameters())
    clip_np.training_step(model, optimizer, images_of(6), tokenizer(CAPTIONS * 2), workers=1)
    save_checkpoint(tmp_path / CHECKPOINT, model, tokenizer, optimizer, TRAINING)
    return tmp_path / CHECKPOINT


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, 3, 16, 16)).astype(np.float32)


def features(model, tokenizer) -> tuple[np.ndarray, np.ndarray]:
    with mg.no_grad():
        images = model.encode_image(images_of(3)).numpy()
        return images, model.encode_text(tokenizer(CAPTIONS)).numpy()


def assert_same_features(model, other, tokenizer) -> None:
    for mine, yours in zip(features(model, tokenizer), features(other, tokenizer)):
        assert mine.dtype == yours.dtype
        assert (mine == yours).all()


def rewrite(path, change) -> None:
    """Change the header (a dict) and the arrays of a checkpoint file."""
    arrays = read_npz(path)
    header = json.loads(arrays["header"].tobytes())
    del header["contents"]  # the checksums, which files of version 0.1 do not have
    changed = change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(changed or header).encode(), np.uint8)
    write_npz(path, arrays)


# --- what is saved comes back ---------------------------------------------------------


def test_a_run_directory_and_its_file_open_alike(saved, model, tokenizer):
    for path in (saved.parent, saved, str(saved.parent), str(saved)):
        found, preprocess, found_tokenizer = clip_np.load(path)
        assert_same_features(model, found, tokenizer)
        assert found.config == model.config
        assert found_tokenizer.merges == tokenizer.merges
        assert preprocess == training_preprocess(16)
        assert not found.training


def test_every_number_comes_back(saved, model):
    state = clip_np.load(saved)[0].state_dict()
    assert list(state) == list(model.state_dict())
    for name, array in model.state_dict().items():
        assert state[name].tobytes() == array.tobytes(), name
        assert state[name].dtype == np.float32


def test_the_loaded_model_is_its_own(saved, model, tokenizer):
    first, _, _ = clip_np.load(saved)
    for parameter in first.parameters():
        parameter.data += 1
    assert_same_features(clip_np.load(saved)[0], model, tokenizer)
    image = Image.new("RGB", (40, 30), (255, 0, 0))
    pixels = clip_np.load(saved)[1](image)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == np.float32


def test_the_tokenizer_travels_along(saved, tokenizer):
    found = clip_np.load(saved)[2]
    assert found.context_length == 23
    rows = found(CAPTIONS)
    assert rows.shape == (3, 23)
    assert (rows == tokenizer(CAPTIONS)).all()
    assert found.decode(rows[1]) == CAPTIONS[1]


def test_training_state_comes_back(saved, model, tokenizer):
    found = read_checkpoint(saved)
    assert found.training == TRAINING
    optimizer = AdamW(found.model.parameters())
    optimizer.load_state_dict(found.optimizer_state)
    assert optimizer.step_count == 1
    save_checkpoint(saved.parent / "again.npz", found.model, found.tokenizer, optimizer, TRAINING)
    assert (saved.parent / "again.npz").read_bytes() == saved.read_bytes()


def test_a_model_alone_can_be_saved(tmp_path, model, tokenizer):
    save_checkpoint(tmp_path / "model.npz", model, tokenizer)
    found = read_checkpoint(tmp_path / "model.npz")
    assert found.training is None
    assert found.optimizer_state == {}
    assert_same_features(found.model, model, tokenizer)


def test_double_precision(saved, model, tokenizer):
    single, double = clip_np.load(saved)[0], clip_np.load(saved, dtype="float64")[0]
    assert {parameter.dtype for parameter in double.parameters()} == {np.dtype("float64")}
    images = images_of(3)
    with mg.no_grad():
        exact = double.encode_image(images.astype(np.float64)).numpy()
        assert exact.dtype == np.float64
        np.testing.assert_allclose(single.encode_image(images).numpy(), exact, atol=1e-5)
    save_checkpoint(saved, double, tokenizer)  # a double model may be saved as well
    assert_same_features(clip_np.load(saved)[0], model, tokenizer)


def test_the_activation_can_be_replaced(saved, model, tokenizer):
    found = clip_np.load(saved, activation="gelu")[0]
    assert found.config.vision.activation == found.config.text.activation == "gelu"
    pairs = zip(features(found, tokenizer), features(model, tokenizer))
    assert all(0 < np.abs(mine - yours).max() < 0.1 for mine, yours in pairs)
    for array, other in zip(found.parameters(), model.parameters()):
        assert (array.data == other.data).all()
    assert_same_features(clip_np.load(saved, activation="quick_gelu")[0], model, tokenizer)
    save_checkpoint(saved, found, tokenizer)
    assert_same_features(clip_np.load(saved)[0], found, tokenizer)


def test_a_file_of_version_0_1_opens_and_goes_on(saved, model, tokenizer):
    """It called the image encoder "visual"; all else was as it is now."""
    arrays = read_npz(saved)
    old = {name.replace("model/vision.", "model/visual."): a for name, a in arrays.items()}
    assert "model/visual.conv1.weight" in old
    assert "model/vision.conv1.weight" not in old
    header = json.loads(arrays["header"].tobytes())
    del header["contents"]
    old["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz(saved, old)
    assert_same_features(clip_np.load(saved)[0], model, tokenizer)
    checkpoint = read_checkpoint(saved)
    optimizer = AdamW(checkpoint.model.parameters())
    optimizer.load_state_dict(checkpoint.optimizer_state)
    save_checkpoint(saved, checkpoint.model, checkpoint.tokenizer, optimizer, TRAINING)
    new = read_npz(saved)
    assert new.keys() == arrays.keys()
    assert all(new[name].tobytes() == array.tobytes() for name, array in arrays.items())


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"activation": "relu"},
            r"`activation` must be one of \('quick_gelu', 'gelu'\), not 'relu'",
        ),
        ({"dtype": "float16"}, r"`dtype` must be one of \('float32', 'float64'\), not 'float16'"),
        ({"dtype": "nonsense"}, "`dtype` must be one of .* not 'nonsense'"),
        ({"backend": "abacus"}, "backend must be .* not 'abacus'"),
    ],
)
def test_wrong_options(saved, options, message):
    with pytest.raises(ValueError, match=message):
        clip_np.load(saved, **options)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or directory"):
        clip_np.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no model; looked for checkpoint\.npz"):
        clip_np.load(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_not_saved(saved, model, tokenizer, value):
    before = saved.read_bytes()
    model.text.transformer.resblocks[0].ln_1.weight.data[3] = value
    with pytest.raises(ValueError, match=r"text\.transformer\.resblocks\.0\.ln_1\.weight holds"):
        save_checkpoint(saved, model, tokenizer, training=TRAINING)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [CHECKPOINT]


def test_what_json_cannot_hold_leaves_the_old_file(saved, model, tokenizer):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(saved, model, tokenizer, training={"step": object()})
    assert saved.read_bytes() == before


def set_config(name: str, value, tower: str | None = None):
    def change(header, arrays) -> None:
        record = header["config"] if tower is None else header["config"][tower]
        record[name] = value

    return change


def remove(*path: str):
    def change(header, arrays) -> None:
        for key in path[:-1]:
            header = header[key]
        del header[path[-1]]

    return change


def drop(arrays: dict, name: str) -> None:
    del arrays[name]


def set_array(name: str, array: np.ndarray):
    return lambda header, arrays: arrays.__setitem__(name, array)


@pytest.mark.parametrize(
    "change, message",
    [
        (set_config("embed_dim", 16), r"disagree: .*proj has shape \(16, 8\).* needs \(16, 16\)"),
        (set_config("width", 24, "vision"), "weights and configuration disagree"),
        (set_config("layers", 3, "vision"), r"disagree: .*missing \['vision\.transformer"),
        (set_config("layers", 1, "vision"), r"unexpected \['vision\.transformer\.resblocks\.1"),
        (set_config("vocab_size", 10**13, "text"), "weights and configuration disagree"),
        (set_config("width", 0, "text"), "width must be a positive integer"),
        (set_config("heads", 5, "text"), "is not a multiple of 5 heads"),
        (set_config("layers", "2", "vision"), "layers must be a positive integer"),
        (set_config("activation", "relu", "vision"), "activation 'relu' is none of"),
        (set_config("colour", 3, "vision"), "unexpected keyword argument 'colour'"),
        (remove("config", "text"), "no checkpoint of clip_np"),
        (remove("config"), "KeyError"),
        (remove("tokenizer"), "KeyError"),
        (remove("training"), "KeyError"),
        (remove("format"), "KeyError"),
        (lambda header, arrays: [header], "no checkpoint of clip_np"),
        (lambda header, arrays: header | {"format": "clip_np checkpoint 99"}, "format .*99'"),
        (lambda header, arrays: header | {"tokenizer": "{}"}, "no checkpoint of clip_np"),
        (lambda header, arrays: header | {"tokenizer": 3}, "no checkpoint of clip_np"),
        (lambda header, arrays: header | {"config": None}, "no checkpoint of clip_np"),
        (lambda header, arrays: drop(arrays, "model/vision.proj"), r"missing \['vision\.proj'\]"),
        (set_array("model/extra", np.zeros(3)), r"unexpected \['extra'\]"),
        (set_array("model/vision.proj", np.zeros((8, 16))), "disagree"),
        (set_array("model/logit_scale", np.array("four")), "disagree"),
    ],
    ids=range(24),
)
def test_contradictions_are_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(FileError, match=message) as caught:
        clip_np.load(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        None,
        np.frombuffer(b"{", np.uint8),
        np.frombuffer(b"\xff\xfe", np.uint8),
        np.frombuffer(b"[" * 100_000, np.uint8),
        np.arange(3.0),
        np.zeros(0, np.uint8),
    ],
)
def test_a_header_that_is_none_is_refused(saved, header):
    arrays = read_npz(saved)
    arrays.pop("header")
    write_npz(saved, arrays if header is None else {"header": header, **arrays})
    with pytest.raises(FileError, match="no checkpoint of clip_np"):
        clip_np.load(saved)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, weights=np.arange(3))
    with pytest.raises(FileError, match=r"no checkpoint of clip_np .*header"):
        clip_np.load(path)
    np.savez(path, header=np.array([{"format": "x"}], dtype=object))
    with pytest.raises(FileError, match="Python objects, which are never loaded"):
        clip_np.load(path)
    path.write_bytes(pickle.dumps({"header": 1}))
    with pytest.raises(FileError, match=r"a\.npz: damaged"):
        clip_np.load(path)


def test_a_checkpoint_cut_short_is_refused(saved):
    data = saved.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.7, 0.999):
        saved.write_bytes(data[: int(share * len(data))])
        with pytest.raises(FileError, match=rf"{CHECKPOINT}: damaged, or not an \.npz file"):
            clip_np.load(saved.parent)


def test_a_flipped_bit_in_the_weights_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    place = data.index(b"model/vision.proj.npy") + 300
    data[place] ^= 4
    saved.write_bytes(data)
    with pytest.raises(FileError, match="Bad CRC-32"):
        clip_np.load(saved)


def test_a_copied_directory_is_as_good(saved, model, tokenizer, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "a run with blanks, ä"
    shutil.copytree(saved.parent, copy)
    assert_same_features(clip_np.load(copy)[0], model, tokenizer)

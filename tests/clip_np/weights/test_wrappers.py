"""What other programs put around a model: names in front, dicts around, suffixes."""

import warnings

import numpy as np
import pytest
from published_models import published, tiny_model
from torch_zip import save

from clip_np.cli import main
from clip_np.files import FileError, read_safetensors, write_safetensors
from clip_np.weights import AssumedActivation, export_arrays, load

WRAPPERS = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "clip."),
    *("clip_model.", "base_model.model.", "state_dict.", "net.model.module.", "a.b.c."),
]


def assert_same_model(found, model):
    state = model.state_dict()
    assert found.state_dict().keys() == state.keys()
    for path, array in found.state_dict().items():
        assert (array == state[path]).all()


@pytest.mark.parametrize("layout", ["hf", "openai"])
@pytest.mark.parametrize("prefix", WRAPPERS)
def test_a_beginning_that_all_names_share_is_taken_away(tmp_path, layout, prefix):
    path = published(tmp_path, layout)
    arrays, metadata = read_safetensors(path)
    model = load(path, activation="quick_gelu").model
    write_safetensors(path, {prefix + name: array for name, array in arrays.items()}, metadata)
    assert_same_model(load(path, activation="quick_gelu").model, model)


def test_wrappers_around_parts_of_a_model_are_taken_away(tmp_path):
    model = tiny_model()
    arrays = {
        name.replace("visual.", "visual._orig_mod.").replace(".attn.", ".attn.module."): array
        for name, array in export_arrays(model).items()
    }
    write_safetensors(tmp_path / "a.safetensors", arrays)
    assert_same_model(load(tmp_path / "a.safetensors", activation="gelu").model, model)


def test_a_name_with_and_without_its_wrapper_is_refused(tmp_path):
    arrays = export_arrays(tiny_model())
    arrays["visual.module.proj"] = arrays["visual.proj"] + 1
    write_safetensors(tmp_path / "a.safetensors", arrays)
    with pytest.raises(FileError, match=r"visual\.proj is there twice"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize(
    "keys",
    [("state_dict",), ("model", "state_dict"), ("state_dict_ema",), ("ema",), ("module",), ()],
)
def test_dicts_around_the_weights_in_every_pytorch_file(tmp_path, suffix, keys):
    model = tiny_model()
    tree = {f"model.{name}": array for name, array in export_arrays(model).items()}
    for key in keys:
        tree = {key: tree, "epoch": 1}
    if not keys:
        tree = {"visual": {}, **tree}
    path = save(tmp_path / f"last{suffix}", tree)
    assert_same_model(load(path, activation="gelu").model, model)
    assert_same_model(load(tmp_path, activation="gelu").model, model)  # the only weights in it


def test_of_several_files_of_weights_one_must_be_named(tmp_path):
    for name in ("a.pt", "b.ckpt"):
        save(tmp_path / name, export_arrays(tiny_model()))
    with pytest.raises(
        FileNotFoundError, match=r"several files of weights, a\.pt and b\.ckpt|a\.pt"
    ):
        load(tmp_path)


def test_an_activation_that_no_file_names_is_said_to_be_assumed(tmp_path, capsys):
    path = tmp_path / "epoch_10.safetensors"
    write_safetensors(path, export_arrays(tiny_model()))
    with pytest.warns(AssumedActivation, match=r"epoch_10.*assumed quick_gelu.*`activation`"):
        assert load(path).model.config.vision.activation == "quick_gelu"
    with pytest.warns(AssumedActivation):
        assert main(["info", str(path)]) == 0
    assert "assumed" in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path, activation="gelu").model.config.vision.activation == "gelu"
        assert main(["info", str(path), "--activation", "gelu"]) == 0
        (tmp_path / "hf").mkdir()
        load(published(tmp_path / "hf", "hf"))
    assert "assumed" not in capsys.readouterr().out


def test_openais_own_archives_have_quick_gelu(tmp_path):
    arrays = dict(export_arrays(tiny_model()), input_resolution=np.array(32))
    path = save(tmp_path / "ViT.pt", arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path).model.config.text.activation == "quick_gelu"

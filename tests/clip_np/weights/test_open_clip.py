"""open_clip's configurations: what they say is followed, or refused."""

import pytest
from published_models import tiny_model, write_json

from clip_np.files import FileError, write_safetensors
from clip_np.weights import export_arrays, load


def test_open_clip_configurations(tmp_path):
    model = tiny_model()
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
    assert load(tmp_path)[1].squash
    write_json(beside, {"model_cfg": sizes, "preprocess_cfg": {"resize_mode": "longest"}})
    with pytest.raises(FileError, match="longest"):
        load(tmp_path)
    gaps = {"vision_cfg": {"width": 64, "head_width": 16}, "text_cfg": {"width": 64, "heads": 4}}
    write_json(beside, {"model_cfg": {"quick_gelu": True, **gaps}})
    assert load(tmp_path)[0].config == model.config  # the shapes say the rest

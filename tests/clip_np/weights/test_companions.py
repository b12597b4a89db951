"""Files in a folder that belong together, and those that do not."""

import numpy as np
import pytest
from published_models import expected, published, tiny_model, write_json

from clip_np.data import Preprocess
from clip_np.files import FileError, write_safetensors
from clip_np.weights import export_arrays, load


def test_a_folder_with_files_for_two_libraries(tmp_path):
    """open_clip's files, with config.json and weights of the image encoder alone."""
    arrays = export_arrays(tiny_model())
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

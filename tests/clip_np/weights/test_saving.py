"""What is written comes back to the last bit, in our reader and in theirs."""

import numpy as np
import pytest
from published_models import TINY, expected, published, tiny_model

from clip_np import CLIP, Tokenizer
from clip_np.data import training_preprocess
from clip_np.files import read_safetensors
from clip_np.weights import convert, load, save_checkpoint, save_pretrained


def test_ours_to_hugging_face_and_back_is_bit_equal(tmp_path):
    model = tiny_model()
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
    model = tiny_model()
    save_pretrained(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model.vision.proj.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"visual_projection.weight holds a NaN"):
        save_pretrained(model, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_convert_refuses_another_name_for_a_single_file(tmp_path):
    with pytest.raises(ValueError, match=r"`target`, .*a\.bin, must end in \.safetensors"):
        convert(tmp_path / "nowhere", tmp_path / "a.bin", "openai")

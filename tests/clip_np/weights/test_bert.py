"""Folders of BERTs and sentence encoders: opened, or refused with the reason."""

import numpy as np
import pytest
import torch_zip
from bert_folders import CONFIG, PIECES, POOLING, STEPS, arrays_of, encoder, write_folder

import clip_np
from clip_np.files import FileError
from clip_np.weights import load_bert

TEXTS = ["a red ball", "balls", "a", "red red red"]


def vectors(model, tokenizer, texts=TEXTS):
    return model.plain_forward(tokenizer(texts)).data


def test_a_plain_bert_gives_means_that_are_not_scaled(tmp_path):
    model, tokenizer = clip_np.load_bert(write_folder(tmp_path))
    assert tokenizer.context_length == 12
    found = model.encode(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors(encoder(), tokenizer), rtol=2e-5, atol=1e-5)
    np.testing.assert_array_equal(model.encode("balls"), model.encode(["balls"]))
    assert model.encode([]).shape == (0, 8)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_sentence_encoder_does_what_its_files_say(tmp_path, pooling, normalise):
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
    settings = {name: key == pooling for key, name in names.items()}
    steps = STEPS if normalise else STEPS[:2]
    folder = write_folder(tmp_path, steps=steps, pooling=settings, sentence={"max_seq_length": 7})
    model, tokenizer = load_bert(folder)
    assert tokenizer.context_length == 7
    expected = vectors(encoder(pooling), tokenizer)
    if normalise:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=2e-5, atol=1e-5)


def test_many_texts_in_their_order_whatever_their_length(tmp_path):
    model, _ = load_bert(write_folder(tmp_path, steps=STEPS))
    texts = [TEXTS[number % 4] for number in range(150)]
    together = model.encode(texts)
    for number, text in enumerate(texts[:8]):
        np.testing.assert_allclose(together[number], model.encode(text)[0], atol=1e-5)
    np.testing.assert_allclose(together[140:], together[:10], atol=1e-5)


def test_long_texts_are_cut_with_a_warning(tmp_path):
    folder = write_folder(tmp_path, steps=STEPS, sentence={"max_seq_length": 4})
    model, _ = load_bert(folder)
    with pytest.warns(UserWarning, match="1 of 2 texts are cut to 4 tokens; the first is text 1"):
        found = model.encode(["a", "a red ball"])
    np.testing.assert_allclose(found[1], model.encode("a red")[0], atol=1e-6)


def old_names(arrays):
    """As BERT's first converter wrote them, with the heads of its training."""
    renamed = {}
    for name, array in arrays.items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        renamed[f"bert.{name}"] = array
    renamed["bert.embeddings.position_ids"] = np.arange(12)[None]
    renamed["bert.pooler.dense.weight"] = np.zeros((8, 8), np.float32)
    renamed["cls.predictions.bias"] = np.zeros(9, np.float32)
    renamed["cls.seq_relationship.weight"] = np.zeros((2, 8), np.float32)
    return renamed


def test_old_names_and_other_parts(tmp_path):
    new, _ = load_bert(write_folder(tmp_path / "new"))
    old, _ = load_bert(write_folder(tmp_path / "old", old_names(arrays_of(encoder()))))
    np.testing.assert_array_equal(new.encode(TEXTS), old.encode(TEXTS))


def test_a_pickled_state(tmp_path):
    expected, _ = load_bert(write_folder(tmp_path / "whole"))
    folder = write_folder(tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch_zip.save(folder / "pytorch_model.bin", arrays_of(encoder()))
    model, _ = load_bert(folder)
    np.testing.assert_array_equal(model.encode(TEXTS), expected.encode(TEXTS))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "mpnet"}, "a model of type 'mpnet', expected 'bert'"),
        ({"model_type": "roberta"}, "a model of type 'roberta'"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new', the encoder here has 'gelu'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"num_hidden_layers": 3}, "weights and configuration disagree: missing"),
        ({"num_hidden_layers": 10**9}, "weights and configuration disagree: missing"),
        ({"num_hidden_layers": 1}, "weights and configuration disagree: unexpected"),
        ({"vocab_size": 10**9}, "token_embedding.weight has shape"),
        ({"hidden_size": "8"}, "width must be a positive integer"),
        ({"num_attention_heads": 3}, "not a multiple of 3 heads"),
        ({"layer_norm_eps": 0}, "norm_eps"),
        ({"pad_token_id": 1}, "padding token is 0, but the model leaves out 1"),
    ],
)
def test_other_models_are_refused(tmp_path, change, message):
    folder = write_folder(tmp_path, config=CONFIG | change)
    with pytest.raises(FileError, match=message) as caught:
        load_bert(folder)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "steps, pooling, message",
    [
        (STEPS, {"pooling_mode_max_tokens": True}, "the pooling is pooling_mode_max_tokens"),
        (STEPS, POOLING | {"pooling_mode_cls_token": True}, "pooling_mode_cls_token, expected one"),
        (STEPS, {}, "the pooling is missing"),
        (STEPS, {"pooling_mode": "lasttoken"}, "pooling_mode_lasttoken"),
        (STEPS[:1], POOLING, "the steps are"),
        ([*STEPS, {"path": "3", "type": "models.Dense"}], POOLING, "Dense"),
        ([STEPS[0], STEPS[1] | {"path": "../../etc"}], POOLING, "not the name of a folder"),
        ([STEPS[0], STEPS[1] | {"path": ".."}], POOLING, "not the name of a folder"),
        ([STEPS[0], STEPS[1] | {"path": 3}], POOLING, "not the name of a folder"),
        ({"a": 1}, POOLING, "expected a list of objects"),
        ([3], POOLING, "expected a list of objects"),
        ([{"path": ""}], POOLING, "KeyError: 'type'"),
    ],
)
def test_other_sentence_encoders_are_refused(tmp_path, steps, pooling, message):
    folder = write_folder(tmp_path, steps=steps, pooling=pooling)
    with pytest.raises(FileError, match=message) as caught:
        load_bert(folder)
    assert str(tmp_path) in str(caught.value)


def test_the_newest_form_of_the_pooling(tmp_path):
    folder = write_folder(tmp_path, steps=STEPS[:2], pooling={"pooling_mode": "cls"})
    assert load_bert(folder)[0].encoder.config.pooling == "cls"


@pytest.mark.parametrize("length", [0, 1, -5, "7", True, 1.5])
def test_lengths_that_are_none(tmp_path, length):
    folder = write_folder(tmp_path, steps=STEPS, sentence={"max_seq_length": length})
    with pytest.raises(FileError, match="max_seq_length"):
        load_bert(folder)


def test_prompts_and_a_second_lowering_are_refused(tmp_path):
    folder = write_folder(tmp_path, steps=STEPS, sentence={"do_lower_case": True})
    load_bert(folder)  # it is uncased anyway
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    with pytest.raises(FileError, match="do_lower_case is true"):
        load_bert(folder)
    prompts = folder / "config_sentence_transformers.json"
    prompts.write_text('{"prompts": {"query": "query: "}, "default_prompt_name": "query"}')
    with pytest.raises(FileError, match="no prompt is put before texts"):
        load_bert(folder)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"it would have a config\.json"):
        load_bert(tmp_path)
    folder = write_folder(tmp_path / "a")
    (folder / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        load_bert(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no weights; looked for model\.safetensors"):
        load_bert(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    arrays = arrays_of(encoder())
    arrays["embeddings.LayerNorm.weight"] = np.full(8, value, np.float32)
    with pytest.raises(FileError, match=r"ln_embedding\.weight"):
        load_bert(write_folder(tmp_path, arrays))


def test_a_vocabulary_larger_than_the_model(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "vocab.txt").write_text("\n".join([*PIECES, "more"]))
    with pytest.raises(FileError, match="vocab_size is 10, but the model has rows for 9"):
        load_bert(folder)


def test_load_says_who_opens_a_bert(tmp_path):
    with pytest.raises(FileError, match="'bert', expected 'clip'; load_bert opens it"):
        clip_np.load(write_folder(tmp_path))


# --- a CLIP with a BERT ---------------------------------------------------------------


def clip_with_bert():
    tokenizer = clip_np.tokens.WordPieceTokenizer(PIECES, context_length=8)
    config = clip_np.encoders.choose_encoders("tiny", text="bert").for_tokenizer(tokenizer)
    return clip_np.CLIP(config, np.random.default_rng(0)), tokenizer


def test_a_checkpoint_keeps_all_of_it(tmp_path):
    model, tokenizer = clip_with_bert()
    clip_np.weights.save_checkpoint(tmp_path / "a.npz", model, tokenizer)
    loaded, _, again = clip_np.load(tmp_path / "a.npz")
    assert loaded.config == model.config
    assert again.pieces == tokenizer.pieces
    np.testing.assert_array_equal(
        loaded.encode_text(again(TEXTS)).data, model.encode_text(tokenizer(TEXTS)).data
    )


def test_sizes_are_read_from_shapes():
    model, _ = clip_with_bert()
    stated = {"vision": {"heads": 4}, "text": {"heads": 4}}
    assert clip_np.weights.sizes.infer_config(model.state_dict(), stated) == model.config


@pytest.mark.parametrize("layout", ["openai", "hf"])
def test_layouts_without_a_bert_say_so(tmp_path, layout):
    model, tokenizer = clip_with_bert()
    with pytest.raises(ValueError, match=f"'{layout}' has no names for a text encoder of kind 'be"):
        clip_np.weights.export_arrays(model, layout)
    clip_np.weights.save_checkpoint(tmp_path / "a.npz", model, tokenizer)
    with pytest.raises(ValueError, match="kind 'bert', only for gpt; keep the model as a c"):
        clip_np.weights.convert(tmp_path / "a.npz", tmp_path / "b.safetensors", layout)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

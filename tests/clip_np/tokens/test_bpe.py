"""Byte-pair encoding: the plain loops, and the fast forms that equal them."""

import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from captions import CAPTIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_np.tokens import Tokenizer, bpe, learn_merges, plain


@pytest.fixture
def trained():
    return Tokenizer.train(CAPTIONS, vocab_size=560)


def test_the_earliest_merge_comes_first_and_all_its_occurrences_at_once():
    by_end = Tokenizer([("b", "c</w>"), ("a", "b"), ("ab", "ab")])
    assert by_end.encode("abc") == [64, 512]
    assert by_end.encode("ababc") == [513, 64, 512]
    by_start = Tokenizer([("a", "b"), ("b", "c</w>"), ("ab", "ab")])
    assert by_start.encode("abc") == [512, 322]
    assert by_start.encode("ababc") == [514, 322]
    assert Tokenizer([("a", "a")]).encode("aaaaa") == [512, 512, 320]


def one_join_at_a_time(tokenizer, text):
    """By the definition: look for the earliest merge, join it everywhere, look again."""
    pieces = [*text[:-1], text[-1] + "</w>"]
    while found := [pair for pair in tokenizer.merges if pair in pairwise(pieces)]:
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == found[0]:
                pieces[place : place + 2] = ["".join(found[0])]
            place += 1
    return [tokenizer.vocabulary[piece] for piece in pieces]


@settings(deadline=None)
@given(st.text("abc", min_size=1, max_size=20), st.lists(st.text("abc", min_size=1), max_size=20))
def test_joins_follow_the_order_of_the_merges(text, captions):
    tokenizer = Tokenizer(learn_merges(Counter(captions + ["abcab"] * 3), 30))
    assert tokenizer.encode(text) == one_join_at_a_time(tokenizer, text)


def test_a_word_of_many_letters_takes_no_minute(trained):
    word = "".join(np.random.default_rng(0).choice(list("abcdelrstu"), 100_000))
    start = time.process_time()
    assert trained.decode(trained.encode(word)) == word
    assert time.process_time() - start < 20


LETTERS = st.text("abc", min_size=1, max_size=20)
RANKS = st.lists(st.tuples(st.text("abc", max_size=3), st.text("abc", max_size=3)), unique=True)


@settings(deadline=None)
@given(LETTERS, RANKS)
def test_fast_joins_are_the_plain_ones_for_any_ranks(word, pairs):
    ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs) if left and right}
    assert bpe.merge_pairs(list(word), ranks) == plain.merge_pairs(list(word), ranks)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30), st.lists(st.text("the ca", min_size=1), max_size=20))
def test_fast_joins_are_the_plain_ones_for_learned_ranks(word, captions):
    merges = learn_merges(Counter(" ".join(captions).split() + ["the", "cat"] * 3), 40)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert bpe.merge_pairs(list(word), ranks) == plain.merge_pairs(list(word), ranks)


@pytest.mark.parametrize("merge_pairs", [plain.merge_pairs, bpe.merge_pairs])
def test_joins_change_nothing_of_their_input(merge_pairs):
    pieces = ["a", "b", "c"]
    assert merge_pairs(pieces, {("a", "b"): 0}) == ["ab", "c"]
    assert pieces == ["a", "b", "c"]
    assert merge_pairs([], {("a", "b"): 0}) == []


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 4), max_size=12))
def test_incremental_counts_agree_with_counting_anew(word_counts):
    merges = learn_merges(word_counts, 40)
    assert merges == plain.learn_merges(word_counts, 40)
    assert Tokenizer(merges).vocab_size == 514 + len(merges)  # every piece is made once

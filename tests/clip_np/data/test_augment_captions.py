"""Captions that are varied at random."""

import numpy as np
import pytest

from clip_np.data import Augmentation, extra_words
from clip_np.data.augment_captions import drop_words
from clip_np.data.augmentation import augment_caption


def test_extra_words_come_from_the_tags_and_are_new():
    rng = np.random.default_rng(0)
    tags = "cat, Orange, , dog food, cat ,fur, catalogue, range"
    results = [extra_words("an orange cat", tags, rng, 0.5) for _ in range(400)]
    unchanged = sum(result == "an orange cat" for result in results)
    assert 150 < unchanged < 250
    seen = set()
    for result in results:
        caption, *extra = result.split(", ")
        assert caption == "an orange cat"
        assert len(extra) <= 3 and len(set(extra)) == len(extra)
        seen.add(tuple(sorted(extra)))
    assert seen == {
        (),
        ("catalogue",),
        ("dog food",),
        ("fur",),
        ("catalogue", "dog food"),
        ("catalogue", "fur"),
        ("dog food", "fur"),
        ("catalogue", "dog food", "fur"),
    }


def test_extra_words_without_any():
    rng = np.random.default_rng(0)
    assert extra_words("a cat", "", rng, 1.0) == "a cat"
    assert extra_words("a cat", "Cat, a cat", rng, 1.0) == "a cat"
    assert {extra_words("a cat", "fur", rng, 0.0) for _ in range(20)} == {"a cat"}
    assert extra_words("a cat", "❤", rng, 1.0) == "a cat, ❤"


def test_dropped_words_are_about_so_many_and_the_rest_keeps_its_order():
    words = [f"w{number:03}" for number in range(500)]
    kept = drop_words(" ".join(words), np.random.default_rng(0), 0.2).split()
    assert kept == sorted(kept) and set(kept) < set(words)
    assert 360 < len(kept) < 440


def test_some_word_stays():
    rng = np.random.default_rng(0)
    assert {drop_words("a black cat", rng, 1.0) for _ in range(60)} == {"a", "black", "cat"}
    assert drop_words("猫", rng, 1.0) == "猫"
    assert drop_words("a  black cat", rng, 0.0) == "a black cat"


@pytest.mark.parametrize("caption", ["", " "])
def test_a_caption_without_words_stays_as_it_is(caption):
    assert drop_words(caption, np.random.default_rng(0), 0.5) == caption


def test_tags_are_added_after_words_are_dropped():
    rng = np.random.default_rng(0)
    harsh = Augmentation(word_dropout=1.0)
    assert augment_caption("a cat", "fur", rng, harsh, 1.0) in ("a, fur", "cat, fur")
    assert augment_caption("a  cat", None, rng, Augmentation(), 1.0) == "a  cat"

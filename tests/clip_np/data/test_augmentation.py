"""Images and captions that are varied at random."""

import numpy as np
from small_data import noise

from clip_np.data import augment, extra_words


def test_shift_moves_whole_images_and_repeats_edges():
    images = noise(200, 6, 5, 3)
    moved = augment(images, np.random.default_rng(0), shift=2)
    assert (moved.shape, moved.dtype) == (images.shape, np.uint8)
    seen = set()
    for before, after in zip(images, moved):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if (
                before[np.clip(np.arange(6) + down, 0, 5)][:, np.clip(np.arange(5) + right, 0, 4)]
                == after
            ).all()
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 25


def test_augment_changes_nothing_of_its_input_and_follows_the_generator():
    images = noise(4, 6, 6, 3)
    before = images.copy()
    first, again, other = (
        augment(images, np.random.default_rng(seed), 1, 0.2) for seed in (5, 5, 6)
    )
    assert (images == before).all()
    assert (first == again).all() and (first != other).any()
    assert (augment(images, np.random.default_rng(5), 0, 0.0) == images).all()


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

"""The shapes task: training pairs, and the fixed test split."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from shapes_task import HELD_OUT, foreground, objects

from clip_np.data import drawing, scenes, shapes


@pytest.fixture(scope="module")
def pairs():
    return shapes.training_pairs(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def split():
    return shapes.test_split(0)


def test_images_and_captions_come_in_equal_number(pairs):
    images, captions = pairs
    assert images.shape == (3000, 32, 32, 3)
    assert images.dtype == np.uint8
    assert len(captions) == 3000
    images, captions = shapes.training_pairs(0, np.random.default_rng(0))
    assert images.shape == (0, 32, 32, 3)
    assert captions == []
    with pytest.raises(ValueError, match="negative"):
        shapes.training_pairs(-1, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_bytes():
    count = drawing.CHUNK + 3
    first, again, other = (
        shapes.training_pairs(count, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()
    assert first[1] != other[1]


def test_the_four_kinds_and_their_sizes(split):
    sizes = {kind: len(part.captions) for kind, part in split.items()}
    assert sizes == {"all": 1000, "heldout": 1000, "zeroshot_seen": 800, "zeroshot_heldout": 160}
    for part in split.values():
        assert part.images.shape == (len(part.captions), 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert part.labels.shape == (len(part.captions),)
        assert part.labels.dtype == np.int64


def test_retrieval_captions_are_distinct(split):
    for kind in ("all", "heldout"):
        assert len(set(split[kind].captions)) == 1000
        assert (split[kind].labels == -1).all()
    named = {pair for caption in split["all"].captions for pair in objects(caption)}
    assert len(named) == 48
    named = {pair for caption in split["heldout"].captions for pair in objects(caption)}
    assert named == HELD_OUT


def test_zero_shot_images_show_one_object_of_every_class(split):
    seen, held_out = split["zeroshot_seen"], split["zeroshot_heldout"]
    assert set(held_out.labels.tolist()) == set(scenes.HELD_OUT_LABELS)
    assert set(seen.labels.tolist()) == set(range(48)) - set(scenes.HELD_OUT_LABELS)
    for part in (seen, held_out):
        assert set(Counter(part.labels.tolist()).values()) == {20}
        assert part.captions == [f"a {scenes.CLASSES[label]}" for label in part.labels]
    part = seen.images[seen.labels == scenes.CLASSES.index("green square")]
    mask, _ = foreground(part)
    for image, inside in zip(part, mask):
        red, green, blue = np.median(image[inside], axis=0)
        assert green > red + 40
        assert green > blue + 40
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) < 15  # one object, not two


def test_the_definition_has_not_changed(split):
    """A change would make old and new figures incomparable.

    Pixels are compared on average: the last bit of a sine differs between
    processors.
    """
    images, captions = shapes.training_pairs(1000, np.random.default_rng(0))
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest().startswith("2ed82f5999f2e46e")
    captions = [caption for part in split.values() for caption in part.captions]
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest().startswith("dc7bdc4d4aea3c06")
    means = [images.mean(), *(part.images.mean() for part in split.values())]
    assert means == pytest.approx([127.23954, 127.40174, 131.00105, 127.1338, 127.55847], abs=1e-3)


def test_the_same_seed_gives_the_same_split(split):
    again, other = shapes.test_split(0), shapes.test_split(1)
    for kind, part in split.items():
        assert part.images.tobytes() == again[kind].images.tobytes()
        assert part.captions == again[kind].captions
        assert part.images.tobytes() != other[kind].images.tobytes()

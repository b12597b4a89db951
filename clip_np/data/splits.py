"""Which pairs are for training, and which are kept back?

A model is judged on images that it has not been trained on. So every pair belongs to
one split:

    train         the model learns from these
    validation    looked at during training, to see whether it goes well
    test          looked at once, at the end; takes part in no decision

A row of a table, the name of a file or the name of a folder can say which split it is.
If nothing says "validation", a few training images are held out for it. The test
split is never changed, with one exception: data sets of the `datasets` library often
come in one piece, called "train", and then `tutorial_split` cuts off a test split.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from clip_np.data.random_streams import SPLIT_STREAM

SPLIT_NAMES = ("train", "validation", "test")
SPLITS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
"""What a file, a folder or a row calls its split -> what it is called here."""

TEST_PAIRS = 2000
TUTORIAL_SEED = 42
"""Size of the test split of a data set without one, and the seed of the shuffle that
picks it. Both are as in the tutorial that the preset "tutorial" follows, so that
figures can be compared."""


def split_of(names: Iterable[str]) -> str:
    """The split that a list of names stands for: the first known name decides.

    names are for instance the words of a file's name, then the names of its folders.
    Case, digits and punctuation around a name are ignored. Without a known name the
    split is "train".

    >>> split_of(["photos", "val2017", "test"])  # "photos" is unknown, "val" is known
    'validation'
    >>> split_of(["contest", "latest"])
    'train'
    """
    for name in names:
        if is_split_name(name):
            return SPLITS[_word(name)]
    return "train"


def is_split_name(name: str) -> bool:
    """Whether a name is that of a split.

    >>> is_split_name("val2017"), is_split_name("cats")
    (True, False)
    """
    return _word(name) in SPLITS


def _word(name: str) -> str:
    return name.strip(" -_.0123456789").lower()


def hold_out(names: Sequence[str], splits: np.ndarray, fraction: float, seed: int) -> list[int]:
    """Rows to move from train to validation: `fraction` of the images, at least one.

    names (N): which image each row shows. splits (N,): the split of each row. An image
    is held out with all its captions. To validate on an image that was trained on, with
    another caption, would look better than it is.

    >>> splits = np.array(["train"] * 4)
    >>> hold_out(["a.png", "a.png", "b.png", "b.png"], splits, fraction=0.5, seed=0)
    [2, 3]
    """
    train_rows = np.flatnonzero(splits == "train")
    if fraction == 0 or len(train_rows) == 0:
        return []
    image_of, images = _number_images(names, train_rows)
    if images < 2:
        return []
    count = max(1, round(fraction * images))
    count = min(count, images - 1)  # something must be left to train on
    chosen = np.random.default_rng([seed, SPLIT_STREAM]).choice(images, count, replace=False)
    return train_rows[np.isin(image_of, chosen)].tolist()


def _number_images(names: Sequence[str], rows: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of the image that each of `rows` shows, and how many images there are.

    They are numbered in the order in which they appear. To hold the names of millions
    of images takes much memory, so digests of 8 bytes stand for them. That two of a
    million images have the same digest happens once in 37 million such sets.
    """
    digests = np.fromiter((_digest(names[row]) for row in rows), np.uint64, len(rows))
    _, first, digest_of = np.unique(digests, return_index=True, return_inverse=True)
    number_of = np.empty(len(first), dtype=np.int64)
    number_of[np.argsort(first)] = np.arange(len(first))
    return number_of[digest_of], len(first)


def _digest(name: str) -> int:
    letters = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(letters, digest_size=8).digest(), "little")


def tutorial_split(rows: int) -> np.ndarray:
    """The rows to test on, out of `rows` in a data set without splits: an int array.

    There are 2,000 of them, or a fifth of the rows if the data set has fewer than 4,000
    rows. `dataset.train_test_split(test_size=2000, seed=42)` of the `datasets` library
    picks the same rows.

    >>> tutorial_split(10_000).shape
    (2000,)
    >>> tutorial_split(50).shape
    (10,)
    """
    count = TEST_PAIRS if rows >= 2 * TEST_PAIRS else rows // 5
    return np.random.default_rng(TUTORIAL_SEED).permutation(rows)[:count]


def tutorial_rows(names: Sequence[str]) -> np.ndarray:
    """The rows to test on, chosen by images; names (N): which image each row shows.

    Where each row shows another image, they are those of `tutorial_split`. No image is
    both trained and tested on, with another caption.

    >>> tutorial_rows(["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]).tolist()
    [8, 9]
    """
    image_of, images = _number_images(names, np.arange(len(names)))
    if images == len(names):
        return tutorial_split(images)
    return np.flatnonzero(np.isin(image_of, tutorial_split(images)))

"""Pairs, and which of them each step gets."""

import time

import numpy as np
import pytest
from small_data import rows_of_steps

from clip_np.data import DataError, Pairs


def test_pairs_from_arrays_and_select():
    images = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)  # (4, 2, 3, 3)
    pairs = Pairs.from_arrays(images, ["a", "b", "c", "d"])
    some = pairs.select(np.array([3, 1, 1]))
    assert (len(pairs), len(some), some.captions) == (4, 3, ["d", "b", "b"])
    assert some.names == ["image 3", "image 1", "image 1"]
    assert (np.asarray(some.open_image(0)) == images[3]).all()
    tagged = Pairs(["a", "b"], ["x", "y"], ["p", "q"], [images[0], images[1]]).select([1])
    assert tagged.tags == ["q"]


@pytest.mark.parametrize(
    ("shape", "dtype", "captions", "message"),
    [
        ((2, 4, 4), np.uint8, ["a", "b"], r"expected uint8 .* got uint8 \(2, 4, 4\) and 2 capt"),
        ((2, 4, 4, 3), np.float32, ["a", "b"], r"expected uint8 .* got float32 \(2, 4, 4, 3\)"),
        ((2, 4, 4, 4), np.uint8, ["a", "b"], r"got uint8 \(2, 4, 4, 4\)"),
        ((2, 4, 4, 3), np.uint8, ["a"], "and 1 captions"),
        ((2, 4, 4, 3), np.uint8, ["a", ""], "1 captions are empty: those of image 1"),
    ],
)
def test_pairs_from_wrong_arrays(shape, dtype, captions, message):
    with pytest.raises(DataError, match=message):
        Pairs.from_arrays(np.zeros(shape, dtype), captions)


@pytest.mark.parametrize(
    "length, batch_size", [(4, 4), (5, 4), (7, 4), (11, 4), (12, 4), (30, 7), (1, 1), (3, 1)]
)
def test_an_epoch_holds_no_row_twice_and_leaves_out_less_than_a_batch(length, batch_size):
    per_epoch = length // batch_size
    steps = 12 * per_epoch
    batches = np.array(list(rows_of_steps(length, batch_size, 0, 0, steps)))
    assert batches.shape == (steps, batch_size)
    epochs = batches.reshape(12, per_epoch * batch_size)
    for epoch in epochs:
        assert len(set(epoch.tolist()) & set(range(length))) == epoch.size > length - batch_size
    if length > 3:
        assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1
    assert set(batches.ravel().tolist()) == set(range(length))  # what is left out changes
    for start in (0, 1, steps // 2, steps - 1):
        resumed = list(rows_of_steps(length, batch_size, 0, start, steps))
        assert (np.array(resumed) == batches[start:]).all()


def test_resuming_late_does_not_replay_the_run():
    started = time.process_time()
    rows = next(rows_of_steps(6131, 128, 0, 10_000_000, 10_000_001))
    assert time.process_time() - started < 1
    assert len(set(rows.tolist())) == 128

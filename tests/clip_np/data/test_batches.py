"""Batches depend on the seed and the step alone, and threads end."""

import contextlib
import functools
import io
import re
import time

import numpy as np
import pytest
from loaders import assert_same, failing_stream, loader_of, our_threads
from PIL import Image
from small_data import noise, pairs_on_disk, rows_of_steps, some_pairs

from clip_np.data import (
    AUGMENTATIONS,
    Augmentation,
    DataError,
    Pairs,
    kept_squares,
    load_images,
    opened,
    resize_and_crop,
    to_model_input,
)
from clip_np.data import batches as loading
from clip_np.data.batches import choose_data_workers


def rows_of(batch) -> list[int]:
    """The rows of a batch of `some_pairs` or `pairs_on_disk`."""
    return [int(re.sub(r"\D", "", name)) for name in batch.names]


# --- The loader
# ----------------------------------------------------------------------------


def test_batches_have_the_promised_form():
    pairs = some_pairs(10)
    loader = loader_of(pairs, augmentation=Augmentation())
    batches = list(loader.batches(0, 5))
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((4, 3, 8, 8), np.float32)
        assert batch.captions == [f"picture {row}" for row in rows_of(batch)]
        originals = np.stack([pairs.sources[row] for row in rows_of(batch)])  # (4, 8, 8, 3)
        np.testing.assert_array_equal(batch.images, to_model_input(originals))
    for epoch in (batches[0:2], batches[2:4]):
        assert len(set(np.concatenate([rows_of(batch) for batch in epoch]).tolist())) == 8
    assert loader.wait_seconds > 0
    assert list(loader.batches(3, 3)) == []


def test_a_batch_depends_on_seed_and_step_alone(tmp_path, monkeypatch):
    pairs = pairs_on_disk(tmp_path, 11)
    pairs.tags = ["red, green, blue"] * 11
    whole = list(loader_of(pairs).batches(0, 12))
    assert any(", " in caption for batch in whole for caption in batch.captions)
    assert_same(list(loader_of(pairs).batches(5, 12)), whole[5:])
    loader = loader_of(pairs, threads=5)
    assert_same(list(loader.batches(0, 12)), whole)
    assert_same(list(loader.batches(2, 9)), whole[2:9])
    assert_same(list(loader_of(pairs, threads=1).batches(11, 12)), whole[11:])
    monkeypatch.setattr(kept_squares, "CACHE_BYTES", 0)
    assert_same(list(loader_of(pairs).batches(0, 12)), whole)
    other = list(loader_of(pairs, seed=4).batches(0, 12))
    assert other[0].names != whole[0].names


def test_strong_augmentation_is_the_same_for_any_number_of_threads():
    pairs = some_pairs(11)
    pairs.tags = ["red, green, blue"] * 11
    strong = AUGMENTATIONS["strong"]
    whole = list(loader_of(pairs, augmentation=strong, threads=1).batches(0, 9))
    assert_same(list(loader_of(pairs, augmentation=strong, threads=4).batches(0, 9)), whole)
    assert_same(list(loader_of(pairs, augmentation=strong, threads=3).batches(4, 9)), whole[4:])


def test_every_step_and_seed_varies_images_anew():
    one = some_pairs(1)
    augmentation = Augmentation(shift=8, zoom=0.5)
    loaders = [loader_of(one, seed=seed, augmentation=augmentation) for seed in (0, 1)]
    seen = [batch.images for loader in loaders for batch in loader.batches(0, 3)]
    assert len({images.tobytes() for images in seen}) == 6


def test_small_data_lowers_the_batch_size():
    loader = loader_of(some_pairs(3), batch_size=128)
    assert loader.batch_size == 3
    assert [sorted(rows_of(batch)) for batch in loader.batches(0, 4)] == [[0, 1, 2]] * 4


@pytest.mark.parametrize(("squares", "decoded"), [(8, 8), (3, 3 + 3 * 5), (0, 24)])
def test_squares_are_kept_while_there_is_room(tmp_path, monkeypatch, squares, decoded):
    monkeypatch.setattr(kept_squares, "CACHE_BYTES", squares * 8 * 8 * 3)
    opened = []
    real = loading.load_square
    monkeypatch.setattr(
        loading, "load_square", lambda *arguments: opened.append(arguments) or real(*arguments)
    )
    loader = loader_of(pairs_on_disk(tmp_path, 8), threads=1)
    assert len(list(loader.batches(0, 6))) == 6
    assert len(opened) == decoded


def test_bad_images_stop_the_run_or_are_left_out_by_name(tmp_path):
    pairs = pairs_on_disk(tmp_path, 11, bad=(2, 7))
    with pytest.raises(DataError, match=r"^(2|7)\.png: cannot be read .*cannot identify image"):
        list(loader_of(pairs).batches(0, 6))
    assert our_threads() == []
    loader = loader_of(pairs, skip_bad=True)
    batches = list(loader.batches(0, 12))
    assert sorted(loader.skipped) == ["2.png", "7.png"]
    for name, cause in loader.skipped.items():
        assert cause.startswith(f"{name}: cannot be read (UnidentifiedImageError: ")
    expected = list(rows_of_steps(11, 4, 3, 0, 12))
    assert {2, 7} < set(np.concatenate(expected).tolist())
    for batch, rows in zip(batches, expected):
        assert rows_of(batch) == [row for row in rows if row not in (2, 7)]
        assert batch.captions == [f"picture {row}" for row in rows_of(batch)]
        assert len(batch.images) == len(batch.names)
    assert_same(list(loader.batches(0, 12)), batches)


def test_a_batch_with_no_readable_image(tmp_path):
    loader = loader_of(pairs_on_disk(tmp_path, 3, bad=range(3)), skip_bad=True)
    with pytest.raises(DataError, match=r"step 0: no image is readable: \d\.png: cannot"):
        list(loader.batches(0, 2))


def test_no_pairs():
    with pytest.raises(DataError, match="no image-caption pairs to make batches of"):
        loader_of(Pairs([], [], None, []))


def slow_pairs(count: int) -> Pairs:
    """Pairs that take 5 ms to open an image; `opened` counts the images that were."""
    pairs = some_pairs(count)
    pairs.opened = 0

    def slowly(encoded):
        time.sleep(0.005)
        pairs.opened += 1
        return encoded

    file = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(file, "PNG")
    pairs.sources = [functools.partial(slowly, file.getvalue())] * count
    return pairs


def leave_by_break(loader):
    for _ in loader.batches(0, 1000):
        opened = loader.pairs.opened
        break
    return opened


def leave_by_interrupt(loader):
    with contextlib.suppress(KeyboardInterrupt):
        for _ in loader.batches(0, 1000):
            opened = loader.pairs.opened
            raise KeyboardInterrupt
    return opened


def leave_by_close(loader):
    batches = loader.batches(0, 1000)
    next(batches)
    assert our_threads() != []
    opened = loader.pairs.opened
    batches.close()
    return opened


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_interrupt, leave_by_close])
def test_leaving_early_ends_the_threads_promptly(leave):
    loader = loader_of(slow_pairs(400), batch_size=50)
    opened = leave(loader)
    assert our_threads() == []
    assert loader.pairs.opened - opened <= 6  # a few, not the rest of the 50
    assert loader.wait_seconds > 0.2


def test_look_ahead_is_bounded():
    loader = loader_of(slow_pairs(400))
    batches = loader.batches(0, 100)
    next(batches)
    time.sleep(0.3)
    assert 4 < loader.pairs.opened <= 4 * (1 + 2 + 2)  # this batch, one a worker, two more
    batches.close()


# --- All images
# ----------------------------------------------------------------------------


def test_load_images(tmp_path, capsys, monkeypatch):
    pairs = pairs_on_disk(tmp_path, 40)
    images, same = load_images(pairs, 8)
    assert (images.shape, images.dtype, same) == ((40, 8, 8, 3), np.uint8, pairs)
    for row in range(40):
        expected = np.asarray(resize_and_crop(Image.open(tmp_path / f"{row}.png"), 8))
        assert (images[row] == expected).all()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(loading, "BAR_SECONDS", 0)  # as where it takes long
    load_images(pairs, 8)
    assert "40/40" in capsys.readouterr().err
    assert our_threads() == []


def test_load_images_with_bad_ones(tmp_path):
    pairs = pairs_on_disk(tmp_path, 40, bad=(5, 30))
    with pytest.raises(DataError, match=r"^(5|30)\.png: cannot be read"):
        load_images(pairs, 8)
    assert our_threads() == []
    with pytest.warns(UserWarning, match=r"2 unreadable images are left out: 5\.png: .*, 30\.png"):
        images, kept = load_images(pairs, 8, skip_bad=True)
    assert kept == pairs.select([row for row in range(40) if row not in (5, 30)])
    assert (images == load_images(kept, 8)[0]).all()
    nothing = pairs.select([5, 30])
    with pytest.raises(DataError, match=r"none of the 2 images is readable: 5\.png: "):
        load_images(nothing, 8, skip_bad=True)


def test_load_images_stops_at_an_error():
    pairs = slow_pairs(2000)
    pairs.sources[0] = "missing.png"
    with pytest.raises(DataError, match=r"^image 0: cannot be read .*missing\.png"):
        load_images(pairs, 8)
    assert pairs.opened < 1000


# --- Streams -----------------------------------------------------------------------


def test_an_error_of_a_stream_is_raised_when_its_batch_is_due():
    loader = loader_of(failing_stream(good=20))
    batches = loader.batches(0, 100)
    for _ in range(5):
        assert len(next(batches).names) == 4
    with pytest.raises(OSError, match="the network is down"):
        next(batches)
    assert our_threads() == []


def test_a_stream_is_read_only_a_few_batches_ahead():
    stream = failing_stream(good=400)
    batches = loader_of(stream).batches(0, 100)
    next(batches)
    time.sleep(0.2)
    assert stream.read_rows <= 4 * (1 + 2 + 2)
    batches.close()
    assert our_threads() == []


# --- Large photographs, and how many processes
# --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "decoded"), [(32, (125, 94)), (64, (250, 188)), (224, (500, 375))]
)
def test_a_large_jpeg_is_decoded_smaller_where_it_will_be_small(tmp_path, size, decoded):
    path = tmp_path / "photo.jpg"
    photo = Image.fromarray(noise(9, 12, 3)).resize((500, 375), Image.Resampling.BICUBIC)
    photo.save(path, quality=95)
    seen = []

    def square(image: Image.Image) -> np.ndarray:
        seen.append(image.size)
        return np.asarray(resize_and_crop(image, size)).astype(int)

    small = opened(path, "photo", square, needed_side=size)
    whole = opened(path, "photo", square)  # as the published preprocessing does
    assert seen == [decoded, (500, 375)]
    difference = np.abs(small - whole)  # levels, of 256
    assert difference.mean() < 1 and difference.max() <= 8
    pairs = Pairs(["a photo"], ["photo"], None, [path])
    assert (load_images(pairs, size)[0][0] == small).all()


def test_processes_are_for_images_that_are_decoded_again_and_again():
    few, many = some_pairs(4, size=2), some_pairs(3567, size=2)
    assert loader_of(few, data_workers=None).data_workers == 0
    assert [choose_data_workers(many, 224, cores=cores) for cores in (1, 2, 3)] == [1, 1, 1]
    assert choose_data_workers(many, 224, cores=8) == 4
    assert choose_data_workers(many, 32, cores=8) == 0
    assert choose_data_workers(failing_stream(4), 8, cores=4) == 2

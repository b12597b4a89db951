"""Geometry, augmentation, and batches that depend on the seed and the step alone."""

import contextlib
import functools
import io
import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

from clip_np.data import (
    MEAN,
    STD,
    BatchLoader,
    DataError,
    Pairs,
    augment,
    extra_words,
    load_images,
    preprocess,
    resize_and_crop,
    to_model_input,
    training_preprocess,
)
from clip_np.data import batches as loading

# As the published pipeline has them: float32 arrays.
MEAN, STD = np.float32(MEAN), np.float32(STD)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def some_pairs(count: int, size: int = 8) -> Pairs:
    return Pairs.from_arrays(
        noise(count, size, size, 3), [f"picture {row}" for row in range(count)]
    )


def pairs_on_disk(folder, count: int, bad=()) -> Pairs:
    paths = [folder / f"{row}.png" for row in range(count)]
    for row, path in enumerate(paths):
        Image.fromarray(noise(9, 7, 3, seed=row)).save(path)
    for row in bad:
        paths[row].write_bytes(b"no image")
    captions = [f"picture {row}" for row in range(count)]
    return Pairs(captions, [path.name for path in paths], None, paths)


def loader_of(pairs: Pairs, **changes) -> BatchLoader:
    options = {
        "size": 8,
        "batch_size": 4,
        "seed": 3,
        "shift": 1,
        "zoom": 0.1,
        "tag_probability": 0.5,
    }
    return BatchLoader(pairs, **(options | changes))


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("clip-")]


def assert_same(batches, others) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        assert (batch.images == other.images).all()
        assert batch.captions == other.captions
        assert batch.names == other.names


# --- One image -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "width, height",
    [(50, 33), (33, 50), (20, 20), (16, 16), (9, 41), (5, 7), (19, 16), (16, 19), (17, 16)],
)
def test_preprocess_is_the_published_pipeline(width, height):
    image = Image.fromarray(noise(height, width, 3))
    short, long = min(width, height), max(width, height)
    new_long = int(16 * long / short)
    resized = image.resize(
        (16, new_long) if width <= height else (new_long, 16), Image.Resampling.BICUBIC
    )
    start = int(round((new_long - 16) / 2.0))  # noqa: RUF046
    pixels = np.asarray(resized)
    pixels = (
        pixels[start : start + 16] if width <= height else pixels[:, start : start + 16]
    )  # (16, 16, 3)
    expected = (pixels.astype(np.float32) / 255 - MEAN) / STD
    result = preprocess(16)(image)
    assert (result.shape, result.dtype) == ((3, 16, 16), np.float32)
    assert preprocess(16).size == training_preprocess(16).size == 16
    np.testing.assert_array_equal(result, expected.transpose(2, 0, 1))  # (3, 16, 16)
    np.testing.assert_array_equal(result, training_preprocess(16)(image))


def test_published_statistics():
    np.testing.assert_array_equal(MEAN, np.float32([0.48145466, 0.4578275, 0.40821073]))
    np.testing.assert_array_equal(STD, np.float32([0.26862954, 0.26130258, 0.27577711]))


def test_palette_images_are_interpolated_only_in_training():
    image = Image.fromarray(noise(12, 12)).convert("P")  # grey levels
    rgb = image.convert("RGB")
    nearest = preprocess(8)(rgb.resize((8, 8), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(preprocess(8)(image), nearest)
    np.testing.assert_array_equal(training_preprocess(8)(image), preprocess(8)(rgb))
    assert np.abs(nearest - preprocess(8)(rgb)).max() > 0.1


def test_orientation_and_transparency_are_ours_alone():
    image = Image.new("RGBA", (4, 8), (0, 0, 0, 0))
    image.getexif()[0x0112] = 6
    assert (training_preprocess(4)(image)[0] > 1.9).all()  # white
    assert (preprocess(4)(image)[0] < -1.7).all()  # the black below the transparency
    turned = Image.fromarray(noise(4, 8, 3))
    turned.getexif()[0x0112] = 6
    upright = turned.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(training_preprocess(4)(turned), preprocess(4)(upright))
    assert (preprocess(4)(turned) != preprocess(4)(upright)).any()


def test_preprocess_wants_a_picture():
    with pytest.raises(TypeError, match=r"expected a PIL image \(PIL\.Image\.open\), got str"):
        preprocess(8)("cat.png")


def test_elongated_images_are_refused(tmp_path):
    strip = Image.new("L", (1, 500_000))
    with pytest.raises(DataError, match="1x500000 pixels are too many or too elongated"):
        training_preprocess(32)(strip)
    path = tmp_path / "a.png"
    strip.save(path)
    with pytest.raises(DataError, match=r"^a\.png: .*1x500000 pixels are too many or too elong"):
        load_images(Pairs(["a"], ["a.png"], None, [path]), 32)


# --- A batch -------------------------------------------------------------------------------


def test_to_model_input():
    images = noise(2, 3, 4, 3)
    result = to_model_input(images)
    expected = ((images.astype(np.float32) / 255 - MEAN) / STD).transpose(
        0, 3, 1, 2
    )  # (2, 3, 3, 4)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.float32 and result.flags.c_contiguous


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


# --- Which rows ----------------------------------------------------------------------------


def rows_of_steps(length: int, batch_size: int, seed: int, start: int, stop: int):
    pairs = Pairs(["a caption"] * length, [str(row) for row in range(length)], None, [b""] * length)
    for batch in pairs.batches(batch_size, seed, start, stop):
        yield np.array(batch.names).astype(int)


def rows_of(batch) -> list[int]:
    """The rows of a batch of `some_pairs` or `pairs_on_disk`."""
    return [int(re.sub(r"\D", "", name)) for name in batch.names]


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
    started = time.perf_counter()
    rows = next(rows_of_steps(6131, 128, 0, 10_000_000, 10_000_001))
    assert time.perf_counter() - started < 1
    assert len(set(rows.tolist())) == 128


# --- The loader ----------------------------------------------------------------------------


def test_batches_have_the_promised_form():
    pairs = some_pairs(10)
    loader = loader_of(pairs, shift=0, zoom=0)
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
    loader = loader_of(pairs, workers=5)
    assert_same(list(loader.batches(0, 12)), whole)
    assert_same(list(loader.batches(2, 9)), whole[2:9])
    assert_same(list(loader_of(pairs, workers=1).batches(11, 12)), whole[11:])
    monkeypatch.setattr(loading, "CACHE_BYTES", 0)
    assert_same(list(loader_of(pairs).batches(0, 12)), whole)
    other = list(loader_of(pairs, seed=4).batches(0, 12))
    assert other[0].names != whole[0].names


def test_every_step_and_seed_varies_images_anew():
    one = some_pairs(1)
    loaders = [loader_of(one, seed=seed, shift=8, zoom=0.5) for seed in (0, 1)]
    seen = [batch.images for loader in loaders for batch in loader.batches(0, 3)]
    assert len({images.tobytes() for images in seen}) == 6


def test_small_data_lowers_the_batch_size():
    loader = loader_of(some_pairs(3), batch_size=128)
    assert loader.batch_size == 3
    assert [sorted(rows_of(batch)) for batch in loader.batches(0, 4)] == [[0, 1, 2]] * 4


@pytest.mark.parametrize(("squares", "decoded"), [(8, 8), (3, 3 + 3 * 5), (0, 24)])
def test_squares_are_kept_while_there_is_room(tmp_path, monkeypatch, squares, decoded):
    monkeypatch.setattr(loading, "CACHE_BYTES", squares * 8 * 8 * 3)
    opened = []
    real = loading.load_square
    monkeypatch.setattr(
        loading, "load_square", lambda *arguments: opened.append(arguments) or real(*arguments)
    )
    loader = loader_of(pairs_on_disk(tmp_path, 8), workers=1)
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


# --- All images ----------------------------------------------------------------------------


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
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"^image 0: cannot be read .*missing\.png"):
        load_images(pairs, 8)
    assert time.perf_counter() - started < 2

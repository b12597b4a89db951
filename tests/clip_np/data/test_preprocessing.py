"""Geometry and normalisation: the published pipeline, and the one for training."""

import numpy as np
import pytest
from PIL import Image
from small_data import noise

import clip_np.data
from clip_np.data import (
    MEAN,
    STD,
    DataError,
    Pairs,
    load_images,
    preprocess,
    to_model_input,
    training_preprocess,
)

# As the published pipeline has them: float32 arrays.
MEAN, STD = np.float32(MEAN), np.float32(STD)


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
    with pytest.raises(DataError, match="1x500000 pixels are too elongated"):
        training_preprocess(32)(strip)
    path = tmp_path / "a.png"
    strip.save(path)
    with pytest.raises(DataError, match=r"^a\.png: .*1x500000 pixels are too elong"):
        load_images(Pairs(["a"], ["a.png"], None, [path]), 32)


def test_to_model_input():
    images = noise(2, 3, 4, 3)
    result = to_model_input(images)
    expected = ((images.astype(np.float32) / 255 - MEAN) / STD).transpose(
        0, 3, 1, 2
    )  # (2, 3, 3, 4)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.float32 and result.flags.c_contiguous


def test_preprocess_is_public_here():
    assert clip_np.data.preprocess is clip_np.data.preprocessing.preprocess

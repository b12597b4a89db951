"""Images that are varied at random: parts that are left out, bounds, exact values."""

import dataclasses

import numpy as np
import pytest
from small_data import noise

from clip_np.data import AUGMENTATIONS, Augmentation, augment
from clip_np.data.augment_colour import (
    brightness,
    contrast,
    grey,
    grey_values,
    hue,
    hue_rotations,
    saturation,
)
from clip_np.data.augment_detail import blur, cut_out
from clip_np.data.augment_geometry import crop, flip, stretch_and_shift


def only_shift(images, rng, strength):
    return stretch_and_shift(images, rng, shift=round(strength * 6), zoom=0.0)


def only_zoom(images, rng, strength):
    return stretch_and_shift(images, rng, shift=0, zoom=strength)


PARTS = {
    "shift": only_shift,
    "zoom": only_zoom,
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "grey": grey,
    "blur": blur,
    "cut_out": cut_out,
    "flip": flip,
    "crop": crop,
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_every_part_is_nothing_at_strength_0(part):
    images = noise(5, 6, 7, 3)
    if part is crop:  # a box of the whole area may still be wide or tall
        images = np.broadcast_to(images[:, :1, :1], images.shape)
    result = part(images, np.random.default_rng(0), 0.0)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, images)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_every_part_follows_the_generator_and_leaves_its_input_alone(part):
    images = noise(8, 6, 7, 3)
    before = images.copy()
    first, again, other = (part(images, np.random.default_rng(seed), 0.4) for seed in (5, 5, 6))
    assert (images == before).all()
    assert (first.shape, first.dtype) == (images.shape, np.uint8)
    assert (first == again).all() and (first != other).any() and (first != images).any()


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_images_of_a_batch_are_varied_one_by_one(part):
    images = np.repeat(noise(1, 8, 8, 3), 40, axis=0)
    assert len({image.tobytes() for image in part(images, np.random.default_rng(0), 0.5)}) > 1


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("value", [0, 77, 255])
def test_an_image_of_one_grey_stays_one_grey(part, value):
    images = np.full((6, 5, 4, 3), value, np.uint8)
    result = part(images, np.random.default_rng(0), 0.5)
    assert (result == result[:, :1, :1, :1]).all()
    if part is not brightness:
        assert (result == value).all()


def test_augment_applies_what_has_a_strength():
    images = noise(6, 8, 8, 3)
    for field in dataclasses.fields(Augmentation):
        alone = Augmentation(**{field.name: 1 if field.name == "shift" else 0.4})
        varied = augment(images, np.random.default_rng(0), alone)
        assert (varied != images).any() == (field.name != "word_dropout")
    for kind in AUGMENTATIONS.values():
        assert augment(images, np.random.default_rng(0), kind).dtype == np.uint8
    assert augment(images, np.random.default_rng(0), AUGMENTATIONS["none"]) is images


def test_parts_that_are_left_out_draw_no_random_numbers():
    rng = np.random.default_rng(3)
    augment(noise(2, 4, 4, 3), rng, Augmentation())
    assert rng.random() == np.random.default_rng(3).random()


def test_shift_and_zoom_are_those_of_earlier_versions():
    images = np.random.default_rng(1).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    varied = augment(images, np.random.default_rng(5), Augmentation(shift=2, zoom=0.2))
    assert varied[:2, 2, :, 0].tolist() == [[255, 255, 255, 121, 6], [194, 72, 209, 105, 105]]


# --- Geometry


def test_shift_moves_whole_images_and_repeats_edges():
    images = noise(200, 6, 5, 3)
    moved = stretch_and_shift(images, np.random.default_rng(0), shift=2, zoom=0.0)
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


def test_crop_keeps_a_box_of_the_promised_area():
    # The value is the position, so what a crop shows says where it lies.
    rows, columns = np.mgrid[0:200, 0:200].astype(np.uint8)
    images = np.repeat(np.stack([rows, columns, rows], axis=-1)[np.newaxis], 60, axis=0)
    cropped = crop(images, np.random.default_rng(0), strength=0.5).astype(float)
    height = (cropped[:, -2, 0, 0] - cropped[:, 1, 0, 0]) / 197 * 200
    width = (cropped[:, 0, -2, 1] - cropped[:, 0, 1, 1]) / 197 * 200
    area, aspect = height * width / 200**2, height / width
    assert 0.47 < area.min() < 0.6 and 0.8 < area.max() <= 1.02
    assert 0.72 < aspect.min() < 0.85 and 1.2 < aspect.max() < 1.37
    starts = cropped[:, 0, 0, :2] / np.maximum(200 - np.stack([height, width], 1), 1)
    assert (np.diff(cropped[:, :, 0, 0]) >= 0).all() and starts.std(axis=0).min() > 0.1


def test_crop_of_the_left_half_interpolates():
    images = np.array([0, 100, 200, 50], np.uint8).repeat(3).reshape(1, 1, 4, 3)

    class Fixed:
        """Draws: half the area, as tall as it can be, at the left end."""

        draws = iter([np.array([[0.5]]), np.array([[np.log(4 / 3)]]), np.zeros((2, 1, 1))])

        def uniform(self, *bounds, size):
            return next(self.draws)

    # sqrt(0.5 * 3 / 4) * 4 = 2.45 pixels wide: 0.61 for a pixel
    expected = [0, 41.8, 103.1, 164.3]
    cropped = crop(images, Fixed(), strength=0.5)[0, 0, :, 0]
    np.testing.assert_allclose(cropped, expected, atol=0.6)


def test_flip_exchanges_left_and_right_of_about_so_many():
    images = noise(400, 2, 3, 3)
    flipped = flip(images, np.random.default_rng(0), probability=0.25)
    is_flipped = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    is_same = (flipped == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_same).all()
    assert 70 < is_flipped.sum() < 130


# --- Colour


@pytest.mark.parametrize("part", [brightness, contrast, saturation])
def test_factors_are_within_the_strength(part):
    images = np.broadcast_to(
        np.array([[[[120, 90, 60]]], [[[60, 90, 120]]]], np.uint8), (2, 1, 2, 3)
    )
    images = np.repeat(images, 300, axis=0).copy()
    images[:, :, 1] -= 30
    centre = {
        brightness: 0.0,
        contrast: grey_values(images).mean(axis=(1, 2), keepdims=True),
        saturation: grey_values(images),
    }[part]
    varied = part(images, np.random.default_rng(0), 0.3)
    factors = ((varied - centre) / (images - centre))[np.abs(images - centre) > 20]
    assert 0.65 < factors.min() < 0.75 and 1.25 < factors.max() < 1.35


def test_contrast_keeps_the_mean_and_saturation_the_greys():
    images = noise(20, 8, 8, 3) // 2 + 64  # far from 0 and 255
    rng = np.random.default_rng(0)
    means = [grey_values(batch).mean(axis=(1, 2)) for batch in (images, contrast(images, rng, 0.4))]
    np.testing.assert_allclose(*means, atol=0.3)
    greys = [grey_values(batch) for batch in (images, saturation(images, rng, 0.4))]
    np.testing.assert_allclose(*greys, atol=0.6)


def test_hue_is_a_rotation_about_the_greys():
    angles = np.linspace(-np.pi, np.pi, 13)
    rotations = hue_rotations(angles)
    products = rotations @ rotations.swapaxes(1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-6)
    np.testing.assert_allclose(rotations.sum(axis=2), 1, atol=1e-6)  # greys stay
    np.testing.assert_allclose(
        np.trace(rotations, axis1=1, axis2=2), 1 + 2 * np.cos(angles), atol=1e-6
    )
    images = np.full((500, 1, 1, 3), (140, 100, 100), np.uint8)
    turned = hue(images, np.random.default_rng(0), 1 / 12)[:, 0, 0].astype(float) - 100
    assert (turned[:, 0] > turned[:, 1]).all() and (turned[:, 0] > turned[:, 2]).all()
    np.testing.assert_allclose(turned.sum(axis=1), 40, atol=1.5)


def test_grey_has_no_colours_in_about_so_many():
    images = noise(400, 2, 3, 3)
    greyed = grey(images, np.random.default_rng(0), probability=0.25)
    is_grey = (greyed == greyed[..., :1]).all(axis=(1, 2, 3))
    assert 70 < is_grey.sum() < 130
    assert (greyed[~is_grey] == images[~is_grey]).all()
    np.testing.assert_allclose(greyed[is_grey][..., :1], grey_values(images[is_grey]), atol=0.51)


# --- Details


def test_blur_is_the_gaussian_that_its_formula_says():
    images = np.zeros((1, 9, 9, 3), np.uint8)
    images[0, 4, 4] = 255
    sigma = np.random.default_rng(0).uniform(0, 0.1 * 9)
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    blurred = blur(images, np.random.default_rng(0), strength=0.1)[0, 1:8, 1:8, 0]
    np.testing.assert_allclose(blurred, 255 * np.outer(weights, weights), atol=0.51)


def test_blur_continues_edges():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[:, :, 2:] = 200
    blurred = blur(images, np.random.default_rng(0), strength=0.2)
    assert (blurred == blurred[:, :1]).all()  # rows are alike, also at the edge
    assert (np.diff(blurred[0, 0, :, 0].astype(int)) >= 0).all()


def test_cut_out_covers_one_rectangle_with_the_mean():
    images = noise(300, 20, 10, 3)
    covered = cut_out(images, np.random.default_rng(0), strength=0.5)
    means = np.rint(images.mean(axis=(1, 2))).astype(np.uint8)
    highest = widest = 0
    for image, result, mean in zip(images, covered, means):
        changed = (image != result).any(axis=2)
        assert (result[changed] == mean).all()
        if not changed.any():
            continue
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert (result[box] == mean).all()
        highest = max(highest, len(rows))
        widest = max(widest, len(columns))
    assert (highest, widest) == (10, 5)

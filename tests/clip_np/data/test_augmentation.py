"""Images that are varied at random: parts that are left out, bounds, exact values."""

import dataclasses

import numpy as np
import pytest
from small_data import noise

from clip_np.data import AUGMENTATIONS, Augmentation, augment
from clip_np.data.augment_colour import GREY_WEIGHTS, draw_colours, hue_rotations
from clip_np.data.augment_geometry import Lines, crop

PARTS = [field.name for field in dataclasses.fields(Augmentation) if field.name != "word_dropout"]
WHOLE_NUMBERS = {"shift"}


def only(part, strength):
    """An augmentation of this part alone."""
    return Augmentation(**{part: round(strength * 6) if part in WHOLE_NUMBERS else strength})


def grey_values(images):
    return (images @ GREY_WEIGHTS)[..., np.newaxis]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_follows_the_generator_and_leaves_its_input_alone(part):
    images = noise(8, 6, 7, 3)
    before = images.copy()
    first, again, other = (
        augment(images, np.random.default_rng(seed), only(part, 0.4)) for seed in (5, 5, 6)
    )
    assert (images == before).all()
    assert (first.shape, first.dtype) == (images.shape, np.uint8)
    assert (first == again).all() and (first != other).any() and (first != images).any()


@pytest.mark.parametrize("part", PARTS)
def test_images_of_a_batch_are_varied_one_by_one(part):
    images = np.repeat(noise(1, 8, 8, 3), 40, axis=0)
    varied = augment(images, np.random.default_rng(0), only(part, 0.5))
    assert len({image.tobytes() for image in varied}) > 1


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [0, 77, 255])
def test_an_image_of_one_grey_stays_one_grey(part, value):
    images = np.full((6, 5, 4, 3), value, np.uint8)
    result = augment(images, np.random.default_rng(0), only(part, 0.5))
    assert (result == result[:, :1, :1, :1]).all()
    if part != "colour":  # brightness is one of its changes
        assert (result == value).all()


@pytest.mark.parametrize("kind", ["light", "strong"])
def test_an_image_is_varied_alike_in_a_large_and_in_a_small_piece(kind, monkeypatch):
    images = noise(9, 16, 16, 3)
    one_piece = augment(images, np.random.default_rng(0), AUGMENTATIONS[kind])
    monkeypatch.setattr("clip_np.data.augmentation.PIXELS_AT_ONCE", 2 * 16 * 16)
    pieces = augment(images, np.random.default_rng(0), AUGMENTATIONS[kind])
    # A product of matrices may be summed in another order: one level of 255 at most.
    assert np.abs(one_piece.astype(int) - pieces).max() <= 1
    assert (one_piece == pieces).mean() > 0.999


def test_augment_applies_what_has_a_strength():
    images = noise(6, 8, 8, 3)
    for field in dataclasses.fields(Augmentation):
        alone = Augmentation(**{field.name: 1 if field.name == "shift" else 0.4})
        varied = augment(images, np.random.default_rng(0), alone)
        assert (varied != images).any() == (field.name != "word_dropout")
    for kind in AUGMENTATIONS.values():
        assert augment(images, np.random.default_rng(0), kind).dtype == np.uint8
    assert augment(images, np.random.default_rng(0), AUGMENTATIONS["none"]) is images


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 0, 0, 3), (2, 0, 5, 3), (2, 5, 0, 3)])
def test_a_batch_without_pixels_stays_as_it_is(part, shape):
    images = np.zeros(shape, np.uint8)
    varied = augment(images, np.random.default_rng(0), only(part, 0.4))
    assert (varied.shape, varied.dtype) == (shape, np.uint8)


def test_parts_that_are_left_out_draw_no_random_numbers():
    rng = np.random.default_rng(3)
    augment(noise(2, 4, 4, 3), rng, Augmentation())
    assert rng.random() == np.random.default_rng(3).random()


# --- Geometry


def test_shift_moves_whole_images_and_repeats_edges():
    images = noise(200, 6, 5, 3)
    moved = augment(images, np.random.default_rng(0), Augmentation(shift=2))
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


def test_zoom_enlarges_about_the_centre_and_interpolates():
    row = np.array([0, 40, 80, 120, 160], np.uint8)  # 40 for a pixel
    images = row.repeat(3).reshape(1, 1, 5, 3).repeat(300, axis=0)
    zoomed = augment(images, np.random.default_rng(0), Augmentation(zoom=0.5))[..., 0]
    assert (zoomed[:, 0, 2] == 80).all()
    slopes = (zoomed[:, 0, 3].astype(float) - zoomed[:, 0, 1]) / 80  # 1 / scale
    assert 0.59 < slopes.min() < 0.65 and 1.4 < slopes.max() <= 1.01 * np.exp(0.5)
    outside = np.flatnonzero(slopes > 1.1)  # there the edge goes on
    assert (zoomed[outside][:, 0, 0] == 0).all() and (zoomed[outside][:, 0, 4] == 160).all()


def test_lines_are_taken_one_after_the_other():
    first = Lines.unchanged(1, 10).stretch_and_shift(np.array([2.0]), np.array([1.0]))
    both = first.crop(np.array([0.5]), np.array([1.0])).flip(np.array([True]))
    for pixel in range(10):
        flipped = 9 - pixel
        cropped = 5 + (flipped + 0.5) * 0.5 - 0.5
        expected = (cropped - 4.5) / 2 + 4.5 + 1
        assert both.start[0] + both.slope[0] * pixel == pytest.approx(expected)


def test_crop_keeps_a_box_of_the_promised_area():
    # The value is the position, so what a crop shows says where it lies.
    rows, columns = np.mgrid[0:200, 0:200].astype(np.uint8)
    images = np.repeat(np.stack([rows, columns, rows], axis=-1)[np.newaxis], 60, axis=0)
    cropped = augment(images, np.random.default_rng(0), Augmentation(crop=0.5)).astype(float)
    height = (cropped[:, -2, 0, 0] - cropped[:, 1, 0, 0]) / 197 * 200
    width = (cropped[:, 0, -2, 1] - cropped[:, 0, 1, 1]) / 197 * 200
    area, aspect = height * width / 200**2, height / width
    assert 0.47 < area.min() < 0.6 and 0.8 < area.max() <= 1.02
    assert 0.72 < aspect.min() < 0.85 and 1.2 < aspect.max() < 1.37
    starts = cropped[:, 0, 0, :2] / np.maximum(200 - np.stack([height, width], 1), 1)
    assert (np.diff(cropped[:, :, 0, 0]) >= 0).all() and starts.std(axis=0).min() > 0.1


def test_crop_of_the_left_half_interpolates():
    class Fixed:
        """Draws: half the area, as tall as it can be, at the left end."""

        draws = iter([np.array([0.5]), np.array([np.log(4 / 3)]), np.zeros((2, 1))])

        def uniform(self, *bounds, size):
            return next(self.draws)

    _, columns = crop(Lines.unchanged(1, 1), Lines.unchanged(1, 4), Fixed(), strength=0.5)
    # sqrt(0.5 * 3 / 4) * 4 = 2.45 pixels wide: 0.61 for a pixel
    expected = [0, 41.8, 103.1, 164.3]
    values = columns.matrices(slice(1))[0] @ np.array([0, 100, 200, 50])
    np.testing.assert_allclose(values, expected, atol=0.6)


def test_flip_exchanges_left_and_right_of_about_so_many():
    images = noise(400, 2, 3, 3)
    flipped = augment(images, np.random.default_rng(0), Augmentation(flip=0.25))
    is_flipped = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    is_same = (flipped == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_same).all()
    assert 70 < is_flipped.sum() < 130


def test_blur_is_the_gaussian_that_its_formula_says():
    images = np.zeros((1, 9, 9, 3), np.uint8)
    images[0, 4, 4] = 255
    sigma = np.random.default_rng(0).uniform(0, 0.1 * 9)
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    blurred = augment(images, np.random.default_rng(0), Augmentation(blur=0.1))[0, 1:8, 1:8, 0]
    np.testing.assert_allclose(blurred, 255 * np.outer(weights, weights), atol=0.51)


def test_blur_continues_edges():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[:, :, 2:] = 200
    blurred = augment(images, np.random.default_rng(0), Augmentation(blur=0.2))
    assert (blurred == blurred[:, :1]).all()  # rows are alike, also at the edge
    assert (np.diff(blurred[0, 0, :, 0].astype(int)) >= 0).all()


def test_weights_of_a_row_sum_to_1_whatever_the_blur():
    lines = Lines.unchanged(3, 50).blur(np.array([0.0, 1e-9, 20.0]))
    np.testing.assert_allclose(lines.matrices(slice(3)).sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(
        lines.matrices(slice(2)), np.eye(50)[np.newaxis].repeat(2, 0), atol=1e-6
    )


# --- Colour


def plainly_recoloured(image, brightness, contrast, saturation, angle):
    """The formulas, one after the other: float (H, W, 3) -> the same."""
    image = brightness * image
    mean = grey_values(image).mean()
    image = mean + contrast * (image - mean)
    grey = grey_values(image)
    image = grey + saturation * (image - grey)
    return image @ hue_rotations(np.array([angle]))[0].T


def test_colours_are_the_formulas_one_after_the_other():
    images = noise(30, 8, 8, 3) // 3 + 85  # so that nothing is below 0 or above 255
    rng = np.random.default_rng(4)
    factors = rng.uniform(0.7, 1.3, size=(3, 30))
    angles = 2 * np.pi * rng.uniform(-0.05, 0.05, size=30)
    varied = augment(images, np.random.default_rng(4), Augmentation(colour=0.3, hue=0.05))
    for row in range(30):
        expected = plainly_recoloured(
            images[row].astype(float), *factors[:, row], angle=angles[row]
        )
        np.testing.assert_allclose(varied[row], expected.clip(0, 255), atol=0.51)


def test_factors_are_within_the_strength():
    colours = draw_colours(np.random.default_rng(0), 2000, strength=0.3, hue=0.0, grey=0.0)
    scale = colours.matrices.sum(axis=2)  # brightness * contrast: what becomes of a grey
    assert 0.49 <= scale.min() < 0.52 and 1.63 < scale.max() <= 1.69
    brightness = scale[:, 0] + colours.lifts  # of a whole image of one grey
    assert 0.7 <= brightness.min() < 0.71 and 1.29 < brightness.max() <= 1.3


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
    turned = augment(images, np.random.default_rng(0), Augmentation(hue=1 / 12))
    above = turned[:, 0, 0].astype(float) - 100
    assert (above[:, 0] > above[:, 1]).all() and (above[:, 0] > above[:, 2]).all()
    np.testing.assert_allclose(above.sum(axis=1), 40, atol=1.5)


def test_grey_has_no_colours_in_about_so_many():
    images = noise(400, 2, 3, 3)
    greyed = augment(images, np.random.default_rng(0), Augmentation(grey=0.25))
    is_grey = (greyed == greyed[..., :1]).all(axis=(1, 2, 3))
    assert 70 < is_grey.sum() < 130
    assert (greyed[~is_grey] == images[~is_grey]).all()
    np.testing.assert_allclose(greyed[is_grey][..., :1], grey_values(images[is_grey]), atol=0.51)


# --- Details


def test_cut_out_covers_one_rectangle_with_the_mean():
    images = noise(300, 20, 10, 3)
    covered = augment(images, np.random.default_rng(0), Augmentation(cut_out=0.5))
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

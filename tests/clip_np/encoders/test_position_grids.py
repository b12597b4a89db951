"""Positions for images of another size: the mixture, and models that see with it."""

import numpy as np
import pytest
from PIL import Image
from small_models import small_model

import clip_np
from clip_np.encoders.position_grids import mixing_matrix, resize_grid, resize_positions
from clip_np.weights import save_pretrained


@pytest.mark.parametrize(("old", "new"), [(7, 7), (7, 10), (10, 7), (24, 3), (1, 5), (5, 1)])
def test_each_new_place_is_a_mixture(old, new):
    mix = mixing_matrix(old, new)
    assert mix.shape == (new, old)
    np.testing.assert_allclose(mix.sum(axis=1), 1.0)
    np.testing.assert_allclose(mix, mix[::-1, ::-1], atol=1e-15)  # left and right are alike
    if old == new:
        np.testing.assert_allclose(mix, np.eye(old), atol=1e-15)


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7)])
def test_a_grid_is_resized_as_pillow_resizes_a_picture(old, new):
    grid = np.random.default_rng(0).standard_normal((old, old)).astype(np.float32)
    picture = Image.fromarray(grid).resize((new, new), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resize_grid(grid[..., None], new)[..., 0], picture, atol=1e-5)


def test_a_straight_slope_stays_one_inside():
    slope = np.broadcast_to(np.arange(12.0)[:, None, None], (12, 12, 1))
    steps = np.diff(resize_grid(slope, 24)[:, :, 0], axis=0)
    np.testing.assert_allclose(steps[4:-4], 0.5)


def test_the_class_token_keeps_its_row():
    positions = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    resized = resize_positions(positions, 10)
    assert (resized.shape, resized.dtype) == ((101, 6), np.float32)
    np.testing.assert_array_equal(resized[0], positions[0])
    np.testing.assert_allclose(resize_positions(positions, 7), positions, atol=1e-6)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_model_is_loaded_for_another_size(size, tmp_path):
    model = small_model(np.float32)
    save_pretrained(model, tmp_path)
    loaded, preprocess, _ = clip_np.load(tmp_path, image_size=size)
    assert loaded.config.vision.image_size == preprocess.size == size
    image = preprocess(Image.new("RGB", (30, 20), "red"))[None]
    assert loaded.encode_image(image).shape == (1, 6)
    expected = resize_positions(model.vision.positional_embedding.data, size // 4)
    np.testing.assert_array_equal(loaded.vision.positional_embedding.data, expected)
    with pytest.raises(ValueError, match=rf"expected images of shape \(B, 3, {size}, {size}\)"):
        loaded.encode_image(np.zeros((1, 3, 12, 12), np.float32))
    save_pretrained(loaded, tmp_path / "again", preprocess=preprocess)
    assert clip_np.load(tmp_path / "again").model.config == loaded.config


@pytest.mark.parametrize(
    ("size", "problem"),
    [(10, "image_size 10 is not a multiple of patch_size 4"), (0, "positive"), (8.0, "positive")],
)
def test_a_size_that_the_patches_do_not_fit_is_refused(size, problem, tmp_path):
    save_pretrained(small_model(np.float32), tmp_path)
    with pytest.raises(ValueError, match=rf"cannot see `image_size` {size}: .*{problem}"):
        clip_np.load(tmp_path, image_size=size)

"""Where the token that is read looks."""

import numpy as np
import pytest
from pictures import AWKWARD, assert_tidy, some_maps, some_pairs, texts_of

from clip_np.evaluation import attention_maps

pytest.importorskip("matplotlib")


def test_attention_marks_the_patch_that_the_class_token_looks_at(tmp_path, figures):
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    maps = np.zeros((2, 1, 2, 17, 17))
    maps[..., 0] = 1.0
    # Layer 2: the patch in row 1, column 2 gets 0.5 from one head and 0.3 from the
    # other.
    maps[1, 0, :, 0, 1 + 1 * 4 + 2] = 0.5, 0.3
    attention_maps(images, maps, tmp_path / "a.png", ["a caption"])
    original, first, second = (axes.images[0].get_array() for axes in figures[0].axes)
    assert (original == 100).all()
    assert (first == 75).all()
    lit = (np.abs(second.astype(int) - 75) > 20).any(axis=2)
    expected = np.zeros((32, 32), bool)
    expected[8:16, 16:24] = True
    np.testing.assert_array_equal(lit, expected)
    texts = texts_of(figures[0])
    assert [text for text in texts if text.startswith("layer")] == [
        "layer 1: 0.0%",
        "layer 2: 40.0%",
    ]


@pytest.mark.parametrize("size", [30, 32, 224])
def test_attention_of_other_image_sizes_and_many_layers(tmp_path, figures, size):
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    path = attention_maps(images, some_maps(12, 1, grid=7), tmp_path / "a.png", AWKWARD[:1])
    assert len(figures[0].axes) == 13
    assert_tidy(figures[0], path)


def test_the_map_of_an_attention_pool_has_one_row(tmp_path, figures):
    """A ResNet's mean token is the only one that asks: (1, B, heads, 1, T)."""
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    maps = some_maps(1, 1)
    attention_maps(images, maps, tmp_path / "a.png", ["a caption"])
    attention_maps(images, maps[:, :, :, :1], tmp_path / "b.png", ["a caption"])
    whole, one_row = ([axes.images[0].get_array() for axes in figure.axes] for figure in figures)
    np.testing.assert_array_equal(whole, one_row)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1, 1), (1, 1, 1, 6, 6), (1, 1, 1, 17, 5), (1, 1, 17, 17), (0, 1, 1, 5, 5), ()],
)
def test_attention_refuses_other_shapes(tmp_path, shape):
    with pytest.raises(ValueError, match=r"T - 1 patches in a square grid, got \("):
        attention_maps(some_pairs(1)[0], np.zeros(shape), tmp_path / "a.png", ["a caption"])
    assert not list(tmp_path.iterdir())


def test_attention_refuses_other_counts(tmp_path):
    images, captions = some_pairs(2)
    maps, path = some_maps(1, 2), tmp_path / "a.png"
    with pytest.raises(ValueError, match="'maps': 2"):
        attention_maps(images[:1], maps, path, captions)
    with pytest.raises(ValueError, match="'captions': 1"):
        attention_maps(images, maps, path, captions[:1])
    with pytest.raises(ValueError, match="'captions': 0"):
        attention_maps(images, maps, path, [])
    assert not list(tmp_path.iterdir())

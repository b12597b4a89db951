"""The table of cosines of images and captions."""

import numpy as np
import pytest
from pictures import some_pairs, texts_of

from clip_np.evaluation import similarity_matrix

pytest.importorskip("matplotlib")


def test_similarity_has_captions_down_and_images_across(tmp_path, figures):
    images, captions = some_pairs(2)
    image_features, text_features = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0], [4, 3]])
    similarity_matrix(image_features, text_features, images, captions, tmp_path / "a.png")
    expected = np.array([[1.0, 0.0], [0.8, 0.6]])
    shown = figures[0].axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    texts = {text.get_text(): text for text in figures[0].axes[0].texts}
    bold = [
        value for value in ("1.00", "0.00", "0.80", "0.60") if texts[value].get_weight() == "bold"
    ]
    assert bold == ["1.00", "0.60"]
    note = " ".join(texts_of(figures[0])).replace("\n", " ")
    assert "2 of 2 images find their own caption, 1 of 2 captions their own image" in note


def test_similarity_writes_no_negative_zero(tmp_path, figures):
    images, captions = some_pairs(1)
    features = np.array([[1.0, -0.001]]), np.array([[0.0, 1.0]])
    similarity_matrix(*features, images, captions, tmp_path / "a.png")
    assert figures[0].axes[0].texts[0].get_text() == "0.00"
    similarity_matrix(np.array([[1.0, -2.0]]), features[1], images, captions, tmp_path / "a.png")
    assert figures[1].axes[0].texts[0].get_text() == "−0.89"


def test_similarity_refuses(tmp_path):
    images, captions = some_pairs(3)
    good, path = np.eye(3), tmp_path / "a.png"
    with pytest.raises(ValueError, match="captions': 2"):
        similarity_matrix(good, good, images, captions[:2], path)
    with pytest.raises(ValueError, match="text_features': 2"):
        similarity_matrix(good, good[:2], images, captions, path)
    with pytest.raises(ValueError, match=r"must be \(N, E\)"):
        similarity_matrix(good, good[:, :2], images, captions, path)
    with pytest.raises(ValueError, match=r"uint8 .* got float64 \(3, 32, 32, 3\)"):
        similarity_matrix(good, good, images / 255, captions, path)
    assert not list(tmp_path.iterdir())

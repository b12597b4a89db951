"""What the encoders make of images and texts: unit rows."""

import numpy as np
import pytest

import minigrad as mg
from clip_np.data import CLASSES, to_model_input
from clip_np.evaluation import embed_images, embed_texts


def test_features_do_not_depend_on_the_number_of_cores(clip, tokenizer, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    texts = [f"a {CLASSES[row % 48]} {'very ' * (row % 5)}small" for row in range(300)]
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("minigrad.threads.available_cores", lambda cores=cores: cores)
        found.append([embed_images(clip, images), embed_texts(clip, tokenizer, texts)])
    for features in found[1:]:
        np.testing.assert_allclose(features, found[0], atol=1e-6)


def test_features_are_unit_rows_of_the_encoders(clip, tokenizer):
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    features = embed_images(clip, images)
    with mg.no_grad():
        whole = clip.encode_image(to_model_input(images)).numpy()
    np.testing.assert_allclose(
        features, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5
    )
    long = "a small red circle " * 100  # does not fit: cut, and no error
    assert embed_texts(clip, tokenizer, [long, "a ring"]).shape == (2, 8)
    assert embed_texts(clip, tokenizer, []).shape == (0, 8)
    assert all(parameter.grad is None for parameter in clip.parameters())


def test_an_error_in_a_worker_reaches_the_caller(clip):
    with pytest.raises(ValueError, match="expected images of shape"):
        embed_images(clip, np.zeros((300, 16, 16, 3), np.uint8))

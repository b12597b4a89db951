"""What the encoders make of images and texts: unit rows."""

import warnings

import numpy as np
import pytest

import minigrad as mg
from clip_np.data import CLASSES, to_model_input
from clip_np.evaluation import CutTextWarning, embed_images, embed_texts


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
    with pytest.warns(CutTextWarning):
        assert embed_texts(clip, tokenizer, [long, "a ring"]).shape == (2, 8)
    assert embed_texts(clip, tokenizer, []).shape == (0, 8)
    assert all(parameter.grad is None for parameter in clip.parameters())


def test_an_error_in_a_worker_reaches_the_caller(clip):
    with pytest.raises(ValueError, match="expected images of shape"):
        embed_images(clip, np.zeros((300, 16, 16, 3), np.uint8))


def test_texts_that_are_cut_are_named(clip, tokenizer):
    room = clip.config.text.context_length
    fitting = "red " * (room - 2)  # with start and end, it fills the row
    assert tokenizer.lengths(fitting) == room
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed_texts(clip, tokenizer, [fitting, "a ring"])
    cut = [f"{number} red" + " red" * room for number in range(5)]
    with pytest.warns(CutTextWarning) as caught:
        embed_texts(clip, tokenizer, [fitting, *cut])
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith(f"5 texts are longer than the {room} tokens that the model sees")
    assert all(f"'{number} red red" in message for number in range(3))
    assert message.endswith("and 2 more")
    assert warning.filename == __file__
    with pytest.warns(CutTextWarning, match=rf"1 text is .*'9 red red.*' \({room + 1} tokens\)$"):
        embed_texts(clip, tokenizer, ["9 red" + " red" * (room - 3)])

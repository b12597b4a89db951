"""The picture of maps side by side: what is on it, and how it is coloured."""

import numpy as np
import pytest

from clip_np.evaluation import METHODS, Explanation, explanation_picture
from clip_np.evaluation.explaining.pictures import RAMP, coloured, heated

pytest.importorskip("matplotlib")


def explanations(*texts, values=None):
    values = np.eye(4) if values is None else values
    return [Explanation(text, 0.25, dict.fromkeys(METHODS, values)) for text in texts]


def test_a_picture_shows_texts_methods_and_a_legend(figures, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    texts = ["a red circle", "costs $5 and $6"]
    path = explanation_picture(image, explanations(*texts), tmp_path / "a.png", title="ring.png")
    assert path.stat().st_size > 10_000
    (figure,) = figures
    words = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    for expected in (*texts, *METHODS.values(), "ring.png", "cosine 0.250", "plays no role"):
        assert expected in words
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 2 * (1 + len(METHODS)) + 1  # and the bar of the legend


def test_an_empty_map_says_so(figures, tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    nothing = explanations("a dog", values=np.zeros((4, 4)))
    explanation_picture(image, nothing, tmp_path / "a.png", title="x")
    words = [text.get_text() for text in figures[0].texts]
    assert words.count("nothing speaks for it") == len(METHODS)


@pytest.mark.parametrize("image", [np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8, 3))])
def test_other_images_are_refused(image, tmp_path):
    with pytest.raises(ValueError, match=r"expected a uint8 image \(H, H, 3\)"):
        explanation_picture(image, explanations("a"), tmp_path / "a.png", title="x")


def test_colours_go_from_blue_to_yellow():
    np.testing.assert_array_equal(coloured(np.linspace(0, 1, len(RAMP))), RAMP)
    values = np.zeros((4, 4))
    values[0, 0] = 7.0
    hot = heated(np.full((64, 64, 3), 128, np.uint8), values)
    assert hot[0, 0, 0] > 180 > 60 > hot[-1, -1, 0]
    np.testing.assert_array_equal(heated(hot, np.zeros((4, 4))), heated(hot, np.zeros((2, 2))))

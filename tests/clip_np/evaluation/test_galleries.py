"""Images in rows above their labels, and captions that a model chose."""

import pytest
from pictures import some_pairs, texts_of

from clip_np.evaluation import caption_grid, drawing, labelled_images

pytest.importorskip("matplotlib")


def test_grid_marks_right_and_wrong_captions(tmp_path, figures):
    images, _ = some_pairs(2)
    choices = [["a cat", "a dog"], ["a fish", "a bird"]]
    scores = [[0.9, 0.1], [0.6, 0.004]]
    caption_grid(images, ["a cat", "a bird"], choices, scores, tmp_path / "grid.png")
    colours = {text.get_text(): text.get_color() for text in figures[0].texts}
    assert colours["✓ 90%"] == colours["a cat"] == drawing.GREEN
    assert colours["✗ 60%"] == colours["a fish"] == colours["a dog"] == drawing.RED
    assert colours["true"] == drawing.GREY
    texts = texts_of(figures[0])
    assert texts[texts.index("true") + 1] == "a bird" and texts.count("true") == 1
    assert "✓ 0%" in texts
    assert any("First choice right for 1 of 2 images" in text for text in texts)
    grid = tmp_path / "grid.png"
    caption_grid(images, ["a cat", "a bird"], choices, scores, grid, caption_count=1000)
    note = " ".join(texts_of(figures[1])).replace("\n", " ")
    assert "First choice among 1,000 captions right for 1 of 2 images" in note


def test_grid_refuses(tmp_path):
    images, captions = some_pairs(2)
    path, choices, scores = tmp_path / "grid.png", [["a"], ["b"]], [[0.5], [0.5]]
    with pytest.raises(ValueError, match="'choices': 1"):
        caption_grid(images, captions, choices[:1], scores, path)
    for wrong in ([["a", "c"], ["b"]], [[], ["b"]]):
        with pytest.raises(ValueError, match="every image needs a choice, every choice a score"):
            caption_grid(images, captions, wrong, scores, path)
    with pytest.raises(ValueError, match="every image needs a choice, every choice a score"):
        caption_grid(images, captions, [[], ["b"]], [[], [0.5]], path)
    with pytest.raises(ValueError, match=r"B > 0, H, W, 3\).* got uint8 \(0, 32, 32, 3\)"):
        caption_grid(images[:0], [], [], [], path)
    assert not list(tmp_path.iterdir())


def test_labelled_images_show_marks_and_texts(tmp_path, figures):
    images, _ = some_pairs(2)
    labels = [[("71%", "a dog"), ("3%", "a cat")], [("5%", "a bird")]]
    labelled_images(images, labels, tmp_path / "a.png", "The title", "the note")
    expected = ["71%", "a dog", "3%", "a cat", "5%", "a bird", "The title", "the note"]
    assert texts_of(figures[0]) == expected
    with pytest.raises(ValueError, match="'labels': 1"):
        labelled_images(images, labels[:1], tmp_path / "b.png", "", "")

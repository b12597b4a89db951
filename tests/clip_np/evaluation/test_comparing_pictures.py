"""Pictures of mistakes and of several runs: what stands on them, and their sizes."""

import numpy as np
import pytest
from PIL import Image

from clip_np.evaluation import RunCurves, compare_runs, confusion_picture, option_differences
from clip_np.evaluation import confusion_pictures as module

pytest.importorskip("matplotlib", exc_type=ImportError)


def texts_of(figure) -> list[str]:
    """All words on a figure."""
    return [text.get_text() for text in figure.texts] + [
        text.get_text() for axes in figure.axes for text in axes.texts
    ]


# --- confusion ------------------------------------------------------------------------


def test_a_small_confusion_shows_names_shares_and_mistakes(tmp_path, figures):
    matrix = np.array([[3, 1, 0], [0, 200, 1], [0, 0, 0]])
    path = confusion_picture(matrix, ["cat", "a $1 dog", "hat"], tmp_path / "a.png", "Zero-shot")
    words = texts_of(figures[0])
    assert words.count("cat") == words.count("hat") == 2  # beside its row, above its column
    assert "75%" in words and "25%" in words
    assert "0%" not in words  # 1 of 201, and a class without images
    assert "cat called a $1 dog: 1 of 4" in words
    assert any("203 of 205" in word.replace("\n", " ") for word in words)
    with Image.open(path) as picture:
        assert picture.width < 1200


def test_many_classes_shrink_and_no_share_is_written(tmp_path, figures):
    matrix = np.eye(40, dtype=int) * 5
    matrix[3, 4] = 2
    names = [f"class {number}" for number in range(40)]
    path = confusion_picture(matrix, names, tmp_path / "a.png")
    words = texts_of(figures[0])
    assert sum(name in words for name in names) == 40
    assert not any(word.endswith("%") for word in words)
    assert "class 3 called class 4: 2 of 7" in words
    with Image.open(path) as picture:
        assert picture.width < 1200


def test_of_too_many_classes_those_with_mistakes_are_drawn(tmp_path, figures, monkeypatch):
    monkeypatch.setattr(module, "MOST_CLASSES", 3)
    matrix = np.eye(6, dtype=int)
    matrix[5, 1], matrix[2, 5] = 4, 3
    confusion_picture(matrix, list("abcdef"), tmp_path / "a.png")
    words = texts_of(figures[0])
    assert [word for word in words if word in list("abcdef")] == list("bbccff")
    assert any("the 3 of 6 classes with the most mistakes" in word for word in words)


def test_a_model_without_mistakes(tmp_path, figures):
    confusion_picture(np.eye(2, dtype=int), ["cat", "dog"], tmp_path / "a.png")
    assert "No image has a wrong name." in texts_of(figures[0])


@pytest.mark.parametrize("shape, names", [((2, 2), ["a"]), ((2, 3), ["a", "b"]), ((0, 0), [])])
def test_names_must_fit_the_matrix(tmp_path, shape, names):
    with pytest.raises(ValueError, match="confusion_picture: expected a matrix"):
        confusion_picture(np.zeros(shape, int), names, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


# --- runs -----------------------------------------------------------------------------


def curves(name: str, options: dict, level: float = 0.1, count: int = 3) -> RunCurves:
    entries = [
        {
            "step": 10.0 * step,
            "loss": 1.0,
            "validation_loss": 3.0 / step,
            "validation_guessing": 4.0,
            "validation_recall_at_1": 0.1 * step,
            "validation_chance": level,
            "validation_pairs": 10.0,
        }
        for step in range(1, count + 1)
    ]
    return RunCurves(name, entries, options)


def test_the_legend_has_only_what_differs(tmp_path, figures):
    runs = [
        curves("one", {"seed": 0, "loss": "clip", "patience": None}),
        curves("two", {"seed": 0, "loss": "sigmoid", "patience": None}, count=1),
    ]
    path = compare_runs(runs, tmp_path / "a.png")
    words = [word.replace("\n", " ") for word in texts_of(figures[0])]
    best = "best recall 0.300 at step 30 (chance 0.1, 10 pairs)"
    assert f"loss clip: {best}" in words
    assert any(word.startswith("loss sigmoid: best recall 0.100") for word in words)
    with Image.open(path) as picture:
        assert 900 < picture.width < 1400


def test_one_level_of_guessing_is_one_line_and_several_are_drawn_apart(tmp_path, figures):
    def dashed(axes) -> list[float]:
        return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]

    same = [curves("one", {"seed": 0}), curves("two", {"seed": 1})]
    compare_runs(same, tmp_path / "a.png")
    other = [curves("one", {"seed": 0}), curves("two", {"seed": 1}, level=0.2)]
    compare_runs(other, tmp_path / "a.png")
    assert [dashed(axes) for axes in figures[0].axes[:2]] == [[4.0], [pytest.approx(0.1)]]
    assert dashed(figures[1].axes[1]) == pytest.approx([0.1, 0.2])


def test_many_runs_are_told_apart(tmp_path, figures):
    compare_runs([curves(f"run {n}", {"seed": n}, count=1) for n in range(10)], tmp_path / "a.png")
    looks = {(line.get_color(), line.get_linestyle()) for line in figures[0].axes[0].lines[:10]}
    assert len(looks) == 10


def test_runs_without_validation_cannot_be_compared(tmp_path):
    empty = RunCurves("one", [{"step": 1.0, "loss": 2.0}], {})
    with pytest.raises(ValueError, match="none of the runs has a validation"):
        compare_runs([empty, empty], tmp_path / "a.png")
    with pytest.raises(ValueError, match="expected two runs or more, got 1"):
        compare_runs([curves("one", {})], tmp_path / "a.png")


def test_options_that_only_newer_runs_record():
    assert option_differences([{"flip": 0.5}, {}]) == ["flip 0.5", "flip not recorded"]
    assert option_differences([{"flip": None}, {"flip": True}]) == ["flip none", "flip yes"]

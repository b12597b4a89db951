"""Pictures of a training run: whole files, readable pages, any caption, clear refusals."""

import itertools
import math
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from clip_np.data import training_pairs
from clip_np.evaluation import (
    attention_maps,
    caption_grid,
    labelled_images,
    loss_curve,
    pictures,
    similarity_matrix,
)

pytest.importorskip("matplotlib")

AWKWARD = [
    "costs $5, then $6",
    "$\\frac{$ and x_1^2",
    "a dog 🐶👨‍👩‍👧 in the snow ❄️, 雪の中の犬",
    "a photo of a " + "very " * 200 + "long thing",
    "unbreakable" * 60,
    "",
    "two\nlines,\ttabs and \x00 \ud800 \u202e controls",
    "e\u0301 accents a\u1ab0",
]


def some_pairs(count: int) -> tuple[np.ndarray, list[str]]:
    return training_pairs(count, np.random.default_rng(5))


def some_records(count: int) -> list[dict]:
    return [
        {
            "step": step,
            "loss": 5 * math.exp(-step / 100) + 0.5,
            "temperature": 14 + step / 50,
            "learning_rate": 1e-3 * (1 - step / count),
            "samples_per_second": 900.0,
        }
        | ({"validation_loss": 5 * math.exp(-step / 100) + 0.7} if step % 50 == 0 else {})
        for step in range(count)
    ]


def some_maps(layers: int, count: int, grid: int = 4, heads: int = 2) -> np.ndarray:
    tokens = 1 + grid * grid
    maps = np.random.default_rng(2).random((layers, count, heads, tokens, tokens))
    return maps / maps.sum(axis=-1, keepdims=True)


def draw_loss(path):
    return loss_curve(some_records(200), path, batch_size=256)


def draw_similarity(path, count=4, captions=None):
    images, own = some_pairs(count)
    features = np.random.default_rng(1).standard_normal((2, count, 8))
    return similarity_matrix(*features, images, captions or own, path)


def draw_grid(path, count=5, captions=None):
    images, own = some_pairs(count)
    captions = captions or own
    choices = [[captions[(row + k) % count] for k in range(3)] for row in range(count)]
    choices[0].reverse()
    return caption_grid(images, captions, choices, [[0.7, 0.2, 0.004]] * count, path)


def draw_attention(path, count=2, captions=None):
    images, own = some_pairs(count)
    return attention_maps(images, some_maps(3, count), path, captions or own)


def draw_labelled(path, count=3, captions=None):
    images, own = some_pairs(count)
    labels = [[("71%", caption), ("0.4%", caption)] for caption in captions or own]
    return labelled_images(images, labels, path, "Best for a sentence", "of many images")


DRAWINGS = {
    "loss": draw_loss,
    "similarity": draw_similarity,
    "grid": draw_grid,
    "attention": draw_attention,
    "labelled": draw_labelled,
}
WITH_CAPTIONS = ["similarity", "grid", "attention", "labelled"]


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 5, "the page is blank"
        return image.size


@pytest.fixture
def figures(monkeypatch):
    """All finished figures, which are written as well."""
    from matplotlib.figure import Figure

    finished, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (finished.append(self), save(self, *a, **k))
    )
    return finished


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def assert_tidy(figure, path) -> None:
    """Nothing is cut off, no two texts overlap, none runs into a picture."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.min() < 100
    for edge in (pixels[:30], pixels[-30:], pixels[:, :30], pixels[:, -30:]):
        assert (edge == 255).all()
    boxes = [(t.get_text(), t.get_window_extent()) for t in figure.texts if t.get_text()]
    areas = [("an image", axes.bbox) for axes in figure.axes if axes.images and axes.get_frame_on()]
    slack = 2  # pixels: a box is rounded outwards
    for (one, a), (two, b) in itertools.combinations(boxes + areas, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= slack or high <= slack, f"{one!r} overlaps {two!r}"


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_function_writes_a_png_and_returns_its_path(tmp_path, name):
    path = tmp_path / "picture.png"
    path.write_bytes(b"an older picture")
    assert DRAWINGS[name](str(path)) == path
    width, height = size_of(path)
    assert 500 < width < 3000 and 400 < height < 3000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", DRAWINGS)
def test_failing_draw_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch, name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def half(canvas, file, **_):
        file.write(b"\x89PNG half")
        raise OSError("no space left")

    monkeypatch.setattr(FigureCanvasAgg, "print_png", half)
    old, new = tmp_path / "old.png", tmp_path / "new.png"
    old.write_bytes(b"an older picture")
    for path in (old, new):
        with pytest.raises(OSError, match="no space left"):
            DRAWINGS[name](path)
    assert old.read_bytes() == b"an older picture"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("name", DRAWINGS)
def test_missing_matplotlib_says_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        pictures.MissingMatplotlib, match=r'pip install "minigrad-clip\[examples\]"'
    ):
        DRAWINGS[name](tmp_path / "picture.png")
    assert issubclass(pictures.MissingMatplotlib, RuntimeError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WITH_CAPTIONS)
def test_any_caption_is_drawn_literally_and_without_a_warning(tmp_path, figures, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = DRAWINGS[name](tmp_path / "picture.png", len(AWKWARD), AWKWARD)
    assert any(text.startswith("costs $5, then $6") for text in texts_of(figures[0]))
    assert any("□" in text for text in texts_of(figures[0]))
    assert_tidy(figures[0], path)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("name", WITH_CAPTIONS)
def test_page_grows_with_the_number_of_images(tmp_path, figures, name, count):
    path = DRAWINGS[name](tmp_path / "picture.png", count)
    assert len([axes for axes in figures[0].axes if axes.images]) >= count
    assert_tidy(figures[0], path)


def test_no_global_state_is_touched(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    for name, draw in DRAWINGS.items():
        draw(tmp_path / f"{name}.png")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize(
    "text", ["a large cyan ring left of a star " * 3, "MW" * 60, "雪の中の犬" * 20]
)
def test_wrap_loses_nothing_and_stays_within_the_width(text):
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    def width(line):
        style = FontProperties(family=pictures.FONT, size=pictures.BODY)
        renderer = RendererAgg(1, 1, pictures.DPI)
        return renderer.get_text_width_height_descent(line, style, False)[0] / pictures.DPI

    lines = pictures._wrap(text, 1.5, 99).split("\n")
    assert len("".join(lines).replace(" ", "")) == len(text.replace(" ", ""))
    assert len(lines) > 3 and max(map(width, lines)) <= 1.5
    short = pictures._wrap(text, 1.5, 2).split("\n")
    assert len(short) == 2 and short[1].endswith("…")
    assert max(map(width, short)) <= 1.5


# The loss.


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def test_loss_curve_shows_what_was_recorded(tmp_path, figures):
    draw_loss(tmp_path / "loss.png")
    (axes,) = figures[0].axes
    lines = lines_of(axes)
    np.testing.assert_allclose(
        lines["training"].get_ydata(), [record["loss"] for record in some_records(200)]
    )
    assert list(lines["validation"].get_xdata()) == [0, 50, 100, 150]
    level = lines["knows nothing: ln N = 5.55"]
    assert level.get_ydata()[0] == pytest.approx(math.log(256))
    assert level.get_linestyle() == "--"
    lowest = 5 * math.exp(-1.5) + 0.7
    assert f"lowest validation loss {lowest:.3f} at step 150" in " ".join(texts_of(figures[0]))


def test_nothing_of_the_loss_curve_is_cut_off_or_overlaps(tmp_path, figures):
    path = loss_curve(some_records(200), tmp_path / "loss.png", 32768)
    assert_tidy(figures[0], path)
    (axes,) = figures[0].axes
    assert axes.get_tightbbox().y1 < min(t.get_window_extent().y0 for t in figures[0].texts)


def test_smoothing_is_a_mean_over_a_centred_window(tmp_path, figures):
    rng = np.random.default_rng(0)
    losses = rng.random(500)
    records = [{"step": step, "loss": loss} for step, loss in enumerate(losses)]
    loss_curve(records, tmp_path / "loss.png", 8)
    smooth = lines_of(figures[0].axes[0])["training, smoothed"].get_ydata()
    assert smooth[100] == pytest.approx(losses[90:111].mean())
    assert smooth[0] == pytest.approx(losses[:11].mean())
    assert smooth[-1] == pytest.approx(losses[-11:].mean())


def test_a_step_that_was_repeated_after_a_restart_counts_once(tmp_path, figures):
    records = [{"step": step, "loss": loss} for step, loss in [(2, 3.0), (1, 4.0), (2, 2.0)]]
    loss_curve(records, tmp_path / "loss.png", 8)
    line = lines_of(figures[0].axes[0])["training"]
    assert line.get_xydata().tolist() == [[1, 4], [2, 2]]


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_incomplete_records(tmp_path, figures, count):
    loss_curve([{"step": n, "loss": 2.0} for n in range(count)], tmp_path / "loss.png", 8)
    assert len(lines_of(figures[0].axes[0])["training"].get_xdata()) == count


@pytest.mark.parametrize("records", [[], [{"step": 1, "temperature": 14.0}]])
def test_loss_curve_without_a_loss(tmp_path, records):
    with pytest.raises(ValueError, match=f"none of {len(records)} records has a 'loss'"):
        loss_curve(records, tmp_path / "loss.png", 8)
    assert not list(tmp_path.iterdir())


# The cosines.


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


# The grid of captions.


def test_grid_marks_right_and_wrong_captions(tmp_path, figures):
    images, _ = some_pairs(2)
    choices = [["a cat", "a dog"], ["a fish", "a bird"]]
    scores = [[0.9, 0.1], [0.6, 0.004]]
    caption_grid(images, ["a cat", "a bird"], choices, scores, tmp_path / "grid.png")
    colours = {text.get_text(): text.get_color() for text in figures[0].texts}
    assert colours["✓ 90%"] == colours["a cat"] == pictures.RIGHT
    assert colours["✗ 60%"] == colours["a fish"] == colours["a dog"] == pictures.WRONG
    assert colours["true"] == pictures.GREY
    texts = texts_of(figures[0])
    assert texts[texts.index("true") + 1] == "a bird" and texts.count("true") == 1
    assert "✓ 0%" in texts
    assert any("right for 1 of 2 images" in text for text in texts)


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
    with pytest.raises(ValueError, match=r"B > 0, H, W, 3\), .* got uint8 \(0, 32, 32, 3\)"):
        caption_grid(images[:0], [], [], [], path)
    assert not list(tmp_path.iterdir())


# Images with labels.


def test_labelled_images_show_marks_and_texts(tmp_path, figures):
    images, _ = some_pairs(2)
    labels = [[("71%", "a dog"), ("3%", "a cat")], [("5%", "a bird")]]
    labelled_images(images, labels, tmp_path / "a.png", "The title", "the note")
    expected = ["71%", "a dog", "3%", "a cat", "5%", "a bird", "The title", "the note"]
    assert texts_of(figures[0]) == expected
    with pytest.raises(ValueError, match="'labels': 1"):
        labelled_images(images, labels[:1], tmp_path / "b.png", "", "")


# Attention.


def test_attention_marks_the_patch_that_the_class_token_looks_at(tmp_path, figures):
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    maps = np.zeros((2, 1, 2, 17, 17))
    maps[..., 0] = 1.0
    # Layer 2: the patch in row 1, column 2 gets 0.5 from one head and 0.3 from the other.
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

"""Pictures of a training run: whole files, readable pages, any caption, clear refusals."""

import itertools
import math
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from clip_np import pictures
from clip_np.pictures import attention_maps, caption_grid, loss_curve, similarity_matrix
from clip_np.shapes import training_pairs

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


DRAWINGS = {
    "loss": draw_loss,
    "similarity": draw_similarity,
    "grid": draw_grid,
    "attention": draw_attention,
}
WITH_CAPTIONS = ["similarity", "grid", "attention"]


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 5, "the page is blank"
        return image.size


@pytest.fixture
def pages(monkeypatch):
    """All finished pages, in place of files."""
    finished = []
    monkeypatch.setattr(pictures._Page, "save", lambda page, path: finished.append(page))
    return finished


def texts_of(page) -> list[str]:
    return [text.get_text() for text in page.figure.texts]


def assert_tidy(page) -> None:
    """Nothing is cut off, no two texts overlap, no text is tiny, none runs into a picture."""
    renderer = page.canvas.get_renderer()
    texts = [text for text in page.figure.texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    sheet = page.figure.bbox
    for text, box in zip(texts, boxes):
        assert text.get_fontsize() >= 7
        assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1, text.get_text()
        assert sheet.y0 <= box.y0 and box.y1 <= sheet.y1, text.get_text()
    areas = [axes.bbox for axes in page.figure.axes if axes.images and axes.axison]
    slack = 2  # pixels: a box is rounded outwards
    for (one, a), (two, b) in itertools.combinations(
        [*zip(texts, boxes), *((None, area) for area in areas)], 2
    ):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= slack or high <= slack, f"{one} overlaps {two}"


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

    def half(canvas, file):
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
def test_any_caption_is_drawn_literally_and_without_a_warning(tmp_path, pages, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DRAWINGS[name](tmp_path / "picture.png", len(AWKWARD), AWKWARD)
        pages[0].canvas.draw()
    assert any(text.startswith("costs $5, then $6") for text in texts_of(pages[0]))
    assert any("□" in text for text in texts_of(pages[0]))
    assert_tidy(pages[0])


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("name", WITH_CAPTIONS)
def test_page_grows_with_the_number_of_images(tmp_path, pages, name, count):
    DRAWINGS[name](tmp_path / "picture.png", count)
    assert len([axes for axes in pages[0].figure.axes if axes.images]) >= count
    assert_tidy(pages[0])


def test_no_global_state_is_touched(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    for name, draw in DRAWINGS.items():
        draw(tmp_path / f"{name}.png")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_too_large_a_picture_is_refused(tmp_path):
    images = np.zeros((150, 4, 4, 3), np.uint8)
    features = np.ones((150, 2))
    with pytest.raises(ValueError, match="pass fewer"):
        similarity_matrix(features, features, images, ["x"] * 150, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_wrap_loses_no_word_and_stays_within_the_width():
    text = "a large cyan ring left of a small pink star " * 3
    lines = pictures._wrap(text, 1.5, 99)
    assert " ".join(lines) == text.strip()
    assert len(lines) > 3
    assert all(pictures._width(line, pictures.BODY) <= 1.5 for line in lines)
    short = pictures._wrap(text, 1.5, 2)
    assert short[0] == lines[0]
    assert len(short) == 2 and short[1].endswith("…")
    assert pictures._width(short[1], pictures.BODY) <= 1.5
    assert "".join(pictures._wrap("x" * 100, 1.0, 99)) == "x" * 100


# The loss.


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def test_loss_curve_shows_what_was_recorded(tmp_path, pages):
    draw_loss(tmp_path / "loss.png")
    upper, lower, right = pages[0].figure.axes
    lines = lines_of(upper)
    np.testing.assert_allclose(
        lines["training"].get_ydata(), [record["loss"] for record in some_records(200)]
    )
    assert list(lines["validation"].get_xdata()) == [0, 50, 100, 150]
    level = lines["knows nothing: ln 256 = 5.55"]
    assert level.get_ydata()[0] == pytest.approx(math.log(256))
    assert level.get_linestyle() == "--"
    assert lower.lines[0].get_ydata()[-1] == pytest.approx(14 + 199 / 50)
    assert right.lines[0].get_ydata()[0] == pytest.approx(1e-3)
    assert lower.get_xlim() == upper.get_xlim()


def test_nothing_of_the_loss_curve_is_cut_off_or_overlaps(tmp_path, pages):
    records = some_records(200)
    for record in records:
        record["learning_rate"] *= 1.7e-3
    loss_curve(records, tmp_path / "loss.png", 32768)
    assert_tidy(pages[0])
    renderer = pages[0].canvas.get_renderer()
    upper, lower, right = (axes.get_tightbbox(renderer) for axes in pages[0].figure.axes)
    sheet = pages[0].figure.bbox
    for box in (upper, lower, right):
        assert min(box.x0, box.y0) > 0 and box.x1 < sheet.x1 and box.y1 < sheet.y1
    assert upper.y0 > max(lower.y1, right.y1)
    heading = min(text.get_window_extent(renderer).y0 for text in pages[0].figure.texts)
    assert upper.y1 < heading


def test_smoothing_is_a_mean_over_a_centred_window(tmp_path, pages):
    rng = np.random.default_rng(0)
    losses = rng.random(500)
    records = [{"step": step, "loss": loss} for step, loss in enumerate(losses)]
    loss_curve(records, tmp_path / "loss.png", 8)
    smooth = lines_of(pages[0].figure.axes[0])["training, smoothed"].get_ydata()
    assert smooth[100] == pytest.approx(losses[90:111].mean())
    assert smooth[0] == pytest.approx(losses[:11].mean())
    assert smooth[-1] == pytest.approx(losses[-11:].mean())


def test_a_step_that_was_repeated_after_a_restart_counts_once(tmp_path, pages):
    records = [{"step": step, "loss": loss} for step, loss in [(2, 3.0), (1, 4.0), (2, 2.0)]]
    loss_curve(records, tmp_path / "loss.png", 8)
    line = lines_of(pages[0].figure.axes[0])["training"]
    assert line.get_xydata().tolist() == [[1, 4], [2, 2]]


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_incomplete_records(tmp_path, pages, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_curve([{"step": n, "loss": 2.0} for n in range(count)], tmp_path / "loss.png", 1)
        pages[0].canvas.draw()
    _, lower, right = pages[0].figure.axes
    assert lower.get_ylabel() == "temperature (not recorded)"
    assert right.get_ylabel() == "learning rate (not recorded)"


def test_losses_that_are_not_finite_are_left_out_and_counted(tmp_path, pages):
    records = some_records(60)
    records[3]["loss"], records[4]["loss"] = math.nan, math.inf
    records[5]["loss"] = None
    loss_curve(records, tmp_path / "loss.png", 8)
    assert len(lines_of(pages[0].figure.axes[0])["training"].get_ydata()) == 57
    assert any("2 losses are not finite" in text for text in texts_of(pages[0]))


@pytest.mark.parametrize(
    ("records", "batch_size", "message"),
    [
        ([], 8, "none of 0 records has a finite 'loss'"),
        ([{"step": 1, "loss": math.nan}], 8, "none of 1 records has a finite 'loss'"),
        ([{"loss": 1.0}], 8, "every record must have a 'step'"),
        ([{"step": 1, "loss": 1.0}], 0, "batch_size must be at least 1, got 0"),
    ],
)
def test_loss_curve_refuses(tmp_path, records, batch_size, message):
    with pytest.raises(ValueError, match=message):
        loss_curve(records, tmp_path / "loss.png", batch_size)
    assert not list(tmp_path.iterdir())


# The cosines.


def test_similarity_has_captions_down_and_images_across(tmp_path, pages):
    images, captions = some_pairs(2)
    image_features, text_features = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0], [4, 3]])
    similarity_matrix(image_features, text_features, images, captions, tmp_path / "a.png")
    expected = np.array([[1.0, 0.0], [0.8, 0.6]])
    shown = pages[0].figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    texts = {text.get_text(): text for text in pages[0].figure.texts}
    bold = [
        value for value in ("1.00", "0.00", "0.80", "0.60") if texts[value].get_weight() == "bold"
    ]
    assert bold == ["1.00", "0.60"]
    note = " ".join(texts_of(pages[0]))
    assert "2 of 2 images find their own caption, 1 of 2 captions their own image" in note


def test_similarity_writes_no_negative_zero(tmp_path, pages):
    images, captions = some_pairs(1)
    features = np.array([[1.0, -0.001]]), np.array([[0.0, 1.0]])
    similarity_matrix(*features, images, captions, tmp_path / "a.png")
    assert "0.00" in texts_of(pages[0])
    similarity_matrix(np.array([[1.0, -2.0]]), features[1], images, captions, tmp_path / "a.png")
    assert "−0.89" in texts_of(pages[1])


def test_similarity_refuses(tmp_path):
    images, captions = some_pairs(3)
    good, path = np.eye(3), tmp_path / "a.png"
    with pytest.raises(ValueError, match="3 images but 2 captions"):
        similarity_matrix(good, good, images, captions[:2], path)
    with pytest.raises(ValueError, match="3 images but 2 text features"):
        similarity_matrix(good, good[:2], images, captions, path)
    with pytest.raises(ValueError, match="NaN"):
        similarity_matrix(good * np.nan, good, images, captions, path)
    with pytest.raises(ValueError, match=r"must be \(N, E\)"):
        similarity_matrix(good, good[:, :2], images, captions, path)
    with pytest.raises(ValueError, match=r"must be uint8 .* got float64 \(3, 32, 32, 3\)"):
        similarity_matrix(good, good, images / 255, captions, path)
    assert not list(tmp_path.iterdir())


# The grid of captions.


def test_grid_marks_right_and_wrong_captions(tmp_path, pages):
    images, _ = some_pairs(2)
    choices = [["a cat", "a dog"], ["a fish", "a bird"]]
    scores = [[0.9, 0.1], [0.6, 0.004]]
    caption_grid(images, ["a cat", "a bird"], choices, scores, tmp_path / "grid.png")
    colours = {text.get_text(): text.get_color() for text in pages[0].figure.texts}
    assert colours["a cat"] == colours["a bird"] == colours["✓"] == pictures.RIGHT
    assert colours["a fish"] == colours["a dog"] == colours["✗"] == pictures.WRONG
    assert colours["true: a bird"] == pictures.GREY and "true: a cat" not in colours
    assert colours["90%"] == pictures.RIGHT and colours["60%"] == pictures.WRONG
    texts = texts_of(pages[0])
    assert texts.count("✓") == texts.count("✗") == 2
    assert any("right for 1 of 2 images" in text for text in texts)


def test_grid_refuses(tmp_path):
    images, captions = some_pairs(2)
    path, choices, scores = tmp_path / "grid.png", [["a"], ["b"]], [[0.5], [0.5]]
    with pytest.raises(ValueError, match="2 images but 1 lists of choices"):
        caption_grid(images, captions, choices[:1], scores, path)
    with pytest.raises(ValueError, match="1 choices but 2 scores"):
        caption_grid(images, captions, choices, [[0.5, 0.1], [0.5]], path)
    with pytest.raises(ValueError, match="0 choices but 0 scores"):
        caption_grid(images, captions, [[], ["b"]], [[], [0.5]], path)
    with pytest.raises(ValueError, match=r"must be probabilities, got 12\.5"):
        caption_grid(images, captions, choices, [[0.5], [12.5]], path)
    with pytest.raises(ValueError, match=r"B > 0, H, W, 3\), got uint8 \(0, 32, 32, 3\)"):
        caption_grid(images[:0], [], [], [], path)
    assert not list(tmp_path.iterdir())


# Attention.


def test_attention_marks_the_patch_that_the_class_token_looks_at(tmp_path, pages):
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    maps = np.zeros((2, 1, 2, 17, 17))
    maps[..., 0] = 1.0
    # Layer 2: the patch in row 1, column 2 gets 0.5 from one head and 0.3 from the other.
    maps[1, 0, :, 0, 1 + 1 * 4 + 2] = 0.5, 0.3
    attention_maps(images, maps, tmp_path / "a.png")
    original, first, second = (axes.images[0].get_array() for axes in pages[0].figure.axes)
    assert (original == 100).all()
    assert (first == 75).all()
    lit = (np.abs(second.astype(int) - 75) > 20).any(axis=2)
    expected = np.zeros((32, 32), bool)
    expected[8:16, 16:24] = True
    np.testing.assert_array_equal(lit, expected)
    texts = texts_of(pages[0])
    assert "0.0%" in texts and "40.0%" in texts
    assert [text for text in texts if text.startswith("layer")] == ["layer 1", "layer 2"]


@pytest.mark.parametrize("size", [30, 32, 224])
def test_attention_of_other_image_sizes_and_many_layers(tmp_path, pages, size):
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    attention_maps(images, some_maps(12, 1, grid=7), tmp_path / "a.png", AWKWARD[:1])
    assert pages[0].width > 13 * 1.25
    assert len(pages[0].figure.axes) == 13
    assert_tidy(pages[0])


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1, 1), (1, 1, 1, 6, 6), (1, 1, 1, 17, 5), (1, 1, 17, 17), (0, 1, 1, 5, 5), ()],
)
def test_attention_refuses_other_shapes(tmp_path, shape):
    with pytest.raises(ValueError, match=r"T - 1 patches in a square grid .*, got \("):
        attention_maps(some_pairs(1)[0], np.zeros(shape), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_attention_refuses_other_counts_and_nan(tmp_path):
    images, captions = some_pairs(2)
    maps, path = some_maps(1, 2), tmp_path / "a.png"
    with pytest.raises(ValueError, match="1 images but 2 maps"):
        attention_maps(images[:1], maps, path)
    with pytest.raises(ValueError, match="2 images but 1 captions"):
        attention_maps(images, maps, path, captions[:1])
    with pytest.raises(ValueError, match="2 images but 0 captions"):
        attention_maps(images, maps, path, [])
    with pytest.raises(ValueError, match="NaN"):
        attention_maps(images, maps * np.nan, path)
    assert not list(tmp_path.iterdir())

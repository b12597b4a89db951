"""What all pictures share: whole files, readable pages, any caption."""

import sys
import warnings
from types import SimpleNamespace

import pytest
from pictures import AWKWARD, DRAWINGS, WITH_CAPTIONS, assert_tidy, size_of, texts_of

from clip_np.evaluation import MissingMatplotlib, drawing, fonts

pytest.importorskip("matplotlib")


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
    with pytest.raises(MissingMatplotlib, match=r'pip install "minigrad-clip\[examples\]"'):
        DRAWINGS[name](tmp_path / "picture.png")
    assert issubclass(MissingMatplotlib, RuntimeError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WITH_CAPTIONS)
def test_any_caption_is_drawn_literally_and_without_a_warning(tmp_path, figures, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", fonts.MissingLetterWarning)
        path = DRAWINGS[name](tmp_path / "picture.png", len(AWKWARD), AWKWARD)
    assert any(text.startswith("costs $5, then $6") for text in texts_of(figures[0]))
    has_boxes = any("□" in text for text in texts_of(figures[0]))
    assert has_boxes == any(fonts.font_of(letter) is None for letter in "雪🐶\x1b")
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
        style = FontProperties(family=fonts.FONT, size=drawing.BODY_SIZE)
        renderer = RendererAgg(1, 1, drawing.DPI)
        return renderer.get_text_width_height_descent(line, style, False)[0] / drawing.DPI

    lines = drawing.wrap(text, 1.5, 99).split("\n")
    assert len("".join(lines).replace(" ", "")) == len(text.replace(" ", ""))
    assert len(lines) > 3 and max(map(width, lines)) <= 1.5
    short = drawing.wrap(text, 1.5, 2).split("\n")
    assert len(short) == 2 and short[1].endswith("…")
    assert max(map(width, short)) <= 1.5


def test_letters_of_other_writings_come_from_other_fonts():
    assert fonts.fonts_of("a cat") == [fonts.FONT]
    assert fonts.fonts_of("a חתול") == [fonts.FONT, "DejaVu Sans"]  # Hebrew
    assert fonts.font_of("\U000f1234") is None  # of nobody's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fonts.drawable("a חתול") == "a חתול"
        assert fonts.drawable("\x1b[1m") == "□[1m"  # what acts is no letter


def test_an_installed_font_is_asked(monkeypatch):
    """Here a letter that no font of matplotlib has; a stand-in has it."""
    from matplotlib import font_manager

    entry = SimpleNamespace(name="Some Writing", fname="some.ttf")
    missing = "\U000f0001"
    usual = fonts._has_letter
    monkeypatch.setattr(
        fonts,
        "_has_letter",
        lambda file, letter: letter == missing if file == "some.ttf" else usual(file, letter),
    )
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [entry])
    fonts.font_of.cache_clear()
    try:
        assert fonts.fonts_of(f"a {missing}") == [fonts.FONT, "Some Writing"]
        assert fonts.drawable(missing) == missing
    finally:
        fonts.font_of.cache_clear()

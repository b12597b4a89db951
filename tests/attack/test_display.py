"""No character of a file name or a caption commands the terminal or the page."""

import json
import pathlib
import re
import warnings

import pytest
from command_line import run
from exploring import data_of_page
from image_folders import untrained_run, write_photos
from PIL import Image

from clip_np.cli import evaluating
from clip_np.cli import output as cli_output
from clip_np.cli.messages import warnings_name_flags
from clip_np.evaluation import drawing, html_page
from clip_np.files import shown, shown_lines

ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Clears the screen, rings, writes over the line, goes back, turns letters round.
EVIL = "\x1b[2J\x1b]0;title\x07\r\b\u202egnp\u2066\x9b1m"
SHOWN = r"\x1b[2J\x1b]0;title\x07\x0d\x08\u202egnp\u2066\x9b1m"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    untrained_run(tmp_path / "run")
    return write_photos(tmp_path / "photos")


def test_what_is_shown():
    assert shown(EVIL) == SHOWN
    assert shown("first\nsecond") == r"first\x0asecond"
    assert shown_lines(f"first\n{EVIL}") == f"first\n{SHOWN}"
    for text in ("ünïcode 🎈 👩‍🎨 日本語", "שלום", "a\\x1b", "\udce9"):
        assert shown(text) == text
    everything = "".join(map(chr, range(0x3000)))
    assert not ACTING.search(shown(everything))


def test_names_on_the_terminal(capsys, photos):
    good, bad = photos / f"a{EVIL}\n.png", photos / f"b{EVIL}.png"
    Image.new("RGB", (32, 32)).save(good)
    bad.write_bytes(b"no image")
    printed = [
        *run(capsys, "embed", "run", photos, "-o", "index.npz"),
        *run(capsys, "search", "index.npz", "red", "--html", "page.html"),
        *run(capsys, "search", "index.npz", bad, status=1),
        *run(capsys, "classify", "run", good, "a", f"b{EVIL}"),
        *run(capsys, "classify", "run", photos, "a"),
        *run(capsys, "info", f"nowhere{EVIL}", status=1),
    ]
    for text in printed:
        assert not ACTING.search(text.replace("\rimages", "images")), text
    assert any(SHOWN in text for text in printed)
    page = pathlib.Path("page.html").read_text(encoding="utf-8")
    assert not ACTING.search(page)
    assert rf"a{SHOWN}\x0a.png" in page
    found = json.loads(run(capsys, "search", "index.npz", "red", "--json")[0])
    assert str(good) in found  # programs get the real name


def test_a_title_and_a_mark_on_the_page(tmp_path):
    path = tmp_path / "page.html"
    html_page([("/a.png", f"<b>{EVIL}")], path, title=EVIL, note=EVIL)
    page = path.read_text(encoding="utf-8")
    assert page.count(SHOWN) == 4
    assert "<b>&lt;b&gt;" in page
    assert not ACTING.search(page)


def test_captions_and_names_in_the_explorer(capsys, photos):
    folder = photos.with_name("strange")
    folder.mkdir()
    for colour in ("red", "blue"):
        Image.new("RGB", (32, 32), colour).save(folder / f"{colour}{EVIL}.png")
        text = f"a {colour} {EVIL} ring</script><b>"
        (folder / f"{colour}{EVIL}.txt").write_text(text, encoding="utf-8", newline="")
    run(capsys, "explore", "run", "--data", folder, "--out", f"page{EVIL}.html")
    page = pathlib.Path(f"page{EVIL}.html").read_text(encoding="utf-8")
    assert not ACTING.search(page)
    assert "ring</script" not in page and r"ring\u003c/script\u003e" in page
    data = data_of_page(page)
    assert any(SHOWN in caption for caption in data["captions"])
    assert any(SHOWN in name for name in data["names"])


def test_errors_and_warnings(capsys, photos, monkeypatch):
    def refuse(path, activation):
        warnings.warn(f"row {EVIL}", stacklevel=1)
        raise ValueError(f"caption {EVIL}\nclip-np: all is well")

    monkeypatch.setattr(evaluating, "read_run", refuse)
    with pytest.warns(UserWarning):
        _, errors = run(capsys, "evaluate", "run", status=1)
    assert errors.splitlines() == [rf"clip-np: error: caption {SHOWN}\x0aclip-np: all is well"]
    with warnings_name_flags({}):
        printed = warnings.formatwarning(f"row {EVIL}", UserWarning, "a.py", 3, "")
    assert SHOWN in printed and not ACTING.search(printed)


def test_words_on_a_picture(tmp_path, monkeypatch):
    drawn = []

    class Figure:
        def text(self, x, y, text, **style):
            drawn.append(text)

    drawing.draw_text(Figure(), 0, 0, f"first\n{EVIL}", "black")
    assert drawn == [f"first\n{SHOWN}"]


def test_lines_of_a_program_stay_lines(capsys):
    arguments = type("Arguments", (), {"json": None})
    cli_output.print_text(arguments, f"stopped{EVIL}\n    next")
    assert capsys.readouterr().out == f"stopped{SHOWN}\n    next\n"

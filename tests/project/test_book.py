"""The book shows every line of the source once, in order, and links its names."""

import ast
import doctest
import importlib
import re

import pytest
from paths import ROOT

from book import __main__ as program
from book.drawing import Stop, draw_map
from book.names import Names
from book.order import chapters_of_the_book
from book.prose import columns_html, formula_html, has_columns, read_prose, read_spans
from book.rows import Part, Row, docstring_lines, own_line_comments, read_file
from book.steps import run_step

TOOLS = sorted(path.stem for path in (ROOT / "book").glob("*.py"))
NEED_SPHINX = {"annotated", "conf"}
CHAPTERS = chapters_of_the_book()
FILES = [file for chapter in CHAPTERS for file in chapter.files]
EXAMPLES = [path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("**/*.py")]


def all_rows(parts: tuple[Part, ...]) -> list[Row]:
    """The rows of parts and of the parts inside them."""
    rows: list[Row] = []
    for part in parts:
        rows += [*part.rows, *all_rows(part.parts)]
    return rows


def words(text: str) -> list[str]:
    return text.split()


# --- nothing is lost ---


@pytest.mark.parametrize("name", [*FILES, *sorted(EXAMPLES)])
def test_every_line_of_a_file_is_on_its_page_once(name):
    source = (ROOT / name).read_text(encoding="utf-8")
    tree = ast.parse(source)
    comments = own_line_comments(source)
    texts = docstring_lines(tree)
    explained = {n for first, text in texts.items() for n in range(first, text.last + 1)}
    lines = enumerate(source.splitlines(), 1)
    code = [line for n, line in lines if line.strip() and n not in explained | set(comments)]
    file = read_file(source)
    rows = all_rows(file.parts)
    shown = [line for row in rows for line in row.code.splitlines() if line.strip()]
    assert shown == code
    page = words(" ".join([file.docstring, *(row.text for row in rows)]))
    for text in texts.values():
        assert set(words(text.text)) <= set(page)


def test_a_row_knows_its_line():
    for row in all_rows(read_file((ROOT / FILES[3]).read_text(encoding="utf-8")).parts):
        lines = (ROOT / FILES[3]).read_text(encoding="utf-8").splitlines()
        assert not row.code or lines[row.line - 1] == row.code.splitlines()[0]


SOURCE = '''"""Why?"""

limit = 3
"""The most that is allowed."""

# --- functions ---


# Above it.
@cached
def double(a):
    """Twice a."""
    b = 2  # stays
    # The product.
    return (
        # stays, too
        b * a
    )


class Box:
    """Holds."""

    size = 1

    def open(self):
        return self
'''


def test_text_stands_beside_what_it_explains():
    constant, heading, function, box = read_file(SOURCE).parts
    assert constant.rows == (Row("The most that is allowed.", "limit = 3", ("limit",), 3),)
    assert (heading.kind, heading.name) == ("heading", "functions")
    first, second = function.rows
    assert (first.text, first.line) == ("Above it.\n\nTwice a.", 10)
    assert first.code == "@cached\ndef double(a):\n    b = 2  # stays"
    assert second.text == "The product."
    assert second.code == "    return (\n        # stays, too\n        b * a\n    )"
    assert (box.rows[0].text, box.rows[0].code) == ("Holds.", "class Box:\n    size = 1")
    assert [part.name for part in box.parts] == ["Box.open"]


# --- text ---


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("one\ntwo", ["paragraph"]),
        ("one:\n\n    y = a b\n\n    z = c d", ["paragraph", "formula"]),
        ("one:\n\n    for x in y:\n        z = x", ["paragraph", "code"]),
        ("- one\n  more\n- two", ["items"]),
        ("1. one\n2. two", ["numbered"]),
        (">>> 1 + 1\n2", ["example"]),
        ("name        what it is\nother       what that is", ["formula"]),
        ("h = x / y\nIt is small.", ["formula", "paragraph"]),
        ("h = x / y\ng = y / x", ["formula"]),
        ("h = x / y", ["paragraph"]),
        ("the length is p = 2 and\nNothing else.", ["paragraph"]),
        ("p = 2, the sum of all\nvalues.", ["paragraph"]),
        ("", []),
    ],
)
def test_the_kinds_of_text(text, kinds):
    assert [block.kind for block in read_prose(text)] == kinds


@pytest.mark.parametrize(
    ("text", "kind", "piece"),
    [
        ("see `mg.exp`.", "code", "mg.exp"),
        ("a *new term* here", "emphasis", "new term"),
        ("*The bias.* A batch", "emphasis", "The bias."),
        ("*How fast?* A rate", "emphasis", "How fast?"),
        ("**loud** text", "strong", "loud"),
        ("arXiv:1706.03762, section 3", "paper", "arXiv:1706.03762"),
        ("(minigrad/plain.py)", "path", "minigrad/plain.py"),
        ("at https://example.org/a.", "link", "https://example.org/a"),
    ],
)
def test_marks_in_a_paragraph(text, kind, piece):
    assert [(span.kind, span.text) for span in read_spans(text) if span.kind != "text"] == [
        (kind, piece)
    ]


def test_a_product_is_no_emphasis():
    assert [span.kind for span in read_spans("2 * a * b and P * (dP - x)")] == ["text"]


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("x^2", "x<sup>2</sup>"),
        ("e^-x", "e<sup>−x</sup>"),
        ("q_i . k_j", "q<sub>i</sub> . k<sub>j</sub>"),
        ("e^(a < b)", "e<sup>a &lt; b</sup>"),
        ("e^x_i", "e<sup>x<sub>i</sub></sup>"),
        ("e^(x_i - m)", "e<sup>x<sub>i</sub> − m</sup>"),
        ("W^(-1/2)", "W<sup>−1/2</sup>"),
        ("dropout_mask", "dropout_mask"),
    ],
)
def test_formulas_are_raised_and_lowered(formula, shown):
    assert formula_html(formula) == shown


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("x^2", ["x^2"]),
        ("e^-x  ", ["e^-x"]),
        ("q_i . k_j", ["q_i", "k_j"]),
        ("f(S_ij) - 1", ["f(S_ij)"]),
        ("y  e^(a < b)  z", ["e^(a < b)"]),
        ("a < b  dropout_mask", []),
    ],
)
def test_words_of_formulas_keep_their_columns(formula, words):
    shown = columns_html(formula)
    widths = [int(width) for width in re.findall(r"width:(\d+)", shown)]
    assert widths == [len(word) for word in words]
    assert re.sub(r'<span style="--width:\d+">|</span>', "", shown) == formula_html(formula)


@pytest.mark.parametrize(
    ("lines", "stand"),
    [
        (["y    = a x", "dy/dx = a"], True),
        (["y = a x", "  + b"], True),
        (["y = a x", "z = b x"], False),
        (["y = a x        for all x"], False),
    ],
)
def test_lines_with_several_spaces_stand_in_columns(lines, stand):
    assert has_columns(lines) is stand


# --- names, order, map ---


def test_names_lead_to_their_definitions():
    names = Names(
        {
            "p": "from p.a import f as f\n",
            "p.a": "def f(): ...\nclass A:\n    def g(self): ...\n",
            "p.b": "import p as mg\nfrom p.a import A\n",
        }
    )
    assert names.find("p.b", "mg.f") == ("p.a", "f")
    assert names.find("p.b", "A.g") == ("p.a", "A.g")
    assert names.find("p.b", "a.f") == ("p.a", "f")
    assert names.find("p.b", "A.missing") is None
    assert names.find("p.b", "missing") is None


def test_the_chapters_have_every_file_once():
    files = sorted([*ROOT.glob("minigrad/**/*.py"), *ROOT.glob("clip_np/**/*.py")])
    paths = {path.relative_to(ROOT).as_posix() for path in files}
    assert len(FILES) == len(set(FILES))
    assert paths - set(FILES) == {"clip_np/__main__.py", "clip_np/search.py"}


def test_the_map_has_a_line_for_each_file_and_an_arc_for_each_use():
    stops = [Stop("Part", "p.html", "A part", heading=True), Stop("a", "a.html", "Why <b>?")]
    svg = draw_map([*stops, Stop("c", "c.html", "How?")], {(2, 1): 1, (1, 2): 4}, name="map")
    assert svg.count("<a ") == 3 and svg.count("data-stop") == 2
    assert 'class="back" data-user="2" data-used="1"' in svg
    assert 'class="ahead" data-user="1" data-used="2"' in svg
    assert "Why &lt;b&gt;?" in svg


def test_a_step_leaves_what_it_prints_and_draws(tmp_path):
    script = tmp_path / "step_01_x.py"
    script.write_text("print('ä')\nopen('picture.png', 'wb').write(b'x')\n", encoding="utf-8")
    run_step(script, tmp_path)
    assert (tmp_path / "step_01_x.txt").read_text(encoding="utf-8") == "ä\n"
    assert (tmp_path / "step_01_x.png").read_bytes() == b"x"
    script.write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"step_01_x\.py failed:\n(.|\n)*ZeroDivisionError"):
        run_step(script, tmp_path)


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(program, "NEEDED", ("numpy", "no_such_library"))
    with pytest.raises(SystemExit):
        program.main([])
    assert "not installed: no_such_library; pip install -e '.[book]'" in capsys.readouterr().err


# --- the tools keep the rules of the house ---


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_opens_with_a_question_and_is_short(name):
    source = (ROOT / "book" / f"{name}.py").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
    assert first.endswith("?") or name.startswith("__")
    assert len(source.splitlines()) <= 400


@pytest.mark.parametrize("name", sorted(set(TOOLS) - NEED_SPHINX - {"__main__", "__init__"}))
def test_the_examples_of_the_tools_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(f"book.{name}")).failed == 0

"""README.md and the pages in docs/ are true: their code runs and prints what they say.

Every `python` and `sh` block is run, unless an HTML comment above it says why not:

    <!-- not run: needs a GPU -->

or needs a library that is not installed (.ci/run tries to install them):

    <!-- needs: duckdb -->

The blocks of a page run in order, in a folder of its own that holds a trained run in
runs/shapes. The Python blocks of a page share their names, like one session. A `text`
block right after a `python` block is the output of that block. The two are compared as
in a doctest: `...` stands for any text, and white space of any length is the same. In
shell blocks, `.venv/bin/python` is the interpreter that runs the tests, and
`.venv/bin/clip-np` is this source.
"""

import contextlib
import csv
import doctest
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import minigrad as mg
import minigrad.nn
import minigrad.ops.activation
from clip_np.data import shapes

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MORE_PAGES = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
LANGUAGES = {"python", "sh", "text"}
README_LINES = 130
LENGTHS_WITHIN = 0.15
COMPARISON = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int  # of its opening fence, from 1
    reason: str | None  # why it is not run
    output: str | None  # of the `text` block right after it


def read_blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, with the comments above and outputs below them."""
    blocks: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    reason, follows, number = None, False, 0  # follows: the previous line closed a python block
    while number < len(lines):
        line = lines[number]
        comment = re.fullmatch(r"<!-- not run: (.+) -->", line)
        needed = re.fullmatch(r"<!-- needs: (\w+) -->", line)
        if comment:
            reason = comment[1]
        elif needed:
            is_there = importlib.util.find_spec(needed[1]) is not None
            reason = None if is_there else f"{needed[1]} is not installed"
        elif line.startswith("```"):
            end = lines.index("```", number + 1)
            text = "\n".join(lines[number + 1 : end]) + "\n"
            if line == "```text" and follows:
                blocks[-1] = blocks[-1]._replace(output=text)
            else:
                blocks.append(Block(line[3:], text, number + 1, reason, None))
            follows = line == "```python"
            reason, number = None, end
        elif not line.startswith("<!--"):
            reason, follows = None, False
        number += 1
    return blocks


# --- the code ---


def start(*arguments: str, folder: Path) -> None:
    """Run a program in `folder` with this source; AssertionError if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    finished = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{arguments[-1]}\n{finished.stdout}{finished.stderr}"


def write_drawings(folder: Path, count: int) -> None:
    """A folder of images with captions.csv, from the shapes task."""
    images, captions = shapes.training_pairs(count, np.random.default_rng(0))
    folder.mkdir()
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption"])
        for number, (image, caption) in enumerate(zip(images, captions)):
            Image.fromarray(image).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", caption])


# `clip-np` without its pictures, which take a third of the time of a short run.
WITHOUT_PICTURES = """
import sys
from clip_np.cli import main
sys.modules["matplotlib"] = None
sys.exit(main())
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a run in runs/shapes, trained long enough to know red from blue.

    `clip-np train` would draw 60,000 images first, so this run has a few in files.
    """
    folder = tmp_path_factory.mktemp("trained")
    images = tmp_path_factory.mktemp("images") / "drawings"
    write_drawings(images, count=2000)
    command = (
        f"train --data {images} --preset tiny --vision vit --steps 100 --batch-size 64 "
        "--out runs/shapes"
    )
    still = "--learning-rate 0.002 --augment none"
    program = (sys.executable, "-c", WITHOUT_PICTURES)
    start(*program, *command.split(), *still.split(), folder=folder)
    return folder


@pytest.fixture
def workplace(trained, tmp_path, monkeypatch):
    """The folder in which the blocks of a page run."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# `python` and `clip-np` in a shell block.
SHELL_NAMES = """
python() { "$PYTHON" "$@"; }
clip-np() { "$PYTHON" -m clip_np "$@"; }
"""


def check_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in order; AssertionError or the error of a block."""
    names: dict[str, object] = {"__name__": "page"}
    for block in read_blocks(page):
        if block.reason is not None:
            continue
        if block.language == "sh":
            text = SHELL_NAMES + block.text.replace(".venv/bin/", "")
            start("bash", "-euo", "pipefail", "-c", text, folder=folder)
        elif block.language == "python":
            printed = io.StringIO()
            # Lines before it, so that an error names the line of the page.
            source = "\n" * block.line + block.text
            with contextlib.redirect_stdout(printed):
                exec(compile(source, str(page), "exec"), names)
            if block.output is not None:
                check_output(printed.getvalue(), block, page)


def check_output(printed: str, block: Block, page: Path) -> None:
    """AssertionError unless a block printed what the page says."""
    same = doctest.OutputChecker().check_output(block.output or "", printed, COMPARISON)
    assert same, (
        f"{page.name}, line {block.line} printed\n{printed}and the page says\n{block.output}"
    )


RUNNING = [page for page in PAGES if any(block.reason is None for block in read_blocks(page))]


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_the_code_runs_and_prints_what_the_page_says(page, workplace):
    check_page(page, workplace)


@each_page
def test_blocks_name_their_language(page):
    """Another language, or none, would be left out without a reason."""
    unknown = [block.line for block in read_blocks(page) if block.language not in LANGUAGES]
    assert unknown == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError),
        ("```python\nprint(1)\n```\n```text\n2\n```\n", AssertionError),
        ("```sh\n.venv/bin/python -c 'raise SystemExit(3)'\n```\n", AssertionError),
        ("```sh\nfalse\ntrue\n```\n", AssertionError),
        ("<!-- not run: a reason -->\n\n```python\n1 / 0\n```\n", ZeroDivisionError),
        ("<!-- not run: -->\n```python\n1 / 0\n```\n", ZeroDivisionError),
        ("<!-- not run: x -->\n```sh\nfalse\n```\n```python\n1 / 0\n```\n", ZeroDivisionError),
    ],
)
def test_a_block_that_fails_is_noticed(tmp_path, text, error):
    """The reason must stand right above the block that it is for."""
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(error):
        check_page(page, tmp_path)


def test_output_and_reasons_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint(1)\n```\n```text\n1\n```\n<!-- not run: slow -->\n```sh\nsleep 9\n```\n"
        "\n```text\na map\n```\n",
        encoding="utf-8",
    )
    code, shell, picture = read_blocks(page)
    assert code == Block("python", "print(1)\n", 1, None, "1\n")
    assert shell == Block("sh", "sleep 9\n", 8, "slow", None)
    assert (picture.language, picture.output) == ("text", None)
    check_page(page, tmp_path)


def test_a_block_that_needs_a_library_runs_where_it_is(tmp_path):
    page = tmp_path / "page.md"
    block = "```python\n1 / 0\n```\n"
    page.write_text(f"<!-- needs: no_such_library -->\n{block}", encoding="utf-8")
    check_page(page, tmp_path)
    assert read_blocks(page)[0].reason == "no_such_library is not installed"
    page.write_text(f"<!-- needs: numpy -->\n{block}", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        check_page(page, tmp_path)


def test_the_test_command_is_where_ci_looks_for_it():
    """.ci/run takes the block after this comment."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- test command -->\n```sh\n") == 1
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_worked_examples_of_contributing_are_right():
    """Its Python blocks, with the names of the files to which the text adds them."""
    names = {**vars(minigrad.nn), **vars(minigrad.ops.activation), "mg": mg, "nn": minigrad.nn}
    for block in read_blocks(ROOT / "CONTRIBUTING.md"):
        if block.language == "python":
            exec(block.text, names)
    examples = doctest.DocTestFinder()
    for name in ("softsign", "Scale"):
        for example in examples.find(names[name], name, globs=names):
            assert doctest.DocTestRunner().run(example).failed == 0
    mg.gradcheck(names["softsign"], [np.array([-2.0, -0.1, 0.0, 3.0])])
    x = np.array([[0.5, -1.0, 2.0]], np.float32)
    layer = names["Scale"](3)
    layer.weight.data[:] = [1.0, 2.0, 3.0]
    assert np.allclose(layer(mg.Tensor(x)).data, x * [1.0, 2.0, 3.0])


# --- the pages ---


def test_the_readme_is_one_page():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= README_LINES


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], ids=lambda page: page.stem)
def test_links_and_pictures_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], ids=lambda page: page.stem)
def test_paths_in_the_text_exist(page):
    """Paths in backticks that begin with a folder of the project.

    The changelog may name files of the past.
    """
    text = page.read_text(encoding="utf-8")
    folders = r"(?:minigrad|clip_np|tests|examples|benchmarks|docs|\.ci|\.github)"
    paths = re.findall(rf"`({folders}/[\w./]+)`", text) if page.stem != "CHANGELOG" else []
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    names = [page.name for page in PAGES if page.stem != "README"]
    assert [name for name in names if f"]({name})" not in index] == []


def count_lines(path: Path) -> int:
    """The lines of a file, or of all Python files in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def test_the_lengths_of_the_parts_hold():
    """The failure shows what the column should say."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/.]+)` \|.*\| ([\d,]+) \|$", text, re.M)
    shown = {path: int(lines.replace(",", "")) for path, lines in rows}
    counted = {path: count_lines(ROOT / path) for path in shown}
    wrong = {
        path: f"{counted[path]:,}"
        for path in shown
        if abs(shown[path] - counted[path]) > LENGTHS_WITHIN * counted[path]
    }
    assert wrong == {}
    parts = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("clip_np/*/__init__.py")}
    assert parts <= {path.rstrip("/") for path in shown}


def test_the_reading_order_asks_the_questions_of_the_files():
    """Each row has the question that its file opens with; the failure shows it."""
    text = (ROOT / "docs" / "reading_order.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (.+) \|$", text, re.M)
    assert len(rows) > 20
    expected = [(path, question_of(ROOT / path)) for path, _ in rows]
    assert rows == expected


def question_of(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    head = path.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    return " ".join(head.strip().split("\n\n")[0].split())


# --- settings that must agree ---


def test_pre_commit_uses_the_versions_of_the_test_extra():
    """Also the requirements of the packages, which mypy needs to see."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    lists = re.findall(r"additional_dependencies: \[(.*)\]", hooks)
    wanted = {item for items in lists for item in re.findall(r'"([^"]+)"', items)}
    settings = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    known = {line.strip() for line in settings.splitlines()}
    assert len(wanted) >= 3
    assert wanted <= known


def test_the_version_is_the_same_everywhere():
    settings = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.findall(r"^version = (.+)$", settings, re.M)
    assert re.findall(r"^version: (.+)$", citation, re.M) == version
    assert re.findall(r"^## \[(.+?)\]", changes, re.M)[:1] == version

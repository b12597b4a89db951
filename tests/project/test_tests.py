"""The tests keep the rules of the house, too: short files, and something can fail."""

import ast

import pytest
from paths import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
CHECKS = ("assert", "check", "refuse", "require")
"""How the names of helpers begin that raise if something is not as it should be."""

RAISING = {"fail", "gradcheck", "raises", "warns", "simplefilter"}
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)


@each_file
def test_files_have_at_most_400_lines(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400


@each_file
def test_functions_have_at_most_60_lines(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sizes = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def can_fail(node: ast.AST) -> bool:
    """Whether a part of a program asserts something, or calls what does."""
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    is_checked_program = any(
        word.arg == "check" and getattr(word.value, "value", False) is True
        for word in node.keywords
    )
    return name in RAISING or name.startswith(CHECKS) or is_checked_program


@each_file
def test_every_test_asserts_something(path):
    """Itself, or by a helper whose name says so."""
    tests = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert [test.name for test in tests if not any(map(can_fail, ast.walk(test)))] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("assert x", True),
        ("with pytest.raises(ValueError): f()", True),
        ("np.testing.assert_allclose(x, y)", True),
        ("subprocess.run(program, check=True)", True),
        ("subprocess.run(program, check=False)", False),
        ("agrees(x, y)", False),
    ],
)
def test_what_can_fail(text, expected):
    assert any(map(can_fail, ast.walk(ast.parse(text)))) is expected

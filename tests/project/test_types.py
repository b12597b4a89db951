"""What a type checker knows: the packages are clean, expressions have types."""

import importlib.util
import re
import subprocess
import sys

import pytest
from paths import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed"
)

SNIPPET = """
import minigrad as mg
from minigrad.nn import Linear

x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
reveal_type((x @ x).tanh().sum())
reveal_type(2.0 - x ** 2)
reveal_type(x.T[0])
reveal_type(mg.softmax(x))
reveal_type([row for row in x])
reveal_type(x.backward())
reveal_type(x.shape)
"""
REVEALED = [
    "minigrad.tensor.Tensor",
    "minigrad.tensor.Tensor",
    "minigrad.tensor.Tensor",
    "minigrad.tensor.Tensor",
    "list[minigrad.tensor.Tensor]",
    "None",
    "tuple[int, ...]",
]


def run_mypy(*arguments):
    """mypy's exit status and what it prints, with the settings of this project."""
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


def test_expressions_of_tensors_are_tensors(tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET, encoding="utf-8")
    _, report = run_mypy(file)
    assert re.findall(r'Revealed type is "(.*)"', report) == REVEALED, report
    assert "error" not in report.partition(str(file))[0]


def test_a_misspelt_method_is_an_error(tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET + "x.tanhh()\n", encoding="utf-8")
    status, report = run_mypy(file)
    assert status == 1
    assert '"Tensor" has no attribute "tanhh"' in report


def test_both_packages_are_clean():
    status, report = run_mypy()
    assert status == 0, report

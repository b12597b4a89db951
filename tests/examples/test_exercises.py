"""The answer key: solutions pass, problems do not, and common mistakes are named."""

import re
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

from examples.exercises.__main__ import main
from examples.exercises.answers import Verdict, problem_path, solution_path, verdict
from examples.exercises.catalogue import CATALOGUE
from examples.exercises.comparing import Wrong, require_equal

BY_NUMBER = {each.number: each for each in CATALOGUE}

# Exercise, a text of its solution, what it is changed to, and a word of the hint.
MISTAKES = [
    (1, "return g * np", "return np", "not multiplied by g"),
    (1, "np.logaddexp(0.0, -x))", "np.logaddexp(0.0, x))", "sign of the exponent"),
    (2, "keepdims=True", "keepdims=False", "keepdims"),
    (2, "np.sum(g, axis", "np.mean(g, axis", "expected the shape|expected|mean"),
    (3, "g @ b.T  #", "(g @ b.T).T  #", "transposed"),
    (3, "a.T @ g", "g.T @ a", "transposed"),
    (4, "largest = x.max(axis=1, keepdims=True)", "largest = 0 * x[:, :1]", "exp.1000. is inf"),
    (4, "return g[:, None] * (powers / sums)", "return powers / sums", "multiplied by g.i."),
    (5, "origin.grad += ", "origin.grad = ", "add them, do not overwrite"),
    (5, "reversed(numbers)", "numbers", "wrong end|d.2 x"),
    (6, "- h * mean_gh_h", "- mean_gh_h", "wrong gradient"),
    (6, "gh - mean_gh - h", "gh - h", "a term for each of the three"),
    (7, " / (1 - b1**step)", "", "expected"),
    (7, "(mean / (1 - b1**step)) / ((square / (1 - b2**step)) ** 0.5 + eps)",
     "mean / (square**0.5 + eps)", "too small at first"),
    (7, "p - lr *", "p + lr *", "the wrong way"),
    (8, "min(1.0, max_norm / length)", "max_norm / length", "stays as it is"),
    (8, "np.sqrt(sum((array**2).sum() for array in gradients))", "np.sqrt(400.0)", "expected"),
    (9, "(2 * h)", "h", "2 h apart"),
    (9, "h = 6e-6", "h = 1e-12", "the gradient: expected"),
    (9, "ahead, behind = x.copy(), x.copy()", "ahead, behind = x, x.copy()", "gradient|changed"),
    (10, " * direction", "", "use the direction"),
    (10, ".imag / h", "", "imaginary part"),
    (11, "+= count", "+= 1", "as often as it occurs"),
    (11, "                place += 2", "                place += 1", "expected"),
    (12, "range(len(word), start, -1)", "range(start + 1, len(word) + 1)", "expected"),
    (12, 'return ["[UNK]"]', 'return [*pieces, "[UNK]"]', "the whole word"),
    (13, "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 1, 2, 3, 4, 5)", "lines of pixels"),
    (13, "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 2, 4, 3, 5, 1)", "colours stand together"),
    (13, "transpose(0, 2, 4, 1, 3, 5)", "transpose(0, 4, 2, 1, 3, 5)", "in columns"),
    (14, "distance < window", "distance <= window", "one before it"),
    (14, "(distance >= 0) & ", "", "expected"),
    (14, "places[:, None] - places", "places - places[:, None]", "transposed"),
    (14, "0.0, -np.inf", "1.0, -np.inf", "0 where a token may look"),
    (15, "hidden[np.arange(len(tokens)), places]", "hidden[:, -1]", "padding"),
    (15, "hidden[np.arange(len(tokens)), places]", "hidden[:, places]", "own place"),
    (16, "np.exp(logit_scale) * images", "logit_scale * images", "is a logarithm"),
    (16, "np.exp(logit_scale) * images", "images", "not multiplied by exp"),
    (16, " + cross_entropy_of_diagonal(logits.T)) / 2", ")", "mean of both"),
    (16, "(logits.T)) / 2", "(logits.T))", "their mean"),
    (17, "(2 * count)", "count", "divide by 2 N"),
    (17, "2 * np.eye(count)", "0", "pulled up"),
    (18, "scores >= right).sum(axis=1) - 1", "scores > right).sum(axis=1)", "A tie counts"),
    (19, "features = features / np.linalg.norm(features, axis=1, keepdims=True)", "",
     "before the mean"),
    (19, ", keepdims=True)).T", ", keepdims=True))", "transpose"),
    (19, "return (means / np.linalg.norm(means, axis=1, keepdims=True)).T", "return means.T",
     "shorter than 1"),
    (20, "to_scale = scale_leaf.grad ", "to_scale = to_scale + scale_leaf.grad ", "once for each"),
]  # fmt: skip


def test_each_chapter_is_one_of_the_book_and_has_the_file_to_read():
    """The chapters come in the order of docs/reading_order.md."""
    text = (ROOT / "docs" / "reading_order.md").read_text(encoding="utf-8")
    sections = [section.partition("\n") for section in text.split("\n## ")[1:]]
    chapters = {title: files for title, _, files in sections}
    for each in CATALOGUE:
        assert f"`{each.read}`" in chapters[each.chapter], each.name
    positions = [list(chapters).index(each.chapter) for each in CATALOGUE]
    assert positions == sorted(positions)


@pytest.mark.parametrize("exercise", CATALOGUE, ids=lambda each: each.name)
def test_the_solution_is_right(exercise):
    assert verdict(exercise, solution_path(exercise)) == Verdict(is_right=True, message="")


@pytest.mark.parametrize("exercise", CATALOGUE, ids=lambda each: each.name)
def test_the_problem_is_not_solved_yet(exercise):
    result = verdict(exercise, problem_path(exercise))
    assert not result.is_right
    assert result.message


@pytest.mark.parametrize(("number", "text", "change", "hint"), MISTAKES)
def test_a_common_mistake_is_named(number, text, change, hint, tmp_path):
    source = solution_path(BY_NUMBER[number]).read_text(encoding="utf-8")
    assert source.count(text) == 1
    path = tmp_path / "answer.py"
    path.write_text(source.replace(text, change), encoding="utf-8")
    result = verdict(BY_NUMBER[number], path)
    assert not result.is_right
    assert re.search(hint, result.message), result.message


def test_every_exercise_has_its_files_and_something_to_read():
    folder = problem_path(CATALOGUE[0]).parent
    assert {path.stem for path in folder.glob("*.py")} == {each.name for each in CATALOGUE}
    for each in CATALOGUE:
        assert (ROOT / each.read).is_file()
        assert {number for number, *_ in MISTAKES} >= {each.number}


def test_a_problem_and_its_solution_have_the_same_functions():
    for each in CATALOGUE:
        signatures = [
            re.findall(r"^def .*", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            for path in (problem_path(each), solution_path(each))
        ]
        assert set(signatures[0]) <= set(signatures[1])


def test_an_answer_that_fails_is_reported_with_its_line(tmp_path):
    path = tmp_path / "answer.py"
    path.write_text("def softplus(x):\n    return x / nothing\n", encoding="utf-8")
    message = verdict(BY_NUMBER[1], path).message
    assert message == "line 2 of answer.py: NameError: name 'nothing' is not defined"
    path.write_text("def softplus(x):\n    return (\n", encoding="utf-8")
    assert "line 2 of answer.py: SyntaxError" in verdict(BY_NUMBER[1], path).message


def test_numbers_that_differ_are_shown_with_their_place():
    with pytest.raises(Wrong, match=r"the table: expected 4 at \(1, 1\), got 5"):
        require_equal("the table", np.array([[1, 2], [3, 5]]), np.array([[1, 2], [3, 4]]))
    with pytest.raises(Wrong, match="expected numbers, got str"):
        require_equal("the table", "many", np.zeros(2))


def test_the_program(capsys):
    assert main(["check", "1", "--file", str(solution_path(BY_NUMBER[1]))]) == 0
    assert "exercise 1, write the vjp of softplus: right" in capsys.readouterr().out
    assert main(["check", "1"]) == 1
    assert "not yet" in capsys.readouterr().out
    assert main(["show", "2"]) == 0
    assert "sum g over" in capsys.readouterr().out.lower().replace("\n", " ")
    assert main(["check", "99"]) == 2
    assert "numbered 1 to 20" in capsys.readouterr().err


def test_the_list_runs_as_the_text_says():
    finished = subprocess.run(
        [sys.executable, "-m", "examples.exercises"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("[ ]") == len(CATALOGUE)

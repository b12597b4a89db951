"""The answer key: solutions pass, problems do not, and common mistakes are named."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from wrong_answers import CHANGES, IN_PLACE, WHOLE

from examples.exercises.__main__ import PIPE_CLOSED, main
from examples.exercises.answers import Verdict, _line_in, problem_path, solution_path, verdict
from examples.exercises.catalogue import CATALOGUE
from examples.exercises.comparing import NEAR, Wrong, difference, is_same
from examples.exercises.judging import Mistake, judge

NAMES = {each.name.split("_", 2)[2]: each for each in CATALOGUE}


def changed(name, text, change, folder):
    """A file with the solution of an exercise, in which a text is changed."""
    source = solution_path(NAMES[name]).read_text(encoding="utf-8")
    assert source.count(text) == 1
    return written(source.replace(text, change), folder)


def written(source, folder):
    """A file with an answer."""
    path = folder / "answer.py"
    path.write_text(source, encoding="utf-8")
    return path


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


@pytest.mark.parametrize(("name", "text", "change", "hint"), CHANGES)
def test_a_common_mistake_is_named(name, text, change, hint, tmp_path):
    result = verdict(NAMES[name], changed(name, text, change, tmp_path))
    assert not result.is_right
    assert re.search(hint, result.message), result.message


@pytest.mark.parametrize(("name", "source", "hint"), WHOLE)
def test_a_common_wrong_way_is_named(name, source, hint, tmp_path):
    result = verdict(NAMES[name], written(source, tmp_path))
    assert not result.is_right
    assert hint in result.message, result.message


def test_each_hint_of_a_key_is_the_message_of_a_wrong_answer(tmp_path, monkeypatch):
    hints = set()

    def remember(answer, right, cases, mistakes=(), near=NEAR):
        hints.update(mistake.hint for mistake in mistakes)

    with monkeypatch.context() as patch:
        for key in {sys.modules[each.check.__module__] for each in CATALOGUE}:
            patch.setattr(key, "judge", remember)
        for each in CATALOGUE:
            assert verdict(each, solution_path(each)).is_right
    assert len(hints) > 6 * len(CATALOGUE)
    for name, text, change, _ in CHANGES:
        message = verdict(NAMES[name], changed(name, text, change, tmp_path)).message
        hints = {hint for hint in hints if hint not in message}
    for name, source, _ in WHOLE:
        message = verdict(NAMES[name], written(source, tmp_path)).message
        hints = {hint for hint in hints if hint not in message}
    assert hints == set()


@pytest.mark.parametrize(("name", "text", "change", "changed_input"), IN_PLACE)
def test_an_input_that_is_changed_in_place_is_noticed(name, text, change, changed_input, tmp_path):
    result = verdict(NAMES[name], changed(name, text, change, tmp_path))
    assert f"the input {changed_input} was changed in place" in result.message


def test_every_exercise_has_its_files_and_something_to_read():
    folder = problem_path(CATALOGUE[0]).parent
    assert {path.stem for path in folder.glob("*.py")} == {each.name for each in CATALOGUE}
    for each in CATALOGUE:
        assert (ROOT / each.read).is_file()
    assert {name for name, *_ in CHANGES} == set(NAMES)
    assert {name for name, *_ in IN_PLACE} == set(NAMES) - {"window"}  # its inputs are numbers


def test_a_problem_and_its_solution_have_the_same_functions():
    for each in CATALOGUE:
        signatures = [
            re.findall(r"^def .*", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            for path in (problem_path(each), solution_path(each))
        ]
        assert set(signatures[0]) <= set(signatures[1])


def test_an_answer_that_fails_is_reported_with_its_line(tmp_path, monkeypatch):
    path = written("def softplus(x):\n    return x / nothing\n", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in (path, path.name):
        assert verdict(NAMES["softplus"], Path(name)).message.startswith(
            "your answer raised NameError in line 2 of answer.py: return x / nothing\n"
            "name 'nothing' is not defined\nHere x = [-1000.0, "
        )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def softplus(x):\n    return (\n", "line 2 of answer.py is no Python: return ("),
        ("import nothing_of_this_name\n", "ModuleNotFoundError in line 1 of answer.py: import no"),
        ("def soft_plus(x):\n    return x\n", "the function softplus is missing in answer.py"),
        ("def softplus():\n    return 1\n", "calling softplus, or reading what it returned"),
        ("def softplus(x):\n    exit()\n", "SystemExit in line 2 of answer.py: exit()"),
        ("raise SystemExit(0)\n", "SystemExit in line 1 of answer.py: raise SystemExit(0)"),
    ],
)
def test_an_answer_that_is_no_answer_is_reported(source, message, tmp_path):
    result = verdict(NAMES["softplus"], written(source, tmp_path))
    assert not result.is_right
    assert message in result.message


def test_an_answer_that_does_not_end_is_reported(tmp_path):
    """The loop of this one ends with the test, so that no thread is left."""
    stop = tmp_path / "stop"
    source = f"""
from pathlib import Path
def softplus(x):
    while True:
        if Path({str(stop)!r}).exists(): return
"""
    result = verdict(NAMES["softplus"], written(source, tmp_path), seconds=0.05)
    stop.touch()
    assert not result.is_right
    assert "still running after 0.05 seconds" in result.message
    assert "does your loop end?" in result.message


def test_a_place_in_a_running_answer_is_a_line_of_its_file():
    frame = sys._getframe()
    assert _line_in(Path(__file__), frame) == frame.f_lineno
    assert _line_in(Path("elsewhere.py"), frame) is None


def test_a_hint_is_for_an_answer_that_equals_a_mistake_everywhere():
    """A number that is twice too large on one input only is something else."""
    cases = {"of 1": {"x": 1.0}, "of 2": {"x": 2.0}}
    mistakes = [Mistake("twice too large", lambda x: {"the sum": 2 * x})]

    def right(x):
        return {"the sum": x}

    judge(right, right, cases, mistakes)
    with pytest.raises(Wrong, match="the sum, of 1: twice too large"):
        judge(lambda x: {"the sum": 2 * x}, right, cases, mistakes)
    with pytest.raises(Wrong, match="the sum, of 1: expected 1, got 2\nHere x = 1"):
        judge(lambda x: {"the sum": 2.0}, right, cases, mistakes)


@pytest.mark.parametrize(
    ("answer", "right", "text"),
    [
        ([[1, 2], [3, 5]], [[1, 2], [3, 4]], "expected 4 at (1, 1), got 5"),
        (1.2345678, 1.2345679, "expected 1.2345679, got 1.2345678"),
        (-0.5, -0.50000001, "expected -0.50000001, got -0.50000000"),
        ([1.0], [1.0, 2.0], "expected the shape (2,), got (1,)"),
        (1j, 1.0, "expected real numbers, got complex ones"),
        ("many", 1.0, "expected numbers, got str"),
        (float("nan"), 1.0, "expected 1, got nan"),
        (["a"], ("a",), "expected ('a',), got ['a']"),
        ({"a": 1, "c": 2}, {"a": 1, "b": 2}, "expected 'b', got 'c'"),
        ({"a": 1}, {"a": 1, "b": 2}, "expected 'b', which is missing"),
        ({"a": 1, "b": 2}, {"a": 1}, "'b' should not be there"),
        ({"a": 1}, {"a": 2}, "of 'a': expected 2, got 1"),
    ],
)
def test_a_difference_is_shown_with_its_place_and_enough_digits(answer, right, text):
    assert not is_same(answer, right)
    assert is_same(right, right)
    assert difference(answer, right) == text


def test_the_program(capsys):
    assert main(["check", "1", "--file", str(solution_path(NAMES["softplus"]))]) == 0
    assert "exercise 1, write the vjp of softplus: right" in capsys.readouterr().out
    assert main(["check", "1"]) == 1
    assert "not yet" in capsys.readouterr().out
    assert main(["show", "2"]) == 0
    text = capsys.readouterr().out
    assert "sum g over" in text.lower().replace("\n", " ")
    assert "    def unbroadcast(g, shape)\n" in text
    assert "\nCompare afterwards with: minigrad/ops/basic.py\n" in text
    assert main(["show", "3"]) == 0
    assert "\nRead: minigrad/ops/linear.py\n" in capsys.readouterr().out
    for path in ("nowhere.py", str(ROOT)):
        with pytest.raises(SystemExit):
            main(["check", "1", "--file", path])
        assert "there is no such file" in capsys.readouterr().err
    assert main(["check", "99"]) == 2
    assert "numbered 1 to 20" in capsys.readouterr().err


def test_the_list_may_be_cut_off_by_its_reader():
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [sys.executable, "-m", "examples.exercises"],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    os.close(writer)
    assert finished.returncode == PIPE_CLOSED
    assert finished.stderr == ""


def test_the_list_runs_as_the_text_says():
    finished = subprocess.run(
        [sys.executable, "-m", "examples.exercises"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("[ ]") == len(CATALOGUE)

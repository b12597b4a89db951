"""The examples in the docstrings (`>>>`) of both packages print what they say."""

import doctest
import importlib
from types import ModuleType

import pytest
from paths import ROOT

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
FEWEST_EXAMPLES = 60
FEWEST_FUNCTIONS = 40


def all_modules() -> list[str]:
    """The names of the modules of both packages; `__main__` would start the program."""
    names = []
    for folder in ("minigrad", "clip_np"):
        for path in sorted(ROOT.glob(f"{folder}/**/*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__main__":
                names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


MODULES = all_modules()


def module_of(module: ModuleType, name: str) -> str:
    """Where the object of a docstring comes from: minigrad.ops.shape for `Tensor.T`."""
    value: object = module
    for part in name.removeprefix(module.__name__).split(".")[1:]:
        value = getattr(value, part)
    function = value.fget if isinstance(value, property) else value
    return getattr(function, "__module__", module.__name__)


def doctests_of(name: str) -> list[doctest.DocTest]:
    """The docstrings of a module's own functions and classes that have examples.

    The finder takes a property for the module's own, whoever defined its function.
    """
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    return [test for test in tests if module_of(module, test.name) == name]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_print_what_they_say(name, tmp_path, monkeypatch):
    """They run in an empty folder, so an example may write files."""
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    for test in doctests_of(name):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_many_functions_have_examples():
    tests = [test for name in MODULES for test in doctests_of(name)]
    assert len(tests) >= FEWEST_FUNCTIONS
    assert sum(len(test.examples) for test in tests) >= FEWEST_EXAMPLES


def test_a_wrong_example_is_noticed():
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(wrong, out=report.append)
    assert result.failed == 1
    assert "Expected:\n    3\nGot:\n    2" in "".join(report)

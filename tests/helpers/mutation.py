"""Runs the gradient tests against changed source; the source itself stays as it is.

A test that never fails proves nothing. So here one module's text is replaced, and the
suite's own gradient checks, no special ones, are run on the result until the first of
them fails: those of the table of operations on the rows that the change concerns, which
is mostly enough and takes half a second, and then all tests that pytest finds under the
marker `gradient`.

Each run has a process of its own, in which a finder placed before Python's own answers
for that one module with the changed text: nothing is written into the checkout, and
nothing of a changed module is left behind.
"""

import ast
import collections
import functools
import importlib.abc
import importlib.util
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from paths import ROOT

TIME_LIMIT = 300.0  # seconds for one run; a mutant may loop for ever

# Where the tests are of what is no operation of the table.
TESTS_OF = {
    "minigrad.tape": ("test_autograd", "test_graphs"),
    "minigrad.tensor": ("test_autograd", "test_graphs"),
    "minigrad.derivatives": ("test_autograd", "test_derivatives"),
    "minigrad.inputs": ("test_lost_gradients",),
    "minigrad.checking.complex_step": ("test_complex_step",),
    "minigrad.recompute": ("test_graphs", "test_memory"),
    "minigrad.ops.batch_norm": ("test_buffers", "test_gathering"),
    "minigrad.memory": ("attention", "layer_norm", "quick_gelu"),
    "clip_np.losses.similarity": ("test_model_gradients", "test_step"),
    "clip_np.losses.sigmoid": ("test_model_gradients", "test_step"),
    "clip_np.training.communicator.process_ranks": ("test_rank_gradients",),
    "clip_np.training.communicator.thread_ranks": ("test_rank_gradients",),
    "clip_np.training.meeting": ("test_rank_gradients", "test_step"),
    "clip_np.training.overlap": ("test_overlap", "test_rank_gradients", "test_step"),
    "clip_np.training.plan": ("test_model_gradients", "test_step"),
    "clip_np.training.batch_gradient": ("test_rank_gradients", "test_model_gradients", "test_step"),
    "clip_np.training.sums": ("test_model_gradients", "test_step"),
    "clip_np.training.worker": ("test_model_gradients", "test_step"),
}


class Change(NamedTuple):
    """A module, its changed text, and words in the names of the tests to run first."""

    module: str
    source: str
    first: tuple[str, ...]


class Verdict(NamedTuple):
    """How a run of the tests ended.

    outcome is "caught" (a test failed), "survived", "broken" (the tests could not be
    collected) or "endless" (stopped at the time limit); `by` is the first test that
    failed.
    """

    outcome: str
    by: str = ""
    why: str = ""


def path_of(module: str) -> Path:
    """The file of a module, "minigrad.ops.basic"."""
    return ROOT / (module.replace(".", "/") + ".py")


def gradient_files() -> list[str]:
    """The test files with gradient tests; those of one operation each come first."""
    files = sorted(
        ROOT.glob("tests/**/test_*.py"), key=lambda p: (p.name != "test_gradients.py", p)
    )
    marked = [p for p in files if re.search(r"mark\.gradient\b", p.read_text(encoding="utf-8"))]
    return [str(p) for p in marked if p.name != "test_mutants.py"]


# --- which tests concern a function ---


@functools.cache
def callers() -> dict[str, set[str]]:
    """For each name, the top-level functions of minigrad's operations that use it."""
    found = collections.defaultdict(set)
    for path in (ROOT / "minigrad").glob("**/*.py"):
        for outer in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(outer, ast.FunctionDef):
                for node in ast.walk(outer):
                    if isinstance(node, ast.Name):
                        found[node.id].add(outer.name)
    return found


def operations_that_use(function: str) -> tuple[str, ...]:
    """`function` and the functions that call it, directly or by way of others."""
    found, waiting = {function}, [function]
    while waiting:
        new = callers()[waiting.pop()] - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def tests_for(module: str, tree: ast.Module, line: int) -> tuple[str, ...]:
    """Words in the names of the tests that concern a line of a module."""
    words: tuple[str, ...] = TESTS_OF.get(module, ())
    for outer in tree.body:
        if isinstance(outer, ast.FunctionDef) and outer.lineno <= line <= outer.end_lineno:
            words += operations_that_use(outer.name)
    return words


# --- one run in a process of its own ---


class _ChangedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, change: Change) -> None:
        self.change = change

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.change.module:
            return None
        return importlib.util.spec_from_file_location(name, path_of(name), loader=self)

    def exec_module(self, module: Any) -> None:
        code = compile(self.change.source, str(path_of(self.change.module)), "exec")
        exec(code, module.__dict__)


class _Watcher:
    """A pytest plugin: puts the tests of interest first, notes the first failure."""

    def __init__(self, first: Sequence[str]) -> None:
        self.first = set(first)
        self.verdict = Verdict("survived")

    def pytest_collection_modifyitems(self, items: list) -> None:
        def rank(item: Any) -> bool:
            return not self.first & set(re.split(r"[\[\]\-:/.]+", item.nodeid))

        items.sort(key=rank)

    def _note(self, outcome: str, report: Any) -> None:
        if report.failed and self.verdict.outcome == "survived":
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(crash.message if crash else report.longrepr).strip()
            self.verdict = Verdict(outcome, report.nodeid, message.partition("\n")[0][:200])

    def pytest_collectreport(self, report: Any) -> None:
        self._note("broken", report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._note("caught", report)


def _run_checks(first: Sequence[str]) -> Verdict:
    """The checks of the table of operations on the rows named in `first`."""
    from gradient_checks import CHECKS, check_kink
    from op_table import TABLE

    rows = [row for row in TABLE if row.name in first]
    trials = [(check, row, each) for row in rows for each in row.samples for check in CHECKS]
    trials += [(check_kink, row, each) for row in rows for each in row.kinks]
    for check, row, sample in trials:
        try:
            check(row, sample)
        except Exception as error:
            message = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            return Verdict("caught", f"{check.__name__}[{row.name}]", message)
    return Verdict("survived")


def _run_tests(first: Sequence[str]) -> Verdict:
    """All the gradient tests, those with a word of `first` in their name first."""
    watcher = _Watcher(first)
    options = ["-x", "-m", "gradient", "--hypothesis-profile=quick", "-p", "no:cacheprovider"]
    options += [f"--rootdir={ROOT}", f"-c{ROOT}/setup.cfg"]
    with tempfile.TemporaryDirectory() as scratch:  # hypothesis may note its failures here
        os.chdir(scratch)
        code = pytest.main([*options, *gradient_files()], [watcher])
        os.chdir(ROOT)
    if watcher.verdict.outcome == "survived" and code != pytest.ExitCode.OK:
        return Verdict("broken", why=f"pytest ended with {code!r}")
    return watcher.verdict


def _try_out(sender: Any, change: Change) -> None:
    """In the child: plant the change, run checks and tests, send the verdict."""
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 1)
    os.dup2(void, 2)
    for category in (RuntimeWarning, np.exceptions.ComplexWarning):  # as in the tests
        warnings.simplefilter("error", category)
    sys.meta_path.insert(0, _ChangedModule(change))
    try:
        verdict = _run_checks(change.first)
    except Exception as error:  # outside of the checks: an import
        verdict = Verdict("broken", why=repr(error))
    sender.send(_run_tests(change.first) if verdict.outcome == "survived" else verdict)


def judge(change: Change) -> Verdict:
    """Run the gradient tests with the change in place."""
    # A fork server has imported the heavy packages once, and nothing of ours.
    has_server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if has_server else "spawn")
    if has_server:
        context.set_forkserver_preload(["pytest", "hypothesis.extra.numpy"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_try_out, args=(sender, change))
    child.start()
    sender.close()
    try:
        verdict = receiver.recv() if receiver.poll(TIME_LIMIT) else Verdict("endless")
    except EOFError:
        verdict = Verdict("broken", why="the process died")
    child.kill()
    child.join()
    return verdict


def judge_all(changes: Iterable[Change]) -> Iterator[Verdict]:
    """`judge` for each change, in order, as many at once as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(judge, changes)

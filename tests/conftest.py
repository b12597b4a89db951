"""Settings for every test, and a count of what the property tests tried.

Three profiles say how many examples a property test draws, `pytest
--hypothesis-profile=...`: "stable", the standard, draws the same ones on every machine;
"quick" a fifth of them; "thorough" 20 times as many, other ones each time (a failure
prints how to repeat it).
"""

import functools
import signal

import pytest
from hypothesis import HealthCheck, settings

STANDARD = 25

common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("stable", derandomize=True, max_examples=STANDARD, **common)
settings.register_profile("quick", derandomize=True, max_examples=STANDARD // 5, **common)
settings.register_profile("thorough", max_examples=20 * STANDARD, print_blob=True, **common)
settings.load_profile("stable")

tried = pytest.StashKey[dict[bool, int]]()  # by whether it was a gradient test


def pytest_itemcollected(item):
    """Count the examples of a property test: one call of `inner_test` for each."""
    test = getattr(item.obj, "hypothesis", None)
    if test is None or hasattr(test.inner_test, "counts"):
        return
    counts = item.config.stash.setdefault(tried, {True: 0, False: 0})
    proves = item.get_closest_marker("gradient") is not None
    once = test.inner_test

    @functools.wraps(once)
    def counted(*arguments, **named):
        counts[proves] += 1
        return once(*arguments, **named)

    counted.counts = counts
    test.inner_test = counted


@pytest.fixture(scope="session", autouse=True)
def state_of_a_user(tmp_path_factory):
    """The key that seals indexes is made in a temporary folder, not in the home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def count_example(request):
    """A gradient test that draws examples by itself calls this for each of them."""
    counts = request.config.stash.setdefault(tried, {True: 0, False: 0})

    def count():
        counts[True] += 1

    return count


def pytest_sessionfinish(session):
    """A process that ran a part of the tests (`-n auto`) reports what it counted."""
    report = getattr(session.config, "workeroutput", None)
    if report is not None:
        counts = session.config.stash.get(tried, {True: 0, False: 0})
        report["tried"] = [counts[True], counts[False]]


class Counter:
    """Adds up what the processes of `-n auto` counted."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        counts = node.config.stash.setdefault(tried, {True: 0, False: 0})
        of_gradients, others = getattr(node, "workeroutput", {}).get("tried", (0, 0))
        counts[True] += of_gradients
        counts[False] += others


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(tried, None)
    if counts and any(counts.values()):
        terminalreporter.write_line(
            f"property tests tried {sum(counts.values()):,} examples, "
            f"{counts[True]:,} of them of gradients"
        )


@pytest.fixture(scope="module")
def published():
    """OpenAI's tokenizer, from an installed package that brings its vocabulary."""
    from clip_np import Tokenizer

    try:
        return Tokenizer.published()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def pytest_addoption(parser):
    parser.addoption("--stand-in", action="store_true", help="run on a strict stand-in for CuPy")
    parser.addoption(
        "--damaged-files",
        type=int,
        default=200,
        help="how many files of each kind tests/attack/test_mutated_files.py tries (200)",
    )
    parser.addoption(
        "--kills",
        type=int,
        help="how often tests/attack/test_killed_runs.py kills a run (2 to 5 times)",
    )


def hear_signals():
    """Undo what `nohup` and a shell's `&` do: to let signals to end be ignored.

    A run respects that, so the tests of signals need them as a terminal leaves them.
    Programs that a test starts inherit it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def pytest_configure(config):
    hear_signals()
    config.pluginmanager.register(Counter())
    if config.getoption("--stand-in"):
        config.pluginmanager.import_plugin("strict_cupy.plugin")

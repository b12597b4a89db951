"""Do the gradient tests catch every planted mistake, and accuse nothing right?

    python -m pytest -m mutants

prints both figures. What is planted stands in mutants.py and mechanical.py; how it is
judged, by the same gradient tests as ever, in mutation.py. Left out of a plain
`pytest`, for its time.
"""

import math

import pytest
from equivalent import EQUIVALENT
from gradient_checks import CHECKS
from hypothesis import Phase, given, seed, settings
from mechanical import mechanical_mutants, reason_of
from mutants import MUTANTS
from mutation import Change, judge, judge_all, path_of
from op_table import TABLE
from planting import MutantError, plant

pytestmark = pytest.mark.mutants

RUNS = 300
EVERY = 16  # of the mechanical mutants, one in so many is judged here


@pytest.fixture
def announce(capsys):
    """Prints past pytest's capture."""

    def write(line):
        with capsys.disabled():
            print(f"\n{line}")

    return write


# --- planted mistakes ---


def test_every_planted_mistake_is_caught(announce):
    assert len(MUTANTS) >= 60
    planted, missed = [], []
    for mutant in MUTANTS:
        try:
            planted.append((mutant, plant(mutant)))
        except MutantError as error:
            missed.append(str(error))
    verdicts = list(judge_all(change for _, change in planted))
    caught = sum(verdict.outcome == "caught" for verdict in verdicts)
    announce(f"mutants caught: {caught} of {len(MUTANTS)}")
    missed += [
        f"{mutant} ({mutant.why}): {verdict.outcome} {verdict.why}"
        for (mutant, _), verdict in zip(planted, verdicts)
        if verdict.outcome != "caught"
    ]
    assert not missed, "\n".join(missed)


def test_unchanged_source_survives():
    """The other side of the scale: a run that fails does so because of the mistake."""
    source = path_of("minigrad.ops.basic").read_text(encoding="utf-8")
    assert judge(Change("minigrad.ops.basic", source, ())).outcome == "survived"


def test_a_mutant_whose_text_is_gone_says_so():
    stale = MUTANTS[0]._replace(before="no such text")
    with pytest.raises(MutantError, match=r"stands 0 times in _add_up in tape"):
        plant(stale)
    with pytest.raises(MutantError, match=r"no Walk[.]nothing in tape"):
        plant(stale._replace(function="Walk.nothing"))


def test_a_change_that_breaks_the_import_is_not_a_catch():
    broken = judge(Change("minigrad.ops.basic", "raise OSError('not today')\n", ()))
    assert broken.outcome == "broken"


# --- no false alarms ---


def runs_of(row, count, alarms):
    """`count` new draws of the row's shapes, layouts and values through all the checks.

    Returns how many there were. Alarms are collected, because they are counted.
    """
    done = 0

    @seed(20)
    @settings(max_examples=count, derandomize=False, database=None, phases=[Phase.generate])
    @given(sample=row.drawn)
    def run(sample):
        nonlocal done
        done += 1
        for check in CHECKS:
            try:
                check(row, sample)
            except AssertionError as error:
                alarms.append(f"{row.name}: {check.__name__}: {error}\n{sample}")

    run()
    return done


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
def test_right_code_raises_no_alarm(announce):
    """A run is one operation with one draw of shapes, layout and values."""
    rows = [row for row in TABLE if row.drawn is not None]
    alarms = []
    done = sum(runs_of(row, math.ceil(RUNS / len(rows)) + 1, alarms) for row in rows)
    announce(f"false alarms: {len(alarms)} in {done} runs")
    assert done >= RUNS
    assert not alarms, "\n".join(alarms)


# --- mechanical mistakes ---


def test_mechanical_mistakes_are_caught(announce):
    every = mechanical_mutants()
    assert len(every) >= 200
    chosen = [each for each in every[::EVERY] if reason_of(each) is None]
    verdicts = list(judge_all(each.change for each in chosen))
    caught = sum(verdict.outcome == "caught" for verdict in verdicts)
    survived = [str(m) for m, verdict in zip(chosen, verdicts) if verdict.outcome != "caught"]
    announce(f"mechanical mutants caught: {caught} of {len(chosen)}, chosen from {len(every)}")
    assert not survived, "\n".join(survived)


def test_every_survivor_that_is_explained_exists():
    made = {str(each) for each in mechanical_mutants()}
    assert EQUIVALENT.keys() <= made

"""Graphs with reuse, drawn at random; and each of their steps alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import REAL_STEPS, STEPS, check_program

from minigrad.tensor import record

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]

operands = st.integers(0, 30)
seeds = st.integers(0, 2**32 - 1)


def programs(steps):
    one = st.tuples(st.integers(0, len(steps) - 1), operands, operands, operands)
    return st.lists(one, min_size=1, max_size=12)


@pytest.mark.parametrize("picked", [(0, 1, 2), (0, 0, 0), (1, 1, 3), (4, 0, 1), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_one_step(step, picked):
    """Each step alone, on different tensors and on one tensor several times.

    Then the step once more, on its result and a leaf.
    """
    for seed in range(3):
        check_program([(step, *picked)], seed)
        check_program([(step, *picked), (step, -1, 0, -1)], seed)


@given(program=programs(STEPS), seed=seeds)
def test_random_graph(program, seed):
    check_program(program, seed)


@given(program=programs(REAL_STEPS), seed=seeds)
def test_random_graph_by_central_differences(program, seed):
    check_program(program, seed, REAL_STEPS)


def test_a_wrong_step_is_caught():
    """The check itself: a step drops a gradient, doubles one, or changes its input."""

    def planted(vjp, spoil=0.0):
        def step(a, b, c, cuts):
            a.data[...] += spoil
            return record("planted", a.data * 2.0, (a,), vjp)

        return step

    check_program([(0, 0, 0, 0)], 1, (planted(lambda g: g * 2.0),))
    for vjp, spoil in ((lambda g: g * 4.0, 0.0), (lambda g: None, 0.0), (lambda g: g * 2.0, 0.1)):
        with pytest.raises(AssertionError):
            check_program([(0, 0, 0, 0)], 1, (planted(vjp, spoil),))

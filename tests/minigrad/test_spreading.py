"""Runs of blocks: in order, all of them, with the same bits and the errors."""

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.memory import Arena, blocks_of
from minigrad.spreading import cut_into_runs, spread, spreading

ROWS = 23


def rows_of(run):
    return [row for block in run for row in range(block.start, block.stop)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("row_size", [1, 2**14, 2**16, 2**17])
def test_runs_hold_every_row_once_and_in_order(count, row_size):
    blocks = list(blocks_of(ROWS, row_size, like=np.zeros(1)))
    runs = cut_into_runs(blocks, count)
    assert [row for run in runs for row in rows_of(run)] == list(range(ROWS))
    assert len(runs) == min(count, ROWS)


def test_no_rows_are_one_run_of_nothing():
    assert cut_into_runs([], 3) == [[]]


def test_helpers_take_part_and_results_stay_in_order():
    both = threading.Barrier(2, timeout=30)

    def work(run):
        both.wait()  # nobody gets past this alone
        return rows_of(run), threading.get_ident()

    with spreading([Arena()]):
        first, second = spread(work, [slice(0, 3), slice(3, 5)])
    assert (first[0], second[0]) == ([0, 1, 2], [3, 4])
    assert first[1] == threading.get_ident() != second[1]


def test_a_run_that_no_helper_has_begun_is_done_by_the_caller():
    release = threading.Event()
    with spreading([Arena()]):
        done = []

        def slow(run):
            if run[0].start > 0:
                release.wait(30)  # the helper is busy with this one
            return rows_of(run)

        def inner(run):
            done.append(threading.get_ident())
            return rows_of(run)

        def outer(run):
            if run[0].start == 0:
                results = spread(inner, [slice(0, 1), slice(1, 2)])
                release.set()
                return results
            return slow(run)

        results = spread(outer, [slice(0, 1), slice(1, 2)])
    assert results == [[[0], [1]], [1]]
    assert len(done) == 2


def test_the_context_of_the_caller_holds_in_helpers():
    both = threading.Barrier(2, timeout=30)

    def work(run):
        both.wait()  # so a helper has one of the runs
        return np.geterr()["over"]

    with spreading([Arena()]), np.errstate(over="raise"):
        assert spread(work, [slice(0, 1), slice(1, 2)]) == ["raise", "raise"]


def test_an_error_of_a_helper_is_raised():
    def work(run):
        if run[0].start > 0:
            raise ValueError("the second run")

    with spreading([Arena()]), pytest.raises(ValueError, match="the second run"):
        spread(work, [slice(0, 1), slice(1, 2)])


def test_without_helpers_there_is_one_run():
    with spreading([]):
        assert spread(rows_of, [slice(0, 2), slice(2, 3)]) == [[0, 1, 2]]
    assert spread(rows_of, [slice(0, 2), slice(2, 3)]) == [[0, 1, 2]]


def results_of_a_small_resnet(arenas):
    """A convolution of each kind and a batch norm: values and gradients."""
    rng = np.random.default_rng(0)
    x = mg.tensor(rng.standard_normal((6, 4, 40, 40)), requires_grad=True)
    filters = mg.tensor(rng.standard_normal((8, 4, 3, 3)), requires_grad=True)
    strided = mg.tensor(rng.standard_normal((3, 8, 3, 3)), requires_grad=True)
    weight, bias = (mg.tensor(rng.standard_normal(8), requires_grad=True) for _ in range(2))
    mean, var = mg.tensor(np.zeros(8)), mg.tensor(np.ones(8))
    with spreading(arenas):
        y = mg.conv2d(x, filters, padding=1)
        y = mg.batch_norm(y, weight, bias, mean, var, training=True)
        y = mg.conv2d(y, strided, stride=2)
        g = np.random.default_rng(1).standard_normal(y.shape)
        gradients = mg.grad(y, [x, filters, strided, weight, bias], g)
    return [y.numpy(), mean.numpy(), var.numpy(), *gradients]


@pytest.mark.gradient
@pytest.mark.parametrize("helpers", [1, 2])
def test_operations_give_the_same_with_helpers(helpers):
    alone = results_of_a_small_resnet([])
    spread_out = results_of_a_small_resnet([Arena() for _ in range(helpers)])
    again = results_of_a_small_resnet([Arena() for _ in range(helpers)])
    for expected, found, repeated in zip(alone, spread_out, again):
        assert np.allclose(found, expected, rtol=1e-11, atol=1e-11)
        assert np.array_equal(found, repeated)

"""A batch norm whose batch is divided: the same as over the whole batch."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad as mg
from minigrad.gathering import current_gather, gathering, only_part


def in_parts(function, bounds):
    """[function(slice), ...] for parts of a batch, in threads that exchange arrays."""
    count = len(bounds) - 1
    meeting = threading.Barrier(count, timeout=30.0)
    table = [None] * count

    def run(number):
        def gather(part):
            table[number] = part.copy()
            meeting.wait()
            parts = list(table)
            meeting.wait()
            return parts

        with gathering(gather):
            return function(slice(bounds[number], bounds[number + 1]))

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def normalised(rows, trained=("x", "weight", "bias")):
    """The results of a batch norm on some rows of a batch, and its gradients there."""
    rng = np.random.default_rng(0)
    scales = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])[:, None, None]
    values = scales * rng.standard_normal((7, 3, 2)) + scales  # every sample has another mean
    g = rng.standard_normal(values.shape)
    x = mg.tensor(values[rows], requires_grad="x" in trained)
    weight = mg.tensor([1.0, -2.0, 0.5], dtype=np.float64, requires_grad="weight" in trained)
    bias = mg.tensor([0.1, 0.2, 0.3], dtype=np.float64, requires_grad="bias" in trained)
    mean, var = mg.tensor(np.zeros(3)), mg.tensor(np.ones(3))
    y = mg.batch_norm(x, weight, bias, mean, var, training=True)
    leaves = [leaf for leaf in (x, weight, bias) if leaf.requires_grad]
    gradients = mg.grad(y, leaves, g[rows])
    return y.numpy(), gradients, mean.numpy(), var.numpy()


@pytest.mark.gradient
@pytest.mark.parametrize("bounds", [[0, 3, 7], [0, 1, 2, 7], [0, 6, 7]])
def test_parts_of_a_batch_give_the_results_of_the_whole(bounds):
    y, (to_x, to_weight, to_bias), mean, var = normalised(slice(0, 7))
    parts = in_parts(normalised, bounds)
    np.testing.assert_allclose(np.concatenate([part[0] for part in parts]), y, rtol=1e-11)
    gradients = [part[1] for part in parts]
    found = np.concatenate([of_part[0] for of_part in gradients])
    np.testing.assert_allclose(found, to_x, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(sum(of_part[1] for of_part in gradients), to_weight, rtol=1e-11)
    np.testing.assert_allclose(sum(of_part[2] for of_part in gradients), to_bias, rtol=1e-11)
    for part in parts:
        np.testing.assert_allclose(part[2], mean, rtol=1e-12)
        np.testing.assert_allclose(part[3], var, rtol=1e-12)


@pytest.mark.gradient
def test_parts_meet_also_where_x_needs_no_gradient():
    def first_needs_none(rows):
        trained = ("weight", "bias") if rows.start == 0 else ("x", "weight", "bias")
        return normalised(rows, trained=trained)

    (first, second), whole = in_parts(first_needs_none, [0, 3, 7]), normalised(slice(0, 7))
    np.testing.assert_allclose(second[1][0], whole[1][0][3:], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(first[1][0] + second[1][1], whole[1][1], rtol=1e-11)


def test_a_part_may_have_a_single_number():
    def of_rows(rows):
        x = np.array([[1.0], [3.0], [5.0]], np.float32)[rows]
        return mg.batch_norm(x, [1.0], [0.0], mg.tensor([0.0]), mg.tensor([1.0]), True).numpy()

    parts = in_parts(of_rows, [0, 1, 3])
    np.testing.assert_allclose(np.concatenate(parts).ravel(), [-1.22474, 0, 1.22474], atol=1e-4)


def test_running_statistics_are_used_without_an_exchange():
    def refuse(part):
        raise AssertionError("an exchange")

    mean, var = mg.tensor(np.zeros(3)), mg.tensor(np.ones(3))
    with gathering(refuse):
        assert current_gather() is refuse
        x = mg.tensor(np.ones((2, 3, 2)), requires_grad=True)
        y = mg.batch_norm(x, np.ones(3), np.zeros(3), mean, var, training=False)
        mg.grad(y, [x], np.ones(y.shape))
    assert current_gather() is only_part

"""Who moves the parameters, and what an error in between leaves behind."""

import numpy as np
import pytest

from clip_np.training.communicator import OneProcess, RankError
from clip_np.training.update import move_parameters
from minigrad.nn import Parameter
from minigrad.optim import SGD


class FailingAt(OneProcess):
    """A rank that shares its parameters, and whose barrier number `fails_at` fails."""

    shared_parameters = True

    def __init__(self, fails_at):
        self.left = fails_at

    def barrier(self):
        self.left -= 1
        if self.left == 0:
            raise RankError("rank 1 has failed")


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_step_that_others_may_have_taken_counts(fails_at):
    """If a rank fails before the barrier, the others may have passed it."""
    parameter = Parameter(np.ones(3))
    parameter.grad = np.ones(3)
    optimizer = SGD([parameter], lr=0.5)
    with pytest.raises(RankError):
        move_parameters(optimizer, [parameter], None, threads=1, comm=FailingAt(fails_at))
    assert optimizer.step_count == 1  # so the loop knows that the weights may be torn
    assert (parameter.data == (1.0 if fails_at == 1 else 0.5)).all()


def test_a_check_that_fails_leaves_all_as_it_was():
    parameter = Parameter(np.ones(3))
    parameter.grad = np.ones(3)
    optimizer = SGD([parameter], lr=0.5)

    def refuse(norm):
        raise ArithmeticError(f"norm {norm}")

    with pytest.raises(ArithmeticError):
        move_parameters(optimizer, [parameter], None, 1, FailingAt(0), check=refuse)
    assert optimizer.step_count == 0
    assert (parameter.data == 1.0).all()


def test_a_whole_step_counts_once():
    parameter = Parameter(np.ones(3))
    parameter.grad = np.ones(3)
    optimizer = SGD([parameter], lr=0.5)
    move_parameters(optimizer, [parameter], None, threads=1, comm=FailingAt(0))
    assert optimizer.step_count == 1
    assert (parameter.data == 0.5).all()

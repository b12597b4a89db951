"""Gradients are added in the order of the workers, whoever is ready first."""

import itertools
import threading

import numpy as np
import pytest

from clip_np.training.plan import Unit
from clip_np.training.sums import GradientSums

IMAGES = Unit("vision", slice(0, 1), 1.0)
CAPTIONS = Unit("text", slice(0, 1), 1.0)


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(3))))
def test_gradients_are_added_in_the_order_of_the_workers(arrival):
    """Rounding tells (a + b) + c from a + (b + c). Nothing is copied or kept."""
    loads = [[IMAGES], [IMAGES, IMAGES], [CAPTIONS], [CAPTIONS, IMAGES]]  # three share the images
    sums = GradientSums(loads)
    parts = [np.array([number], np.float32) for number in (1.0, 1e8, -1e8)]
    workers = (0, 1, 3)
    for index in arrival:
        sums.add("vision", position=5, worker=workers[index], gradient=parts[index])
    assert sums.totals["vision", 5] is parts[0]
    assert sums.totals["vision", 5] == (np.float32(1.0) + np.float32(1e8)) - np.float32(1e8)
    assert not sums.waiting


def test_workers_that_do_not_reach_a_parameter_hold_up_no_others():
    sums = GradientSums([[IMAGES]] * 4)
    for worker, part in ((3, 4.0), (1, 2.0), (2, 3.0)):
        sums.add("vision", position=0, worker=worker, gradient=np.array([part]))
    sums.add("vision", position=1, worker=0, gradient=np.array([5.0]))
    assert sums.finish([0, 1]) == {0: 9.0, 1: 5.0}


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(1, 4))))
def test_those_that_wait_for_ever_are_added_in_the_order_of_the_workers_too(arrival):
    sums = GradientSums([[IMAGES]] * 4)  # worker 0 never reaches the parameter
    parts = {1: 1.0, 2: 1e8, 3: -1e8}
    for worker in arrival:
        gradient = np.array([parts[worker]], np.float32)
        sums.add("vision", position=0, worker=worker, gradient=gradient)
    assert sums.finish([0])[0] == (np.float32(1.0) + np.float32(1e8)) - np.float32(1e8)


@pytest.mark.parametrize("workers", [(0, 1), (1, 0)])
def test_a_parameter_of_two_encoders_gets_the_gradients_of_both(workers):
    """Worker 1 hands over both of its gradients before worker 0 hands over any."""
    sums = GradientSums([[IMAGES, CAPTIONS], [IMAGES, CAPTIONS]])
    for worker in workers:
        sums.add("vision", position=0, worker=worker, gradient=np.array([1.0 + worker]))
        sums.add("text", position=0, worker=worker, gradient=np.array([10.0 + worker]))
    assert sums.finish([0]) == {0: 1.0 + 2.0 + 10.0 + 11.0}


def test_what_is_asked_for_is_handed_over_and_the_rest_stays():
    sums = GradientSums([[IMAGES], [IMAGES, CAPTIONS]])
    sums.add("vision", position=0, worker=1, gradient=np.array([1.0]))
    sums.add("vision", position=1, worker=1, gradient=np.array([2.0]))
    sums.add("text", position=1, worker=1, gradient=np.array([30.0]))
    assert sums.finish([0, 5]) == {0: 1.0}
    assert sums.finish([0, 1]) == {1: 32.0}


def test_an_encoder_is_complete_when_all_of_its_workers_have_left_it():
    sums = GradientSums([[IMAGES], [IMAGES, CAPTIONS]])
    assert sums.wait_for(["an encoder of other ranks"])
    sums.leave("vision", worker=1)
    waiting = threading.Thread(target=lambda: sums.wait_for(["vision"]))
    waiting.start()
    sums.add("vision", position=0, worker=0, gradient=np.array([1.0]))
    assert waiting.is_alive()
    sums.leave("vision", worker=0)
    waiting.join()
    sums.give_up()
    assert not sums.wait_for(["text"])

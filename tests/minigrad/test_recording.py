"""Recording on and off, and in several threads."""

import contextvars
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad.recording import recording

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]


def leaf(*shape, seed=0, dtype=np.float64):
    values = np.random.default_rng(seed).standard_normal(shape)
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def test_no_grad_as_block_and_as_decorator():
    x = leaf(2)
    with mg.no_grad():
        assert not (x * 2.0).requires_grad
        assert not any(part.requires_grad for part in mg.split(x, 2))
        with recording(True):
            assert (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad

    @mg.no_grad()
    def double(a):
        return a * 2.0

    assert not double(x).requires_grad
    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        raise ZeroDivisionError
    assert (x * 2.0).requires_grad


def in_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_no_grad_reaches_a_thread_that_runs_in_a_copied_context(monkeypatch):
    monkeypatch.setattr("minigrad.recording.threads_inherit", lambda: False)
    x = leaf(2)
    with mg.no_grad():
        context = contextvars.copy_context()
        assert in_thread(lambda: (x * 2.0).requires_grad)
        assert not in_thread(lambda: context.run(lambda: (x * 2.0).requires_grad))


def test_no_grad_does_not_reach_threads_that_inherit_every_context(monkeypatch):
    """Without the lock, Python 3.14 starts all threads in a copy of the context."""
    monkeypatch.setattr("minigrad.recording.threads_inherit", lambda: True)
    x = leaf(2)
    with mg.no_grad():
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(lambda: (x * 2.0).requires_grad))
        assert not context.run(lambda: (x * 2.0).requires_grad)  # in this thread


def test_no_grad_of_a_thread_ends_with_its_block_there_too(monkeypatch):
    monkeypatch.setattr("minigrad.recording.threads_inherit", lambda: True)
    x = leaf(2)

    def work():
        with mg.no_grad():
            inside = (x * 2.0).requires_grad
        return inside, (x * 2.0).requires_grad

    with mg.no_grad():
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(work)) == (False, True)


def test_threads_build_and_walk_graphs_at_once():
    def work(seed):
        x, w = leaf(8, 8, seed=seed), leaf(8, 8, seed=seed + 100)
        total = np.zeros((8, 8))
        for _ in range(60):
            y = x
            for _ in range(5):
                y = mg.tanh(y @ w) + y
            total += mg.grad(y, [w], np.ones((8, 8)))[0]
            with mg.no_grad():
                assert not (y @ w).requires_grad
        return total

    expected = [work(seed) for seed in range(4)]
    found = [None] * 4
    barrier = threading.Barrier(4)

    def job(i):
        barrier.wait()
        found[i] = work(i)

    threads = [threading.Thread(target=job, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for actual, wanted in zip(found, expected):
        assert np.array_equal(actual, wanted)

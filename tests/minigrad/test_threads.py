"""Threads: order, context, errors, and laziness."""

import contextvars
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import memory
from minigrad.recording import is_recording, recording
from minigrad.threads import (
    available_cores,
    count_workers,
    is_free_threaded,
    map_ahead,
    parallel_map,
    run_workers,
)


def test_parallel_map_keeps_the_order_and_the_context():
    seen = set()

    def work(item):
        seen.add(threading.current_thread().name)
        return item * 2, is_recording()

    with mg.no_grad():
        assert parallel_map(work, range(5), 2) == [(2 * i, False) for i in range(5)]
    assert 1 <= len(seen) <= 2
    assert parallel_map(work, [], 3) == []


def test_jobs_record_if_their_caller_does():
    seen = []
    with mg.no_grad():
        run_workers([lambda: None, lambda: seen.append(is_recording())])
        with recording(True):
            run_workers([lambda: None, lambda: seen.append(is_recording())])
    run_workers([lambda: None, lambda: seen.append(is_recording())])
    assert seen == [False, True, True]


def test_an_error_in_a_thread_reaches_the_caller():
    def broken(item):
        if item == 1:
            raise KeyError("in a thread")

    with pytest.raises(KeyError, match="in a thread"):
        parallel_map(broken, range(4), 2)


def test_each_worker_has_a_context_of_its_own_and_no_arena():
    colour = contextvars.ContextVar("colour", default="blue")
    seen = []

    def job():
        before = colour.get()
        colour.set("green")
        array = memory.empty((100, 100), like=np.zeros(1))
        seen.append((before, array.base is None))

    colour.set("red")
    with memory.using(memory.Arena()):
        run_workers([lambda: None, job, job])
    assert seen == [("red", True), ("red", True)]
    assert colour.get() == "red"


def test_the_first_job_runs_in_the_calling_thread():
    seen = []
    run_workers([lambda: seen.append(threading.current_thread())])
    run_workers([lambda: seen.append(threading.current_thread()), lambda: None])
    assert seen == [threading.current_thread()] * 2


def test_count_workers():
    array = np.zeros(1)
    assert count_workers(array, None) == available_cores() >= 1
    assert count_workers(array, 3) == 3
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        count_workers(array, 0)


def test_map_ahead_takes_no_more_items_than_it_may():
    taken = []

    def items():
        for item in range(10):
            taken.append(item)
            yield item

    results = map_ahead(lambda item: item * item, items(), workers=2, ahead=3)
    assert next(results) == 0 and len(taken) == 4
    assert list(results) == [item * item for item in range(1, 10)]


def test_map_ahead_raises_an_error_when_its_result_is_due():
    results = map_ahead(lambda item: 1 // item, [1, 0, 1], workers=2, ahead=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_leaving_a_loop_over_map_ahead_ends_its_threads():
    before = threading.active_count()
    for result in map_ahead(abs, iter(range(100)), workers=3, ahead=6):
        if result == 5:
            break
    del result
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "ThreadPool" in thread.name:
            thread.join(timeout=10)
    assert threading.active_count() <= before


def test_whether_threads_run_at_once(monkeypatch):
    """A build without the lock may be told to run with it."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert is_free_threaded()
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    assert not is_free_threaded()
    monkeypatch.delattr(sys, "_is_gil_enabled")  # before Python 3.13
    assert not is_free_threaded()

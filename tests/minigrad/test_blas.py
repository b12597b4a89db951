"""The number of BLAS threads: set, restored, left alone for an unknown library."""

import sys
import threading
import time
import types

import pytest

from minigrad import blas


@pytest.fixture
def no_openblas(monkeypatch):
    monkeypatch.setattr(blas, "openblas_controls", lambda: ())


def test_threads_are_set_and_restored():
    controls = blas.openblas_controls()
    before = [control.get_threads() for control in controls]
    with pytest.raises(ZeroDivisionError), blas.blas_threads(1):
        assert [control.get_threads() for control in controls] == [1] * len(controls)
        raise ZeroDivisionError
    assert [control.get_threads() for control in controls] == before


def test_the_first_known_name_is_taken():
    library = types.SimpleNamespace(
        openblas_get_num_threads=lambda: 4,
        openblas_set_num_threads=lambda count: None,
        scipy_openblas_get_num_threads64_=lambda: 2,  # without its counterpart
    )
    assert blas._control_of(library).get_threads() == 4
    assert blas._control_of(types.SimpleNamespace()) is None


def test_libraries_are_listed_where_the_system_lists_none(monkeypatch, tmp_path):
    folder = tmp_path / "numpy.libs"
    folder.mkdir()
    (folder / "libopenblas64.so").touch()
    monkeypatch.setattr(blas, "LOADED_FILES", tmp_path / "nothing")
    monkeypatch.setattr(blas.np, "__file__", str(tmp_path / "numpy" / "__init__.py"))
    assert blas._library_paths() == [str(folder / "libopenblas64.so")]


def test_another_blas_is_left_to_threadpoolctl(monkeypatch, no_openblas):
    calls = []

    class Limits:
        def __init__(self, count, interface):
            calls.append((count, interface))

        def __enter__(self):
            calls.append("in")

        def __exit__(self, *error):
            calls.append("out")

    module = types.SimpleNamespace(threadpool_limits=Limits)
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    with blas.blas_threads(1):
        assert calls == [(1, "blas"), "in"]
    assert calls[-1] == "out"


def test_without_threadpoolctl_nothing_happens(monkeypatch, no_openblas):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    entered = False
    with blas.blas_threads(1):
        entered = True
    assert entered


def test_blocks_of_several_threads_restore_what_was_before(monkeypatch):
    """As long as any block runs, its limit holds; the last one out restores."""
    threads = [7]
    control = blas.Control(get_threads=lambda: threads[0], set_threads=lambda n: set_to(n))

    def set_to(count):
        threads[0] = count

    monkeypatch.setattr(blas, "openblas_controls", lambda: (control,))
    for _ in range(40):
        barrier = threading.Barrier(8)
        exceeded = []

        def work(number, barrier=barrier, exceeded=exceeded):
            barrier.wait()
            for _ in range(5):
                with blas.blas_threads(1):
                    time.sleep(0.00005 * number)
                    exceeded.append(threads[0] != 1)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert threads == [7]
        assert not any(exceeded)


def test_overlapping_blocks_hold_the_least_limit(monkeypatch):
    calls = [8]
    control = blas.Control(get_threads=lambda: calls[-1], set_threads=calls.append)
    monkeypatch.setattr(blas, "openblas_controls", lambda: (control,))
    first, second = blas.blas_threads(4), blas.blas_threads(2)
    first.__enter__()
    second.__enter__()
    assert calls[-1] == 2
    first.__exit__(None, None, None)  # the first one in is the first one out
    assert calls[-1] == 2
    second.__exit__(None, None, None)
    assert calls[-1] == 8

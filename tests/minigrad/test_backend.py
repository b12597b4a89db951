"""Where arrays live, and what `move` and the command line say if there is no GPU."""

import sys
import types

import numpy as np
import pytest

import minigrad as mg
from clip_np.cli import main
from minigrad import backend
from minigrad.backend import BackendError, move


def a_cupy(driver, count):
    """A module `cupy` of a machine with this driver version and number of devices."""

    class CUDARuntimeError(RuntimeError):
        pass

    def get_device_count():
        if count == 0:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return count

    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 12090,
        getDeviceCount=get_device_count,
    )
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime, Device=None))


@pytest.mark.parametrize(
    "cupy, name, complaint",
    [
        (None, "cupy", r'needs CuPy: pip install "minigrad-clip\[gpu\]"'),
        (a_cupy(driver=0, count=0), "cupy", "no NVIDIA driver"),
        (a_cupy(driver=11040, count=1), "cupy", "or an old one"),
        (a_cupy(driver=12040, count=0), "cupy", "offers 0 GPUs"),
        (a_cupy(driver=12040, count=1), "cupy:1", "offers 1 GPUs"),
    ],
)
def test_what_is_missing_is_told_apart(monkeypatch, capsys, cupy, name, complaint):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(BackendError, match=complaint):
        move(np.zeros(2), name)
    with pytest.raises(BackendError, match=complaint):
        mg.nn.zeros(2).to(name)
    assert main(["train", "--backend", name]) == 1
    assert capsys.readouterr().err.startswith(f"clip-np: error: backend '{name}'")


def test_arrays_know_their_module_and_backend():
    array = np.zeros(2)
    assert backend.array_module(array) is np
    assert backend.backend_of(array) == "numpy"
    assert backend.move(array, "numpy") is array
    assert backend.as_array(np.float64(1.0)).shape == ()


@pytest.mark.parametrize("name", ["gpu", "cupy:x", "numpy:0", "", "torch"])
def test_unknown_backend_is_an_error(name):
    with pytest.raises(ValueError, match="backend must be"):
        mg.tensor([1.0], backend=name)


def test_backend_without_cupy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r'needs CuPy: pip install "minigrad-clip\[gpu\]"'):
        mg.tensor([1.0]).to("cupy:1")


def test_rows_that_repeat_are_added_up():
    rng = np.random.default_rng(0)
    rows, values = rng.integers(0, 5, 40), rng.standard_normal((40, 3))
    target = np.ones((5, 3))
    expected = target.copy()
    np.add.at(expected, rows, values)
    backend.add_rows(target, rows, values)
    assert np.allclose(target, expected, rtol=1e-13)
    for kind in (np.uint8, np.int16, np.uint64):
        again = np.ones((5, 3))
        backend.add_rows(again, rows.astype(kind), values)
        assert np.array_equal(again, target)


@pytest.mark.parametrize("shape", [(), (3,), (64,), (65,), (512,), (5, 40)])
@pytest.mark.parametrize("n_rows", [1, 7, 1000])
def test_rows_of_any_width_are_added_like_the_plain_form(shape, n_rows):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, n_rows, 300)
    values = rng.integers(-99, 99, (300, *shape)).astype(np.float32)  # their sums are exact
    plain = np.ones((n_rows, *shape), np.float32)
    backend.scatter_add(plain, rows, values)
    target = np.ones_like(plain)
    backend.add_rows(target, rows, values)
    assert np.array_equal(target, plain)


def test_dot_products_do_not_conjugate():
    a = np.array([[1.0 + 2.0j, 3.0]])
    assert backend.row_dot(a, a)[0] == (1 + 2j) ** 2 + 9

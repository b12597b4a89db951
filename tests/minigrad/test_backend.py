"""What the command line and `move` say where a GPU is asked for and cannot be had."""

import sys
import types

import numpy as np
import pytest

import minigrad as mg
from clip_np.cli import main
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
    "cupy, backend, complaint",
    [
        (None, "cupy", r'needs CuPy: pip install "minigrad-clip\[gpu\]"'),
        (a_cupy(driver=0, count=0), "cupy", "no NVIDIA driver"),
        (a_cupy(driver=11040, count=1), "cupy", "or an old one"),
        (a_cupy(driver=12040, count=0), "cupy", "offers 0 GPUs"),
        (a_cupy(driver=12040, count=1), "cupy:1", "offers 1 GPUs"),
    ],
)
def test_what_is_missing_is_told_apart(monkeypatch, capsys, cupy, backend, complaint):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(BackendError, match=complaint):
        move(np.zeros(2), backend)
    with pytest.raises(BackendError, match=complaint):
        mg.nn.zeros(2).to(backend)
    assert main(["train", "--backend", backend]) == 1
    assert capsys.readouterr().err.startswith(f"clip-np: error: backend '{backend}'")

"""The modules `cupy` and `cupyx`: those of NumPy's functions that CuPy has too."""

import contextlib
import sys
import types
from collections.abc import Iterator

import numpy as np

from strict_cupy import array as strict
from strict_cupy import cublas, device, events, streams
from strict_cupy.arithmetic import COMPUTES
from strict_cupy.array import NAMES, ndarray
from strict_cupy.kernels import RawKernel

DRIVER, RUNTIME = 12_090, 12_090
WAITS = {"nonzero", "flatnonzero", "argwhere", "unique", "extract"}  # sizes known to the GPU only


class CUDARuntimeError(RuntimeError):
    __module__ = "cupy_backends.cuda.api.runtime"


def _asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """From the host, or from another device, to the current one."""
    if type(a) is ndarray:
        if a._device != device.current_device():
            events.note_launches("copy between devices", 1)
            return ndarray(np.array(a._host, dtype=dtype, order=order))
        return strict.compute(np.asarray, (a,), {"dtype": dtype, "order": order})
    host = np.array(a, dtype=dtype, order=order)  # what lies on the host is copied
    events.note_copy(host)
    return ndarray(host)


def _array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    made = _asarray(obj, dtype)
    return made.copy() if copy and made is obj else made


def _where(condition, x=None, y=None):
    if type(condition) is not ndarray:
        raise TypeError(f"cupy.where: the condition is no device array but a {type(condition)}")
    if x is None or y is None:
        strict.read(condition, "where")
    return strict.compute(np.where, (condition,) if x is None else (condition, x, y), {})


def _take(a, indices, axis=None, out=None):
    return a.take(indices, axis)


def _take_along_axis(a, indices, axis):
    wrapped = indices % a.shape[axis]
    return strict.compute(np.take_along_axis, (a, wrapped, axis), {}, "take_along_axis")


def _add_at(a, indices, b=None):
    where, sources = a._index(indices), []
    target, values = strict.to_host(a, sources), strict.to_host(b, sources)
    events.note_launches("add.at", int(target[where].size > 0))
    np.add.at(target, where, values)


def _checked(module: str, name: str, parameters: str, function: object) -> object:
    """`function` behind a check of its keywords against the snapshot."""

    def call(*args, **kwargs):
        strict.check_call(f"{module}.{name}", parameters, args, kwargs)
        if name in NAMES["types"]:
            strict.check_types(name, args)
        if name in WAITS:
            strict.read(args[0], name)
        kwargs.pop("blocking", None)
        return strict.compute(function, args, kwargs, name)

    return call


class Module(types.ModuleType):
    """A module whose attributes are those of the snapshot's table of the same name."""

    def __init__(self, name: str, source: object, **own: object) -> None:
        super().__init__(name)
        self._source = source
        self.__path__ = []
        vars(self).update(own)

    def __getattr__(self, name: str) -> object:
        table = NAMES.get(self.__name__, {})
        if name not in table:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if not hasattr(self._source, name):
            raise NotImplementedError(f"the stand-in lacks {self.__name__}.{name}")
        value = COMPUTES.get(name) or getattr(self._source, name)
        if table[name] is not None:
            value = _checked(self.__name__, name, table[name], value)
        if name == "add":
            value.at = _add_at
        setattr(self, name, value)
        return value


class Generator:
    """cupy.random.Generator: fewer methods than NumPy's."""

    def __init__(self, seed: int | None = None) -> None:
        self._source = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> object:
        table = NAMES["cupy.random.Generator"]
        if name not in table:
            raise AttributeError(f"'cupy.random.Generator' has no attribute {name!r}")
        return _checked("cupy.random", name, table[name], getattr(self._source, name))


def make() -> dict[str, types.ModuleType]:
    """The stand-in's modules by name."""
    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        driverGetVersion=lambda: DRIVER,
        runtimeGetVersion=lambda: RUNTIME,
        getDeviceCount=lambda: device.DEVICES,
    )
    memory = types.SimpleNamespace(OutOfMemoryError=device.OutOfMemoryError)
    queues = {"Stream": streams.Stream, "get_current_stream": streams.get_current_stream}
    own = {"runtime": runtime, "memory": memory, "Device": device.Device, **queues}
    own |= {"cublas": cublas, "get_cublas_handle": cublas.get_cublas_handle}
    cuda = Module("cupy.cuda", None, **own)
    random = Module("cupy.random", np.random, default_rng=Generator, Generator=Generator)
    linalg = Module("cupy.linalg", np.linalg)
    stride_tricks = Module("cupy.lib.stride_tricks", np.lib.stride_tricks)
    lib = Module("cupy.lib", None, stride_tricks=stride_tricks)
    cupy = Module(
        "cupy",
        np,
        **{"cuda": cuda, "random": random, "linalg": linalg, "lib": lib, "ndarray": ndarray},
        **{"asarray": _asarray, "asanyarray": _asarray, "array": _array, "where": _where},
        **{"take": _take, "take_along_axis": _take_along_axis, "RawKernel": RawKernel},
        asnumpy=lambda a: a.get(),
        get_default_memory_pool=lambda: device.pool,
    )
    cupyx = Module("cupyx", None)
    found = (cupy, cupyx, cuda, random, linalg, lib, stride_tricks)
    return {module.__name__: module for module in found}


def install() -> None:
    """Let `import cupy` find the stand-in."""
    sys.modules.update(make())


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """`install` for a block; what was there before comes back."""
    modules = make()
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    device.current.device = 0
    try:
        yield
    finally:
        device.current.device = 0
        device.pool.set_limit(0)
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


@contextlib.contextmanager
def counting_reads() -> Iterator[list[str]]:
    """The host reads of a block."""
    with events.watching() as seen:
        yield seen.reads

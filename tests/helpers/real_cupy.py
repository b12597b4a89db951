"""The whole test suite on CuPy itself: `pytest -p real_cupy`, on a machine with a GPU.

    PYTHONPATH=.:tests/helpers python -m pytest -p real_cupy -m gradient

The plugin of the stand-in (strict_cupy/plugin.py) moves what tests hand over to the
device. Here the same is done for the real library. CuPy's arrays are opened for tests
only: what a test itself reads becomes a NumPy array. What the packages do is CuPy's own
behaviour, untouched.
"""

import ctypes
import fnmatch
import gc
import sys

import cupy
import numpy as np
import pytest
from strict_cupy import array as strict

strict.ndarray = cupy.ndarray  # before the plugin asks for it
from strict_cupy import plugin  # noqa: E402

NEVER = {
    "project/test_stand_in.py::*": "about the stand-in",
    "project/test_static_cupy.py::*": "about the stand-in's list of names",
    "project/test_device_mistakes.py::*": "about the stand-in",
    "project/test_launches.py::*": "counted by the stand-in",
    "minigrad/test_kernel_texts.py::*": "runs kernels on the CPU",
    "minigrad/test_memory.py::*": "watches the host's memory",
    "clip_np/training/test_step.py::test_recomputation_holds*": "watches the host's memory",
}
"""Tests that say something about the host's memory or about the stand-in."""

OPERATORS = ("add", "sub", "mul", "truediv", "pow", "matmul", "eq", "ne", "lt", "le", "gt", "ge")
IN_PLACE = ("add", "sub", "mul", "truediv")
SHARED = (np.shares_memory, np.may_share_memory)


def is_reading() -> bool:
    """Whether a test, and no function of the packages or of CuPy, is what asks."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__:
            if name.startswith(plugin.PACKAGES) or "/cupy/" in name or "/cupyx/" in name:
                return False
            if name.startswith(plugin.TESTS) and not name.startswith(plugin.OWN):
                return True
        frame = frame.f_back
    return False


def hosts(value: object) -> object:
    """Device arrays, in lists and tuples too, as NumPy's."""
    if type(value) in (list, tuple):
        return type(value)(hosts(each) for each in value)
    return value.get() if type(value) is cupy.ndarray else value


def on_device(value: object) -> object:
    """A NumPy array of a test's, on the device."""
    return cupy.asarray(value) if type(value) is np.ndarray and is_reading() else value


class Addresses:
    """The addresses of a device array as NumPy wants them; nobody must read there."""

    def __init__(self, array: cupy.ndarray) -> None:
        self.__array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.data.ptr, True),
            "strides": array.strides,
        }


def addresses(array: object) -> object:
    return np.asarray(Addresses(array)) if type(array) is cupy.ndarray else array


def open_conversions(kind: type) -> None:
    """Let tests convert, and let NumPy's functions take what tests hand them."""
    array, ufunc, function = kind.__array__, kind.__array_ufunc__, kind.__array_function__

    def __array__(self, dtype=None, copy=None):
        return np.array(self.get(), dtype=dtype) if is_reading() else array(self, dtype)

    def __array_ufunc__(self, called, method, *inputs, **options):
        mixed = method != "__call__" or any(type(each) is np.ndarray for each in inputs)
        if mixed and is_reading():  # device arrays alone stay there: a test may compute
            named = {key: hosts(value) for key, value in options.items()}
            return getattr(called, method)(*hosts(inputs), **named)
        return ufunc(self, called, method, *inputs, **options)

    def __array_function__(self, called, kinds, args, kwargs):
        if called in SHARED:
            return called(*map(addresses, args), **kwargs)
        if is_reading():
            return called(*hosts(args), **{key: hosts(value) for key, value in kwargs.items()})
        return function(self, called, kinds, args, kwargs)

    kind.__array__, kind.__array_ufunc__ = __array__, __array_ufunc__
    kind.__array_function__ = __array_function__


def open_operators(kind: type) -> None:
    """Let tests compute with an array of each kind."""

    def mixed(operator):
        def call(self, other):
            if type(other) is np.ndarray and is_reading():
                return getattr(self.get(), operator.__name__)(other)
            return operator(self, other)

        return call

    def moving(operator):
        return lambda self, other: operator(self, on_device(other))

    for name in OPERATORS:
        for dunder in (f"__{name}__", f"__r{name}__"):
            if hasattr(kind, dunder):
                setattr(kind, dunder, mixed(getattr(kind, dunder)))
    for name in IN_PLACE:
        setattr(kind, f"__i{name}__", moving(getattr(kind, f"__i{name}__")))
    put = kind.__setitem__
    kind.__setitem__ = lambda self, index, value: put(self, index, on_device(value))
    kind.__repr__ = lambda self: repr(self.get())  # NumPy's own takes what comes next


def open_class(kind: type) -> None:
    """Let isinstance(array, np.ndarray) be true in a test.

    An assignment to `__class__` would change the class's own class. So the dictionary
    of the class is changed.
    """
    namespace = gc.get_referents(kind.__dict__)[0]
    namespace["__class__"] = property(lambda self: np.ndarray if is_reading() else kind)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.stand_in = True  # for tests that ask; tests/conftest.py has looked by now
    open_conversions(cupy.ndarray)
    open_operators(cupy.ndarray)
    open_class(cupy.ndarray)
    plugin.move_entry_points()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    plugin.pytest_collection_modifyitems(items)
    for item in items:
        for pattern, reason in NEVER.items():
            if fnmatch.fnmatchcase(item.nodeid, f"tests/{pattern}"):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: object) -> None:
    pool = cupy.get_default_memory_pool()
    terminalreporter.write_line(f"CuPy {cupy.__version__}, pool {pool.total_bytes():,} bytes")

"""The whole test suite on the stand-in: `pytest --stand-in`.

The tests are written for NumPy arrays. In this mode their entry points move what they
are given: arrays that a test hands to `Tensor`, to a public function or to a module go
to the device first, parameters and buffers are born there, and training computes there
unless told otherwise. Integer arrays that index stay on the host, as token ids do in a
program. A test may also look at a device array as if it were NumPy's, as long as no
function of the packages stands between: what they do is judged strictly.
"""

import fnmatch
import functools
import inspect
import pathlib
import sys

import numpy as np
import pytest
from paths import ROOT

import clip_np
import clip_np.cli
import minigrad as mg
from minigrad.backend import move
from minigrad.nn import Buffer, Module, Parameter
from minigrad.tape import Node
from minigrad.tensor import Tensor
from strict_cupy import array as strict
from strict_cupy import modules

PACKAGES = tuple(str(ROOT / name) + "/" for name in ("minigrad", "clip_np"))
TESTS = str(ROOT / "tests") + "/"
OWN = str(pathlib.Path(__file__).parent) + "/"
HOST = (np.ndarray, np.generic)
CHECKERS = ("gradcheck", "hvp", "jvp", "taylor_slope")

# Tests that say something about NumPy or about tests, by pattern: folder, file, test.
# The ordinary suite has them.
HOST_ONLY = {
    "clip_np/training/test_finetuning.py::test_a_stopped_run*[[]*float16*": "rounds on the host",
    "clip_np/training/test_finetuning.py::*published_bert": "files are opened on the host",
    "minigrad/*::test_hvp_is_the_slope*[[]to]": "moves to NumPy",
    "clip_np/training/test_memory_estimate.py::test_a_step_needs*": "counts the host's memory",
    "clip_np/training/test_memory_estimate.py::test_weights_gr*": "counts the host's memory",
    "clip_np/training/test_step.py::test_recomputation_holds*": "counts the host's memory",
    "clip_np/encoders/test_packing.py::test_no_layer*": "captions are padded on a GPU",
    "clip_np/training/test_rank_faults.py::*": "processes share the memory of the host",
    "examples/test_exercises.py::*": "answers compute with NumPy's arrays",
    "minigrad/*::test_it_cannot_learn_and_what*": "arrays of CuPy cannot be made read-only",
    "minigrad/*::test_sample[[]*-to-*": "moves to NumPy",
    "minigrad/*::test_drawn_sample[[]to]": "moves to NumPy",
    "minigrad/*::test_jvp_is_the_transpose*[[]to]": "moves to NumPy",
    "minigrad/*::test_gradients_share_no_memory[[]<lambda>3]": "moves to NumPy",
    "minigrad/*::test_numpy_on_tensors*[[]to-*": "moves to NumPy",
    "minigrad/*::test_a_list_of_tensors*[[]to-*": "moves to NumPy",
    "minigrad/*::test_a_changed_array*[[]to-*": "moves to NumPy",
    "minigrad/*::test_numpy_computes_what*": "hands the device's arrays to NumPy",
    "minigrad/*::test_the_message_names*": "names the calling line, which is the plugin's here",
    "minigrad/*::test_a_repeated_gradient*": "makes a view by NumPy's strides",
    "minigrad/*::test_operations_take*": "an arena holds the host's memory",
    "minigrad/*::test_attributes_and_conversions": "moves to NumPy",
    "minigrad/test_declarations.py::test_*": "looks at functions that the plugin has wrapped",
    "minigrad/test_checking*::test_*caught*": "gradcheck watches the host's memory",
    "minigrad/*::test_the_picture*": "an example with arrays of its own",
    "minigrad/*::test_anomaly*": "names the calling line, which is the plugin's here",
    "minigrad/*::test_ten_thousand*": "counts bytes; the stand-in's arrays have more of them",
    "clip_np/test_model*::test_*complex_step*": "gives parameters arrays by assignment",
    "minigrad/*::test_layers_compute_what_they_say": "asks for the same NumPy array",
    "minigrad/*::test_vectors_with_squares*": "on a GPU such vectors become zeros",
    "minigrad/*::test_optimizer_errors": "expects the word numpy",
    "minigrad/*::test_what_tensor_makes_of_data": "asks for the same NumPy array",
    "minigrad/*::test_tensor_converts_what_only*": "an array-like class, unknown to CuPy",
    "clip_np/training/*::test_what_goes_wrong_is_said": "its step answers with the host's arrays",
    "clip_np/training/*::test_a_time_limit_ends_the_run": "counts steps by the clock",
    "clip_np/training/*::test_the_number_of_threads*": "a GPU has one",
    "clip_np/training/*::test_a_parameter_that_some*": "a GPU has one worker",
    "clip_np/training/*::test_steps_with_one_optimizer*": "an arena holds the host's memory",
    "minigrad/test_errors.py::test_*[[]matmul-31]": "a bare device array beside a number",
    "clip_np/data/*::test_a_set_by_name*": "compares a figure of the GPU's with the CPU's",
    "clip_np/weights/*::test_a_model_alone*": "a file is opened on the host",
    "clip_np/weights/*::test_exported_names": "asks for the same memory of the host",
    "clip_np/weights/*::test_weights_stay*": "about files mapped into the host's memory",
    "clip_np/weights/*::test_every_name_goes_there*": "layouts are for arrays of the host",
    "clip_np/encoders/*::test_each_core_has_its_part*": "a GPU has one worker",
    "minigrad/*::test_adamw_is_the_twin*": "the plain form is called with the host's arrays",
    "clip_np/weights/test_bert.py::*": "files are written and opened on the host",
    "clip_np/training/test_starting.py::*weights*": "files are written and opened on the host",
    "clip_np/encoders/*::test_a_model_is_loaded_for*": "positions are resized on the host",
    "clip_np/evaluation/*::test_rollout_is_a_product*": "maps are made of the host's arrays",
    "clip_np/evaluation/*::test_hiding_the_part*": "maps are made of the host's arrays",
    "clip_np/evaluation/*::test_the_maps_of_a_resnet": "maps are made of the host's arrays",
    "minigrad/*::test_sample[[]check_gradient-power-[135]_1]": "loses the complex step",
    "minigrad/*::test_sample[[]check_gradient-power-18]": "loses the complex step",
    "minigrad/*::test_sample[[]check_complex_value-power-[135]_1]": "see strict_cupy/arithmetic.py",
    "minigrad/*::test_sample[[]check_complex_value-power-18]": "see strict_cupy/arithmetic.py",
    "minigrad/*::test_drawn_sample[[]power1]": "see strict_cupy/arithmetic.py",
    "minigrad/*::test_every_right_operation_passes[[]power1]": "loses the complex step",
    "minigrad/*::test_jvp_is_the_transpose*[[]power1]": "loses the complex step",
    "minigrad/*::test_hvp_is_the_slope*[[]power1]": "loses the complex step",
    "minigrad/test_derivatives.py::test_an_operation_of_ones_own": "loses the complex step",
    "minigrad/test_errors.py::test_*[[]cross_entropy-72]": "the host does not read the labels",
    "project/test_doctests.py::test_*": "the examples print NumPy's arrays",
    "project/test_documents.py::test_*": "other processes, and examples of NumPy's arrays",
    "attack/*::test_*": "files and other processes",
    "examples/test_notebooks.py::test_*": "other processes",
    "oracle/*::test_*": "compares with PyTorch on the CPU",
    "minigrad/*::test_what_is_missing*": "brings its own CuPy",
}


def from_test(depth: int = 2) -> bool:
    """Whether the caller's caller is a test."""
    name = sys._getframe(depth).f_code.co_filename
    return name.startswith(TESTS) and not name.startswith(OWN)


def tests_are_reading() -> bool:
    """Whether, seen from an array, a test comes before a function of the packages."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGES):
            return False
        if name.startswith(TESTS) and not name.startswith(OWN):
            return True
        frame = frame.f_back
    return True


def moved(value: object) -> object:
    """Float arrays, in lists and tuples too, on the device."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return move(value, "cupy")
    if type(value) in (list, tuple):
        return type(value)(moved(each) for each in value)
    return value


def at_home(value: object) -> object:
    """Arrays and tensors, in lists and tuples too, on the host."""
    if type(value) in (list, tuple):
        return type(value)(at_home(each) for each in value)
    if isinstance(value, Tensor):
        return Tensor(move(value.data, "numpy"), value.requires_grad)
    return value.get() if isinstance(value, strict.ndarray) else value


def entry(function: object) -> object:
    """`function`, which moves its arguments where a test calls it."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        if from_test():
            args, kwargs = moved(args), {key: moved(value) for key, value in kwargs.items()}
        return function(*args, **kwargs)

    return call


def checker(function: object) -> object:
    """gradcheck and its like compute on the host: only what they check is moved."""

    @functools.wraps(function)
    def call(checked, *args, **kwargs):
        def on_device(*tensors):
            result = checked(*[each.to("cupy") for each in tensors])
            return result.to("numpy")

        return function(on_device, *at_home(args), **kwargs)

    return call


def on_device_by_default(function: object) -> None:
    """Make "cupy" the default of a function's parameter `backend`."""
    parameters = inspect.signature(function).parameters.values()
    defaults = [p for p in parameters if p.default is not p.empty]
    function.__defaults__ = tuple("cupy" if p.name == "backend" else p.default for p in defaults)


def move_entry_points() -> None:
    make_tensor, make, make_node = mg.tensor, Tensor.__init__, Node.__init__

    @functools.wraps(make_tensor)
    def tensor(data, requires_grad=False, dtype=None, backend=None):
        here = from_test() and backend is None
        return make_tensor(data, requires_grad, dtype, "cupy" if here else backend)

    def new(self, data, requires_grad=False):
        if isinstance(self, (Buffer, Parameter)) or from_test():
            data = move(np.asarray(data), "cupy") if isinstance(data, HOST) else data
        make(self, data, requires_grad)

    def node(self, name, parents, vjp, shapes):
        def moving(*cotangents):
            return vjp(*(moved(cotangents) if from_test() else cotangents))

        make_node(self, name, parents, moving, shapes)

    for name in mg.__all__:
        value = getattr(mg, name)
        if inspect.isfunction(value) and name not in ("draw", "detect_anomaly", "no_grad"):
            setattr(mg, name, checker(value) if name in CHECKERS else entry(value))
    mg.tensor = tensor
    for name, value in list(vars(Tensor).items()):
        own = value.__module__ == Tensor.__module__ if inspect.isfunction(value) else True
        if not own:
            setattr(Tensor, name, entry(value))
    Tensor.__init__, Node.__init__ = new, node
    Module.__call__ = entry(Module.__call__)
    on_device_by_default(clip_np.training.TrainingOptions.__init__)
    on_device_by_default(clip_np.load)


def pytest_configure(config: pytest.Config) -> None:
    modules.install()
    strict.is_exempt = tests_are_reading
    move_entry_points()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for pattern, reason in HOST_ONLY.items():
            if fnmatch.fnmatchcase(item.nodeid, f"tests/{pattern}"):
                item.add_marker(pytest.mark.skip(reason=reason))

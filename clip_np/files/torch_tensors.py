"""What is a tensor in a PyTorch file?

A *storage* is a row of numbers, and a tensor is a way to walk through it: the position
where it starts, its shape and its strides. Strides (3, 1) mean that the next row is 3
numbers further and the next column 1. So a transpose is two strides swapped, and tied
weights are two tensors of one storage:

    storage  0 1 2 3 4 5     shape (2, 3), strides (3, 1)     0 1 2
                                                              3 4 5

                             shape (3, 2), strides (1, 3)     0 3
                                                              1 4
                                                              2 5

The pickle in the file makes a tensor by calling `torch._utils._rebuild_tensor_v2`. This
file says what the few names that such pickles use mean here. Every tensor is a view of
the mapped file. https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clip_np.files.arrays import MAX_DIMENSIONS, as_numbers
from clip_np.files.errors import FileError
from clip_np.files.pickle_machine import Attributes, StandIn

# PyTorch's names of storages -> the types of `clip_np.files.arrays.DTYPES`.
STORAGES = {
    "torch.DoubleStorage": "F64",
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}
STANDARD_LIBRARY = sys.stdlib_module_names | {"__builtin__", "copy_reg", "UserDict"}
# What people keep next to weights from the standard library.
HARMLESS_MODULES = {"collections", "datetime", "enum", "pathlib"}
HARMLESS_NAMES = {
    *("argparse.Namespace", "types.SimpleNamespace", "uuid.UUID", "random.Random"),
    *("decimal.Decimal", "fractions.Fraction", "array.array"),
    # How older protocols write bytes and objects.
    *("_codecs.encode", "copy_reg._reconstructor", "copyreg._reconstructor"),
}
HARMLESS_BUILTINS = {
    *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list"),
    *("object", "range", "set", "slice", "str", "tuple", "xrange"),
}
SCRIPT_CLASSES = "__torch__."  # what the names of TorchScript's own classes start with


class TorchNames:
    """What the names in a PyTorch pickle mean.

    `entries` are the archive's, each (n,) uint8.
    """

    def __init__(self, entries: Mapping[str, np.ndarray]) -> None:
        self.entries = entries
        # key -> type and numbers; a storage that two tensors share is made once
        self.storages: dict[str, tuple[str, np.ndarray]] = {}

    def look_up(self, name: str) -> str | StandIn:
        """A name that weights need as it is, and a stand-in for others.

        FileError for what no data need: a file that names `os.system` is a program.
        Nothing of it would run here, but whoever made it wants to run it elsewhere.
        """
        if name in FUNCTIONS or name in STORAGES or name.startswith(SCRIPT_CLASSES):
            return name
        if not _is_harmless(name):
            raise FileError(f"asks for {name!r}, which weights do not need")
        return StandIn(name)

    def call(self, name: Any, arguments: Any) -> Any:
        """The result of calling a known name; FileError for anything else."""
        if type(name) is str and type(arguments) is tuple:
            if name in FUNCTIONS:
                return FUNCTIONS[name](*arguments)
            if name.startswith(SCRIPT_CLASSES) and not arguments:
                return Attributes()
        raise FileError("calls something that it may not call, or in another way")

    def storage(self, description: Any) -> np.ndarray | StandIn:
        """The numbers (n,) of ("storage", type, key, device, n) on any device.

        A stand-in for numbers of a type that no weights have, such as complex ones.
        FileError if the archive has no entry for the key, or one of another length, or
        if the same storage is to be of two types.
        """
        match description:
            case (str("storage"), StandIn() as type_name, _, _, _):
                return type_name
            case (str("storage"), str(type_name), str(key), _, int(count)):
                code = STORAGES.get(type_name)
                if code is not None and key not in self.storages:
                    content = self.entries[f"data/{key}"]
                    self.storages[key] = code, as_numbers(f"data/{key}", content, code)
                known_code, numbers = self.storages.get(key, (None, np.empty(0)))
                if code is not None and code == known_code and len(numbers) == count:
                    return numbers
        raise FileError("describes a storage that is not in it")


def _is_harmless(name: str) -> bool:
    """Whether a name is of another library, or of what people keep next to weights.

    >>> _is_harmless("pathlib.PosixPath"), _is_harmless("builtins.exec")
    (True, False)
    """
    package = name.partition(".")[0]
    module, _, last = name.rpartition(".")
    if package not in STANDARD_LIBRARY:
        return True
    if module in ("builtins", "__builtin__"):
        return last in HARMLESS_BUILTINS
    return name in HARMLESS_NAMES or module.partition(".")[0] in HARMLESS_MODULES


def rebuild_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> np.ndarray | StandIn:
    """A view of a storage (n,); offset and strides count numbers, not bytes.

    All arguments come from the file and may be anything, so each is checked before use.

    >>> rebuild_tensor(np.arange(6), 0, (3, 2), (1, 3), False, {})
    array([[0, 3],
           [1, 4],
           [2, 5]])
    >>> rebuild_tensor(np.arange(6), 2, (3,), (2,), False, {})
    Traceback (most recent call last):
    clip_np.files.errors.FileError: has a tensor (3,) that does not fit its storage of 6
    """
    if isinstance(storage, StandIn):
        return storage
    types = type(storage), type(shape), type(strides)
    if types != (np.ndarray, tuple, tuple) or not len(shape) == len(strides) <= MAX_DIMENSIONS:
        raise FileError("has a tensor with a storage, shape and strides that do not fit each other")
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise FileError("has a tensor with a shape, strides or offset that are not natural numbers")
    # Python's integers do not overflow, so the two numbers below are exact.
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    # `last` stops a tensor that reaches past its storage, into memory of others.
    # `count` stops strides of 0, with which a tensor could have more numbers than the
    # memory holds.
    if count > len(storage) or (count > 0 and last >= len(storage)):
        raise FileError(f"has a tensor {shape} that does not fit its storage of {len(storage)}")
    itemsize = storage.itemsize
    start = offset * itemsize if count > 0 else 0
    byte_strides = [stride * itemsize for stride in strides]
    return np.ndarray(shape, storage.dtype, storage, start, byte_strides)


def rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any, attributes: Any = None) -> Any:
    """A parameter is its tensor."""
    return tensor


def rebuild_from_type(function: Any, kind: Any, arguments: Any, attributes: Any) -> Any:
    """A tensor with attributes of its own is the tensor that was wrapped so."""
    if function not in REBUILD_FUNCTIONS or type(arguments) is not tuple:
        return StandIn(str(kind))
    return REBUILD_FUNCTIONS[function](*arguments)


def ordered_dict() -> dict[str, Any]:
    """An OrderedDict is a dict: those have an order, too."""
    return {}


def default_dict(factory: Any = None) -> dict[str, Any]:
    """A defaultdict is a dict. What it would put into gaps is of no interest."""
    return {}


def typed_list(items: Any, kind: Any = None) -> Any:
    """TorchScript's lists of one type are their items."""
    return items


# What the names mean that a program may call.
REBUILD_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
}
FUNCTIONS: dict[str, Callable[..., Any]] = REBUILD_FUNCTIONS | {
    "torch._tensor._rebuild_from_type_v2": rebuild_from_type,
    "collections.OrderedDict": ordered_dict,
    "collections.defaultdict": default_dict,
    "torch.jit._pickle.build_intlist": typed_list,
    "torch.jit._pickle.build_doublelist": typed_list,
    "torch.jit._pickle.build_boollist": typed_list,
    "torch.jit._pickle.build_tensorlist": typed_list,
}

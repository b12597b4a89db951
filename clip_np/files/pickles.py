"""Chapter 35: how is a PyTorch file read without running the program that is in it?

`torch.save` and `torch.jit.save` write a zip archive, not compressed:

    NAME/data.pkl      a pickle: the tree of dicts and lists, and for each tensor the storage it
                       lies in, where in it it starts, its shape and its strides
    NAME/data/0, 1 ..  the storages: numbers, one after the other
    NAME/byteorder     "little"

A storage is a row of numbers; a tensor is a way to walk through it. Strides (3, 1) mean: the next
row is 3 numbers further, the next column 1. So a transpose is two strides swapped, and tied
weights are two tensors of one storage. Here each is a view of the mapped file (chapter 34).

A pickle is a program for a machine with a stack, and Python's own machine imports and calls
whatever the program names: `pickle.load` of a stranger's file hands him the computer. So here is
another machine. It knows the 32 instructions that weights need. A name is text to it, and what a
few names mean it knows by heart. `pickletools`, which takes pickles apart and never runs them,
reads the instructions. None makes more than a few hundred bytes beyond those it brings.

Checksums are not looked at, because that would read the whole file; the archive's structure is.
https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import math
import pickletools
import struct
import zipfile
from typing import Any

import numpy as np

from clip_np.files.safetensors import MAX_DIMENSIONS, as_numbers, map_file
from clip_np.files.whole import File, FileError, naming

_STORAGES = {"Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Bool": "BOOL"}
_STORAGES |= {"Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8"}
_STORAGES = {f"torch.{name}Storage": code for name, code in _STORAGES.items()}
# How many values an instruction takes from the stack; None: all that lie above the mark.
_TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": None, "APPEND": 1, "APPENDS": None}
_TAKES |= {"SETITEM": 2, "SETITEMS": None, "REDUCE": 2, "NEWOBJ": 2, "BINPERSID": 1, "BUILD": 1}
_NEW = {"NONE": type(None), "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_NEW |= {"NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
_PICKLE_LIMIT = 1_000_000  # bytes, or a tenth of the file: 1 byte can make an empty dict of 80
_NAMES_LIMIT, _NAME_LIMIT = 100_000, 300  # names of a state dict, and characters of one
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how files began before PyTorch 1.6


class _Module(dict):
    """The attributes of a TorchScript module."""


def read_torch_state(path: File) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint or TorchScript file by dotted name: "visual.conv1.weight".

    Looks into "state_dict", "model_state_dict" or "model" if there is one, at nothing beside it,
    and drops a "module." that all names share. FileError as `read_torch`, and without any array.
    """
    tree = read_torch(path)
    if type(tree) is dict:
        inner = (tree.get(key) for key in ("state_dict", "model_state_dict", "model"))
        tree = next((value for value in inner if type(value) is dict), tree)
    arrays: dict[str, np.ndarray] = {}
    waiting, seen = [("", tree)], 0
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, np.ndarray):
            if name in arrays:
                raise FileError(f"{path}: holds two arrays named {name!r}")
            arrays[name] = value
        elif isinstance(value, dict):
            seen += 1 + len(value)
            inner = [(key, value[key]) for key in reversed(value) if type(key) is str]
            if seen > _NAMES_LIMIT or any(len(name + key) > _NAME_LIMIT for key, _ in inner):
                raise FileError(f"{path}: has too many names, too long ones, or a dict in itself")
            waiting += [(f"{name}.{key}" if name else key, item) for key, item in inner]
    if not arrays or "" in arrays:
        raise FileError(f"{path}: holds no arrays that have names")
    shared = "module." if all(name.startswith("module.") for name in arrays) else ""
    return {name.removeprefix(shared): array for name, array in arrays.items()}


def read_torch(path: File) -> Any:
    """What a .pt, .pth or .bin file holds: dicts, lists, tuples, numbers, text and arrays.

    Arrays are views of the file, mapped copy-on-write; bfloat16 becomes float32. TorchScript's
    modules are dicts of their attributes. FileError if the file is damaged or asks for anything
    else. Dicts and lists may contain themselves: whoever walks through them needs a limit.
    """
    with naming(path, "damaged, or no PyTorch file"):
        data = map_file(path)
        if data[: len(_LEGACY)].tobytes() == _LEGACY:
            hint = "load it and save it again with a newer one, or as safetensors"
            raise FileError(f"written in the format before PyTorch 1.6; {hint}")
        with zipfile.ZipFile(path) as archive:
            entries = _views(data, archive.infolist())
        if "byteorder" in entries and entries["byteorder"].tobytes() != b"little":
            raise FileError("its numbers are not little-endian")
        if len(entries["data.pkl"]) > max(_PICKLE_LIMIT, len(data) // 10):
            raise FileError(f"its pickle is longer than {_PICKLE_LIMIT:,} bytes and 1/10 of it")
        return _run(entries["data.pkl"].tobytes(), entries)


def _views(data: np.ndarray, contents: list[zipfile.ZipInfo]) -> dict[str, np.ndarray]:
    """The entries of a mapped archive that say what the tensors are, each (n,) uint8."""
    folders = [each.filename[:-8] for each in contents if each.filename.endswith("/data.pkl")]
    if len(folders) != 1:
        raise FileError("no PyTorch file: it needs one folder with a data.pkl")
    found: dict[str, np.ndarray] = {}
    for entry in contents:
        name = entry.filename.removeprefix(folders[0])
        if name == entry.filename or not name.startswith(("data.pkl", "byteorder", "data/")):
            continue
        # In front of the bytes stand the entry's kind, its name and some padding once more.
        start, title = entry.header_offset + 30, entry.orig_filename
        head = data[start - 30 : start].tobytes()
        kind, flags, method, length, padding = struct.unpack("<4s2xHH16xHH", head)
        again = data[start : start + length].tobytes()
        if kind != b"PK\3\4" or again not in (title.encode(), title.encode("cp437", "replace")):
            raise FileError(f"{entry.filename!r} is not where the contents say")
        if method or entry.compress_type or (flags | entry.flag_bits) & 1 or name in found:
            raise FileError(f"{entry.filename!r} is compressed, encrypted, or there twice")
        start += length + padding
        found[name] = data[start : start + entry.file_size]  # (n,)
        if not len(found[name]) == entry.file_size == entry.compress_size:
            raise FileError(f"{entry.filename!r} claims more bytes than there are")
    if sum(map(len, found.values())) > len(data):
        raise FileError("its entries overlap")
    return found


def _run(program: bytes, entries: dict[str, np.ndarray]) -> Any:
    """What the program leaves on the stack. Only lists can extend, and only dicts can update."""
    stack: list[Any] = []
    below_marks: list[list] = []
    memo: dict[int, Any] = {}
    storages: dict[str, tuple] = {}
    for instruction, argument, _ in pickletools.genops(program):
        name = instruction.name
        count = _TAKES.get(name, 0)
        if count is None:
            items, stack = stack, below_marks.pop()
        elif count:
            items, stack[-count:] = stack[-count:], []
        match name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BININT1" | "BININT2" | "BININT" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "MARK":
                below_marks.append(stack)
                stack = []
            case "APPEND" | "APPENDS":
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                stack[-1].update(_pairs(items))
            case "GLOBAL":
                wanted = argument.replace(" ", ".", 1)
                if not (wanted in _CALLS or wanted in _STORAGES or wanted.startswith("__torch__.")):
                    raise FileError(f"asks for {wanted!r}, which weights do not need")
                stack.append(wanted)
            case "BINPERSID":
                stack.append(_storage(items[0], entries, storages))
            case "REDUCE" | "NEWOBJ":
                stack.append(_call(*items))
            case "BUILD" if type(stack[-1]) is _Module and type(items[0]) is dict:
                stack[-1].update(items[0])
                items[0].clear()  # moved: one large dict, copied to many modules, has no end
            case "BUILD" if type(stack[-1]) is dict:
                pass  # of an OrderedDict: the versions of its modules
            case "STOP":
                return stack.pop()
            case "PROTO":
                pass
            case _ if name in _NEW:
                stack.append(_NEW[name]())
            case _:
                raise FileError(f"uses the instruction {name}, which weights do not need")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """A dict of keys and values in turn. (The hash of a tuple walks through all that is in it.)"""
    if any(type(key) is not str and not (type(key) is int and key < 2**31) for key in items[::2]):
        raise FileError("has a dict whose keys are neither text nor small numbers")
    return dict(zip(items[::2], items[1::2], strict=True))


def _call(name: Any, arguments: Any) -> Any:
    """What the call of a known name gives; both may be anything."""
    if type(name) is str and type(arguments) is tuple:
        if name in _CALLS:
            return _CALLS[name](*arguments)
        if name.startswith("__torch__.") and not arguments:
            return _Module()
    raise FileError("calls something that it may not call, or in another way")


def _storage(identity: Any, entries: dict[str, np.ndarray], storages: dict) -> np.ndarray:
    """The numbers (n,) of ("storage", type, key, device, n); the same ones when asked again."""
    match identity:
        case (str("storage"), str(name), str(key), _, int(count)) if name in _STORAGES:
            code = _STORAGES[name]
            if key not in storages:
                storages[key] = code, as_numbers(f"data/{key}", entries[f"data/{key}"], code)
            if storages[key][0] == code and len(storages[key][1]) == count:
                return storages[key][1]
    raise FileError("describes a storage that is not in it")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> np.ndarray:
    """A view of a storage (n,), checked with Python's integers, which do not overflow."""
    found = (type(storage), type(shape), type(strides), len(rest))
    known = found == (np.ndarray, tuple, tuple, 2)  # whether gradients are wanted, and hooks
    if not known or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise FileError("has a tensor whose storage, shape and strides do not belong together")
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise FileError("has a tensor with a shape, strides or offset that are no natural numbers")
    count, size = math.prod(shape), storage.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
    # With strides of 0 a tensor could be larger than its storage, and larger than the memory.
    if count > len(storage) or (count and last >= len(storage)):
        raise FileError(f"has a tensor {shape} that does not fit its storage of {len(storage)}")
    strides = [step * size for step in strides]
    return np.ndarray(shape, storage.dtype, storage, offset * size if count else 0, strides)


_CALLS = {  # what the names mean that may be called
    "collections.OrderedDict": lambda: {},
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, grad, hooks: tensor,
}
_LISTS = (f"torch.jit._pickle.build_{kind}list" for kind in ("int", "double", "bool", "tensor"))
_CALLS |= dict.fromkeys(_LISTS, lambda items, kind=None: items)

"""Files as `torch.save` and `torch.jit.save` write them, made without PyTorch."""

import dataclasses
import pathlib
import struct
import zipfile

import numpy as np

STORAGES = {
    "<f8": "DoubleStorage",
    "<f4": "FloatStorage",
    "<f2": "HalfStorage",
    "<i8": "LongStorage",
    "<i4": "IntStorage",
    "<i2": "ShortStorage",
    "|i1": "CharStorage",
    "|u1": "ByteStorage",
    "|b1": "BoolStorage",
}


@dataclasses.dataclass
class Raw:
    """Instructions to be put into the program as they are."""

    code: bytes


@dataclasses.dataclass
class Tensor:
    """A tensor; what is None follows from the array, whose numbers are the storage."""

    array: np.ndarray
    shape: object = None
    strides: object = None
    offset: object = 0
    key: str | None = None
    count: object = None
    storage: str | None = None
    parameter: bool = False
    stored: bytes | None = None


@dataclasses.dataclass
class Module:
    """A module of TorchScript, by the name of its class, and its attributes."""

    name: str
    state: object


def name_of(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


ORDERED = name_of("collections", "OrderedDict") + b")R"


def encode(value, storages: dict[str, bytes]) -> bytes:
    """The instructions that push `value`; the storages it needs are added."""

    def inside(values) -> bytes:
        return b"(" + b"".join(encode(each, storages) for each in values)

    match value:
        case Raw():
            return value.code
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if 0 <= value < 256:
            return b"K" + bytes([value])
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(digits)]) + digits
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return inside(value) + b"t"
        case list():
            return b"]" + inside(value) + b"e"
        case dict():
            return b"}" + inside(each for pair in value.items() for each in pair) + b"u"
        case Module():
            state = encode(value.state, storages)
            return name_of(*value.name.rsplit(".", 1)) + b")\x81" + state + b"b"
        case np.ndarray():
            return encode(Tensor(value), storages)
        case Tensor():
            return encode_tensor(value, storages)
    raise TypeError(type(value))


def encode_tensor(tensor: Tensor, storages: dict[str, bytes]) -> bytes:
    array = np.ascontiguousarray(tensor.array)
    key = str(len(storages)) if tensor.key is None else tensor.key
    storages.setdefault(key, array.tobytes() if tensor.stored is None else tensor.stored)
    storage = Raw(name_of("torch", tensor.storage or STORAGES[array.dtype.str]))
    count = array.size if tensor.count is None else tensor.count
    identity = encode(("storage", storage, key, "cpu", count), storages) + b"Q"
    shape = tensor.array.shape if tensor.shape is None else tensor.shape
    strides = tensor.strides
    if strides is None:
        strides = tuple(step // array.itemsize for step in array.reshape(shape).strides)
    arguments = (Raw(identity), tensor.offset, shape, strides, False, Raw(ORDERED))
    code = name_of("torch._utils", "_rebuild_tensor_v2") + encode(arguments, storages) + b"R"
    if tensor.parameter:
        code = name_of("torch._utils", "_rebuild_parameter") + b"(" + code + b"\x88" + ORDERED
        code += b"tR"
    return code


def program(value) -> tuple[bytes, dict[str, bytes]]:
    storages: dict[str, bytes] = {}
    return b"\x80\x02" + encode(value, storages) + b".", storages


def pack(path, pickled: bytes, storages, order="little", compression=zipfile.ZIP_STORED, align=64):
    """A zip archive; the bytes of every entry begin at a multiple of `align`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        entries = {"data.pkl": pickled, "byteorder": order.encode()}
        entries |= {f"data/{key}": numbers for key, numbers in storages.items()}
        for name, numbers in entries.items():
            entry = zipfile.ZipInfo(f"net/{name}")
            entry.compress_type = compression
            free = -(archive.fp.tell() + 30 + len(entry.filename) + 4) % align if align else 0
            entry.extra = struct.pack("<HH", 0x4246, free) + b"Z" * free if align else b""
            archive.writestr(entry, numbers)
    return pathlib.Path(path)


def save(path, value, **options) -> pathlib.Path:
    return pack(path, *program(value), **options)

"""Damage files in a hundred thousand ways: reading any of them is harmless.

    PYTHONPATH=.:tests/helpers python tests/helpers/fuzz_files.py --count 200000

makes that many files from small right ones: an .npz, a safetensors file, a file of
`torch.save` and one of `torch.jit.save`. Bytes are flipped, moved, cut and put in; a
table of contents is changed as JSON and a pickle instruction by instruction, and packed
again with right sizes, so that the change is not found out before it is read. Of every
file: it is read, or `FileError` says why not, naming it; nothing else happened
meanwhile (no import, no program, no other file: an audit hook sees them); it took no
more memory than its size allows, and no more than a second.
"""

import argparse
import codecs
import collections
import json
import pathlib
import pickletools
import random
import sys
import tempfile
import time
import tracemalloc

import numpy as np
from torch_zip import ORDERED, Module, Tensor, name_of, pack, program, save

from clip_np.files import (
    FileError,
    read_npz,
    read_safetensors,
    read_torch,
    read_torch_state,
    write_npz,
    write_safetensors,
)

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)
ARRAYS = {"weights": FLOATS, "block.0.bias": np.arange(5.0), "scale": np.array(2, np.int64)}
ARRAYS |= {"mask": np.array([True, False]), "empty": np.zeros((0, 3), np.float16)}
TIED = Tensor(FLOATS, (4, 3), (1, 4), key="0")
STATE = {"epoch": 3, "state_dict": {**ARRAYS, "tied": TIED}, "optimizer": {"state": {0: [1.5]}}}
STATE["half"] = Tensor(np.arange(4, dtype=np.int16), storage="BFloat16Storage", parameter=True)
VISUAL = Module("__torch__.model.___torch_mangle_1.Visual", {"proj": FLOATS, "training": False})
SCRIPT = Module("__torch__.Multimodal", {"visual": VISUAL, "resolution": np.array(224)})

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 12, 31, 32, 33, 64, 127, 128, 255, 256, 1000, 65535, 2**20]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30]
VALUES = [
    *NUMBERS,
    *(-n for n in NUMBERS[1:]),
    None,
    True,
    False,
    0.0,
    1.5,
    float("nan"),
    "",
    "F32",
]
VALUES += ["BF16", "BOOL", "U8", "F64", "x" * 500, [], {}, [1], [[]], [0, 12], {"a": "b"}, [1] * 40]
SNIPPETS = [ORDERED, b")R", b"R", b"\x81", b"b", b"t", b"(", b"]", b"}", b")", b"e", b"u", b"a"]
SNIPPETS += [b"s", b"Q", b"N", b"\x88", b"0", b"2", b".", b"\x85", b"\x86", b"\x87", b"o", b"1"]
SNIPPETS += [name_of(*name.split()) for name in ("os system", "builtins eval", "torch load")]
SNIPPETS += [name_of("__torch__.os", "system") + b")\x81", name_of("torch", "FloatStorage")]
SNIPPETS += [name_of("torch._utils", "_rebuild_tensor_v2"), b"X\x07\0\0\0echo hi\x85R"]
SNIPPETS += [b"q\0", b"h\0", b"q\1", b"h\1", b"h\0h\0\x86q\0" * 40, b"r\xff\xff\xff\xff", b"Pos\n"]
SNIPPETS += [b"\x96" + b"\xff" * 8, b"\x8e" + b"\xff" * 7 + b"\x7f", b"\x8b\xff\xff\xff\x7f"]
SNIPPETS += [b"(ios\nsystem\n", b"\x8c\2os\x8c\6system\x93", b"\x82\1", b"\x94", b"\x95" + bytes(8)]


# --- changes --------------------------------------------------------------------------


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, other = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
        length, width = rng.choice((1, 2, 4, 8, 30, 100)), rng.choice((1, 2, 4, 8))
        piece = data[other : other + length]
        match rng.randrange(8):
            case 0:
                bit = bytes(byte ^ 1 << rng.randrange(8) for byte in data[place : place + 1])
                data = data[:place] + bit + data[place + 1 :]
            case 1:
                data = data[:place] + rng.randbytes(length) + data[place + length :]
            case 2:
                data = data[:place] + piece + data[place + length :]
            case 3:
                data = data[:place] + piece + data[place:]
            case 4:
                data = data[:place] + data[place + length :]
            case 5:
                data = data[:place] if rng.random() < 0.5 else data[place:]
            case _:
                number = (rng.choice(NUMBERS) * rng.choice((1, -1))) % 256**width
                data = data[:place] + number.to_bytes(width, "little") + data[place + width :]
    return data


def change_value(value, rng: random.Random):
    """Somewhere in a tree of dicts and lists, something else."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(keys)
        match rng.randrange(8):
            case 0:
                del value[key]
            case 1 if isinstance(value, dict):
                value[rng.choice(["__metadata__", "", "dtype", "x", *keys])] = value.pop(key)
            case 2 if isinstance(value, list):
                value.insert(key, rng.choice(VALUES))
            case _:
                value[key] = change_value(value[key], rng)
        return value
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice((-8, -4, -1, 1, 4, 8))
    return json.loads(json.dumps(rng.choice(VALUES)))


def change_table(data: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    for _ in range(rng.choice((1, 1, 2, 3))):
        table = change_value(table, rng)
    text = json.dumps(table).encode()
    if rng.random() < 0.2:
        text = change_bytes(text, rng)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def instructions_of(code: bytes) -> list[bytes]:
    places = [place for _, _, place in pickletools.genops(code)]
    return [code[start:end] for start, end in zip(places, [*places[1:], len(code)])]


def change_program(code: bytes, rng: random.Random) -> bytes:
    steps = instructions_of(code)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        place, other = rng.randrange(len(steps)), rng.randrange(len(steps))
        match rng.randrange(7):
            case 0:
                del steps[place]
                steps = steps or [b"."]
            case 1:
                steps.insert(place, steps[other])
            case 2:
                steps[place], steps[other] = steps[other], steps[place]
            case 3:
                steps.insert(place, rng.choice(SNIPPETS))
            case 4:
                steps[place] = rng.choice(SNIPPETS)
            case 5 if steps[place][:1] in (b"K", b"J", b"X", b"h", b"q"):
                changed = bytearray(steps[place])
                changed[rng.randrange(1, len(changed))] = rng.choice((0, 1, 3, 127, 128, 255))
                steps[place] = bytes(changed)
            case _:
                number = rng.choice(NUMBERS) * rng.choice((1, 1, -1))
                digits = number.to_bytes(16, "little", signed=True)
                steps[place] = b"\x8a\x10" + digits
    return b"".join(steps)


# --- one file -------------------------------------------------------------------------


class Watch:
    """Notes what the interpreter does while a file is read."""

    def __init__(self):
        self.path, self.seen = None, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.path is None:
            return
        is_reading = event == "open" and arguments[1] in ("r", "rb")
        if is_reading and (arguments[0] == self.path or type(arguments[0]) is int):
            return  # the file, or what has been opened before
        if event == "compile" and self.path.endswith(".npz"):
            return  # NumPy reads an array's header with ast.literal_eval: compiled, never run
        if event not in ("mmap.__new__", "object.__getattr__", "sys._getframe"):
            self.seen.append(f"{event} {arguments}"[:200])


def make(folder: pathlib.Path, rng: random.Random, originals: dict) -> pathlib.Path:
    kind = rng.choice(("npz", "safetensors", "safetensors", "pt", "pt", "script", "script"))
    path = folder / {"npz": "a.npz", "safetensors": "a.safetensors"}.get(kind, "a.pt")
    original = originals[kind]
    if kind == "npz" or rng.random() < 0.25:
        path.write_bytes(change_bytes(original, rng))
    elif kind == "safetensors":
        path.write_bytes(change_table(original, rng))
    else:
        code, storages = originals[f"{kind} program"]
        storages = dict(storages)
        code = (change_program if rng.random() < 0.8 else change_bytes)(code, rng)
        if rng.random() < 0.2:
            key = rng.choice(list(storages))
            storages[key] = change_bytes(storages[key] + b"\0", rng)
        pack(path, code, storages, align=rng.choice((64, 64, 0)))
    return path


def read(path: pathlib.Path) -> list[np.ndarray]:
    if path.suffix == ".pt":
        read_torch(path)
        return list(read_torch_state(path).values())
    arrays = read_npz(path) if path.suffix == ".npz" else read_safetensors(path)[0]
    return list(arrays.values())


def fuzz(count: int, seed: int, first: int = 0) -> collections.Counter:
    """Make and read `count` files; AssertionError names the first that does harm."""
    for name in ("cp437", "raw_unicode_escape", "utf-8", "ascii", "latin-1"):
        codecs.lookup(name)  # Python imports its own encodings when it first needs them
    watch, results = Watch(), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_npz(folder / "a.npz", ARRAYS)
        write_safetensors(folder / "a.safetensors", ARRAYS, {"format": "pt"})
        originals = {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}
        for kind, value in (("pt", STATE), ("script", SCRIPT)):
            originals[f"{kind} program"] = program(value)
            originals[kind] = save(folder / "a.pt", value).read_bytes()
            assert read(folder / "a.pt")
        assert len(read(folder / "a.npz")) == len(read(folder / "a.safetensors")) == len(ARRAYS)
        make(folder, random.Random(0), originals)
        tracemalloc.start()
        for number in range(first, first + count):
            path = make(folder, random.Random(f"{seed} {number}"), originals)
            tracemalloc.reset_peak()
            before, start = tracemalloc.get_traced_memory()[0], time.process_time()
            watch.path = str(path)
            try:
                arrays = read(path)
                fault = ""
            except FileError as error:
                arrays, fault = [], str(error)
            finally:
                watch.path = None
            where = f"file {number} of seed {seed} ({path.suffix})"
            assert not fault or str(path) in fault, f"{where}: {fault}"
            seconds = time.process_time() - start
            peak = tracemalloc.get_traced_memory()[1] - before
            for array in arrays:  # every number is really there
                assert array.size <= path.stat().st_size, where
                array.tobytes()
            assert not watch.seen, f"{where}: {watch.seen}"
            assert seconds < 1, f"{where}: {seconds} seconds"
            assert peak < 300_000 + 20 * path.stat().st_size, f"{where}: {peak} bytes"
            results[path.suffix, "refused" if fault else "read"] += 1
            results["largest peak"] = max(results["largest peak"], peak)
            results["most milliseconds"] = max(results["most milliseconds"], int(1000 * seconds))
        tracemalloc.stop()
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    options = parser.parse_args()
    for result, number in fuzz(options.count, options.seed, options.first).items():
        print(result if isinstance(result, str) else " ".join(result), f"{number:,}")

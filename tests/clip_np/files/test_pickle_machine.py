"""Programs in pickles: nothing runs, and what weights do not need is refused."""

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import random
import runpy
import shutil
import subprocess

import numpy as np
import pytest
from refusal import assert_refused, peak_below
from torch_zip import ORDERED, encode, name_of, pack, program

from clip_np.files import read_torch, read_torch_state

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)


def assert_refused_program(tmp_path, code, message=None, spare=200_000):
    """The program itself, and with a tensor before it."""
    storages = {}
    tensor = encode(FLOATS, storages)
    for start in (b"", tensor):
        path = pack(tmp_path / "a.pt", b"\x80\x02" + start + code + b".", storages)
        assert_refused(path, message, spare=spare)


# --- programs that are not weights ----------------------------------------------------

ALARM = []


def ring(text):
    ALARM.append(text)


class Bomb:
    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_do_not_run(tmp_path, protocol):
    data = pickle.dumps({"x": Bomb(ring, "exploded")}, protocol=protocol)
    pickle.loads(data)
    assert ALARM == ["exploded"]  # it does work where it is let in
    ALARM.clear()
    assert_refused(pack(tmp_path / "a.pt", data, {}), read=read_torch_state)
    assert ALARM == []


HOSTILE = {
    f"{os.name}.system": Bomb(os.system, "echo"),
    "builtins.eval": Bomb(eval, "1"),
    "builtins.exec": Bomb(exec, "1"),
    "builtins.__import__": Bomb(__import__, "os"),
    "builtins.getattr": Bomb(getattr, Bomb(getattr, "x", "__class__"), "__base__"),
    "subprocess.Popen": Bomb(subprocess.Popen, "echo"),
    "builtins.compile": Bomb(compile, "1", "a", "eval"),
    "io.open": Bomb(open, "a", "w"),
    "builtins.setattr": Bomb(setattr, "x", "y", 1),
    "runpy.run_path": Bomb(runpy.run_path, "a.py"),
    "shutil.rmtree": Bomb(shutil.rmtree, "a"),
    "pickle.loads": Bomb(pickle.loads, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_weights_do_not_need_are_refused_by_name(tmp_path, name):
    code = pickle.dumps([HOSTILE[name]], protocol=2, fix_imports=False)
    path = pack(tmp_path / "a.pt", code, {})
    assert_refused(path, f"asks for '_?{name}.*', which weights do not need")


# What people save next to weights: the arguments of a training, its state, its paths.
BESIDE = {
    "bytearray": Bomb(bytearray, 10**12),
    "deque": collections.deque([1]),
    "array": np.arange(3),
    "number": np.float64(0.5),
    "namespace": argparse.Namespace(rate=1),
    "path": pathlib.PurePosixPath("a"),
    "set": {1},
    "frozen": frozenset([1]),
    "complex": 1j,
    "random": np.random.default_rng(0),
    "random state": np.random.RandomState(0).get_state(),
    "python random": random.getstate(),
    "time": datetime.datetime(2020, 1, 1),
    "keys": {(1, 2): 3, None: 4, 0.5: 5, -1: 6, 2**40: 7},
    "counter": collections.Counter("abca"),
    "default": collections.defaultdict(list, a=[1]),
    "own class": Bomb(ring, "exploded"),
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_weights_is_set_aside(tmp_path, name, protocol):
    beside = pickle.dumps(BESIDE[name], protocol=protocol)
    body = beside[2:-1]  # without PROTO and STOP
    storages = {}
    state = encode("state_dict", storages) + encode({"x": FLOATS}, storages)
    code = b"\x80\x02}(" + encode("beside", storages) + body + state + b"u."
    path = pack(tmp_path / "a.pt", code, storages)
    assert list(read_torch_state(path)) == ["x"]
    assert ALARM == []


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_array_among_weights_is_refused(tmp_path, name):
    if name in ("random state", "python random", "keys", "default"):
        pytest.skip("tuples and dicts are containers, not stand-ins")
    data = pickle.dumps({"state_dict": {"x": BESIDE[name]}}, protocol=4)
    path = pack(tmp_path / "a.pt", data, {})
    assert_refused(path, "holds x, an object of the class", read_torch_state)


LOOKALIKES = (
    """
torch load|torch._utils _rebuild_tensor|torch._utils _rebuild_tensor_v3|torch.hub load
torch.storage _load_from_bytes|torch.serialization load
torch ComplexFloatStorage|torch.nn.modules.linear Linear|torch.FloatStorage __init__
torch FooStorage|torch  FloatStorage
collections OrderedDict.fromkeys|collections.OrderedDict update|collections abc.sys.modules
__torch __|__torch__x Module|torch.jit._pickle restore_type_tag|torch.jit._pickle build_anything
numpy.core.multiarray _reconstruct|__main__ ring
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_names_that_only_look_right_mean_nothing(tmp_path, name):
    for code in (name_of(*name.split(" ", 1)), name_of(*name.split(" ", 1)) + b")R"):
        path = pack(tmp_path / "a.pt", b"\x80\x02" + code + b".", {})
        assert_refused(path, "an object of the class", read_torch_state)


def test_names_are_text_and_can_do_nothing(tmp_path):
    for name in ("torch FloatStorage", "__torch__.os system", "collections OrderedDict"):
        found = read_torch(pack(tmp_path / "a.pt", b"\x80\x02" + name_of(*name.split()) + b".", {}))
        assert found == name.replace(" ", ".")
        assert type(found) is str


REBUILD = name_of("torch._utils", "_rebuild_tensor_v2")
STATE = encode({"x": 1}, {})
CALLS = {
    "module with arguments": name_of("__torch__.a", "B") + b"K\1\x85\x81",
    "dict with arguments": name_of("collections", "OrderedDict") + b"]\x85R",
    "storage called": name_of("torch", "FloatStorage") + b"J\xff\xff\xff\x7f\x85R",
    "number called": b"K\1)R",
    "list called": b"])R",
    "result called": ORDERED + b")R",
    "tensor of nothing": REBUILD + b")R",
    "tensor of too much": REBUILD + b"(NK\0))\x89" + ORDERED + b"NNtR",
    "tensor of None": REBUILD + b"(NK\0))\x89" + ORDERED + b"tR",
    "tensor of a list": REBUILD + b"(]K\0))\x89" + ORDERED + b"tR",
    "arguments in a list": REBUILD + b"K\1R",
    "parameter of nothing": name_of("torch._utils", "_rebuild_parameter") + b")R",
    "state of a list": b"]" + STATE + b"b",
    "state of a text": encode("text", {}) + STATE + b"b",
    "state of a number": b"K\1" + STATE + b"b",
    "state of a name": name_of("collections", "OrderedDict") + STATE + b"b",
    "state is a tuple": name_of("__torch__.a", "B") + b")\x81" + b")b",
    "state is two": name_of("__torch__.a", "B") + b")\x81" + b"N" + STATE + b"\x86b",
    "items of a list": b"]K\0K\1s",
    "items of a tuple": b")K\0K\1s",
    "append to a dict": b"}K\1a",
    "append to a tuple": b")K\1a",
    "odd items": b"}(K\1K\1K\1u",
    "empty stack": b"R",
    "append to nothing": b"K\1a",
    "no mark": b"t",
    "no memo": b"h\7",
    "storage of nothing": b"Q",
    "storage of a number": b"K\1Q",
    "storage of a text": encode("storage", {}) + b"Q",
    "storage by text": b"P0\n",
    "inst": b"(ios\nsystem\n",
    "obj": b"(" + name_of("os", "system") + b"o",
    "newobj_ex": name_of("__torch__.a", "B") + b")}\x92",
    "extension": b"\x82\1",
    "stack global": b"\x8c\2os\x8c\6system\x93",
    "python 2 text": b"U\4text",
    "line of text": b"S'text'\n",
    "line of a number": b"I12\n",
    "pop": b"N0N",
    "dup": b"N2",
    "buffer": b"\x97",
    "unknown": b"\xff",
    "long bytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    "long byte array": b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
    "long text": b"X\xff\xff\xff\x7f",
    "longer text": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
    "long number": b"\x8b\xff\xff\xff\x7f",
    "negative length": b"\x8b\xff\xff\xff\xff",
    "bad text": b"X\2\0\0\0\xff\xfe",
    "cut name": b"cos",
}


@pytest.mark.parametrize("name", CALLS)
def test_hostile_instructions_are_refused(tmp_path, name):
    assert_refused_program(tmp_path, CALLS[name])


def test_programs_that_do_not_end_are_refused(tmp_path):
    code, storages = program({"x": FLOATS})
    for end in range(len(code)):
        assert_refused(pack(tmp_path / "a.pt", code[:end], storages))


# --- programs that are small and want to be large -------------------------------------


def test_billions_of_laughs_stay_small(tmp_path):
    laughs = b"\x80\x02]q\0"
    for number in range(60):
        laughs += b"h" + bytes([number]) + b"h" + bytes([number]) + b"\x86q" + bytes([number + 1])
    with peak_below(200_000):
        read_torch(pack(tmp_path / "a.pt", laughs + b".", {}))
    with peak_below(200_000):  # as a key, where its hash would be made
        read_torch(pack(tmp_path / "a.pt", laughs + b"}h\x3cK\1s.", {}))
    # places where they would be walked through: name, shape, argument, storage
    for end in (
        b"h\x3c)R",
        b"h\x3ch\x3c\x81",
        REBUILD + b"(h\x3ch\x3ch\x3ch\x3ch\x3ch\x3ctR",
        REBUILD + b"h\x3cR",
        b"h\x3cQ",
        b"(h\x3ch\x3ch\x3ch\x3ch\x3ctQ",
        b"h\x3c" + STATE + b"b",
        name_of("__torch__.a", "B") + b")\x81h\x3cb",
    ):
        assert_refused(pack(tmp_path / "a.pt", laughs + end + b".", {}))


def test_one_state_of_many_modules_is_not_copied(tmp_path):
    code = b"\x80\x02" + encode(dict.fromkeys(range(2000), 0), {}) + b"q\0"
    code += name_of("__torch__.a", "B") + b"q\1](" + b"h\1)\x81h\0b" * 5000 + b"e."
    with peak_below(100 * len(code)):
        found = read_torch(pack(tmp_path / "a.pt", code, {}))
    assert [len(module) for module in found[:3]] == [2000, 0, 0]


def test_deep_programs_are_read_or_refused(tmp_path):
    deep = 20_000
    for code in (b"]" * deep + b"a" * (deep - 1), b"(" * deep + b"t" * deep, b")" + b"\x85" * deep):
        with peak_below(100 * len(code)):
            value = read_torch(pack(tmp_path / "a.pt", b"\x80\x02" + code + b".", {}))
        del value
        assert_refused(tmp_path / "a.pt", "no arrays", read_torch_state, spare=100 * len(code))


def test_memory_places_far_away_cost_nothing(tmp_path):
    code = b"\x80\x02K\1r\xff\xff\xff\xffq\7j\xff\xff\xff\xff."
    with peak_below(200_000):
        assert read_torch(pack(tmp_path / "a.pt", code, {})) == 1

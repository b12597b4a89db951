"""PyTorch's files, read without PyTorch: their tensors come out, and nothing in them runs."""

import collections
import contextlib
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from paths import ROOT
from torch_zip import ORDERED, STORAGES, Module, Raw, Tensor, encode, name_of, pack, program, save

from clip_np.files import FileError, read_torch, read_torch_state

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)


@contextlib.contextmanager
def peak_below(limit):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def assert_refused(path, message=None, read=read_torch, spare=200_000):
    start = time.process_time()
    with peak_below(spare + 3 * path.stat().st_size):
        with pytest.raises(FileError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 5


def refused_program(tmp_path, code, message=None, spare=200_000):
    """The program itself, and with a tensor before it."""
    storages = {}
    tensor = encode(FLOATS, storages)
    for start in (b"", tensor):
        path = pack(tmp_path / "a.pt", b"\x80\x02" + start + code + b".", storages)
        assert_refused(path, message, spare=spare)


# --- what weights look like --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", STORAGES)
def test_tensors_of_every_type(tmp_path, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    value = {"x": array, "scale": array[0, 1:2].reshape(()), "none": array[:0]}
    found = read_torch(save(tmp_path / "a.pt", value))
    assert found["x"].dtype == dtype
    assert found["x"].tolist() == array.tolist()
    assert found["scale"] == array[0, 1]
    assert found["scale"].shape == ()
    assert found["none"].shape == (0, 4)


def test_plain_values_come_back_as_they_were(tmp_path):
    value = {
        "epoch": 3,
        "rate": 0.5,
        "name": "ViT-B/32 ü",
        "flags": [True, False, None],
        "sizes": (1, (2, 300, 70_000, -5, 2**40, -(2**70)), ()),
        "groups": [{"lr": 1e-3, "params": [0, 1]}],
        0: {"step": 7},
    }
    assert read_torch(save(tmp_path / "a.pt", value)) == value
    # Python's own writer uses the memo and the short forms of the instructions.
    value |= {"ordered": collections.OrderedDict(a=1, b=[value["groups"]] * 2)}
    assert read_torch(pack(tmp_path / "a.pt", pickle.dumps(value, protocol=2), {})) == value


def test_bfloat16_becomes_float32(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7FC0], "<u2").tobytes()
    tensor = Tensor(np.zeros(3, np.int16), stored=bits, storage="BFloat16Storage")
    found = read_torch(save(tmp_path / "a.pt", tensor))
    assert found.dtype == np.float32
    assert found[:2].tolist() == [1.0, -2.0]
    assert np.isnan(found[2])


def test_arrays_are_views_of_the_file_and_writing_does_not_reach_it(tmp_path):
    path = save(tmp_path / "a.pt", {"x": np.zeros((1000, 1000), np.float32)})
    with peak_below(200_000):
        found = read_torch_state(path)["x"]
    found += 1
    assert (found == 1).all()
    assert (read_torch_state(path)["x"] == 0).all()


def test_unaligned_storages_are_copied(tmp_path):
    for align in (0, 1):
        for name in ("a", "bb", "ccc", "dddd"):
            path = save(tmp_path / f"{name}.pt", {"x": Tensor(FLOATS, key=name)}, align=align)
            found = read_torch(path)["x"]
            assert found.flags.aligned
            assert (found == FLOATS).all()


def test_strides_and_shared_storages(tmp_path):
    def part(shape, strides, offset=0):
        return Tensor(FLOATS, shape, strides, offset, key="0")

    value = {
        "all": part((3, 4), (4, 1)),
        "transposed": part((4, 3), (1, 4)),
        "column": part((3,), (4,), 2),
        "one": part((), (), 11),
        "windows": part((2, 3), (1, 2), 1),
        "row": part((1, 4), (2**40, 1), 8),
        "last of none": part((0,), (1,), 12),
    }
    found = read_torch(save(tmp_path / "a.pt", value))
    assert found["transposed"].tolist() == FLOATS.T.tolist()
    assert found["column"].tolist() == [2, 6, 10]
    assert found["one"] == 11
    assert found["windows"].tolist() == [[1, 3, 5], [2, 4, 6]]
    assert found["row"].tolist() == [[8, 9, 10, 11]]
    found["all"][0, 2] = 100  # tied weights stay tied
    assert found["column"][0] == 100


def test_state_dicts_are_found_and_named(tmp_path):
    weights = {"visual.conv1.weight": FLOATS, "logit_scale": np.array(2.0, np.float32)}
    expected = {name: array.tolist() for name, array in weights.items()}
    prefixed = {f"module.{name}": Tensor(array, parameter=True) for name, array in weights.items()}
    other = {"state": {0: {"exp_avg": FLOATS}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    for value in (
        weights,
        prefixed,
        {"epoch": 3, "name": "run", "state_dict": prefixed, "optimizer": other},
        {"model": weights, "optimizer": other},
        {"model_state_dict": weights, "loss": 3.5},
        {"state_dict": weights, "model": {"width": 64}},
        {**weights, "epoch": 3, "names": ["a"], "config": {"width": 3}},
        {"visual": {"conv1": {"weight": FLOATS}}, "logit_scale": np.array(2.0, np.float32)},
    ):
        found = read_torch_state(save(tmp_path / "a.pt", value))
        assert {name: array.tolist() for name, array in found.items()} == expected
    model_tensor = {"model": FLOATS, "module.a": FLOATS}
    assert list(read_torch_state(save(tmp_path / "a.pt", model_tensor))) == list(model_tensor)


def test_two_arrays_of_one_flattened_name_are_refused(tmp_path):
    twice = {"visual.conv1": FLOATS, "visual": {"conv1": FLOATS + 1}}
    with pytest.raises(FileError, match=r"two arrays named 'visual\.conv1'"):
        read_torch_state(save(tmp_path / "a.pt", twice))


def test_ordered_dicts_with_attributes(tmp_path):
    versions = encode({"_metadata": {"": {"version": 1}}}, {})
    storages = {}
    inside = b"(" + encode("x", storages) + encode(FLOATS, storages) + b"u"
    path = pack(tmp_path / "a.pt", b"\x80\x02" + ORDERED + inside + versions + b"b.", storages)
    assert list(read_torch(path)) == ["x"]


def test_torchscript_modules_become_a_state_dict(tmp_path):
    numbers = name_of("torch.jit._pickle", "build_intlist") + encode(([1, 2],), {}) + b"R"
    conv = {"weight": FLOATS, "training": False, "_pads": Raw(numbers), "hook": None}
    visual = {
        "training": False,
        "conv1": Module("__torch__.torch.nn.modules.conv.___torch_mangle_1.Conv2d", conv),
        "proj": Tensor(FLOATS, parameter=False),
    }
    tree = Module(
        "__torch__.Multimodal",
        {
            "training": True,
            "input_resolution": np.array(224),
            "model": Module("__torch__.model.VisualTransformer", visual),
        },
    )
    path = save(tmp_path / "a.pt", tree)
    assert read_torch(path)["model"]["conv1"]["_pads"] == [1, 2]
    found = read_torch_state(path)
    assert list(found) == ["input_resolution", "model.conv1.weight", "model.proj"]
    assert found["input_resolution"] == 224
    assert (found["model.conv1.weight"] == FLOATS).all()


# --- programs that are not weights -------------------------------------------------------------

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
    assert_refused(pack(tmp_path / "a.pt", data, {}))
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
    "builtins.bytearray": Bomb(bytearray, 10**12),
    "collections.deque": collections.deque([1]),
    "numpy": np.arange(3),
    "_codecs.encode": b"bytes",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_weights_do_not_need_are_refused_by_name(tmp_path, name):
    code = pickle.dumps([HOSTILE[name]], protocol=2, fix_imports=False)
    path = pack(tmp_path / "a.pt", code, {})
    assert_refused(path, f"asks for '_?{name}.*', which weights do not need")


LOOKALIKES = (
    """
torch load|torch._utils _rebuild_tensor|torch._utils _rebuild_tensor_v3|torch.hub load
torch._utils _rebuild_parameter_with_state|torch.storage _load_from_bytes|torch.serialization load
torch ComplexFloatStorage|torch.nn.modules.linear Linear|torch.FloatStorage __init__
torch FooStorage|torch  FloatStorage
collections OrderedDict.fromkeys|collections.OrderedDict update|collections abc.sys.modules
__torch __|__torch__x Module|torch.jit._pickle restore_type_tag|torch.jit._pickle build_anything
numpy.core.multiarray _reconstruct|pickle loads|__main__ ring|builtins getattr
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_names_that_only_look_right_are_refused(tmp_path, name):
    refused_program(tmp_path, name_of(*name.split(" ", 1)), "asks for")


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
    "key is a tuple": b"})K\1s",
    "key is None": b"}NK\1s",
    "key is a float": b"}G" + bytes(8) + b"K\1s",
    "key is too large": b"}\x8a\x09" + bytes(8) + b"\1K\1s",
    "key is a list": b"}]K\1s",
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
    "bytes": b"B\4\0\0\0text",
    "frame": b"\x95\1\0\0\0\0\0\0\0N",
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
    "long frame": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    "bad text": b"X\2\0\0\0\xff\xfe",
    "cut name": b"cos",
}


@pytest.mark.parametrize("name", CALLS)
def test_hostile_instructions_are_refused(tmp_path, name):
    refused_program(tmp_path, CALLS[name])


def test_programs_that_do_not_end_are_refused(tmp_path):
    code, storages = program({"x": FLOATS})
    for end in range(len(code)):
        assert_refused(pack(tmp_path / "a.pt", code[:end], storages))


# --- programs that are small and want to be large ----------------------------------------------


def test_billions_of_laughs_stay_small(tmp_path):
    laughs = b"\x80\x02]q\0"
    for number in range(60):
        laughs += b"h" + bytes([number]) + b"h" + bytes([number]) + b"\x86q" + bytes([number + 1])
    with peak_below(200_000):
        read_torch(pack(tmp_path / "a.pt", laughs + b".", {}))
    # where they would be walked through: as a key, a name, a shape, an argument, a storage
    for end in (
        b"}h\x3cK\1s",
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


def test_dicts_of_dicts_of_dicts_have_no_end_but_a_limit(tmp_path):
    storages = {}
    nested = b"\x80\x02" + encode({"x": FLOATS}, storages) + b"q\0"
    for number in range(60):
        again = b"h" + bytes([number])
        nested += b"}(" + encode("a", {}) + again + encode("b", {}) + again + b"uq"
        nested += bytes([number + 1])
    path = pack(tmp_path / "a.pt", nested + b".", storages)
    assert_refused(path, "too many names", read_torch_state, spare=30_000_000)
    inside_itself = b"\x80\x02}q\0" + encode("a", {}) + b"h\0s."
    assert_refused(pack(path, inside_itself, {}), "a dict in itself", read_torch_state)
    many = dict.fromkeys(range(50_000), 0)
    code = b"\x80\x02" + encode(many, {}) + b"q\0" + b"}("
    code += b"".join(encode(str(number), {}) + b"h\0" for number in range(20_000)) + b"u."
    assert_refused(pack(path, code, {}), "too many names", read_torch_state, spare=60_000_000)
    long = {"n" * 200: {"m" * 200: FLOATS}}
    assert_refused(save(path, long), "too long ones", read_torch_state)


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


def test_a_pickle_longer_than_weights_need_is_refused(tmp_path):
    code = b"\x80\x02" + b"N" * 1_100_000 + b"."
    assert_refused(pack(tmp_path / "a.pt", code, {}), "its pickle is longer than")
    path = pack(tmp_path / "a.pt", code, {"0": bytes(12_000_000)})
    assert read_torch(path) is None


# --- tensors that are not in the file ----------------------------------------------------------

TENSORS = {
    "shape too large": {"shape": (4, 4), "strides": (4, 1)},
    "offset": {"offset": 1},
    "offset past the end": {"offset": 12, "shape": (1,), "strides": (1,)},
    "huge offset": {"offset": 2**64},
    "negative offset": {"offset": -1, "shape": (3,), "strides": (1,)},
    "negative shape": {"shape": (-3, -4), "strides": (4, 1)},
    "negative strides": {"shape": (3,), "strides": (-1,), "offset": 11},
    "stride past the end": {"shape": (3, 4), "strides": (5, 1)},
    "huge strides": {"shape": (3, 4), "strides": (2**62, 1)},
    "huge strides that overflow": {"shape": (5,), "strides": (2**62,)},
    "huge shape": {"shape": (2**62, 4), "strides": (0, 0)},
    "broadcast": {"shape": (10**6, 10**6), "strides": (0, 0)},
    "broadcast a little": {"shape": (4, 3, 4), "strides": (0, 4, 1)},
    "nothing of huge": {"shape": (0, 2**62, 2**62), "strides": (1, 1, 1)},
    "nothing of too huge": {"shape": (0, 2**70), "strides": (1, 1)},
    "strides missing": {"shape": (3, 4), "strides": (4,)},
    "strides too many": {"shape": (3, 4), "strides": (4, 1, 1)},
    "many dimensions": {"shape": (1,) * 33, "strides": (1,) * 33},
    "very many dimensions": {"shape": (2**60,) * 5000, "strides": (1,) * 5000},
    "shape of floats": {"shape": (3.0, 4.0), "strides": (4, 1)},
    "shape of truth values": {"shape": (True,), "strides": (1,)},
    "shape is a list": {"shape": [3, 4], "strides": (4, 1)},
    "shape is a number": {"shape": 3, "strides": (1,)},
    "shape is None": {"shape": Raw(b"N"), "strides": (1,)},
    "shape is text": {"shape": "3", "strides": "1"},
    "offset is None": {"offset": None},
    "offset is a float": {"offset": 0.0},
    "count too large": {"count": 13},
    "count too small": {"count": 11},
    "count negative": {"count": -12},
    "count huge": {"count": 2**62},
    "count is a float": {"count": 12.0},
    "other type": {"storage": "DoubleStorage"},
    "no type": {"storage": "FloatTensor"},
    "no whole numbers": {"stored": bytes(47)},
    "too few bytes": {"stored": bytes(44)},
    "too many bytes": {"stored": bytes(52)},
    "no bytes": {"stored": b""},
}


def test_the_tensors_below_differ_from_a_right_one_in_one_thing(tmp_path):
    right = Tensor(FLOATS, (3, 4), (4, 1), 0, "0", 12, "FloatStorage", False, FLOATS.tobytes())
    assert (read_torch(save(tmp_path / "a.pt", right)) == FLOATS).all()


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit_their_storage_are_refused(tmp_path, name):
    assert_refused(save(tmp_path / "a.pt", [Tensor(FLOATS, **TENSORS[name])]))


def test_storages_that_are_not_there_or_of_two_types_are_refused(tmp_path):
    code, _ = program([FLOATS])
    assert_refused(pack(tmp_path / "a.pt", code, {}), "data/0")
    for key in ("../data.pkl", "", "/etc/passwd", "0/../0", "ü" * 1000):
        code, _ = program([Tensor(FLOATS, key=key)])
        assert_refused(pack(tmp_path / "a.pt", code, {"0": FLOATS.tobytes()}))
    both = [FLOATS, Tensor(np.zeros(12, np.int32), key="0")]
    assert_refused(save(tmp_path / "a.pt", both), "a storage that is not in it")
    again = Tensor(FLOATS, key="0", count=Raw(b"]"))
    assert_refused(save(tmp_path / "a.pt", [again]), "a storage that is not in it")
    truths = Tensor(np.ones(3, bool), stored=b"\1\2\1")
    assert_refused(save(tmp_path / "a.pt", [truths]), "truth values other than 0 and 1")


def test_a_widened_storage_is_made_once(tmp_path):
    bits = Tensor(np.zeros(100_000, np.int16), key="0", storage="BFloat16Storage")
    path = save(tmp_path / "a.pt", [bits] * 500)
    with peak_below(3 * path.stat().st_size + 100_000):
        found = read_torch(path)
    assert all(np.shares_memory(found[0], each) for each in found)


# --- archives ----------------------------------------------------------------------------------


def test_missing_files_and_folders_are_the_callers_business(tmp_path):
    for read in (read_torch, read_torch_state):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nowhere.pt")
        with pytest.raises(OSError, match=tmp_path.name):
            read(tmp_path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    for data in (b"", b"PK\x03\x04", b"text" * 1000, bytes(5000), pickle.dumps({"x": 1})):
        path.write_bytes(data)
        assert_refused(path, "damaged, or no PyTorch file")
    np.savez(path.with_suffix(".npz"), x=FLOATS)
    assert_refused(path.with_suffix(".npz"), "no PyTorch file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        archive.writestr("b/data.pkl", b"\x80\x02N.")
    assert_refused(path, "one folder with a data.pkl")


def test_files_from_before_1_6_are_refused_with_advice(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"\x80\x02M\xe9\x03.")
    assert_refused(path, r"before PyTorch 1\.6; load it and save it again with a newer one")


def test_big_endian_files_are_refused(tmp_path):
    for order in ("big", "", "little ", "l" * 100_000):
        assert_refused(save(tmp_path / "a.pt", FLOATS, order=order), "not little-endian")


def test_values_without_arrays_are_refused(tmp_path):
    for value in ({}, {"a": 1}, 3, [FLOATS], FLOATS, None, "text", {0: FLOATS}, {"state_dict": {}}):
        assert_refused(save(tmp_path / "a.pt", value), "no arrays", read_torch_state)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_not_unpacked(tmp_path, method):
    bomb = np.zeros(5_000_000, np.float32)
    path = save(tmp_path / "a.pt", {"x": bomb}, compression=method)
    assert path.stat().st_size < 100_000
    assert_refused(path, "compressed")
    with zipfile.ZipFile(path, "w") as archive:  # entries that are not read may be compressed
        code, storages = program(FLOATS)
        archive.writestr("n/code/a.py", bytes(10_000_000), zipfile.ZIP_DEFLATED)
        archive.writestr("n/data.pkl", code)
        archive.writestr("n/data/0", storages["0"])
    assert (read_torch(path) == FLOATS).all()


def parts_of(path):
    data = path.read_bytes()
    return data, data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")


def test_overlapping_entries_are_refused(tmp_path):
    code, _ = program([Tensor(np.zeros(25_000, np.float32), key=key) for key in "abcdefgh"])
    path = pack(tmp_path / "a.pt", code, {"a": bytes(100_000)})
    data, start, end = parts_of(path)
    entries = data[start:end]
    last = entries[entries.rindex(b"PK\x01\x02") :]
    copies = [last.replace(b"net/data/a", b"net/data/" + key) for key in (b"b", b"c", b"d")]
    entries += b"".join(copies)
    tail = struct.pack("<HHII", 6, 6, len(entries), start)
    path.write_bytes(data[:start] + entries + data[end : end + 8] + tail + data[end + 20 :])
    assert_refused(path, "is not where the contents say")
    # the same with entries that are named alike in both places, one inside the other
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile):
        archive.read("net/data/b")


def test_entries_inside_each_other_are_refused(tmp_path):
    inner = b"PK\3\4" + bytes(22) + struct.pack("<HH", 10, 0) + b"net/data/1"
    code, _ = program([FLOATS])
    path = pack(tmp_path / "a.pt", code, {"0": inner + bytes(100_000), "1": b"x" * 64})
    data, start, end = parts_of(path)
    directory = bytearray(data[start:end])
    last = directory.rindex(b"PK\x01\x02")
    struct.pack_into("<II", directory, last + 20, 100_000, 100_000)
    struct.pack_into("<I", directory, last + 42, data.index(inner))
    path.write_bytes(data[:start] + directory + data[end:])
    assert_refused(path, "its entries overlap")


@pytest.mark.parametrize("field", [20, 24, 42])
@pytest.mark.parametrize("value", [0, 1, 1000, 2**31, 2**32 - 1])
def test_contents_that_are_not_true_are_refused(tmp_path, field, value):
    path = save(tmp_path / "a.pt", [FLOATS])
    data = parts_of(path)[0]
    last = data.rindex(b"PK\x01\x02")
    changed = data[: last + field] + struct.pack("<I", value) + data[last + field + 4 :]
    path.write_bytes(changed)
    assert_refused(path)


def test_entries_there_twice_and_encrypted_ones_are_refused(tmp_path):
    code, storages = program([FLOATS])
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", code)
        archive.writestr("net/data/0", storages["0"])
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("net/data/0", storages["0"])
    assert_refused(path, "there twice")
    path = save(path, [FLOATS])
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert_refused(path, "encrypted")


def test_cut_files_are_refused(tmp_path):
    path = save(tmp_path / "a.pt", {"x": FLOATS})
    data = path.read_bytes()
    for cut in [*range(0, len(data), 7), *range(len(data) - 30, len(data))]:
        path.write_bytes(data[:cut])
        assert_refused(path)


def test_reading_imports_nothing(tmp_path):
    """In a fresh interpreter: no module comes in by reading, whatever the file names."""
    storages = {}
    code = (
        b"\x80\x02(" + name_of("__torch__.antigravity", "X") + b")\x81" + encode(FLOATS, storages)
    )
    path = pack(tmp_path / "a.pt", code + name_of("torch", "FloatStorage") + b"t.", storages)
    script = f"""
import sys
from clip_np.files.pickles import read_torch
read_torch({str(path)!r})
before = set(sys.modules)
read_torch({str(path)!r})
assert set(sys.modules) == before
assert not {{"torch", "antigravity", "__torch__"}} & before
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)

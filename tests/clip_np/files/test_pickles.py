"""PyTorch's files, read without PyTorch: their tensors come out."""

import collections
import pickle
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT
from refusal import assert_refused, peak_below
from torch_zip import ORDERED, STORAGES, Module, Raw, Tensor, encode, name_of, pack, save

from clip_np.files import FileError, read_torch, read_torch_state

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)


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
    other = {"state": {0: {"exp_avg": FLOATS}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    for value in (
        weights,
        {"epoch": 3, "name": "run", "state_dict": weights, "optimizer": other},
        {"state_dict_ema": other, "state_dict": {"model": weights}},
        {"ema": weights, "epoch": 3},
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


def test_missing_files_and_folders_are_the_callers_business(tmp_path):
    for read in (read_torch, read_torch_state):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nowhere.pt")
        with pytest.raises(OSError, match=tmp_path.name):
            read(tmp_path)


def test_values_without_arrays_are_refused(tmp_path):
    for value in ({}, {"a": 1}, 3, [FLOATS], FLOATS, None, "text", {0: FLOATS}, {"state_dict": {}}):
        assert_refused(save(tmp_path / "a.pt", value), "no arrays", read_torch_state)


def test_reading_imports_nothing(tmp_path):
    """In a fresh interpreter: reading imports no module, whatever the file names."""
    storages = {}
    code = (
        b"\x80\x02(" + name_of("__torch__.antigravity", "X") + b")\x81" + encode(FLOATS, storages)
    )
    path = pack(tmp_path / "a.pt", code + name_of("torch", "FloatStorage") + b"t.", storages)
    script = f"""
import sys
from clip_np.files import read_torch
read_torch({str(path)!r})
before = set(sys.modules)
read_torch({str(path)!r})
assert set(sys.modules) == before
assert not {{"torch", "antigravity", "__torch__"}} & before
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)

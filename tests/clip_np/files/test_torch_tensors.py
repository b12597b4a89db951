"""Tensors that are not in their file, and storages that are not what the file says."""

import numpy as np
import pytest
from refusal import assert_refused, peak_below
from torch_zip import Raw, Tensor, pack, program, save

from clip_np.files import read_torch, read_torch_state

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)

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


def test_numbers_of_a_type_that_weights_do_not_have_are_set_aside(tmp_path):
    for name in ("FloatTensor", "ComplexFloatStorage", "QInt8Storage"):
        strange = Tensor(FLOATS, storage=name)
        path = save(tmp_path / "a.pt", {"state_dict": {"x": FLOATS}, "beside": strange})
        assert list(read_torch_state(path)) == ["x"]
        path = save(tmp_path / "a.pt", {"x": strange})
        assert_refused(path, f"holds x, an object of the class 'torch.{name}'", read_torch_state)


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

"""safetensors files: views of a mapping, and a table must be exactly right."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from clip_np.files import FileError, read_safetensors, write_safetensors

NUMBERS = np.arange(12)
ARRAYS = {
    dtype: NUMBERS.reshape(3, 4).astype(dtype) for dtype in ("f8", "f4", "f2", "i8", "i4", "i2")
}
ARRAYS |= {dtype: NUMBERS[:5].astype(dtype) for dtype in ("u8", "u4", "u2", "u1", "i1", "?")}
ARRAYS |= {
    "scale": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.int64),
    "transposed": NUMBERS.reshape(3, 4).T,
    "strided": np.arange(20)[::3],
    "reversed": np.arange(5, dtype=np.int16)[::-1],
    "foreign order": np.arange(3, dtype=">f4"),
    'name "with" \\ and \n and ü': np.arange(3, dtype=np.uint8),
    "": np.ones(1, np.float32),
}


def file_of(path, table, data=b"", length=None):
    """A file with this table: an object, or the text itself."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + data)
    return path


def entry(shape=(3,), dtype="F32", first=0, last=12):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


def assert_refused(path, message=None):
    tracemalloc.start()
    with pytest.raises(FileError, match=message) as caught:
        read_safetensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 100_000 + 60 * path.stat().st_size


# --- writing and reading --------------------------------------------------------------


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, ARRAYS, {"format": "np", "note": "ü"})
    found, notes = read_safetensors(path)
    assert notes == {"format": "np", "note": "ü"}
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("<"), name
        assert found[name].shape == array.shape
        assert found[name].tolist() == array.tolist()
        assert found[name].flags.aligned
        assert found[name].flags.writeable
    write_safetensors(path, {})
    assert read_safetensors(path)[0] == {}


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"b": np.array([1, 2], np.uint8), "a": np.array([[1.0]], np.float32)})
    text = b'{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},'
    text += b'"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}'
    text += b" " * (-len(text) % 8)
    assert path.read_bytes() == bytes([len(text)]) + bytes(7) + text + b"\0\0\x80?\x01\x02"


def test_every_array_lies_where_its_type_needs_it_and_equal_arrays_give_equal_bytes(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, ARRAYS)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    for name, place in json.loads(data[8 : 8 + length]).items():
        assert place["data_offsets"][0] % ARRAYS[name].itemsize == 0
    write_safetensors(tmp_path / "b", dict(sorted(ARRAYS.items(), reverse=True)))
    assert (tmp_path / "b").read_bytes() == data


def test_arrays_are_views_of_the_file_and_writing_does_not_reach_it(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"x": np.zeros((1000, 1000), np.float32)})
    tracemalloc.start()
    found = read_safetensors(path)[0]["x"]
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    found += 1
    assert (found == 1).all()
    assert (read_safetensors(path)[0]["x"] == 0).all()
    write_safetensors(path, {"x": np.zeros(1)})  # replacing the file leaves the mapping alone
    assert (found == 1).all()


def test_writing_makes_no_second_copy(tmp_path):
    arrays = {name: np.zeros((100, 1000), np.float32) for name in "abcdefghij"}
    arrays["t"] = arrays["a"].T
    tracemalloc.start()
    write_safetensors(tmp_path / "a", arrays)
    assert tracemalloc.get_traced_memory()[1] < 600_000  # a transposed array takes 400,000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "arrays, metadata, message",
    [
        ({"x": np.array([{}, None])}, None, "'x' of object"),
        ({"x": np.zeros(3, complex)}, None, "'x' of complex128"),
        ({"x": np.array(["text"])}, None, "'x' of <U4"),
        ({"x": np.zeros(3, "M8[s]")}, None, "'x' of datetime64"),
        ({"x": np.zeros(3, [("a", "f4")])}, None, "'x' of "),
        ({"__metadata__": np.zeros(3)}, None, "'__metadata__'"),
        ({3: np.zeros(3)}, None, "3 of float64"),
        ({"x": np.zeros(3)}, {"step": 3}, "`metadata` must be text"),
        ({"x": np.zeros(3)}, {3: "step"}, "`metadata` must be text"),
    ],
)
def test_what_has_no_place_in_a_file_is_refused_and_leaves_the_old_one(
    tmp_path, arrays, metadata, message
):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"old": np.zeros(3)})
    with pytest.raises(TypeError, match=message):
        write_safetensors(path, arrays, metadata)
    assert list(read_safetensors(path)[0]) == ["old"]
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_bfloat16_becomes_float32(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0001, 0x8000], "<u2")
    path = file_of(tmp_path / "a", {"x": entry((5,), "BF16", 0, 10)}, bits.tobytes())
    found = read_safetensors(path)[0]["x"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, -2.0, np.inf, 2.0**-133, 0.0]
    assert np.signbit(found[4])


def test_unaligned_arrays_are_copied(tmp_path):
    data = b"\x01" + np.arange(3, dtype="<f4").tobytes()
    table = {"x": entry((3,), "F32", 1, 13), "odd": entry((1,), "U8", 0, 1)}
    found = read_safetensors(file_of(tmp_path / "a", table, data))[0]
    assert list(found) == ["x", "odd"]
    assert found["x"].tolist() == [0, 1, 2]
    assert found["x"].flags.aligned


def test_tables_with_spaces_and_arrays_of_no_bytes_are_read(tmp_path):
    table = {"__metadata__": {}, "e": entry((0, 7), "F64", 12, 12), "x": entry()}
    table |= {"f": entry((0,), "U8", 0, 0)}
    text = json.dumps(table, indent=3).encode() + b" \n  "
    found = read_safetensors(file_of(tmp_path / "a", text, bytes(12)))[0]
    assert {name: array.shape for name, array in found.items()} == {
        "e": (0, 7),
        "x": (3,),
        "f": (0,),
    }


# --- reading what should not be trusted -----------------------------------------------


def test_missing_files_and_folders_are_the_callers_business(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_safetensors(tmp_path / "nowhere")
    with pytest.raises(OSError, match=tmp_path.name):
        read_safetensors(tmp_path)


def test_the_forged_tables_below_differ_from_a_right_one_in_one_thing(tmp_path):
    found = read_safetensors(file_of(tmp_path / "a", {"x": entry()}, bytes(12)))[0]
    assert found["x"].tolist() == [0, 0, 0]


DEEP = 100_000
FORGED = {
    "past the end": ({"x": {**entry(), "data_offsets": [0, 16]}}, "does not fit its bytes"),
    "shape too large": ({"x": entry((4,))}, "'x' has a shape that does not fit"),
    "shape too small": ({"x": entry((2,))}, "'x' has a shape that does not fit"),
    "missing bytes": ({"x": entry((4,), last=16)}, "has 12 bytes of arrays; its header says 16"),
    "trailing bytes": ({"x": entry((2,), last=8)}, "has 12 bytes of arrays; its header says 8"),
    "no arrays": ({}, "has 12 bytes of arrays; its header says 0"),
    "hole": ({"a": entry((1,), last=4), "x": entry((1,), first=8)}, "'x' begins at 8 and not at 4"),
    "hole at the start": ({"x": entry((2,), first=4)}, "'x' begins at 4 and not at 0"),
    "overlap": (
        {"a": entry((2,), last=8), "x": entry((2,), first=4)},
        "'x' begins at 4 and not at 8",
    ),
    "twice": ({"a": entry(), "x": entry()}, "'x' begins at 0 and not at 12"),
    "backwards": ({"x": entry((-3,), first=12, last=0)}, "natural numbers"),
    "first after last": ({"x": entry((3,), first=12, last=0)}, "does not fit its bytes"),
    "negative": ({"x": entry((-1, -3))}, "natural numbers"),
    "2^64": ({"x": entry((2**32, 2**32), last=0)}, "does not fit its bytes"),
    "12 in 64 bits": ({"x": entry((2**62 + 3,))}, "does not fit its bytes"),
    "zero and huge": ({"x": entry((0, 2**62, 2**62), last=0)}, "does not fit its bytes"),
    "zero and too huge": ({"x": entry((0, 2**64), last=0)}, "does not fit its bytes"),
    "float": ({"x": entry((3.0,))}, "natural numbers"),
    "float offset": ({"x": entry(last=12.0)}, "natural numbers"),
    "bool": ({"x": entry((3, True))}, "natural numbers"),
    "bool offset": ({"x": entry(first=False)}, "natural numbers"),
    "NaN": ({"x": entry((float("nan"),))}, "natural numbers"),
    "infinite": ({"x": entry(last=float("inf"))}, "natural numbers"),
    "text": ({"x": entry(("3",))}, "natural numbers"),
    "nested": ({"x": entry(([3],))}, "natural numbers"),
    "null": ({"x": {**entry(), "shape": None}}, "natural numbers"),
    "text for a shape": ({"x": {**entry(), "shape": "3"}}, "natural numbers"),
    "three offsets": ({"x": {**entry(), "data_offsets": [0, 12, 12]}}, "3 data_offsets"),
    "no offsets": ({"x": {**entry(), "data_offsets": []}}, "0 data_offsets"),
    "many dimensions": ({"x": entry((1,) * 33 + (3,))}, "34 dimensions"),
    "unknown dtype": ({"x": entry(dtype="F128")}, "'x' has an unknown dtype"),
    "lower-case dtype": ({"x": entry(dtype="f32")}, "'x' has an unknown dtype"),
    "no dtype": ({"x": entry(dtype=None)}, "'x' has an unknown dtype"),
    "list for a dtype": ({"x": entry(dtype=["F32"])}, "'x' has an unknown dtype"),
    "wrong dtype": ({"x": entry(dtype="F64")}, "does not fit its bytes"),
    "field missing": ({"x": {"dtype": "F32", "shape": [3]}}, "and nothing else"),
    "field too many": ({"x": {**entry(), "more": 1}}, "and nothing else"),
    "no entry": ({"x": [0, 12]}, "and nothing else"),
    "number": ({"x": 12}, "and nothing else"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "x": entry()}, "text for text"),
    "metadata deeper": ({"__metadata__": {"a": {}}, "x": entry()}, "text for text"),
    "metadata list": ({"__metadata__": ["a"], "x": entry()}, "text for text"),
    "metadata null": ({"__metadata__": None, "x": entry()}, "text for text"),
    "list": ([entry()], "must begin with"),
    "nothing": (b"", "must begin with"),
    "space first": (b" " + json.dumps({"x": entry()}).encode(), "must begin with"),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps({"x": entry()}).encode(), "must begin with"),
    "UTF-16": (json.dumps({"x": entry()}).encode("utf-16"), "damaged header"),
    "bad UTF-8": (json.dumps({"x": entry()}).encode().replace(b"x", b"\xff"), "damaged header"),
    "two values": (json.dumps({"x": entry()}).encode() + b"{}", "damaged header"),
    "zero bytes": (json.dumps({"x": entry()}).encode() + b"\0", "damaged header"),
    "cut": (json.dumps({"x": entry()}).encode()[:-1], "damaged header"),
    "pickle": (b"\x80\x02cos\nsystem\n", "damaged header"),
    "huge number": (b'{"x":' + b"9" * 5000 + b"}", "damaged header"),
    "deep": (b'{"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "damaged header"),
    "deep objects": (b'{"x":' * DEEP + b"1" + b"}" * DEEP, "damaged header"),
    "double name": (
        json.dumps({"x": entry(), "y": entry()}).encode().replace(b'"y"', b'"x"'),
        "twice",
    ),
    "double field": (
        json.dumps({"x": entry()}).encode().replace(b'"dtype"', b'"shape": [3], "dtype"'),
        "twice",
    ),
    "escaped double name": (
        json.dumps({"x": entry(), "y": entry()}).encode().replace(b'"y"', b'"\\u0078"'),
        "twice",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tables_are_refused(tmp_path, name):
    table, message = FORGED[name]
    assert_refused(file_of(tmp_path / "a", table, bytes(12)), message)


@pytest.mark.parametrize("length", [21, 1000, 100_000_001, 2**31, 2**63, 2**64 - 1])
def test_headers_past_the_end_are_refused(tmp_path, length):
    path = file_of(tmp_path / "a", b"{}" + b" " * 18, length=length)
    assert_refused(path, f"its header ends at {8 + length}")


def test_a_header_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.write((100_000_001).to_bytes(8, "little") + b"{}")
        file.truncate(200_000_000)  # a hole in the disk's list, not 200 MB
    tracemalloc.start()
    with pytest.raises(FileError, match="its header ends at 100000009"):
        read_safetensors(path)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_truth_values_are_0_and_1(tmp_path):
    table = {"x": entry((3,), "BOOL", 0, 3)}
    assert read_safetensors(file_of(tmp_path / "a", table, b"\0\1\1"))[0]["x"].sum() == 2
    assert_refused(file_of(tmp_path / "a", table, b"\0\2\1"), "'x' has truth values other")


def test_cut_and_longer_files_are_refused(tmp_path):
    path = tmp_path / "a"
    write_safetensors(path, ARRAYS)
    data = path.read_bytes()
    for cut in [*range(0, 40), *range(40, len(data), 41), len(data) - 1]:
        path.write_bytes(data[:cut])
        assert_refused(path)
    path.write_bytes(data + b"\0")
    assert_refused(path, "of arrays; its header says")


def test_a_wide_table_takes_memory_like_its_size(tmp_path):
    for piece in (b"[],", b"{},", b"0,", b'"",'):
        assert_refused(file_of(tmp_path / "a", b'{"x":[' + piece * 100_000 + b"0]}"))

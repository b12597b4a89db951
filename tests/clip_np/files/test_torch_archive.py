"""Archives that are no PyTorch file, or are not what their contents say."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
from refusal import assert_refused
from torch_zip import Tensor, pack, program, save

from clip_np.files import read_torch

FLOATS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_a_pickle_longer_than_weights_need_is_refused(tmp_path):
    code = b"\x80\x02" + b"N" * 2_100_000 + b"."
    assert_refused(pack(tmp_path / "a.pt", code, {}), "its pickle is longer than")
    assert_refused(pack(tmp_path / "a.pt", code, {"0": bytes(40_000_000)}), "longer than 2,000,000")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    for data in (b"", b"PK\x03\x04", b"text" * 1000, bytes(5000), pickle.dumps({"x": 1})):
        path.write_bytes(data)
        assert_refused(path, "damaged, or not a PyTorch file")
    np.savez(path.with_suffix(".npz"), x=FLOATS)
    assert_refused(path.with_suffix(".npz"), "not a PyTorch file")
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

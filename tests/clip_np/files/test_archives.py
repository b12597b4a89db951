"""Files of arrays and settings: both come back, and kinds are not confused."""

import numpy as np
import pytest

from clip_np.files import FileError, read_archive, read_npz, write_archive, write_npz


def test_settings_and_arrays_come_back(tmp_path):
    settings = {"model": "tiny", "files": [["ü.png", 3, ""]]}
    write_archive(tmp_path / "a.npz", "index", settings, {"rows": np.arange(6).reshape(2, 3)})
    again, arrays = read_archive(tmp_path / "a.npz", "index")
    assert again == {"format": "clip_np index 1", **settings}
    assert list(arrays) == ["rows"]
    assert arrays["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_another_kind_is_refused(tmp_path):
    write_archive(tmp_path / "a.npz", "index", {}, {})
    with pytest.raises(FileError, match=r"a\.npz: no checkpoint of clip_np .*'clip_np index 1'"):
        read_archive(tmp_path / "a.npz", "checkpoint")


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"\xff", b"{}", b'{"format": 3}'])
def test_a_damaged_header_is_refused(tmp_path, header):
    write_npz(tmp_path / "a.npz", {"header": np.frombuffer(header, np.uint8)})
    with pytest.raises(FileError, match=r"a\.npz: no index of clip_np"):
        read_archive(tmp_path / "a.npz", "index")


def test_every_bit_of_the_directory_is_guarded(tmp_path):
    """A flipped bit there dropped arrays, and nobody noticed."""
    path = tmp_path / "a.npz"
    arrays = {"one": np.arange(3), "two": np.arange(3) + 1, "three": np.float32(2)}
    write_archive(path, "index", {"model": "tiny"}, arrays)
    data = path.read_bytes()
    wrong = 0
    for place in range(data.index(b"PK\x01\x02"), len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            try:
                settings, found = read_archive(path, "index")
            except FileError:
                continue
            same = found.keys() == arrays.keys() and settings["model"] == "tiny"
            wrong += not (same and all((found[name] == arrays[name]).all() for name in arrays))
    assert wrong == 0


def test_other_arrays_than_those_that_were_written(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, "index", {}, {"one": np.arange(3), "two": np.arange(3) + 1})
    arrays = read_npz(path)
    for change in (
        {"one": arrays["two"], "two": arrays["one"]},
        {"three": arrays["one"]},
        {"one": arrays["one"].astype(np.float32)},
    ):
        write_npz(path, arrays | change)
        with pytest.raises(FileError, match="damaged: its contents differ in"):
            read_archive(path, "index")
    del arrays["one"]
    write_npz(path, arrays)
    with pytest.raises(FileError, match="damaged: its contents differ in 'one'"):
        read_archive(path, "index")


def test_a_file_without_the_list_is_read(tmp_path):
    header = np.frombuffer(b'{"format": "clip_np index 1", "model": "x"}', np.uint8)
    write_npz(tmp_path / "a.npz", {"header": header, "rows": np.arange(2)})
    settings, arrays = read_archive(tmp_path / "a.npz", "index")
    assert settings == {"format": "clip_np index 1", "model": "x"}
    assert arrays.keys() == {"rows"}


def test_a_long_header_is_read_if_the_caller_wants_it(tmp_path):
    write_archive(tmp_path / "a.npz", "index", {"files": ["x" * 100] * 100}, {})
    assert len(read_archive(tmp_path / "a.npz", "index")[0]["files"]) == 100
    with pytest.raises(FileError, match=r"its header has 10,\d* bytes, more than 5,000"):
        read_archive(tmp_path / "a.npz", "index", header_limit=5000)

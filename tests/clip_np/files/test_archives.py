"""Files of arrays and settings: both come back, and kinds are not confused."""

import numpy as np
import pytest

from clip_np.files import FileError, read_archive, write_archive, write_npz


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

"""A file may be replaced while it is read: then one of the two is read, whole."""

import itertools
import threading

import numpy as np
import pytest
from torch_zip import save

from clip_np.files import map_npz, read_npz, read_torch, write_mapped_npz
from clip_np.files.whole import replace_file

LENGTHS = (40, 4_000, 400)  # every reader would notice a table that belongs to another length
READINGS = 400


@pytest.mark.parametrize(
    "read", [map_npz, read_npz, read_torch], ids=["map_npz", "read_npz", "read_torch"]
)
def test_a_file_is_opened_once(tmp_path, read):
    contents = []
    for length in LENGTHS:
        arrays = {"rows": np.arange(length, dtype=np.float32), "last": np.ones(length, np.uint8)}
        if read is read_torch:
            save(tmp_path / "made", arrays)
        else:
            write_mapped_npz(tmp_path / "made", arrays)
        contents.append((tmp_path / "made").read_bytes())
    path = tmp_path / "replaced"
    path.write_bytes(contents[0])
    is_done = threading.Event()

    def replace():
        for content in itertools.cycle(contents):
            with replace_file(path) as file:
                file.write(content)
            if is_done.is_set():
                return

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {len(read(path)["last"]) for _ in range(READINGS)}
    finally:
        is_done.set()
        writer.join()
    assert seen <= set(LENGTHS)
    assert len(seen) > 1

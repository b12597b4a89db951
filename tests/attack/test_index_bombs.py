"""Files that say they are small indexes, and unfold in memory."""

import numpy as np
import pytest
from bounds import run_bounded

from clip_np.files import write_npz

MEMORY, SECONDS = 300, 5  # MB and seconds that a bomb may take

BOMBS = {
    # A header of 40 MB that would unfold to 800 MB of lists.
    "a header of lists": b'{"format": "clip_np index 1", "files": [' + b"[]," * 13_000_000,
    "one entry of lists": b'{"format": "clip_np index 1", "files": [[' + b"[]," * 13_000_000,
    "a long model": b'{"format": "clip_np index 1", "model": "' + b"a" * 40_000_000,
    "deep lists": b'{"format": "clip_np index 1", "files": [' + b"[" * 13_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_headers_that_unfold(tmp_path, bomb):
    features = np.zeros((0, 4), np.float32)
    header = np.frombuffer(BOMBS[bomb], np.uint8)
    write_npz(tmp_path / "bomb.npz", {"header": header, "features": features})
    outcome = run_bounded(
        "import sys; from clip_np.search import read_index\n"
        "try: read_index(sys.argv[1])\n"
        "except ValueError as error: print(type(error).__name__, error)",
        str(tmp_path / "bomb.npz"),
    )
    assert outcome.output.startswith(f"FileError {tmp_path}/bomb.npz: no index of clip_np")
    assert (outcome.peak_mb < MEMORY, outcome.seconds < SECONDS) == (True, True), outcome

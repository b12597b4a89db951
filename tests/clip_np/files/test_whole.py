"""Writing files: nothing is lost, whatever happens meanwhile."""

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
from paths import ROOT

from clip_np.files import make_folder, read_npz, replace_file, write_npz

ARRAYS = {"weights": np.arange(35.0).reshape(7, 5), "scale": np.float32(2.5)}


def names_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- writing --------------------------------------------------------------------------


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"old")
    with replace_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["notes.txt"]
    with replace_file(str(tmp_path / "other.txt")) as file:
        file.write(b"first")
    assert names_in(tmp_path) == ["notes.txt", "other.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"old")
    with pytest.raises(error), replace_file(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["notes.txt"]


def test_data_are_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(os, "replace", lambda *ways: (events.append("replace"), replace(*ways))[1])
    write_npz(tmp_path / "a.npz", ARRAYS)
    assert events[:2] == ["fsync", "replace"]
    if hasattr(os, "O_DIRECTORY"):
        assert events[2:] == ["fsync"]  # of the directory


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_npz(path, {"x": np.arange(3)})

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_npz(path, ARRAYS)
    assert list(read_npz(path)) == ["x"]
    assert names_in(tmp_path) == ["a.npz"]


KILLED = """
import os, sys
from clip_np.files import replace_file
with replace_file(sys.argv[1]) as file:
    file.write(b"half of the n")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_a_killed_program_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", KILLED, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline().strip() == b"writing"
        process.kill()
    assert path.read_bytes() == b"old"
    with replace_file(path) as file:  # what it left behind is in nobody's way
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.npz"

    def write(number: int) -> None:
        for _ in range(5):
            write_npz(path, {"x": np.full(1000, number)})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(read_npz(path)["x"].tolist())) == 1
    assert names_in(tmp_path) == ["a.npz"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), replace_file(tmp_path / "nowhere/a"):
        pass


@pytest.mark.parametrize("name", ["taken", "taken/runs/first"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, name):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"cannot be made, because .*taken is no folder"):
        make_folder(tmp_path / name)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_is_there_stays(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").write_text("mine")
    make_folder(tmp_path / "runs")
    assert names_in(tmp_path / "runs") == ["a"]

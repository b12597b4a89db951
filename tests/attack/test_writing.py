"""Writing under attack: full disks, kills, devices, links, and other people's files."""

import errno
import os
import pathlib
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from paths import ROOT

from clip_np.files import read_npz, replace_file, write_json, write_npz, write_safetensors

ARRAYS = {"x": np.arange(1000)}


def names_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- full disks -----------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_named():
    with pytest.raises(OSError, match=r"No space left.*/dev/full"):
        write_npz("/dev/full", ARRAYS)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize("writer", [write_npz, write_safetensors])
@pytest.mark.parametrize("has_old", [True, False])
def test_a_full_disk_names_the_file_and_what_is_kept(tmp_path, monkeypatch, writer, has_old):
    path = tmp_path / "a.bin"
    if has_old:
        path.write_bytes(b"old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    kept = "the old file is kept" if has_old else "nothing is written"
    with pytest.raises(OSError, match=f"No space left on device; {kept}: '.*a.bin'") as caught:
        writer(path, ARRAYS)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert names_in(tmp_path) == (["a.bin"] if has_old else [])
    if has_old:
        assert path.read_bytes() == b"old"


LIMITED = """
import resource, signal, sys
import numpy as np
from clip_np.files import write_npz
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_npz(sys.argv[1], {"x": np.arange(100_000)})
except OSError as error:
    print(error)
"""


def test_a_file_that_may_not_grow(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS)
    command = [sys.executable, "-c", LIMITED, str(path)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"File too large; the old file is kept: '{path}'" in finished.stdout
    assert (read_npz(path)["x"] == ARRAYS["x"]).all()
    assert names_in(tmp_path) == ["a.npz"]


def test_an_error_does_not_name_the_temporary_file(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError) as caught, replace_file(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert ".tmp" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_another_files_error_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), replace_file(tmp_path / "a.txt"):
        (tmp_path / "elsewhere").read_bytes()
    assert names_in(tmp_path) == []


# --- what is no regular file ----------------------------------------------------------


def test_a_device_is_written_to_and_stays_one():
    before = os.stat(os.devnull)
    write_npz(os.devnull, ARRAYS)
    write_json(os.devnull, {"a": 1})
    after = os.stat(os.devnull)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert stat.S_ISCHR(after.st_mode)


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):  # nobody reads it
        write_json(path, {"a": 1})
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_json(path, {"a": 1})
    assert b'"a": 1' in os.read(reader, 1000)
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="a folder"):
        write_json(tmp_path, {})
    assert names_in(tmp_path) == []


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "a.json", tmp_path / "a.json"
    target.write_bytes(b"old")
    link.symlink_to("disk/a.json")
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert names_in(tmp_path / "disk") == ["a.json"]
    (tmp_path / "new").symlink_to("disk/new.json")
    write_json(tmp_path / "new", {})
    assert (tmp_path / "disk" / "new.json").exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "a.json"
    write_json(path, {})
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(mode)
    with replace_file(path) as file:
        file.write(b"new")
        temporary = next(each for each in tmp_path.iterdir() if each != path)
        assert stat.S_IMODE(temporary.stat().st_mode) == mode  # nobody else reads on meanwhile
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


# --- what killed programs leave -------------------------------------------------------

KILLED = """
import sys
from clip_np.files import replace_file
with replace_file(sys.argv[1]) as file:
    file.write(b"half of the n")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


def make_old(path: pathlib.Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago), follow_symlinks=False)


def test_the_next_save_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "a.json"
    command = [sys.executable, "-c", KILLED, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline().strip() == b"writing"
        (left,) = tmp_path.iterdir()
        make_old(left)
        write_json(path, {})  # it is in use
        assert left.exists()
        process.kill()
    write_json(path, {})
    assert names_in(tmp_path) == ["a.json"]


def test_only_old_files_of_ours_are_removed(tmp_path):
    kept = [
        ".a.json.tmp",
        ".a.json.12345678.tmp.bak",
        ".b.json.12345678.tmp",
        ".a.json.1234567g.tmp",
        "a.json.12345678.tmp",
        ".a.json.123456789.tmp",
    ]
    for name in kept:
        (tmp_path / name).write_text("precious")
        make_old(tmp_path / name)
    (tmp_path / ".a.json.00000000.tmp").write_text("young")
    (tmp_path / ".a.json.00000001.tmp").mkdir()
    (tmp_path / ".a.json.00000002.tmp").symlink_to("nowhere")
    make_old(tmp_path / ".a.json.00000002.tmp")
    os.mkfifo(tmp_path / ".a.json.00000003.tmp")
    make_old(tmp_path / ".a.json.00000003.tmp")
    (tmp_path / ".a.json.00000004.tmp").write_text("left")
    make_old(tmp_path / ".a.json.00000004.tmp")
    before = names_in(tmp_path)
    write_json(tmp_path / "a.json", {})
    assert names_in(tmp_path) == sorted({*before, "a.json"} - {".a.json.00000004.tmp"})

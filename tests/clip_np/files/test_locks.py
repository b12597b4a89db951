"""Locks: one holder at a time, refused with its number, free again when it is dead."""

import errno
import os
import subprocess
import sys
import threading

import pytest
from paths import ROOT

from clip_np.files.locks import LockedError, exclusive, lock_path

HOLD = """
import sys
from clip_np.files.locks import exclusive
with exclusive(sys.argv[1], "the run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_once_and_freed_at_the_end(tmp_path):
    path = tmp_path / "run.lock"
    for _ in range(2):
        with exclusive(path, "the run"):
            assert path.exists()
            with pytest.raises(LockedError, match=f"the run is in use by process {os.getpid()} "):
                exclusive(path, "the run").__enter__()
        assert not path.exists()


def test_an_error_in_the_block_frees_the_lock(tmp_path):
    path = tmp_path / "run.lock"
    with pytest.raises(ZeroDivisionError), exclusive(path, "the run"):
        raise ZeroDivisionError
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    path = tmp_path / "run.lock"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], env=environment, **pipes
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {process.pid} ") as caught:
            exclusive(path, "the run").__enter__()
        assert caught.value.process == process.pid
        process.kill()
    assert path.exists()
    with exclusive(path, "the run"):
        assert path.read_text() == f"{os.getpid()}\n"


def test_where_no_file_can_be_locked_nobody_is_kept_out(tmp_path, monkeypatch):
    def flock(number, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    path = tmp_path / "run.lock"
    with exclusive(path, "the run"), exclusive(path, "the run"):
        assert path.exists()
    assert not path.exists()


def test_a_number_that_is_used_again_locks_nobody_out(tmp_path):
    path = tmp_path / "run.lock"
    path.write_text("1\n")  # of a dead process; another one has this number now
    with exclusive(path, "the run"):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_link_and_its_file_have_one_lock(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "index.npz").touch()
    (tmp_path / "link.npz").symlink_to(tmp_path / "photos" / "index.npz")
    again = exclusive(lock_path(tmp_path / "link.npz"), "the index")
    with (
        exclusive(lock_path(tmp_path / "photos" / "index.npz"), "the index"),
        pytest.raises(LockedError),
    ):
        again.__enter__()


def test_only_a_lock_file_is_emptied(tmp_path):
    (tmp_path / "letter").write_text("dear")
    (tmp_path / "hard.lock").hardlink_to(tmp_path / "letter")
    (tmp_path / "soft.lock").symlink_to(tmp_path / "letter")
    os.mkfifo(tmp_path / "pipe.lock")
    for name in ("hard.lock", "soft.lock", "pipe.lock"):
        with pytest.raises(OSError, match=name):
            exclusive(tmp_path / name, "the run").__enter__()
        assert os.path.lexists(tmp_path / name)
    assert (tmp_path / "letter").read_text() == "dear"


def test_many_threads_enter_one_after_another(tmp_path):
    path = tmp_path / "run.lock"
    inside, most, entered = [], [], []

    def work():
        while len(entered) < 200:
            try:
                with exclusive(path, "the run"):
                    inside.append(1)
                    most.append(len(inside))
                    entered.append(1)
                    inside.pop()
            except LockedError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not path.exists()


def test_the_lock_of_a_file_lies_next_to_it(tmp_path):
    assert lock_path(tmp_path / "index.npz") == tmp_path / ".index.npz.lock"


def test_a_missing_folder_is_an_error_that_names_the_lock(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.lock"):
        exclusive(tmp_path / "nowhere" / "run.lock", "the run").__enter__()


def test_a_full_disk_names_the_lock_and_leaves_none(tmp_path, monkeypatch):
    def full(number, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "run.lock"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        message = r"No space left on device: '.*run\.lock'"
        with pytest.raises(OSError, match=message), exclusive(path, "the run"):
            pass
    assert not path.exists()
    with exclusive(path, "the run"):
        assert path.exists()

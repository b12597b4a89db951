"""A model saved over another: whenever the program stops, one of them is whole."""

import contextlib
import os
import shutil
import sys

import numpy as np
import pytest
from small_models import SMALL

from clip_np import CLIP, Tokenizer
from clip_np.data import Preprocess
from clip_np.files import LockedError, replace_together
from clip_np.files.together import READY
from clip_np.weights import load, save_pretrained

KILLED, FINISHED = 9, 7  # exit statuses of a child
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "open")
SIZE = SMALL.vision.image_size


def make(seed: int, merges: list, mean: float):
    tokenizer = Tokenizer(merges)
    config = SMALL.for_tokenizer(tokenizer)
    model = CLIP(config, np.random.default_rng(seed))
    return model, tokenizer, Preprocess(SIZE, mean=(mean, 0.5, 0.5))


# Vocabularies of the same size: the weights of one fit the vocabulary of the other.
OLD = make(0, [("a", "b")], 0.25)
NEW = make(1, [("c", "d")], 0.75)


def is_whole(folder, expected) -> bool:
    model, tokenizer, preprocess = expected
    found = load(folder)
    state = model.state_dict()
    same = [(state[name] == array).all() for name, array in found.model.state_dict().items()]
    return (
        all(same) and found.tokenizer.merges == tokenizer.merges and found.preprocess == preprocess
    )


def save(folder, which) -> None:
    model, tokenizer, preprocess = which
    save_pretrained(model, folder, tokenizer=tokenizer, preprocess=preprocess)


def in_child(action) -> int:
    """Do it in a copy of this process: returns the exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stop_at(number: int, folder, stop) -> list[str]:
    """Call `stop` before the so-many-th change below `folder`; the list of changes."""
    changes: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event in WRITES and str(folder) in str(arguments[0]):
            changes.append(event)
            if len(changes) == number:
                stop()

    sys.addaudithook(hook)
    return changes


def kill() -> None:
    os._exit(KILLED)


def raise_error() -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("stop", [kill, raise_error])
def test_one_model_is_whole_whenever_a_save_is_stopped(tmp_path, stop, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)
    found = set()
    for number in range(1, 200):
        folder = tmp_path / str(number)
        save(folder, OLD)

        def interrupted(number=number, folder=folder) -> None:
            changes = stop_at(number, folder, stop)
            with contextlib.suppress(OSError):
                save(folder, NEW)
            if len(changes) < number:
                os._exit(FINISHED)

        status = in_child(interrupted)
        is_old, is_new = is_whole(folder, OLD), is_whole(folder, NEW)
        assert is_old + is_new == 1, (number, status)
        found.add("new" if is_new else "old")
        save(folder, NEW)  # what was left is in nobody's way
        assert is_whole(folder, NEW), number
        if status == FINISHED:
            break
    assert found == {"old", "new"}
    assert 20 < number < 199


def test_a_save_that_cannot_be_finished_is_named(tmp_path, monkeypatch):
    save(tmp_path, OLD)

    def stopped(source, target) -> None:
        raise PermissionError(13, "Permission denied", str(source), None, str(target))

    with monkeypatch.context() as patch:
        # The files in the hidden folder are written with `os.replace`, too.
        replace = os.replace
        patch.setattr(os, "replace", lambda a, b: (stopped if READY in str(a) else replace)(a, b))
        for action in (lambda: save(tmp_path, NEW), lambda: load(tmp_path)):
            with pytest.raises(PermissionError, match=r"a save was stopped") as caught:
                action()
            assert caught.value.filename == str(tmp_path)
    assert is_whole(tmp_path, NEW)
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_names_the_file_and_leaves_the_old_model(tmp_path, monkeypatch):
    save(tmp_path, OLD)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            save(tmp_path, NEW)
    assert caught.value.filename == str(tmp_path / "model.safetensors")
    assert is_whole(tmp_path, OLD)
    assert not list(tmp_path.glob(".*"))


def test_two_programs_do_not_save_into_one_folder(tmp_path):
    with replace_together(tmp_path, obsolete={}) as new:
        (new / "config.json").write_text("first")
        with pytest.raises(LockedError, match=f"{tmp_path} is in use by process {os.getpid()}"):
            save(tmp_path, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "first"


def test_files_elsewhere_are_not_moved(tmp_path):
    """A stranger's folder, with a link to somebody's documents in it."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear")
    folder = tmp_path / "model"
    save(folder, OLD)
    (folder / READY).symlink_to(tmp_path / "documents")
    load(folder)
    assert (tmp_path / "documents" / "letter.txt").read_text() == "dear"
    (folder / READY).unlink()
    (folder / READY).mkdir()
    (folder / READY / "config.json").symlink_to(tmp_path / "documents" / "letter.txt")
    with pytest.raises(OSError, match="a save was stopped"):
        load(folder)
    assert (tmp_path / "documents" / "letter.txt").read_text() == "dear"


def test_a_folder_that_is_read_writes_through_no_link(tmp_path):
    """A stranger's folder pretends that a save was stopped, and where its files go."""
    (tmp_path / "profile").write_text("mine")
    folder = tmp_path / "model"
    save(folder, OLD)
    (folder / READY).mkdir()
    (folder / READY / "notes").write_text("theirs")
    (folder / "notes").symlink_to(tmp_path / "profile")
    for action in (lambda: load(folder), lambda: save(folder, NEW)):
        with pytest.raises(OSError, match=r"a save was stopped.*notes is a link") as caught:
            action()
        assert caught.value.filename == str(folder)
    assert (tmp_path / "profile").read_text() == "mine"
    shutil.rmtree(folder / READY)
    assert is_whole(folder, OLD)


def test_permissions_and_links_in_the_folder_stay(tmp_path):
    folder = tmp_path / "model"
    save(folder, OLD)
    (folder / "config.json").chmod(0o600)
    (tmp_path / "big").mkdir()
    (folder / "model.safetensors").rename(tmp_path / "big" / "weights")
    (folder / "model.safetensors").symlink_to("../big/weights")
    (folder / "tokenizer.json").write_text("{}")
    save(folder, NEW)
    assert is_whole(folder, NEW)
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "model.safetensors").is_symlink()
    assert not (folder / "tokenizer.json").exists()


def test_what_a_killed_save_left_is_removed_later(tmp_path):
    left = tmp_path / ".files.0123abcd.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    save(tmp_path, OLD)
    assert left.exists()  # it is young: somebody may be about to write
    os.utime(left, (0, 0))
    save(tmp_path, NEW)
    assert not left.exists()

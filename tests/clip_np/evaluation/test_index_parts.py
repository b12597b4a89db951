"""A large index lies in parts: what is written, and what a killed program leaves."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

from clip_np.evaluation import (
    Growth,
    IndexedFile,
    append_to_index,
    build_index,
    find_duplicates,
    index_files,
    index_writer,
    read_index,
    search_index,
    write_index,
)
from clip_np.evaluation.index_parts import parts_folder
from clip_np.files import FileError, read_npz, write_npz

WIDTH = 16
FILE = IndexedFile(size=1, modified=2)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of three files."""
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)


@pytest.fixture
def parted(model, photos, small_parts):
    """An index of nine photos: two parts, and three files in the index file."""
    return build_index("index.npz", [photos], *model[:2], "run")


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def named(count: int, prefix: str = "new") -> dict[str, IndexedFile]:
    return {os.path.abspath(f"{prefix}{row}.png"): FILE for row in range(count)}


def parts_on_disk(index: str = "index.npz") -> dict[str, int]:
    """The parts, each with the number of its file, which another file does not have."""
    return {path.name: path.stat().st_ino for path in sorted(parts_folder(index).glob("*"))}


def test_parts_hold_what_one_file_would(model, photos, parted, monkeypatch):
    monkeypatch.setattr(index_writer, "PART_ROWS", 100)
    whole = build_index("whole.npz", [photos], *model[:2], "run")
    index = read_index("index.npz")
    assert [len(part.features) for part in index.parts] == [3, 3, 3]
    assert len(parts_on_disk()) == 2 and not parts_folder("whole.npz").exists()
    assert (index.paths, index.files) == (whole.paths, whole.files) == (parted.paths, parted.files)
    np.testing.assert_allclose(index.features, whole.features, atol=1e-6)
    assert [index.path(row) for row in range(9)] == index.paths
    for first, last in ((0, 3), (2, 7), (4, 5), (5, 5), (0, 9)):
        np.testing.assert_array_equal(index.rows(first, last), index.features[first:last])
    assert index.is_own
    found, expected = (search_index(one, "red circle", *model, k=5) for one in (index, whole))
    assert [match.path for match in found] == [match.path for match in expected]


def test_copies_are_seen_across_parts(model, photos, small_parts):
    shutil.copy(photos / "0.png", photos / "z.png")
    index = build_index("index.npz", [photos], *model[:2])
    (group,) = find_duplicates(index)
    assert [pathlib.Path(path).name for path in group] == ["0.png", "z.png"]
    folded = search_index(index, str(photos / "0.png"), *model, fold=True)
    assert len(folded) == 9


def test_what_is_full_is_not_written_again(model, photos, parted, looked_at):
    before = parts_on_disk()
    looked_at.clear()
    Image.new("RGB", (32, 32), "blue").save(photos / "new.png")
    index = build_index("index.npz", [photos], *model[:2])
    assert (looked_at, index.growth) == (["new.png"], Growth(new=1))
    after = parts_on_disk()
    assert before.items() < after.items() and len(after) == 3
    assert read_index("index.npz").paths[-1] == str(photos / "new.png")


def test_only_the_part_of_an_image_that_goes_is_written_anew(model, photos, parted):
    first, second = [part.entry.name for part in read_index("index.npz").parts[:2]]
    gone = parted.paths[4]
    os.unlink(gone)
    index = build_index("index.npz", [photos], *model[:2])
    assert index.growth == Growth(gone=1)
    assert sorted(index.paths) == sorted(set(parted.paths) - {gone})
    assert first in parts_on_disk() and second not in parts_on_disk()
    rows = dict(zip(parted.paths, parted.features))
    again = read_index("index.npz")
    np.testing.assert_array_equal(again.features, [rows[path] for path in again.paths])
    assert again.is_own and len(parts_on_disk()) == len(again.parts) - 1


def test_an_image_that_changes_is_looked_at_again(model, photos, parted, looked_at):
    looked_at.clear()
    Image.new("RGB", (32, 32), "red").save(parted.paths[0])
    index = build_index("index.npz", [photos], *model[:2])
    assert index.growth == Growth(changed=1) and len(looked_at) == 1
    again = read_index("index.npz")
    assert sorted(again.paths) == sorted(parted.paths)
    old = dict(zip(parted.paths, parted.features))
    changed = [path for path, row in zip(again.paths, again.features) if (row != old[path]).any()]
    assert changed == [parted.paths[0]]


def test_an_index_that_shrinks_has_no_parts_any_more(model, photos, parted):
    for path in parted.paths[2:]:
        os.unlink(path)
    assert len(build_index("index.npz", [photos], *model[:2])) == 2
    assert not parts_folder("index.npz").exists()
    assert read_index("index.npz").is_own


def test_a_large_file_of_an_earlier_version_becomes_a_part_as_it_is(
    model, photos, monkeypatch, looked_at
):
    old = build_index("index.npz", [photos], *model[:2], "run")
    number = os.stat("index.npz").st_ino
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)
    looked_at.clear()
    Image.new("RGB", (32, 32), "blue").save(photos / "new.png")
    index = build_index("index.npz", [photos], *model[:2])
    assert looked_at == ["new.png"]
    assert list(parts_on_disk().values()) == [number]  # the same file
    assert read_index("index.npz").paths == [*old.paths, str(photos / "new.png")] == index.paths
    assert read_index("index.npz").is_own


def test_a_disk_without_links_gets_a_copy(model, photos, monkeypatch):
    old = build_index("index.npz", [photos], *model[:2], "run")
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)
    monkeypatch.setattr(os, "link", lambda *names: 1 / 0)
    monkeypatch.setattr(os, "link", refuse)
    append_to_index("index.npz", named(1), unit_rows(1))
    assert read_index("index.npz").paths[:9] == old.paths


def refuse(*names):
    raise PermissionError(1, "Operation not permitted")


def test_rows_are_appended_without_opening_the_parts(parted, monkeypatch):
    opened, read = [], index_files.map_npz
    before = parts_on_disk()
    with monkeypatch.context() as patch:
        patch.setattr(index_files, "map_npz", lambda path: opened.append(str(path)) or read(path))
        append_to_index("index.npz", named(7), unit_rows(7))
    assert set(opened) == {"index.npz"}
    index = read_index("index.npz")
    assert index.paths == [*parted.paths, *named(7)]
    np.testing.assert_array_equal(index.features[9:], unit_rows(7))
    assert before.items() < parts_on_disk().items()
    assert index.is_own


def test_rows_that_do_not_fit_are_refused(parted):
    before = pathlib.Path("index.npz").read_bytes()
    with pytest.raises(ValueError, match=r"expected `features` of shape \(2, 16\), .* \(3, 16\)"):
        append_to_index("index.npz", named(2), unit_rows(3))
    bad = {os.path.abspath("bad.png"): FILE._replace(problem="no image")}
    append_to_index("index.npz", named(1) | bad, unit_rows(1))
    with pytest.raises(FileNotFoundError):
        append_to_index("nowhere.npz", named(1), unit_rows(1))
    assert pathlib.Path("index.npz").read_bytes() != before
    assert list(read_index("index.npz").unreadable.values()) == ["no image"]


def test_appending_does_not_make_a_strangers_index_ones_own(parted, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    append_to_index("index.npz", named(1), unit_rows(1))
    assert not read_index("index.npz").is_own


def test_an_index_moves_with_its_folder_only(parted):
    pathlib.Path("index.npz").rename("other.npz")
    with pytest.raises(FileError, match=r"^other\.npz: 2 of its 2 parts are missing from .*other"):
        read_index("other.npz")
    parts_folder("index.npz").rename(parts_folder("other.npz"))
    assert read_index("other.npz").paths == parted.paths
    index = read_index("other.npz")
    write_index("copy.npz", index)
    assert read_index("copy.npz").files == index.files
    assert not set(parts_on_disk("copy.npz")) & set(parts_on_disk("other.npz"))


def rewrite(path, change) -> None:
    """Write a file anew with a changed header or changed arrays."""
    arrays = read_npz(path)
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz(path, arrays)


def in_first(**values):
    """A change of what the index says of its first part."""
    return lambda header, arrays: header["parts"][0].update(values)


@pytest.mark.parametrize(
    "change",
    [
        in_first(name="../../run/checkpoint.npz"),
        in_first(name="/etc/passwd"),
        in_first(name="a" * 32 + ".npz/../x"),
        in_first(name="A" * 32 + ".npz"),
        in_first(name=7),
        in_first(files=-1, images=-1),
        in_first(files=4),
        in_first(images=2),
        in_first(images=4),
        in_first(files=1 << 60, images=1 << 60),
        in_first(files=3.0),
        in_first(files=True),
        in_first(digest="0"),
        in_first(more=1),
        lambda header, arrays: header["parts"][0].pop("digest"),
        lambda header, arrays: header["parts"].append(header["parts"][0]),
        lambda header, arrays: header["parts"].append({}),
        lambda header, arrays: header["parts"].append(7),
        lambda header, arrays: header.update(parts={}),
        lambda header, arrays: header.pop("parts"),
        lambda header, arrays: header.update(format="clip_np index 4"),
        lambda header, arrays: header.update(checksum="00000000"),
        lambda header, arrays: header.update(parts=[header["parts"][0]] * 9000),
        lambda header, arrays: arrays.update(features=np.eye(3, 8, dtype=np.float32)),
    ],
)
def test_forged_lists_of_parts_are_refused(parted, change):
    rewrite("index.npz", lambda header, arrays: None)
    assert len(read_index("index.npz")) == 9
    rewrite("index.npz", change)
    with pytest.raises(FileError, match=r"index\.npz"):
        read_index("index.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: arrays.pop("features"),
        lambda header, arrays: arrays.update(features=arrays["features"] * 2),
        lambda header, arrays: arrays.update(features=arrays["features"][1:]),
        lambda header, arrays: arrays.update(features=np.eye(3, 8, dtype=np.float32)),
        lambda header, arrays: arrays.update(sizes=arrays["sizes"][1:]),
        lambda header, arrays: arrays.update(names=arrays["names"] * np.uint8(0)),
        lambda header, arrays: header.update(checksum="00000000"),
        lambda header, arrays: header.update(format="clip_np index 3", parts=[]),
        lambda header, arrays: header.update(padding="a" * (1 << 20)),
    ],
)
def test_forged_parts_are_refused(parted, change):
    part = parts_folder("index.npz") / read_index("index.npz").parts[0].entry.name
    rewrite(part, change)
    with pytest.raises(FileError, match=r"index\.npz"):
        read_index("index.npz")


def test_names_that_are_changed_in_a_part_break_the_seal(parted):
    part = parts_folder("index.npz") / read_index("index.npz").parts[0].entry.name

    def rename(header, arrays):
        names = arrays["names"].tobytes().replace(b".png", b".gif", 1)
        arrays["names"] = np.frombuffer(names, np.uint8)

    assert read_index("index.npz").is_own
    rewrite(part, rename)
    assert not read_index("index.npz").is_own


def test_a_part_that_is_left_out_breaks_the_seal(parted):
    rewrite("index.npz", lambda header, arrays: header["parts"].pop())
    assert len(read_index("index.npz")) == 6
    assert not read_index("index.npz").is_own


class Killed(BaseException):
    """What a program that is killed would do: nothing more."""


@pytest.mark.parametrize("work", ["append", "drop"])
def test_at_any_step_the_old_index_or_the_new_one_is_there(
    model, photos, parted, monkeypatch, work
):
    """The program ends before the n-th time that a file changes its name or goes."""
    shutil.copytree(parts_folder("index.npz"), "before.npz.parts")
    shutil.copy("index.npz", "before.npz")
    gone = parted.paths[4]
    old = sorted(parted.paths)
    new = sorted([*old, *named(7)] if work == "append" else set(old) - {gone})
    seen = set()
    for step in range(20):
        for name in ("index.npz", "index.npz.parts"):
            shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
        shutil.copytree("before.npz.parts", "index.npz.parts")
        shutil.copy("before.npz", "index.npz")
        steps = iter(range(step))

        def counted(function, steps=steps):
            def call(*arguments, **options):
                is_of_lock = str(arguments[0]).endswith(".lock")  # the system releases it
                if not is_of_lock and next(steps, None) is None:
                    raise Killed
                return function(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "link"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                if work == "append":
                    append_to_index("index.npz", named(7), unit_rows(7))
                else:
                    os.path.exists(gone) and os.rename(gone, "elsewhere.png")
                    build_index("index.npz", [photos], *model[:2])
                ended = False
            except Killed:
                ended = True
        index = read_index("index.npz")
        assert sorted(index.paths) in (old, new), step
        assert index.is_own
        seen.add(sorted(index.paths) == new)
        if not ended:
            break
    assert seen == {False, True} and not ended
    append_to_index("index.npz", named(1, "last"), unit_rows(1))
    listed = {part.entry.name for part in read_index("index.npz").parts if part.entry}
    assert set(parts_on_disk()) == listed  # nothing is left behind


APPENDING = """
import os, sys
import numpy as np
from clip_np.evaluation import IndexedFile, append_to_index, index_writer
index_writer.PART_ROWS = 40
rng = np.random.default_rng(0)
for turn in range(10_000):
    rows = rng.standard_normal((25, 16), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [os.path.abspath(f"{os.getpid()}-{turn}-{row}.png") for row in range(25)]
    files = dict.fromkeys(names, IndexedFile(1, 2))
    append_to_index("index.npz", files, rows)
    print(turn, flush=True)
"""


def test_a_program_that_is_killed_loses_at_most_what_it_was_adding(parted):
    """kill -9 at 8 instants; the index can be read, and goes on to grow."""
    count = 9
    for number in range(8):
        program = subprocess.Popen(
            [sys.executable, "-c", APPENDING],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        said = [program.stdout.readline()]
        time.sleep(0.02 + 0.017 * number)
        os.kill(program.pid, signal.SIGKILL)
        said += program.stdout.readlines()
        program.stdout.close()
        program.wait()
        turns = sum(line.endswith("\n") for line in said)
        index = read_index("index.npz")
        assert len(index) in (count + 25 * turns, count + 25 * (turns + 1))
        assert index.is_own and len(index.paths) == len(index.features) == len(index)
        count = len(index)
    for unfinished in parts_folder("index.npz").glob(".*.tmp"):
        os.utime(unfinished, (0, 0))  # a young one may be in use
    append_to_index("index.npz", named(200, "last"), unit_rows(200))
    listed = {part.entry.name for part in read_index("index.npz").parts if part.entry}
    assert set(parts_on_disk()) == listed


def test_an_index_may_be_read_while_it_changes(model, photos, parted, monkeypatch):
    """Parts go while it is opened: then it is opened once more."""
    problems, is_done = [], threading.Event()

    def read():
        while not is_done.is_set():
            try:
                assert len(read_index("index.npz").paths) >= 8
            except Exception as error:
                problems.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(4):
        path = pathlib.Path(parted.paths[turn])
        content = path.read_bytes()
        path.unlink()
        build_index("index.npz", [photos], *model[:2])
        path.write_bytes(content)
        build_index("index.npz", [photos], *model[:2])
    is_done.set()
    reader.join()
    assert problems == []

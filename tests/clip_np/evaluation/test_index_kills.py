"""An index is whole whatever ends the program that changes it."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from parted_indexes import named, parts_on_disk, unit_rows
from paths import ROOT

from clip_np.evaluation import append_to_index, build_index, read_index
from clip_np.evaluation.index_parts import parts_folder


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

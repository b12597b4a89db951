"""Worker processes make the batches that threads make, and end whatever happens."""

import functools
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from loaders import assert_same, failing_stream, loader_of, our_threads
from paths import ROOT
from PIL import Image
from small_data import encoded, noise, pairs_on_disk, shard, some_pairs

from clip_np.data import (
    AUGMENTATIONS,
    DataError,
    Pairs,
    WorkerError,
    open_dataset,
    training_preprocess,
)
from clip_np.data import decoding_worker as worker
from clip_np.data.frames import Frame, receive, send
from clip_np.data.making import Recipe
from clip_np.data.shared_memory import shared_memory

STRONG = AUGMENTATIONS["strong"]
SECONDS = 20  # that a process may take to start or to end on a loaded machine

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and at signals")


def strong(pairs: Pairs, data_workers: int, **changes):
    return loader_of(pairs, augmentation=STRONG, data_workers=data_workers, **changes)


def processes_of(loader) -> list[subprocess.Popen]:
    """The processes that a loader starts, as they are started."""
    started = []
    real = loader._start_maker

    def start():
        maker = real()
        started.extend(one.process for one in maker._workers)
        return maker

    loader._start_maker = start
    return started


def is_alive(process: int) -> bool:
    """Whether there is such a process. One that has ended may be nobody's child."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


# --- The same batches ---------------------------------------------------------------


def test_any_number_of_workers_makes_the_same_batches(tmp_path):
    pairs = pairs_on_disk(tmp_path, 11, bad=(2, 7))
    pairs.tags = ["red, green, blue"] * 11
    plain = strong(pairs, data_workers=0, skip_bad=True)
    whole = list(plain.batches(0, 9))
    for count in (1, 4):
        loader = strong(pairs, data_workers=count, skip_bad=True)
        processes = processes_of(loader)
        assert_same(list(loader.batches(0, 9)), whole)
        assert loader.skipped == plain.skipped
        assert len(processes) == count and all(one.poll() is not None for one in processes)
        assert our_threads() == []
    again = list(loader.batches(5, 9))  # from squares that are kept
    assert_same(again, whole[5:])


def every_kind_of_source(folder: Path) -> Pairs:
    """Pairs from files, tables, tar files, memory and functions, some of them bad."""
    shard(folder / "a.parquet", [encoded((row, 9, 9)) for row in range(6)], list("abcdef"))
    with tarfile.open(folder / "b.tar", "w") as tar:
        for row in range(5):
            for ending, content in (("png", encoded((9, row, 9))), ("txt", b"a caption")):
                member = tarfile.TarInfo(f"{row}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    parts = [
        pairs_on_disk(folder, 5, bad=(3,)),
        open_dataset(folder / "a.parquet", validation_fraction=0)["train"],
        open_dataset(folder / "b.tar", validation_fraction=0)["train"],
        some_pairs(3),
        Pairs.from_arrays(noise(3, 12, 10, 3), list("xyz")),
        Pairs(list("pqr"), list("pqr"), None, [encoded(), lambda: encoded(), lambda: 1 / 0]),
    ]
    names = [name for part in parts for name in part.names]
    return Pairs(
        captions=[caption for part in parts for caption in part.captions],
        names=[f"{row} {name}" for row, name in enumerate(names)],
        tags=None,
        sources=[source for part in parts for source in part.sources],
    )


def test_every_kind_of_source(tmp_path):
    pairs = every_kind_of_source(tmp_path)
    plain = strong(pairs, data_workers=0, batch_size=len(pairs), skip_bad=True)
    loader = strong(pairs, data_workers=1, batch_size=len(pairs), skip_bad=True)
    whole = list(plain.batches(0, 2))
    assert_same(list(loader.batches(0, 2)), whole)
    assert loader.skipped == plain.skipped and len(plain.skipped) == 2
    assert len(whole[0].names) == len(pairs) - 2


def test_a_stream_and_its_error():
    loader = strong(failing_stream(good=20), data_workers=1)
    whole = list(strong(failing_stream(good=20), data_workers=0).batches(0, 5))
    batches = loader.batches(0, 100)
    assert_same([next(batches) for _ in range(5)], whole)
    with pytest.raises(OSError, match="the network is down"):
        next(batches)
    assert our_threads() == []


# --- Errors --------------------------------------------------------------------------


def test_a_bad_image_ends_the_run_as_it_does_in_threads(tmp_path):
    pairs = pairs_on_disk(tmp_path, 4, bad=(2,))
    texts = []
    for count in (0, 1):
        loader = strong(pairs, count)
        processes = processes_of(loader) if count else []
        with pytest.raises(DataError, match=r"2\.png: cannot be read") as raised:
            list(loader.batches(0, 2))
        texts.append(str(raised.value))
    assert texts[0] == texts[1]
    assert processes[0].poll() is not None and our_threads() == []


@linux
def test_the_death_of_a_worker_names_it_and_its_image():
    pairs = some_pairs(40)
    loader = strong(pairs, data_workers=1, batch_size=40)
    start = loader._start_maker
    workers = []
    loader._start_maker = lambda: workers.append(start()) or workers[0]
    called = []

    def read(name: str) -> bytes:  # in this process, just before the row is sent
        called.append(name)
        if len(called) == 3:
            victim = workers[0]._workers[0]
            wait_until(lambda: victim.slots.row[0] == 1)
            victim.process.kill()
        return encoded(size=(9, 9))

    pairs.sources = [functools.partial(read, name) for name in pairs.names]
    batches = loader.batches(0, 100)
    with pytest.raises(WorkerError) as raised:
        next(batches)
    process = workers[0]._workers[0].process
    assert re.match(
        rf"data worker 1 \(process {process.pid}\) was ended by signal 9 while it decoded "
        rf"{called[1]} in step 0\. Usual cause: too little memory\.",
        str(raised.value),
    )
    assert process.poll() is not None and our_threads() == []


@linux
def test_a_death_is_told_before_its_batch_is_due():
    loader = strong(some_pairs(8), data_workers=2)
    processes = processes_of(loader)
    batches = loader.batches(0, 1000)
    next(batches)
    processes[0].kill()
    with pytest.raises(WorkerError, match="data worker 1"):
        for number, _ in enumerate(batches):
            time.sleep(0.01)
            assert number < 10


def replies_to(*frames: Frame, recipe: Recipe) -> list:
    """What a worker answers, called in this process."""
    requests, replies = io.BytesIO(), io.BytesIO()
    with shared_memory(worker.Slots.bytes_needed(4, recipe.size)) as shared:
        start = worker.Start(recipe, 4, shared.handle, Image.MAX_IMAGE_PIXELS, False)
        assert worker.Start.of(start.frame()) == start
        for frame in frames:
            send(frame, requests)
        requests.seek(0)
        with pytest.raises(EOFError):
            worker._answer_all(start, requests, replies)
    end = replies.tell()
    replies.seek(0)
    answers = []
    while replies.tell() < end:
        answers.append(worker.reply_of(receive(replies)))
    return answers


def test_what_a_worker_answers(monkeypatch):
    recipe = Recipe(
        training_preprocess(4),
        seed=2**100,
        augmentation=STRONG,
        tag_probability=0.1,
        skip_bad=False,
    )
    request = Frame(worker.Request(7, 1, ["a", "b\udcff"], ["a cat", "a dog"], None)._asdict())
    good = worker.row_frame(encoded())
    bad = worker.row_frame(DataError("b: cannot be read"))
    (refused,) = replies_to(request, good, bad, recipe=recipe)
    assert refused == worker.Refused("b: cannot be read")
    (made,) = replies_to(request, good, good, recipe=recipe)
    assert (made.rows, made.causes) == ([0, 1], [])
    monkeypatch.setattr(worker, "load_square", lambda *arguments: 1 / 0)
    # The rows after a mistake are read all the same, so the next request is understood.
    answers = replies_to(request, good, good, request, good, good, recipe=recipe)
    assert [(answer.row, "ZeroDivisionError" in answer.report) for answer in answers] == [
        (0, True),
        (0, True),
    ]
    monkeypatch.setattr(worker, "vary", lambda *arguments: 1 / 0)
    (failed,) = replies_to(Frame(request.head | {"names": []}), recipe=recipe)
    assert failed.row == worker.NO_ROW


@pytest.mark.parametrize(
    "message", [None, b"GIF89a", Path("a\udcff.png"), "a.png", noise(3, 2, 3), DataError("b: bad")]
)
def test_a_row_arrives_as_it_was_sent(message):
    arrived = worker.row_message(worker.row_frame(message))
    assert type(arrived) is type(message)
    if isinstance(message, np.ndarray):
        assert (arrived == message).all() and arrived.dtype == message.dtype
    else:
        assert str(arrived) == str(message)


# --- The program that starts them ---------------------------------------------------

SCRIPT = """
import sys, time
import numpy as np
from clip_np.data import BatchLoader, Pairs
pairs = Pairs.from_arrays(np.zeros((8, 9, 9, 3), np.uint8), list("abcdefgh"))
loader = BatchLoader(pairs, size=8, batch_size=4, seed=0, data_workers=2)
start = loader._start_maker
def started():
    maker = start()
    print(*[worker.process.pid for worker in maker._workers], flush=True)
    return maker
loader._start_maker = started
batches = loader.batches(0, 10**9)
next(batches), next(batches)
print("begun", flush=True)
time.sleep(60)
"""
"""A program without a guard, which is what many people write."""


def run_script(folder: Path) -> tuple[subprocess.Popen, list[int]]:
    """Start the script, and wait for two batches. One worker may have made both."""
    path = folder / "script.py"
    path.write_text(SCRIPT)
    program = subprocess.Popen(
        [sys.executable, path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    workers = [int(number) for number in program.stdout.readline().split()]
    assert program.stdout.readline() == "begun\n"
    return program, workers


@linux
def test_workers_end_with_a_program_that_is_killed(tmp_path):
    program, workers = run_script(tmp_path)
    assert len(workers) == 2 and all(map(is_alive, workers))
    maps = [Path(f"/proc/{process}/maps") for process in workers]
    wait_until(lambda: all("memfd:clip_np" in file.read_text() for file in maps))
    # Memory with a name would stay after a kill.
    assert not any("/dev/shm" in file.read_text() for file in maps)
    program.kill()
    assert program.communicate()[1] == ""
    wait_until(lambda: not any(map(is_alive, workers)))


@linux
def test_control_c_is_the_programs_business(tmp_path):
    program, workers = run_script(tmp_path)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    for process in workers:
        os.kill(process, signal.SIGTERM)  # as a batch system does
    _, report = program.communicate()
    assert report.count("Traceback") == 1 and report.endswith("KeyboardInterrupt\n")
    wait_until(lambda: not any(map(is_alive, workers)))

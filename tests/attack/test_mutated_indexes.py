"""Damaged indexes: each is read as far as it goes, or refused with its name."""

import collections
import json
import os
import pathlib
import random
import shutil

import numpy as np
import pytest
from fuzz_files import change_bytes, change_value
from image_folders import untrained_run, write_first_format, write_photos

from clip_np.evaluation import build_index, html_page, index_writer, read_index, search_index
from clip_np.evaluation.index_parts import parts_folder
from clip_np.files import FileError, read_npz, write_npz

COUNT = 500  # files of each format and each way to damage them
OTHER_MODEL = "the index holds what another model saw"
NOTHING = "needs at least one of each"


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return untrained_run(tmp_path / "run")


def change_arrays(path: str | pathlib.Path, rng: random.Random) -> None:
    """Write bad.npz with changed arrays, packed anew: what is wrong shows late."""
    arrays = read_npz(path)
    name = rng.choice(list(arrays))
    array = arrays[name]
    if name == "header" and rng.random() < 0.8:
        header = change_value(json.loads(array.tobytes()), rng)
        arrays[name] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        return write_npz("bad.npz", arrays)
    match rng.randrange(5):
        case 0:
            del arrays[name]
        case 1:
            kind = rng.choice(("u1", "i1", "<i8", ">i8", "<f4", "<f8", "<U3", "?", "<c8", "V3"))
            arrays[name] = np.zeros(array.shape, kind)
        case 2:
            arrays[name] = array[: rng.randrange(len(array) + 1)]
        case 3:
            arrays[name] = array[None] if rng.random() < 0.5 else array.reshape(-1)
        case _:
            content = change_bytes(array.tobytes(), rng)
            content = content[: len(content) // array.itemsize * array.itemsize]
            rows = np.frombuffer(content, array.dtype)
            whole = len(rows) // array[0:1].size * array[0:1].size if array[0:1].size else 0
            arrays[name] = rows[:whole].reshape(-1, *array.shape[1:])
    return write_npz("bad.npz", arrays)


def use(model) -> str:
    """Ask bad.npz everything: what came of it."""
    try:
        index = read_index("bad.npz")
        assert len(index.paths) == len(index)
        assert set(index.unreadable) <= set(index.files)
        matches = search_index(index, "red", *model)
    except FileError as error:
        assert str(error).startswith(("bad.npz: ", str(parts_folder("bad.npz")))), error
        return "refused"
    except ValueError as error:
        assert OTHER_MODEL in str(error) or NOTHING in str(error), error
        return "of no use"
    marks = [(match.path, f"{match.cosine:.3f}") for match in matches]
    assert all(abs(match.cosine) < 1.01 for match in matches)
    html_page(marks, "page.html", title="", note="", may_open=lambda path: False)
    # Whatever is changed in the list of files, it is not this user's list any more.
    assert not index.is_own or set(index.files) == set(read_index("index.npz").files)
    return "read"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", [1, 2])
@pytest.mark.parametrize("way", ["bytes", "arrays"])
def test_mutated_indexes(model, tmp_path, form, way):
    photos = write_photos(tmp_path / "photos")
    (photos / "2.png").write_bytes(b"no image")
    index = build_index("index.npz", [photos], *model[:2], "run")
    if form == 1:
        write_first_format("index.npz", index)
    original = pathlib.Path("index.npz").read_bytes()
    results: collections.Counter[str] = collections.Counter()
    for number in range(COUNT):
        rng = random.Random(f"{form} {way} {number}")
        if way == "bytes":
            pathlib.Path("bad.npz").write_bytes(change_bytes(original, rng))
        else:
            change_arrays("index.npz", rng)
        try:
            results[use(model)] += 1
        except Exception as error:
            raise AssertionError(f"file {number}: {error!r}") from error
    assert results["refused"] > COUNT / 10
    assert results["read"] > COUNT / 50


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("way", ["bytes", "arrays"])
def test_mutated_indexes_in_parts(model, tmp_path, way, monkeypatch):
    """The index file is damaged, or one of its parts."""
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)
    photos = write_photos(tmp_path / "photos")
    (photos / "2.png").write_bytes(b"no image")
    build_index("index.npz", [photos], *model[:2], "run")
    parts = parts_folder("index.npz")
    files = [pathlib.Path("index.npz"), *sorted(parts.iterdir())]
    assert len(files) == 3
    results: collections.Counter[str] = collections.Counter()
    for number in range(COUNT):
        rng = random.Random(f"parts {way} {number}")
        damaged = rng.choice(files)
        if way == "bytes":
            pathlib.Path("bad.npz").write_bytes(change_bytes(damaged.read_bytes(), rng))
        else:
            change_arrays(damaged, rng)
        shutil.rmtree(parts_folder("bad.npz"), ignore_errors=True)
        shutil.copytree(parts, parts_folder("bad.npz"))
        if damaged.parent.name == parts.name:
            os.replace("bad.npz", parts_folder("bad.npz") / damaged.name)
            shutil.copy("index.npz", "bad.npz")
        try:
            results[use(model)] += 1
        except Exception as error:
            raise AssertionError(f"file {number}: {error!r}") from error
    assert results["refused"] > COUNT / 10
    assert results["read"] > COUNT / 50

"""Index files that are none, or that claim what is not true, are refused."""

import json
import pathlib
import re
import zipfile

import numpy as np
import pytest
from image_folders import write_first_format

from clip_np.evaluation import build_index, read_index
from clip_np.files import FileError, read_npz, write_npz
from clip_np.weights import CHECKPOINT


def forged(change) -> None:
    arrays = read_npz("index.npz")
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    if "header" in arrays:
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz("forged.npz", arrays)


FORGED_FEATURES = [
    lambda header, arrays: arrays.pop("header"),
    lambda header, arrays: arrays.pop("features"),
    lambda header, arrays: arrays.update(features=arrays["features"] * 2),
    lambda header, arrays: arrays.update(features=arrays["features"] * np.float32(1e30)),
    lambda header, arrays: arrays.update(features=arrays["features"] * np.float32("nan")),
    lambda header, arrays: arrays.update(features=arrays["features"].astype(np.float64)),
    lambda header, arrays: arrays.update(features=arrays["features"][0]),
    lambda header, arrays: arrays.update(features=arrays["features"][:-1]),
    lambda header, arrays: arrays.update(features=np.array(["a"])),
    lambda header, arrays: header.update(format="clip_np checkpoint 1"),
    lambda header, arrays: header.pop("checksum"),
]


@pytest.mark.parametrize(
    "change",
    [
        *FORGED_FEATURES,
        lambda header, arrays: header.pop("seal"),
        lambda header, arrays: header.update(padding="a" * (1 << 20)),
        lambda header, arrays: arrays.pop("names"),
        lambda header, arrays: arrays.pop("sizes"),
        lambda header, arrays: arrays.update(sizes=arrays["sizes"][1:]),
        lambda header, arrays: arrays.update(modified=arrays["modified"].astype(np.float64)),
        lambda header, arrays: arrays.update(name_ends=arrays["name_ends"][::-1]),
        lambda header, arrays: arrays.update(name_ends=arrays["name_ends"] + 1),
        lambda header, arrays: arrays.update(name_ends=arrays["name_ends"] - 20),
        lambda header, arrays: arrays.update(name_ends=arrays["name_ends"][:-1]),
        lambda header, arrays: arrays.update(name_ends=arrays["name_ends"].astype(np.uint64)),
        lambda header, arrays: arrays.update(names=arrays["names"][:-1]),
        lambda header, arrays: arrays.update(names=arrays["names"] * np.uint8(0)),
        lambda header, arrays: arrays.update(names=arrays["names"].reshape(1, -1)),
        lambda header, arrays: arrays.update(
            problems=np.frombuffer(b"ab", np.uint8), problem_ends=np.array([1, 2])
        ),
        lambda header, arrays: arrays.update(problem_ends=np.zeros(99, np.int64)),
        lambda header, arrays: arrays.update(digests=arrays["digests"][1:]),
        lambda header, arrays: arrays.update(digests=arrays["digests"][:, 1:]),
        lambda header, arrays: arrays.update(digests=arrays["digests"].astype(np.int64)),
    ],
)
def test_forged_indices_are_refused(model, photos, change):
    build_index("index.npz", [photos], *model[:2], "run")
    forged(lambda header, arrays: None)
    assert len(read_index("forged.npz").paths) == 9
    forged(change)
    with pytest.raises(FileError, match=r"^forged\.npz: "):
        read_index("forged.npz")


@pytest.mark.parametrize(
    "change",
    [
        *FORGED_FEATURES,
        lambda header, arrays: header.pop("files"),
        lambda header, arrays: header.update(files=header["files"][:-1]),
        lambda header, arrays: header.update(files=3),
        lambda header, arrays: header["files"].__setitem__(0, ["a.png", 1]),
        lambda header, arrays: header["files"].__setitem__(0, [7, 1, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, ["a.png", 1e400, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, ["a.png", 2**63, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, ["a\0.png", 1, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, ["a" * (1 << 18), 1, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, header["files"][1]),
        lambda header, arrays: header.update(more=3),
    ],
)
def test_forged_indices_of_the_first_format_are_refused(model, photos, change):
    write_first_format("index.npz", build_index("index.npz", [photos], *model[:2], "run"))
    forged(lambda header, arrays: None)
    assert len(read_index("forged.npz").paths) == 9
    forged(change)
    with pytest.raises(FileError, match=r"^forged\.npz: "):
        read_index("forged.npz")


def test_files_that_are_no_index(model, photos):
    pathlib.Path("text.npz").write_text("text", encoding="utf-8")
    np.savez("objects.npz", header=np.array([{}], object))
    with zipfile.ZipFile("packed.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", b"0" * 1000)
    for name in ("text.npz", "objects.npz", "packed.npz", f"run/{CHECKPOINT}"):
        with pytest.raises(FileError, match=re.escape(name)):
            read_index(name)
        with pytest.raises(FileError, match=re.escape(name)):  # nor is it overwritten
            build_index(name, [photos], *model[:2])
    with pytest.raises(FileNotFoundError):
        read_index("nowhere.npz")

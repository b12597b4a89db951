"""A large index lies in parts: what is written, and which forged ones are refused."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from parted_indexes import FILE, named, parts_on_disk, unit_rows
from PIL import Image

from clip_np.evaluation import (
    Growth,
    append_to_index,
    build_index,
    find_duplicates,
    index_files,
    index_writer,
    read_index,
    search,
    search_index,
    write_index,
)
from clip_np.evaluation.index_parts import parts_folder
from clip_np.files import FileError, read_npz, write_npz


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


@pytest.mark.parametrize("cores", [1, 2, 5, 20])
def test_cosines_are_the_same_for_any_number_of_threads(parted, monkeypatch, cores):
    monkeypatch.setattr(search, "SHARE_NUMBERS", 1)
    monkeypatch.setattr(search, "available_cores", lambda: cores)
    queries = unit_rows(4).T  # (E, 4)
    assert parted.width == len(queries)
    expected = parted.features @ queries
    np.testing.assert_allclose(search.cosines_of(parted, queries), expected, atol=1e-6)
    one = np.ascontiguousarray(queries[:, 0])
    np.testing.assert_allclose(search.cosines_of(parted, one), expected[:, 0], atol=1e-6)


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

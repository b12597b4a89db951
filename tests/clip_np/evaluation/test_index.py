"""What an index holds, how it grows, and whose it is."""

import os
import pathlib
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from image_folders import features_of, untrained_run, write_first_format
from PIL import Image

import clip_np
from clip_np.data import DataError
from clip_np.evaluation import (
    Growth,
    Index,
    build_index,
    building,
    fingerprint,
    folders,
    index_writer,
    read_index,
    search_index,
    write_index,
)
from clip_np.evaluation.index_parts import Part
from clip_np.evaluation.index_table import FileTable, Strings
from clip_np.evaluation.search import best_rows
from clip_np.files import read_npz


def test_an_index_holds_unit_features_of_all_images(model, photos):
    index = build_index("index.npz", [photos], *model[:2], "run")
    files = [photos / f"{row}.png" for row in range(6)]
    files += [photos / "more" / f"{row}.png" for row in (6, 7, 8)]
    assert sorted(index.paths) == sorted(map(str, files))
    np.testing.assert_allclose(index.features, features_of(model, index.paths), atol=1e-5)
    assert index.features.dtype == np.float32
    again = read_index("index.npz")
    assert (again.paths, again.files) == (index.paths, index.files)
    assert (again.features == index.features).all()
    assert again.model == str(pathlib.Path("run").absolute())
    assert [path for path in pathlib.Path().iterdir() if ".tmp" in path.name] == []


def test_batches_change_nothing(model, photos, monkeypatch):
    whole = build_index("whole.npz", [photos], *model[:2])
    for size in (1, 2, 9):
        monkeypatch.setattr(folders, "BATCH_SIZE", size)
        parts = build_index(f"{size}.npz", [photos], *model[:2])
        assert parts.paths == whole.paths
        np.testing.assert_allclose(parts.features, whole.features, atol=1e-5)


def test_only_what_is_new_or_changed_is_looked_at(model, photos, looked_at):
    first = build_index("index.npz", [photos], *model[:2], "run")
    assert len(looked_at) == 9
    assert first.growth == Growth(new=9)
    looked_at.clear()
    same = build_index("index.npz", [photos, photos / "0.png"], *model[:2], "run")
    assert looked_at == []
    assert (same.paths, same.growth) == (first.paths, Growth())
    (photos / "1.png").unlink()
    Image.new("RGB", (32, 32), "red").save(photos / "2.png")
    status = os.stat(photos / "3.png")
    os.utime(photos / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    shutil.copy(photos / "4.png", photos / "copy.png")
    Image.new("RGB", (32, 32), "blue").save(photos / "new.png")
    index = build_index("index.npz", [photos], *model[:2], "run")
    assert sorted(looked_at) == ["2.png", "new.png"]  # the others are known by their content
    assert index.growth == Growth(new=2, changed=2, gone=1)
    assert str(photos / "1.png") not in index.files
    assert len(index.paths) == 10
    np.testing.assert_allclose(index.features, features_of(model, index.paths), atol=1e-5)


def test_only_the_folders_that_are_named_are_compared(model, photos, looked_at):
    build_index("index.npz", [photos], *model[:2])
    looked_at.clear()
    (photos / "more").rename("unplugged")
    (photos / "new").mkdir()
    Image.new("RGB", (32, 32), "blue").save(photos / "new" / "9.png")
    (photos / "0.png").write_bytes(b"changed, but nobody asked")
    index = build_index("index.npz", [photos / "new"], *model[:2])
    assert (looked_at, index.growth) == (["9.png"], Growth(new=1, missing=3))
    assert len(index) == 10
    with pytest.raises(FileNotFoundError, match="more"):
        build_index("index.npz", [photos / "more"], *model[:2])
    (photos / "more").mkdir()  # as a place where no disk is mounted
    with pytest.raises(DataError, match="more: holds no images"):
        build_index("index.npz", [photos / "more"], *model[:2])
    assert len(read_index("index.npz")) == 10
    index = build_index("index.npz", [photos / "new"], *model[:2], drop_missing=True)
    assert (len(index), index.growth) == (7, Growth(gone=3))


def test_a_folder_of_a_similar_name_is_another_folder(model, photos):
    shutil.copytree(photos / "more", photos / "more of it")
    build_index("index.npz", [photos], *model[:2])
    shutil.rmtree(photos / "more of it")
    assert build_index("index.npz", [photos / "more"], *model[:2]).growth == Growth(missing=3)


def test_files_that_were_moved_are_known_by_their_content(model, photos, looked_at):
    first = build_index("index.npz", [photos / "more"], *model[:2])
    features = dict(zip(first.paths, first.features))
    looked_at.clear()
    (photos / "more").rename("moved")
    pathlib.Path("moved/6.png").rename("moved/six.png")
    index = build_index("index.npz", ["moved"], *model[:2], drop_missing=True)
    assert (looked_at, index.growth) == ([], Growth(new=3, gone=3))
    assert [pathlib.Path(path).name for path in index.paths] == ["7.png", "8.png", "six.png"]
    expected = [features[str(photos / "more" / f"{row}.png")] for row in (7, 8, 6)]
    np.testing.assert_array_equal(index.features, expected)


def test_an_index_is_told_where_its_root_is_now(model, photos, looked_at, tmp_path):
    pathlib.Path("indexes").mkdir()
    first = build_index("indexes/index.npz", [photos], *model[:2], "run")
    assert first.root == str(photos)  # the index lies elsewhere
    looked_at.clear()
    pathlib.Path("disk").mkdir()
    photos.rename("disk/pictures")
    pathlib.Path("indexes/index.npz").rename("index.npz")
    assert not any(map(os.path.exists, read_index("index.npz").paths))
    index = read_index("index.npz", root="disk/pictures")
    assert all(map(os.path.exists, index.paths))
    assert index.is_own
    grown = build_index("index.npz", ["disk/pictures"], *model[:2], root="disk/pictures")
    assert (looked_at, grown.growth) == ([], Growth())
    again = read_index("index.npz")
    assert again.root == str(tmp_path / "disk" / "pictures")
    assert all(map(os.path.exists, again.paths)) and again.is_own


def test_which_folder_is_the_root(model, photos, tmp_path):
    pathlib.Path("apart").mkdir()
    inside = build_index("index.npz", [photos], *model[:2])
    above = build_index(photos / "more" / "index.npz", [photos], *model[:2])
    files = build_index("apart/1.npz", [photos / "0.png", photos / "more/6.png"], *model[:2])
    named = build_index("apart/2.npz", [photos / "0.png"], *model[:2], root=tmp_path)
    assert (inside.root, above.root) == ("", "")
    assert (files.root, named.root) == (str(photos), str(tmp_path))


def test_an_index_grows_by_other_folders(model, photos):
    build_index("index.npz", [photos / "more"], *model[:2])
    index = build_index("index.npz", [photos / "0.png"], *model[:2])
    assert [pathlib.Path(path).name for path in index.paths] == ["6.png", "7.png", "8.png", "0.png"]
    np.testing.assert_allclose(index.features, features_of(model, index.paths), atol=1e-5)


def test_bad_images_are_kept_in_mind(model, photos, looked_at):
    (photos / "2.png").write_bytes(b"no image")
    index = build_index("index.npz", [photos], *model[:2])
    bad = str(photos / "2.png")
    assert bad not in index.paths
    assert len(index.paths) == len(index.features) == 8
    assert index.files[bad].problem.startswith(f"{bad}: cannot be read (UnidentifiedImageError")
    looked_at.clear()
    assert read_index("index.npz").files == index.files
    build_index("index.npz", [photos], *model[:2])
    assert looked_at == []
    shutil.copy(photos / "3.png", bad)
    mended = build_index("index.npz", [photos], *model[:2])
    assert looked_at == []  # it is a copy of one that is known
    assert bad in mended.paths


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_model_s_own_preprocessing_sees_the_image_as_it_is_stored(model, photos, monkeypatch):
    Image.open(photos / "0.png").quantize(8).save(photos / "0.gif")
    modes = []

    def preprocess(image):
        modes.append(image.mode)
        return model[1](image)

    build_index("index.npz", [photos / "0.gif"], model[0], preprocess)
    assert modes == ["P"]
    # Whatever the preprocessing is, it does not meet an image that would fill the
    # memory.
    monkeypatch.setenv("CLIP_NP_IMAGE_MIB", "0")
    index = build_index("bombs.npz", [photos / "1.png"], model[0], preprocess)
    assert (
        "32x32 pixels need 0 MiB of memory, at most 0" in index.files[str(photos / "1.png")].problem
    )
    assert modes == ["P"]


def test_an_interrupted_run_goes_on(model, photos, looked_at, monkeypatch):
    monkeypatch.setattr(folders, "BATCH_SIZE", 2)
    compute, calls = folders.unit_features, []

    def interrupted(*given):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(given)
        return compute(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folders, "unit_features", interrupted)
        build_index("index.npz", [photos], *model[:2])
    half = read_index("index.npz")
    assert len(half.paths) == 4
    looked_at.clear()
    index = build_index("index.npz", [photos], *model[:2])
    assert len(looked_at) == 5
    assert index.paths[:4] == half.paths
    np.testing.assert_allclose(index.features, features_of(model, index.paths), atol=1e-5)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="Linux shows what is mapped")
def test_no_index_is_replaced_while_it_is_mapped(model, photos, monkeypatch):
    """Windows cannot replace a mapped file."""
    index = pathlib.Path("index.npz").absolute()
    build_index(index, [photos / "0.png"], *model[:2])
    mapped, write = [], index_writer.write_index_file

    def spy(path, *rest):
        mapped.append(str(path) in pathlib.Path("/proc/self/maps").read_text())
        write(path, *rest)

    monkeypatch.setattr(index_writer, "write_index_file", spy)
    build_index(index, [photos], *model[:2])
    assert mapped == [False, False]


def test_it_is_saved_while_it_grows(model, photos, monkeypatch):
    saved, write = [], index_writer.write_index_file

    def watched(path, settings, last, *rest):
        saved.append(len(last.features))
        write(path, settings, last, *rest)

    monkeypatch.setattr(building, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(index_writer, "write_index_file", watched)
    build_index("index.npz", [photos], *model[:2])
    assert saved[0] == 0  # before the work
    assert saved[-1] == 9
    assert len(saved) > 4


def test_nothing_is_embedded_for_a_place_that_cannot_be_written_to(model, photos, looked_at):
    with pytest.raises(FileNotFoundError):
        build_index("nowhere/index.npz", [photos], *model[:2])
    assert looked_at == []


def test_an_index_may_move_with_its_images(model, photos, tmp_path):
    (tmp_path / "here").mkdir()
    shutil.copy(photos / "0.png", "elsewhere.png")
    photos.rename("here/photos")
    build_index("here/index.npz", ["here/photos", "elsewhere.png"], *model[:2], "run")
    pathlib.Path("here").rename("there")
    index = read_index("there/index.npz")
    assert sorted(index.paths)[0] == str(tmp_path / "elsewhere.png")
    assert all(pathlib.Path(path).exists() for path in index.paths)


def test_empty_and_missing_folders(model, photos):
    pathlib.Path("empty").mkdir()
    pathlib.Path("empty", "folder.png").mkdir()
    with pytest.raises(DataError, match=r"^empty: holds no images \(\.apng, "):
        build_index("index.npz", [photos, "empty"], *model[:2])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_index("index.npz", ["nowhere"], *model[:2])
    assert not pathlib.Path("index.npz").exists()


def test_the_index_of_another_model_is_refused(model, photos, tmp_path):
    build_index("index.npz", [photos], *model[:2], "run")
    before = pathlib.Path("index.npz").read_bytes()
    other = untrained_run(tmp_path / "other", seed=1)
    assert fingerprint(*other[:2]) != fingerprint(*model[:2])
    for attempt in (
        lambda: build_index("index.npz", [photos], *other[:2]),
        lambda: read_index("index.npz").check(*other[:2]),
        lambda: search_index(read_index("index.npz"), "a dog", *other),
    ):
        with pytest.raises(ValueError, match=r"holds what another model saw \(.*run, as it was"):
            attempt()
    assert pathlib.Path("index.npz").read_bytes() == before
    assert read_index("index.npz").check(*model[:2]).paths


def test_one_number_makes_another_fingerprint(model):
    first = fingerprint(*model[:2])
    assert re.fullmatch("[0-9a-f]{8}", first)
    assert fingerprint(*clip_np.load("run")[:2]) == first
    weight = model[0].parameters()[-2].data
    weight[(0,) * weight.ndim] += 1e-6
    assert fingerprint(*model[:2]) != first


def test_the_same_numbers_used_otherwise_make_another_fingerprint(model):
    other = clip_np.load("run", activation="gelu")
    assert other[0].config != model[0].config
    darker = replace(model[1], mean=(0.5, 0.5, 0.5))
    prints = [fingerprint(*model[:2]), fingerprint(*other[:2]), fingerprint(model[0], darker)]
    assert len(set(prints)) == 3


def test_an_index_of_the_first_format_opens_and_grows(model, photos, looked_at):
    (photos / "2.png").write_bytes(b"no image")
    (photos / 'long [1], "x" ü.png').write_bytes((photos / "1.png").read_bytes())
    index = build_index("index.npz", [photos], *model[:2], "run")
    write_first_format("index.npz", index)
    old = read_index("index.npz")
    files = {path: file._replace(digest="") for path, file in index.files.items()}
    assert (old.files, old.paths, old.model) == (files, index.paths, index.model)
    assert (old.features == index.features).all()
    looked_at.clear()
    grown = build_index("index.npz", [photos], *model[:2])
    assert (looked_at, grown.files) == ([], files)
    assert "names" in read_npz("index.npz")


def test_an_empty_index_of_either_format_opens(model, photos):
    nothing = build_index("empty.npz", [photos / "notes.txt"], *model[:2])
    assert (read_index("empty.npz").files, len(nothing)) == (nothing.files, 0)
    nothing.parts = [Part(FileTable.of({}, nothing.folder), nothing.features)]
    write_first_format("empty.npz", nothing)
    assert read_index("empty.npz").files == {}


def test_a_large_index_is_mapped_and_asked_at_once(tmp_path):
    rows = np.random.default_rng(0).standard_normal((50_000, 64), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = Strings.of(f"photos/{row}.png" for row in range(len(rows)))
    times = np.zeros(len(rows), np.int64)
    table = FileTable(str(tmp_path), names, times, times, Strings.of([]))
    write_index(tmp_path / "index.npz", Index([Part(table, rows)], "run", "00000000"))
    index = read_index(tmp_path / "index.npz")
    assert not index.features.flags.owndata  # a part of the file
    assert index.features.ctypes.data % 64 == 0  # as BLAS wants it
    assert (index.features == rows).all()
    assert index.path(49_999) == str(tmp_path / "photos" / "49999.png")
    with np.load(tmp_path / "index.npz") as arrays:
        assert arrays["features"].shape == (50_000, 64)


def test_the_best_rows_are_those_of_a_sorted_list():
    cosines = np.random.default_rng(0).standard_normal(1000)
    for k in (1, 7, 999, 1000):
        assert list(best_rows(cosines, k)) == list(np.argsort(-cosines)[:k])
    ties = np.array([0.5, 0.7, 0.5, 0.7, 0.1, 0.5], np.float32)
    assert list(best_rows(ties, 4)) == [1, 3, 0, 2]
    assert list(best_rows(ties, 99)) == [1, 3, 0, 2, 5, 4]

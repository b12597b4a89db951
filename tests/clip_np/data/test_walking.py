"""Which files of a folder are taken: links, loops, every ending that Pillow reads."""

import os
import types

import pytest
from PIL import Image, features
from small_data import save, write

from clip_np.data import DataError, files_below, image_suffixes, open_dataset, opened
from clip_np.data import formats as formats_module
from clip_np.evaluation import image_files, names_an_image

pytestmark = pytest.mark.filterwarnings("ignore:links to folders elsewhere")


def pair(folder, name: str) -> None:
    save(folder / f"{name}.png")
    write(folder / f"{name}.txt", f"a {name}")


def captions(folder) -> list[str]:
    return sorted(open_dataset(folder, validation_fraction=0)["train"].captions)


def test_a_linked_folder_is_entered(tmp_path):
    pair(tmp_path / "disk", "cat")
    pair(tmp_path / "data" / "here", "dog")
    (tmp_path / "data" / "there").symlink_to("../disk")
    with pytest.warns(UserWarning, match=r"elsewhere are entered: .*there \(to .*disk\)"):
        assert captions(tmp_path / "data") == ["a cat", "a dog"]
    assert len(image_files([tmp_path / "data"])) == 2


def test_a_folder_that_is_a_link_itself(tmp_path):
    pair(tmp_path / "disk", "cat")
    (tmp_path / "data").symlink_to("disk")
    assert captions(tmp_path / "data") == ["a cat"]
    assert image_files([tmp_path / "data"]) == [str(tmp_path / "data" / "cat.png")]


def test_a_link_within_a_linked_folder(tmp_path):
    pair(tmp_path / "far", "cat")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "on").symlink_to("../far")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").symlink_to("../near")
    assert image_files([tmp_path / "data"]) == [str(tmp_path / "data" / "x" / "on" / "cat.png")]


@pytest.mark.parametrize("target", [".", "..", "a", "../..", "a/b"])
def test_loops_end_and_nothing_comes_twice(tmp_path, target):
    root = tmp_path / "x" / "data"
    pair(root / "a" / "b", "cat")
    (root / "loop").symlink_to(target)
    (root / "a" / "b" / "back").symlink_to("../..")
    (root / "broken").symlink_to("nowhere")
    assert image_files([root]) == [str(root / "a" / "b" / "cat.png")]
    assert captions(root) == ["a cat"]


def test_two_links_to_one_folder_count_once(tmp_path):
    pair(tmp_path / "disk", "cat")
    (tmp_path / "data").mkdir()
    for name in ("x", "y"):
        (tmp_path / "data" / name).symlink_to("../disk")
    assert image_files([tmp_path / "data"]) == [str(tmp_path / "data" / "x" / "cat.png")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    pair(tmp_path, "cat")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.warns(UserWarning, match="may not be read are left out: .*locked"):
        assert len(files_below(tmp_path)) == 2


USUAL = {"jpg": "JPEG", "jpeg": "JPEG", "jfif": "JPEG", "jpe": "JPEG", "png": "PNG", "apng": "PNG"}
USUAL |= {"tga": "TGA", "ppm": "PPM", "pgm": "PPM", "pnm": "PPM", "bmp": "BMP", "gif": "GIF"}
USUAL |= {"tif": "TIFF", "tiff": "TIFF", "webp": "WEBP", "ico": "ICO", "pcx": "PCX", "qoi": "QOI"}
USUAL |= {"jp2": "JPEG2000", "j2k": "JPEG2000", "jpx": "JPEG2000", "avif": "AVIF", "dib": "DIB"}
USUAL |= {"mpo": "MPO", "sgi": "SGI", "bw": "SGI", "vda": "TGA"}


def test_every_ending_that_pillow_reads(tmp_path):
    written = []
    for suffix, form in USUAL.items():
        if form == "AVIF" and not features.check("avif"):
            continue
        try:
            Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / f"x_{suffix}.{suffix}", form)
        except (KeyError, OSError):  # this Pillow writes no such files
            (tmp_path / f"x_{suffix}.{suffix}").unlink(missing_ok=True)
            continue
        write(tmp_path / f"x_{suffix}.txt", suffix)
        written.append(suffix)
    assert {"jfif", "jpe", "tga", "ppm", "mpo"} <= set(written)
    assert len(image_files([tmp_path])) == len(written)
    train = open_dataset(tmp_path, validation_fraction=0)["train"]
    assert sorted(train.captions) == sorted(written)
    assert {train.open_image(row).size for row in range(len(train))} == {(16, 16)}
    assert all(names_an_image(f"nowhere.{suffix.upper()}") for suffix in written)


def test_no_ending_of_what_starts_programs_or_is_unsafe():
    refused = {".eps", ".ps", ".pdf", ".wmf", ".emf", ".fits", ".h5", ".grib", ".iim", ".icns"}
    assert not refused & image_suffixes()


def test_pictures_that_are_left_out_are_counted(tmp_path):
    save(tmp_path / "a.png")
    for name in ("b.SVG", "more/c.svg", "d.eps", "e.NEF", "notes.txt", "film.mpg"):
        write(tmp_path / name, "?")
    with pytest.warns(UserWarning, match=r"left out: 1 \.eps, 1 \.nef \(.*\), 2 \.svg \(.*\)$"):
        assert len(image_files([tmp_path])) == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"holds no images that are read, but 1 \.eps, "):
        image_files([tmp_path])


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.fixture
def no_heif(monkeypatch):
    """As if pillow-heif were not installed."""
    monkeypatch.setattr(formats_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    for suffix in formats_module.HEIC_SUFFIXES:
        monkeypatch.delitem(Image.EXTENSION, suffix, raising=False)
    formats_module.known_formats.cache_clear()
    formats_module.image_suffixes.cache_clear()
    yield
    formats_module.known_formats.cache_clear()
    formats_module.image_suffixes.cache_clear()


@pytest.mark.parametrize("suffix", ["heic", "HEIF", "hif"])
def test_heic_without_its_package_says_what_to_install(tmp_path, no_heif, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(HEIC)
    install = "pip install pillow-heif"
    with pytest.raises(DataError, match=rf"begins as \.heic \({install}\)"):
        opened(path, "a")
    with pytest.raises(DataError, match=rf"1 \.{suffix.lower()} \({install}\)"):
        image_files([tmp_path])
    save(tmp_path / "b.png")
    with pytest.warns(UserWarning, match=install):
        image_files([tmp_path])
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "b")
    with pytest.raises(DataError, match=install):
        open_dataset(tmp_path)


def test_heic_with_its_package(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (24, 16), (200, 30, 30))
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic", exif=exif.tobytes())
    pillow_heif.from_pillow(image).save(tmp_path / "b.heic")
    assert len(image_files([tmp_path])) == 2
    assert opened(tmp_path / "b.heic", "b").size == (24, 16)
    assert opened(tmp_path / "a.heic", "a").size == (16, 24)


def test_the_package_of_heic_is_imported_only_if_it_is_installed(no_heif, monkeypatch):
    monkeypatch.setattr(
        formats_module.importlib.util, "find_spec", lambda name: types.SimpleNamespace()
    )
    imported = []
    monkeypatch.setattr(formats_module.importlib, "import_module", imported.append)
    formats_module.known_formats.cache_clear()
    formats_module.known_formats()
    assert imported == ["pillow_heif.HeifImagePlugin"]

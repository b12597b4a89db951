"""Finding images by a sentence or by another image, and the index file behind it."""

import base64
import io
import json
import os
import pathlib
import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.cli import main
from clip_np.data import DataError, shapes
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluation import build_index, fingerprint, pictures, read_index, search, search_index
from clip_np.files import FileError, read_npz, write_npz
from clip_np.weights import CHECKPOINT, save_checkpoint

CONFIG = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
    text=TextConfig(514, 77, width=16, layers=1, heads=2),
)


def untrained(directory: pathlib.Path, seed: int = 0) -> tuple:
    tokenizer = clip_np.Tokenizer.train(["a large red circle"], 530)
    model = clip_np.CLIP(CONFIG.for_tokenizer(tokenizer), np.random.default_rng(seed))
    directory.mkdir(exist_ok=True)
    save_checkpoint(directory / CHECKPOINT, model, tokenizer)
    return clip_np.load(directory)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """(model, preprocess, tokenizer) of the run in "run"."""
    monkeypatch.chdir(tmp_path)
    return untrained(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    """Nine images in two folders, one within the other."""
    images, _ = shapes.training_pairs(9, np.random.default_rng(0))
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for row, image in enumerate(images):
        folder = "photos/more" if row > 5 else "photos"
        Image.fromarray(image).save(tmp_path / folder / f"{row}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path / "photos"


@pytest.fixture
def looked_at(monkeypatch):
    """The names of the files that are decoded, as they are."""
    names = []
    opened = search.opened

    def spy(source, name, *how, **more):
        names.append(pathlib.Path(name).name)
        return opened(source, name, *how, **more)

    monkeypatch.setattr(search, "opened", spy)
    return names


def run(capsys, *arguments, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == status
    return tuple(capsys.readouterr())


def expected(model, paths) -> np.ndarray:
    clip, preprocess, _ = model
    pixels = np.stack([preprocess(Image.open(path)) for path in paths])
    with mg.no_grad():
        return mg.normalize(clip.encode_image(pixels)).numpy()


# --- building an index -------------------------------------------------------------------------


def test_an_index_holds_unit_features_of_all_images(model, photos):
    index = build_index("index.npz", [photos], *model[:2], "run")
    files = [photos / f"{row}.png" for row in range(6)]
    files += [photos / "more" / f"{row}.png" for row in (6, 7, 8)]
    assert sorted(index.paths) == sorted(map(str, files))
    np.testing.assert_allclose(index.features, expected(model, index.paths), atol=1e-5)
    assert index.features.dtype == np.float32
    again = read_index("index.npz")
    assert (again.paths, again.files) == (index.paths, index.files)
    assert (again.features == index.features).all()
    assert again.model == str(pathlib.Path("run").absolute())
    assert [path for path in pathlib.Path().iterdir() if ".tmp" in path.name] == []


def test_batches_change_nothing(model, photos, monkeypatch):
    whole = build_index("whole.npz", [photos], *model[:2])
    for size in (1, 2, 9):
        monkeypatch.setattr(search, "BATCH", size)
        parts = build_index(f"{size}.npz", [photos], *model[:2])
        assert parts.paths == whole.paths
        np.testing.assert_allclose(parts.features, whole.features, atol=1e-5)


def test_only_what_is_new_or_changed_is_looked_at(model, photos, looked_at):
    first = build_index("index.npz", [photos], *model[:2], "run")
    assert len(looked_at) == 9
    looked_at.clear()
    same = build_index("index.npz", [photos, photos / "0.png"], *model[:2], "run")
    assert looked_at == []
    assert same.paths == first.paths
    (photos / "1.png").unlink()
    shutil.copy(photos / "0.png", photos / "2.png")  # of another size
    status = os.stat(photos / "3.png")
    os.utime(photos / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    shutil.copy(photos / "4.png", photos / "new.png")
    index = build_index("index.npz", [photos], *model[:2], "run")
    assert sorted(looked_at) == ["2.png", "3.png", "new.png"]
    assert str(photos / "1.png") not in index.files
    assert len(index.paths) == 9
    np.testing.assert_allclose(index.features, expected(model, index.paths), atol=1e-5)


def test_an_index_grows_by_other_folders(model, photos):
    build_index("index.npz", [photos / "more"], *model[:2])
    index = build_index("index.npz", [photos / "0.png"], *model[:2])
    assert [pathlib.Path(path).name for path in index.paths] == ["6.png", "7.png", "8.png", "0.png"]
    np.testing.assert_allclose(index.features, expected(model, index.paths), atol=1e-5)


def test_bad_images_are_kept_in_mind(model, photos, looked_at):
    (photos / "2.png").write_bytes(b"no image")
    index = build_index("index.npz", [photos], *model[:2])
    bad = str(photos / "2.png")
    assert bad not in index.paths
    assert len(index.paths) == len(index.features) == 8
    assert index.files[bad][2].startswith(f"{bad}: cannot be read (UnidentifiedImageError")
    looked_at.clear()
    assert read_index("index.npz").files == index.files
    build_index("index.npz", [photos], *model[:2])
    assert looked_at == []
    shutil.copy(photos / "3.png", bad)
    mended = build_index("index.npz", [photos], *model[:2])
    assert looked_at == ["2.png"]
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
    # Whatever the preprocessing is, it does not meet an image that would fill the memory.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    index = build_index("bombs.npz", [photos / "1.png"], model[0], preprocess)
    assert "32x32 pixels are too many" in index.files[str(photos / "1.png")][2]
    assert modes == ["P"]


def test_an_interrupted_run_goes_on(model, photos, looked_at, monkeypatch):
    monkeypatch.setattr(search, "BATCH", 2)
    compute, calls = search.unit_features, []

    def interrupted(*given):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(given)
        return compute(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search, "unit_features", interrupted)
        build_index("index.npz", [photos], *model[:2])
    half = read_index("index.npz")
    assert len(half.paths) == 4
    looked_at.clear()
    index = build_index("index.npz", [photos], *model[:2])
    assert len(looked_at) == 5
    assert index.paths[:4] == half.paths
    np.testing.assert_allclose(index.features, expected(model, index.paths), atol=1e-5)


def test_it_is_saved_while_it_grows(model, photos, monkeypatch):
    saved, write = [], search.write_record

    def watched(path, kind, record, arrays):
        saved.append(len(arrays["features"]))
        write(path, kind, record, arrays)

    monkeypatch.setattr(search, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(search, "write_record", watched)
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
    with pytest.raises(DataError, match=r"^empty: holds no images \(\.bmp, \.gif, "):
        build_index("index.npz", [photos, "empty"], *model[:2])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_index("index.npz", ["nowhere"], *model[:2])
    assert not pathlib.Path("index.npz").exists()


# --- whose index it is -------------------------------------------------------------------------


def test_the_index_of_another_model_is_refused(model, photos, tmp_path):
    build_index("index.npz", [photos], *model[:2], "run")
    before = pathlib.Path("index.npz").read_bytes()
    other = untrained(tmp_path / "other", seed=1)
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


def forged(change) -> None:
    arrays = read_npz("index.npz")
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    if "header" in arrays:
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz("forged.npz", arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: header.update(format="clip_np checkpoint 1"),
        lambda header, arrays: header.pop("files"),
        lambda header, arrays: header.pop("checksum"),
        lambda header, arrays: header.update(files=header["files"][:-1]),
        lambda header, arrays: header.update(files=3),
        lambda header, arrays: header["files"].__setitem__(0, ["a.png", 1]),
        lambda header, arrays: header["files"].__setitem__(0, [7, 1, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, ["a.png", 1e400, 2, ""]),
        lambda header, arrays: header["files"].__setitem__(0, header["files"][1]),
        lambda header, arrays: arrays.pop("header"),
        lambda header, arrays: arrays.pop("features"),
        lambda header, arrays: arrays.update(features=arrays["features"] * 2),
        lambda header, arrays: arrays.update(features=arrays["features"] * np.float32(1e30)),
        lambda header, arrays: arrays.update(features=arrays["features"] * np.float32("nan")),
        lambda header, arrays: arrays.update(features=arrays["features"].astype(np.float64)),
        lambda header, arrays: arrays.update(features=arrays["features"][0]),
        lambda header, arrays: arrays.update(features=np.array(["a"])),
    ],
)
def test_forged_indices_are_refused(model, photos, change):
    build_index("index.npz", [photos], *model[:2], "run")
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


# --- searching ---------------------------------------------------------------------------------


def test_a_sentence_finds_images_by_cosine(model, photos):
    clip, _, tokenizer = model
    index = build_index("index.npz", [photos], *model[:2])
    with mg.no_grad():
        text = mg.normalize(clip.encode_text(tokenizer(["red circle"]))).numpy()[0]
    cosines = expected(model, index.paths) @ text
    best = np.argsort(-cosines)[:4]
    found = search_index(index, "red circle", *model, k=4)
    assert [path for path, _ in found] == [index.paths[row] for row in best]
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[best], atol=1e-5)
    assert len(search_index(index, "red circle", *model, k=100)) == 9


def test_an_image_finds_itself_first(model, photos):
    index = build_index("index.npz", [photos], *model[:2])
    for path in index.paths:
        (first, cosine), (_, second) = search_index(index, path, *model, k=2)
        assert first == path
        assert cosine == pytest.approx(1, abs=1e-5)
        assert second < cosine


def test_queries_that_cannot_be_answered(model, photos):
    index = build_index("index.npz", [photos], *model[:2])
    with pytest.raises(DataError, match=r"cat\.jpg: cannot be read \(FileNotFoundError"):
        search_index(index, "cat.jpg", *model)
    with pytest.raises(DataError, match=r"notes\.txt: cannot be read"):
        search_index(index, str(photos / "notes.txt"), *model)
    with pytest.raises(ValueError, match="k = 0 of 9 images"):
        search_index(index, "red", *model, k=0)
    (photos / "0.png").write_bytes(b"no image")
    nothing = build_index("nothing.npz", [photos / "0.png"], *model[:2])
    with pytest.raises(ValueError, match="k = 12 of 0 images"):
        search_index(nothing, "red", *model)
    assert len(search_index(index, "long " * 2000, *model)) == 9


# --- the commands ------------------------------------------------------------------------------


def test_embed_then_search(capsys, model, photos):
    (photos / "5.png").write_bytes(b"no image")
    output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz")
    errors = errors[errors.index("left out") :]  # behind the bar of a slow machine
    assert output == "8 images in index.npz\n"
    assert errors == f"left out: {read_index('index.npz').files[str(photos / '5.png')][2]}\n"
    report = json.loads(
        run(capsys, "embed", "--model", "run", photos, "-o", "index.npz", "--json")[0]
    )
    assert report == {"images": 8, "unreadable": {str(photos / "5.png"): errors[10:-1]}}
    found = json.loads(run(capsys, "search", "index.npz", "a red circle", "--json", "-k", 3)[0])
    index = read_index("index.npz")
    expected = dict(search_index(index, "a red circle", *model, k=3))
    assert list(found) == list(expected)
    assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-5)
    table, _ = run(capsys, "search", "index.npz", "a red circle", "-k", 3)
    shown = [line.split() for line in table.splitlines()]
    here = [str(pathlib.Path(path).relative_to(pathlib.Path.cwd())) for path in found]
    assert shown == [[f"{c:.3f}", name] for name, c in zip(here, found.values())]
    table, _ = run(capsys, "search", "index.npz", "photos/3.png")
    assert table.splitlines()[0].split() == ["1.000", str(pathlib.Path("photos/3.png"))]
    assert len(table.splitlines()) == 8


def test_ctrl_c_saves_and_says_how_to_go_on(capsys, model, photos, monkeypatch):
    monkeypatch.setattr(search, "BATCH", 2)

    def interrupted(model, encode, inputs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search, "unit_features", interrupted)
        output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz", status=130)
    assert output == "stopped, all that was seen is saved; the same command goes on\n"
    assert errors.endswith("clip-np: interrupted\n")
    run(capsys, "embed", "run", "photos", "-o", "index.npz")
    assert len(read_index("index.npz").paths) == 9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("embed run -o new.npz", "no images given: run is taken for the model"),
        ("embed run empty -o new.npz", "empty: holds no images (.bmp"),
        ("embed run bad.png -o bad.npz", "none of 1 images is readable: "),
        ("embed nowhere photos -o new.npz", "nowhere: no such file or directory"),
        ("embed other photos -o index.npz", "the index holds what another model saw ("),
        ("embed run photos -o bad.png", "bad.png: damaged, or no .npz file"),
        ("search index.npz red --model other", "the index holds what another model saw ("),
        ("search nowhere.npz red", "No such file or directory: 'nowhere.npz'"),
        ("search run/checkpoint.npz red", "run/checkpoint.npz: no index of clip_np"),
        ("search index.npz red -k 0", "k = 0 of 9 images"),
        ("search index.npz bad.png", "bad.png: cannot be read"),
        ("search moved.npz red", "no such file or directory; --model"),
    ],
)
def test_mistakes(capsys, model, photos, tmp_path, arguments, message):
    untrained(tmp_path / "other", seed=1)
    pathlib.Path("empty").mkdir()
    pathlib.Path("bad.png").write_bytes(b"no image")
    build_index("index.npz", [photos], *model[:2], "run")
    (tmp_path / "run").rename("gone")
    build_index("moved.npz", [photos], *model[:2], "gone")
    (tmp_path / "gone").rename("run")
    output, errors = run(capsys, *arguments.split(), status=1)
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("clip-np: error: ")]
    assert message in line
    assert not pathlib.Path("new.npz").exists()


def test_a_page_of_results(capsys, model, photos):
    awkward = photos / "<b> & \"ünïcode\" 🎈 'x' #1%.png"
    shutil.copy(photos / "0.png", awkward)
    Image.new("RGBA", (900, 300), (255, 0, 0, 0)).save(photos / "wide.png")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "1.png").unlink()
    query = "<script>alert('x')</script> & more"
    output, _ = run(capsys, "search", "index.npz", query, "-k", 50, "--html", "page.html")
    assert output.splitlines()[-1] == "page: page.html"
    page = pathlib.Path("page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more") == 2
    assert 'src="http' not in page
    assert "color-scheme: light dark" in page
    links = re.findall('href="([^"]*)"', page)
    assert len(links) == 11
    assert awkward.as_uri().replace("'", "&#x27;") in links
    name = "&lt;b&gt; &amp; &quot;ünïcode&quot; 🎈 &#x27;x&#x27; #1%.png"
    assert name in page
    assert "<b> &" not in page
    assert page.count("not found") == 1
    images = re.findall('src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(images) == 10
    sizes = set()
    for code in images:
        with Image.open(io.BytesIO(base64.b64decode(code, validate=True))) as image:
            sizes.add(image.size)
            if image.size == (256, 85):
                assert min(image.getpixel((100, 40))) > 250  # transparency is white
    assert sizes == {(32, 32), (256, 85)}


def test_a_contact_sheet_of_results(capsys, model, photos, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    sheet = pictures.labelled_images
    monkeypatch.setattr(
        pictures, "labelled_images", lambda *page: drawn.append(page) or sheet(*page)
    )
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "1.png").unlink()
    output, _ = run(capsys, "search", "index.npz", photos / "2.png", "-k", 9, "--png", "sheet.png")
    assert output.splitlines()[-1] == "pictures: sheet.png"
    ((images, labels, path, title, note),) = drawn
    assert (str(path), title) == ("sheet.png", str(photos / "2.png"))
    assert note == "The best of 9 images, and their cosines."
    assert labels[0] == [("1.000", "2.png")]
    (gone,) = [row for row, below in enumerate(labels) if below[-1] == ("", "not found")]
    assert labels[gone][0][1] == "1.png"
    assert (images[gone] == images[gone][0, 0]).all()
    whole = Image.open(photos / "2.png").resize((224, 224), Image.Resampling.BICUBIC)
    assert (images[0] == np.asarray(whole)).all()
    with Image.open("sheet.png") as picture:
        assert min(picture.size) > 200


def test_names_that_are_no_unicode(capsys, model, photos):
    name = os.fsdecode(b"photos/caf\xe9.png")
    try:
        shutil.copy(photos / "0.png", name)
    except OSError:
        pytest.skip("this file system keeps no such names")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    assert os.path.abspath(name) in read_index("index.npz").paths
    run(capsys, "search", "index.npz", name, "--html", "page.html")
    assert "caf%E9.png" in pathlib.Path("page.html").read_text(encoding="utf-8")

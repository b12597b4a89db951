"""Embedding images once and finding them, from the shell."""

import base64
import io
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from command_line import fail, run
from image_folders import untrained_run, write_photos
from PIL import Image

from clip_np.cli import output as cli_output
from clip_np.evaluation import (
    Index,
    build_index,
    duplicates,
    embed_texts,
    find_duplicates,
    folders,
    read_index,
    search_index,
)
from clip_np.evaluation.index_parts import Part
from clip_np.evaluation.index_table import FileTable, Strings


@pytest.fixture
def model(tmp_path):
    """(model, preprocess, tokenizer) of the run in "run"."""
    return untrained_run(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


def test_embed_then_search(capsys, model, photos):
    (photos / "5.png").write_bytes(b"no image")
    output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz")
    errors = errors[errors.index("left out") :]  # after the bar of a slow machine
    assert output == "+9 new, 0 changed, 0 gone\n8 images in index.npz\n"
    assert errors == f"left out: {read_index('index.npz').files[str(photos / '5.png')][2]}\n"
    report = json.loads(
        run(capsys, "embed", "--model", "run", photos, "-o", "index.npz", "--json")[0]
    )
    assert report.pop("unreadable") == {str(photos / "5.png"): errors[10:-1]}
    assert report == {"images": 8, "new": 0, "changed": 0, "gone": 0, "missing": 0}
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
    monkeypatch.setattr(folders, "BATCH_SIZE", 2)

    def interrupted(model, encode, inputs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folders, "unit_features", interrupted)
        output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz", status=130)
    assert output == "stopped, all that was seen is saved; the same command goes on\n"
    assert errors.endswith("clip-np: interrupted\n")
    run(capsys, "embed", "run", "photos", "-o", "index.npz")
    assert len(read_index("index.npz").paths) == 9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("embed run -o new.npz", "no images given: run is taken for the model"),
        ("embed run empty -o new.npz", "empty: holds no images (.apng"),
        ("embed run bad.png -o bad.npz", "none of 1 images is readable: "),
        ("embed nowhere photos -o new.npz", "nowhere: no such file or directory"),
        ("embed other photos -o index.npz", "the index holds what another model saw ("),
        ("embed run photos -o bad.png", "bad.png: damaged, or not an .npz file"),
        ("search index.npz red --model other", "the index holds what another model saw ("),
        ("search nowhere.npz red", "No such file or directory: 'nowhere.npz'"),
        ("search run/checkpoint.npz red", "run/checkpoint.npz: no index of clip_np"),
        ("search index.npz red -k 0", "k = 0 of 9 images"),
        ("search index.npz bad.png", "bad.png: cannot be read"),
        ("search moved.npz red", "no such file or directory; --model"),
    ],
)
def test_mistakes(capsys, model, photos, tmp_path, arguments, message):
    untrained_run(tmp_path / "other", seed=1)
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
    sheet = cli_output.labelled_images
    monkeypatch.setattr(
        cli_output, "labelled_images", lambda *page: drawn.append(page) or sheet(*page)
    )
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "1.png").unlink()
    output, _ = run(capsys, "search", "index.npz", photos / "2.png", "-k", 9, "--png", "sheet.png")
    assert output.splitlines()[-1] == "pictures: sheet.png"
    ((images, labels, path, title, note),) = drawn
    assert (str(path), title) == ("sheet.png", str(photos / "2.png"))
    assert note == "First what was asked with, then the best of 9 images."
    assert labels[:2] == [[("query", "2.png")], [("1.000", "photos/2.png")]]
    assert len(labels) == 10
    (gone,) = [row for row, below in enumerate(labels) if below[-1] == ("", "not found")]
    assert labels[gone][0][1] == "photos/1.png"
    assert (images[gone] == images[gone][0, 0]).all()
    whole = Image.open(photos / "2.png").resize((224, 224), Image.Resampling.BICUBIC)
    assert (images[0] == np.asarray(whole)).all()
    with Image.open("sheet.png") as picture:
        assert min(picture.size) > 200


def test_wide_pictures_are_whole_on_the_sheet(capsys, model, photos, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(cli_output, "labelled_images", lambda *page: drawn.append(page) or page[2])
    picture = Image.new("RGB", (90, 30), "red")
    picture.paste("blue", (60, 0, 90, 30))
    picture.save("wide.png")
    run(capsys, "embed", "run", "wide.png", "-o", "index.npz")
    run(capsys, "search", "index.npz", "red", "--png", "sheet.png")
    ((images, *_),) = drawn
    (square,) = images
    assert square[0, 0].tolist() == [255, 255, 255]
    assert square[112, 2].tolist() == [255, 0, 0] and square[112, 221].tolist() == [0, 0, 255]


@pytest.mark.parametrize("flag", ["--html", "--png"])
def test_what_is_searched_is_not_replaced_by_its_page(capsys, model, photos, flag):
    build_index("index.npz", [photos], *model[:2], "run")
    for output in ["./index.npz", "photos/1.png"]:
        before = pathlib.Path(output).read_bytes()
        text = fail(capsys, "search", "index.npz", "photos/1.png", flag, output)
        assert f"{output}: is read for this, and would be replaced" in text
        assert pathlib.Path(output).read_bytes() == before


def test_a_page_shows_what_was_asked_with(capsys, model, photos):
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    Image.new("RGB", (64, 32), "red").save("asked.png")
    run(capsys, "search", "index.npz", "asked.png", "-k", 2, "--html", "page.html")
    page = pathlib.Path("page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 3
    assert "<b>query</b>" in page and pathlib.Path("asked.png").absolute().as_uri() in page
    assert "width=device-width, initial-scale=1" in page


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


def test_hits_that_are_gone_are_named(capsys, model, photos, tmp_path):
    pathlib.Path("indexes").mkdir()
    run(capsys, "embed", "run", photos, "-o", "indexes/index.npz")
    output, _ = run(capsys, "search", "indexes/index.npz", "red", "--root", photos)
    assert "gone" not in output
    (photos / "3.png").unlink()
    output, _ = run(capsys, "search", "indexes/index.npz", "red", "-k", 9)
    (line,) = [line for line in output.splitlines() if "3.png" in line]
    assert line.endswith("3.png (gone)")
    assert "1 of 9 images are not there any more; if they were moved: --root FOLDER" in output
    photos.rename("moved")
    output, _ = run(capsys, "search", "indexes/index.npz", "red", "-k", 9)
    assert output.splitlines()[-1].endswith(f"for what was {photos}")
    output, _ = run(capsys, "search", "indexes/index.npz", "red", "-k", 9, "--root", "moved")
    assert output.count("(gone)") == 1
    report = run(capsys, "search", "indexes/index.npz", "red", "-k", 9, "--json")
    assert len(json.loads(report[0])) == 9 and "9 of 9 images are not there" in report[1]


def test_embed_says_what_came_and_went(capsys, model, photos):
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "more").rename("unplugged")
    Image.new("RGB", (32, 32), "blue").save("9.png")
    output, _ = run(capsys, "embed", "run", "9.png", "-o", "index.npz")
    assert output.splitlines() == [
        "+1 new, 0 changed, 0 gone",
        "10 images in index.npz",
        "3 of them, in folders that were not named, are not there just now and stay "
        "(--drop-missing drops them)",
    ]
    output, _ = run(capsys, "embed", "run", "9.png", "-o", "index.npz", "--drop-missing")
    assert output.splitlines() == ["+0 new, 0 changed, 3 gone", "7 images in index.npz"]


def test_queries_of_several_parts(capsys, model, photos):
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    index = read_index("index.npz")
    image, text = str(photos / "2.png"), "a red circle"
    clip, preprocess, tokenizer = model
    (_, seen), (_, other) = folders.embed_files(clip, preprocess, [image, str(photos / "4.png")])
    read = embed_texts(clip, tokenizer, [text])[0]
    direction = seen + read - other
    expected = index.features @ (direction / np.linalg.norm(direction))
    output, _ = run(
        *(capsys, "search", "index.npz", image, text, "--minus", photos / "4.png"),
        *("-k", 9, "--json", "--html", "page.html"),
    )
    found = json.loads(output)
    assert found == pytest.approx(dict(zip(index.paths, expected.tolist())), abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert f"{image} + a red circle - " in pathlib.Path("page.html").read_text(encoding="utf-8")
    message = fail(capsys, "search", "index.npz", "red", "--minus", "red")
    assert message == "search: nothing is left of what is wanted, all of it is taken away"
    assert "nowhere.png: cannot be read" in fail(
        capsys, "search", "index.npz", "red", "--minus", "nowhere.png"
    )


def test_duplicates_are_listed_and_folded(capsys, model, photos):
    shutil.copy(photos / "0.png", photos / "more" / "copy.png")
    with Image.open(photos / "0.png") as image:
        image.save(photos / "other format.bmp")
    shutil.copy(photos / "3.png", photos / "again.png")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    output, _ = run(capsys, "duplicates", "index.npz")
    groups = [group.splitlines() for group in output.split("\n\n")]
    assert sorted(map(sorted, groups[:2])) == [
        ["photos/0.png", "photos/more/copy.png", "photos/other format.bmp"],
        ["photos/3.png", "photos/again.png"],
    ]
    assert groups[2] == ["3 of 12 images are copies of another one"]
    report = json.loads(run(capsys, "duplicates", "index.npz", "--json")[0])
    assert sorted(map(len, report["groups"])) == [2, 3]
    everything = json.loads(run(capsys, "duplicates", "index.npz", "--cosine", 0.001, "--json")[0])
    assert list(map(len, everything["groups"])) == [12]
    assert "--cosine must lie above 0" in fail(capsys, "duplicates", "index.npz", "--cosine", 2)
    (photos / "0.png").unlink()
    folded = json.loads(run(capsys, "search", "index.npz", "red", "-k", 12, "--fold", "--json")[0])
    names = {pathlib.Path(path).name for path in folded}
    assert len(folded) == 9
    assert len(names & {"0.png", "copy.png", "other format.bmp"}) == 1
    assert "0.png" not in names  # it is gone, and its copies are there
    assert (
        len(json.loads(run(capsys, "search", "index.npz", "red", "--fold", "-k", 3, "--json")[0]))
        == 3
    )


def test_info_on_an_index(capsys, model, photos):
    (photos / "5.png").write_bytes(b"no image")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    report = json.loads(run(capsys, "info", "index.npz", "--json")[0])
    assert report["layout"] == "an index of images: clip-np search asks it"
    assert (report["images"], report["unreadable"], report["embed_dim"]) == (8, 1, 16)
    assert (report["model"], report["root"]) == (os.path.abspath("run"), os.getcwd())
    assert report["yours"] == "yes"
    assert "layout        clip_np" in run(capsys, "info", "run")[0]
    pathlib.Path("text.npz").write_text("text", encoding="utf-8")
    assert "text.npz: damaged, or not an .npz file" in fail(capsys, "info", "text.npz")


def test_an_index_is_exported(capsys, model, photos):
    pytest.importorskip("pyarrow")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    output, _ = run(capsys, "export", "index.npz", "--to", "parquet", "-o", "photos.parquet")
    assert output == "9 images in photos.parquet\n"
    report = run(capsys, "export", "index.npz", "--to", "parquet", "-o", "again", "--json")[0]
    assert json.loads(report) == {"images": 9, "embed_dim": 16, "file": "again"}
    assert pathlib.Path("again").read_bytes() == pathlib.Path("photos.parquet").read_bytes()
    assert "No such file" in fail(capsys, "export", "no.npz", "--to", "parquet", "-o", "x")


def test_many_copies_are_grouped_quickly(tmp_path, monkeypatch):
    """Blocks of any size give the same groups."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 16), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[100:200] = rows[0]
    rows[250] = rows[201]
    names = Strings.of(f"{row}.png" for row in range(300))
    times = np.zeros(300, np.int64)
    table = FileTable(str(tmp_path), names, times, times, Strings.of([]))
    index = Index([Part(table, rows)], "", "0")
    for size in (7, 300, 2048):
        monkeypatch.setattr(duplicates, "BLOCK", size)
        first, second = find_duplicates(index)
        assert [len(first), len(second)] == [101, 2]
        assert [pathlib.Path(path).stem for path in second] == ["201", "250"]
